package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// followed is what a Follow has told, in order.
type followed struct {
	mu  sync.Mutex
	all []string
}

func (l *followed) add(key string, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if value == nil {
		key += " gone"
	}
	l.all = append(l.all, key+string(value))
}

// take waits until a second has gone by, and returns what was told meanwhile.
func (l *followed) take() []string {
	time.Sleep(time.Second) // virtual
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.all
	l.all = nil
	return out
}

// TestRecordsOfABucket writes records at one node and has another one follow them, also
// when just one of three stores is left.
func TestRecordsOfABucket(t *testing.T) {
	bubble(t, 3, BucketConfig{TTL: time.Minute}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx, cancel := context.WithCancel(context.Background())
		here, there := buckets[0].Records(), buckets[1].Records()
		write := func(key, value string, ttl time.Duration) {
			t.Helper()
			if err := here.Write(ctx, key, []byte(value), ttl); err != nil {
				t.Fatal(err)
			}
		}
		write("p/a", "1", 0)
		write("q/a", "1", 0)
		var follows sync.WaitGroup
		var seen followed
		var ended error
		follows.Go(func() { ended = there.Follow(ctx, "p/", seen.add, func() { seen.add("all", nil) }) })
		want := func(want ...string) {
			t.Helper()
			if got := seen.take(); !slices.Equal(got, want) {
				t.Errorf("told %q, not %q", got, want)
			}
		}
		want("p/a1", "all gone")
		write("p/b", "2", time.Hour)
		want("p/b2")
		net.split(true, nodes[0].id)
		write("p/b", "3", 0)
		if err := here.Erase(ctx, "p/a"); err != nil {
			t.Fatal(err)
		}
		if v, err := here.Read(ctx, "p/a"); v != nil || err != nil {
			t.Errorf("what was erased: %q, %v", v, err)
		}
		if v, err := here.Read(ctx, "p/b"); string(v) != "3" || err != nil {
			t.Errorf("what is on one store: %q, %v", v, err)
		}
		var visited []string
		visit := func(key string, value []byte) bool {
			visited = append(visited, key+string(value))
			return key != "p/c"
		}
		if err := here.Each(ctx, "p/", visit); !errors.Is(err, ErrDegraded) || !slices.Equal(visited, []string{"p/b3"}) {
			t.Errorf("cut off: %q, %v", visited, err)
		}
		net.heal()
		time.Sleep(10 * time.Minute)
		visited = nil
		write("p/c", "4", 0)
		write("p/d", "5", 0)
		if err := there.Each(ctx, "p/", visit); err != nil || !slices.Equal(visited, []string{"p/d5", "p/c4"}) {
			t.Errorf("from the greatest key down to p/c: %q, %v", visited, err)
		}
		if got := seen.take(); !slices.Contains(got, "p/a gone") || !slices.Contains(got, "p/b3") || slices.Contains(got, "p/b gone") {
			t.Errorf("when the cut has healed: %q", got)
		}
		cancel()
		follows.Wait()
		if !errors.Is(ended, context.Canceled) {
			t.Error(ended)
		}
	})
}
