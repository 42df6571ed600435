package replica

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// When all stores are on their way out no key has a home. What is written then
// stays where it was written, is read there, and goes to the first home there is.
func TestWritesWhileAllAreLeaving(t *testing.T) {
	bubble(t, 2, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "before", "v")
		for _, n := range nodes {
			net.status(n.id, view.Leaving)
		}
		time.Sleep(time.Second)
		for i, key := range []string{"one", "two"} {
			if r, err := buckets[i].Put(ctx, key, []byte("v"), nil); err != nil && !errors.Is(err, ErrDegraded) || r.Durable < 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			it, err := buckets[i].Get(ctx, key, nil)
			if v, _ := it.Value(); string(v) != "v" || err != nil && !errors.Is(err, ErrDegraded) {
				t.Errorf("%s where it was written: %q, %v", key, v, err)
			}
		}
		time.Sleep(time.Minute)
		joined := net.add(true)
		b := openBucket(t, joined.open(), "b", BucketConfig{})
		defer joined.views.Close()
		defer joined.store.Close()
		time.Sleep(time.Minute)
		for _, n := range nodes {
			if err := n.leaveNow(t, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{"before", "one", "two"} {
			it, err := b.Get(ctx, key, &GetOptions{Level: One})
			if v, _ := it.Value(); err != nil || string(v) != "v" {
				t.Errorf("%s at the only home there is: %q, %v", key, v, err)
			}
		}
	})
}
