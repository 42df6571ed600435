package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/mesh/view"
)

// copies counts the stores that hold a key.
func copies(t *testing.T, nodes []*fakeNode, b *Bucket, key string) (n int) {
	t.Helper()
	for _, node := range nodes {
		if node.isDown() {
			continue
		}
		rec, err := node.store.records.Load(context.Background(), node.store.homes.LocateKey(b.b.ID, key))
		if err != nil {
			t.Fatal(err)
		}
		if !rec.Unknown() {
			n++
		}
	}
	return n
}

func wantCopies(t *testing.T, nodes []*fakeNode, b *Bucket, keys, want int) {
	t.Helper()
	for i := range keys {
		if got := copies(t, nodes, b, fmt.Sprintf("k%d", i)); got != want {
			t.Errorf("k%d is on %d stores, want %d", i, got, want)
			return
		}
	}
}

// A store that is down for HealAfter is replaced; when it comes back it has
// what was written meanwhile, and the copies made in its place go.
func TestLostCopiesAreMadeElsewhere(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 60
		for i := range keys {
			mustPut(t, buckets[i%5], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Minute)
		wantCopies(t, nodes, buckets[0], keys, 3)
		nodes[4].kill()
		time.Sleep(9 * time.Minute)
		if copies(t, nodes, buckets[0], "k0")+copies(t, nodes, buckets[0], "k1")+copies(t, nodes, buckets[0], "k2")+copies(t, nodes, buckets[0], "k3") == 12 {
			t.Error("copies were made before HealAfter")
		}
		time.Sleep(3 * time.Minute)
		wantCopies(t, nodes, buckets[0], keys, 3)
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "w")
		}
		buckets[4] = openBucket(t, nodes[4].restart(), "b", BucketConfig{})
		time.Sleep(3 * time.Minute)
		wantCopies(t, nodes, buckets[0], keys, 3)
		for i := range keys {
			wantValue(t, buckets[4], fmt.Sprintf("k%d", i), "w")
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// Only more than half of a mesh makes copies of what the rest holds, unless an
// operator says otherwise.
func TestSmallerPartDoesNotHeal(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 40
		for i := range keys {
			mustPut(t, buckets[i%5], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Minute)
		held := len(dump(t, nodes[0].store)) + len(dump(t, nodes[1].store))
		net.split(true, nodes[0].id, nodes[1].id)
		time.Sleep(time.Hour)
		if now := len(dump(t, nodes[0].store)) + len(dump(t, nodes[1].store)); now != held {
			t.Errorf("two of five stores hold %d records, %d before the cut", now, held)
		}
		for i := range keys {
			if n := copies(t, nodes[2:], buckets[0], fmt.Sprintf("k%d", i)); n != 3 {
				t.Errorf("k%d is on %d of the three other stores", i, n)
			}
		}
		nodes[0].store.ForceHeal(true)
		nodes[1].store.ForceHeal(true)
		time.Sleep(time.Hour)
		all := 0
		for i := range keys {
			all += copies(t, nodes[:2], buckets[0], fmt.Sprintf("k%d", i))
		}
		if all <= held-2 {
			t.Errorf("%d copies in the small part although healing is forced, %d before", all, held)
		}
		net.heal()
		time.Sleep(10 * time.Minute)
		wantCopies(t, nodes, buckets[0], keys, 3)
		wantEqualHomes(t, stores(nodes)...)
	})
}

// A store that a join has made superfluous lets go of its copies, but not
// before all homes have them.
func TestF1_15_JoinMovesCopies(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 60
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Minute)
		nodes[3].kill() // a home that cannot vouch
		n := net.add(true)
		s := n.open()
		defer n.views.Close()
		defer s.Close()
		time.Sleep(time.Minute)
		all := append(append([]*fakeNode(nil), nodes...), n)
		for i := range keys {
			key := fmt.Sprintf("k%d", i)
			homes := len(buckets[0].Homes(key))
			if got := copies(t, all, buckets[0], key); got < homes-1 {
				t.Errorf("%s is left on %d stores, one home is down", key, got)
			}
		}
		buckets[3] = openBucket(t, nodes[3].restart(), "b", BucketConfig{})
		time.Sleep(3 * time.Minute)
		wantCopies(t, all, buckets[0], keys, 3)
		wantEqualHomes(t, append(stores(nodes), s)...)
	})
}

// What lags behind a purge is not read to be given to others.
func TestNothingIsGivenThatMayBePurged(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		time.Sleep(time.Second)
		ctx, s := context.Background(), nodes[0].store
		at := s.homes.LocateKey(buckets[0].b.ID, "k")
		if page, err := s.records.ReadRecords(ctx, at.Slice, []string{"k"}); err != nil || len(page) != 1 {
			t.Fatal(len(page), err)
		}
		setStamp(t, s, at.Shard, purge.Stamp{Committed: purge.Round{Counter: 9}})
		if _, err := s.records.ReadRecords(ctx, at.Slice, []string{"k"}); !errors.Is(err, keep.ErrStale) {
			t.Errorf("records of a shard in which purges were missed: %v", err)
		}
	})
}

// Homes that come by a join know of nothing yet. As long as they have not heard
// those that were homes before, none of them says that a key is not there.
func TestJoinedHomesDoNotVouch(t *testing.T) {
	bubble(t, 1, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 60
		for i := range keys {
			mustPut(t, buckets[0], fmt.Sprintf("k%d", i), "v")
		}
		net.mu.Lock()
		for a := view.NodeID(2); a < 9; a++ { // the newcomers cannot reach the first store
			net.cut[[2]view.NodeID{1, a}], net.cut[[2]view.NodeID{a, 1}] = true, true
		}
		net.mu.Unlock()
		var joined []*fakeNode
		for range 5 {
			n := net.add(true)
			n.open()
			defer n.views.Close()
			defer n.store.Close()
			joined = append(joined, n)
		}
		time.Sleep(10 * time.Minute)
		b := openBucket(t, joined[1].store, "b", BucketConfig{})
		for i := range keys {
			_, err := b.Get(context.Background(), fmt.Sprintf("k%d", i), &GetOptions{Level: Quorum})
			if err == nil || !isDegraded(err) {
				t.Fatalf("k%d: homes that have not heard those before them say %v", i, err)
			}
		}
		net.heal()
		time.Sleep(10 * time.Minute)
		for i := range keys {
			wantValue(t, b, fmt.Sprintf("k%d", i), "v")
		}
		wantNotFound(t, b, "never")
	})
}

// A lost disk is replaced by a new store under the old name: what was on it is
// made again from the others.
func TestNewDiskTakesOver(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 60
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Minute)
		nodes[1].kill()
		n := net.add(true)
		net.status(nodes[1].id, view.Evicted)
		s := n.open()
		defer n.views.Close()
		defer s.Close()
		time.Sleep(2 * time.Minute)
		all := append(append([]*fakeNode(nil), nodes...), n)
		wantCopies(t, all, buckets[0], keys, 3)
		h, err := s.Health(context.Background())
		if err != nil || h.Syncing != 0 {
			t.Errorf("the new store is syncing %d shards, %v", h.Syncing, err)
		}
	})
}

func isDegraded(err error) bool {
	for _, e := range []error{ErrDegraded, ErrUnavailable} {
		if e != nil && errors.Is(err, e) {
			return true
		}
	}
	return false
}
