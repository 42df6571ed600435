package replica

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
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

// A home that knows nothing of a key, and must not take in what others have of it
// because it has taken part in a purge meanwhile, bases a delete on that all the
// same: one that covers nothing would be acknowledged and delete nothing.
func TestDeleteOfWhatIsNotTakenIn(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		old := mustPut(t, buckets[0], "k", "old")
		time.Sleep(time.Second)
		at := nodes[0].store.homes.LocateKey(buckets[0].b.ID, "k")
		lead := buckets[nodes[0].store.homes.Now().RouteOf(buckets[0].b, at.Shard).Lead-1]
		loseHere(t, lead.s, lead.b.ID, "k")
		setStamp(t, lead.s, at.Shard, purge.Stamp{Acked: purge.Round{Counter: 9, Proposer: 9}})
		r, err := lead.Delete(ctx, "k", nil)
		if err != nil || !slices.Contains(r.Covered, old.Dot) {
			t.Errorf("covered %v, not %v: %v", r.Covered, old.Dot, err)
		}
		time.Sleep(time.Minute)
		for _, b := range buckets {
			wantNotFound(t, b, "k")
		}
	})
}
