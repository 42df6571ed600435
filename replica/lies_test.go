package replica

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
)

// A node that stores nothing cannot wipe a key by an item whose context covers
// all of it, nor say anything else that only stores say to each other.
func TestOnlyStoresSayWhatStoresSay(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		t, ctx := c.t, context.Background()
		mustPut(t, c.all[0], "k", "v")
		time.Sleep(time.Second)
		home := c.net.nodes[c.all[0].Homes("k")[0]]
		rec, err := home.store.load(ctx, home.store.place(c.all[0].b.id, "k"))
		if err != nil || len(rec.Sibs) != 1 {
			t.Fatal(rec.Sibs, err)
		}
		all := rec.Item
		all.Ctx = slices.Clone(all.Ctx)
		for i := range all.Ctx {
			all.Ctx[i].N += 100
		}
		all.Sibs = nil
		wipe := wire.AppendMergeRequest(nil, &wire.MergeRequest{Wall: time.Now().UnixMilli(), Offers: []wire.Offer{{
			Bucket: c.all[0].b.id, Key: "k", Item: wire.AppendItem(nil, &all),
		}}})
		for _, n := range c.nodes {
			if _, err := c.node.callRaw(n, wire.MethodMerge, wipe); err == nil {
				t.Error("a merge of a camera was taken")
			}
			n.mu.Lock()
			methods := slices.Sorted(maps.Keys(n.handlers))
			n.mu.Unlock()
			for _, m := range methods {
				switch m {
				case wire.MethodPut, wire.MethodRead, wire.MethodClock:
					continue
				case wire.MethodAdminGet, wire.MethodAdminPut, wire.MethodAdminDelete, wire.MethodAdminStatus, wire.MethodAdminHealth:
					continue
				}
				if _, err := c.node.callRaw(n, m, nil); !errors.Is(err, errNoStore) {
					t.Errorf("%s of a camera: %v", m, err)
				}
			}
		}
		time.Sleep(time.Minute)
		for _, b := range c.all {
			wantValue(t, b, "k", "v")
		}
		wantValue(t, c.b, "k", "v")
	})
}

// Whoever computes a name whose definition hashes to another bucket's id does
// not get at that bucket's data, from a store or from elsewhere.
func TestComputedBucketName(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		t, ctx := c.t, context.Background()
		def := wire.BucketDef{Name: "computed", Copies: 3}
		policy := &bucket{id: bucketID(wire.AppendBucketDef(nil, &def)), def: wire.BucketDef{Name: "policy", Copies: 3}}
		for _, n := range c.nodes {
			r := n.store.buckets
			r.mu.Lock()
			all := maps.Clone(*r.all.Load())
			all[policy.id] = policy
			r.all.Store(&all)
			r.mu.Unlock()
			n.store.follow(policy)
		}
		for _, s := range []*Store{c.nodes[0].store, c.node.store} {
			if b, err := s.Bucket(ctx, "computed", BucketConfig{}); b != nil || !errors.Is(err, ErrBucketConflict) {
				t.Errorf("%v, %v", b, err)
			}
		}
	})
}

// The empty key and a bucket's name that does not print are refused in so many
// words; what an older version has left under them stays in reach.
func TestEmptyKeyAndUnprintableName(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		if _, err := buckets[0].Put(ctx, "", []byte("v"), nil); !errors.Is(err, errEmptyKey) {
			t.Errorf("put under the empty key: %v", err)
		}
		q, err := buckets[0].request("", testWrite("old", 0), Quorum, 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[0].store.put(ctx, q); err != nil {
			t.Fatal(err)
		}
		wantValue(t, buckets[1], "", "old")
		mustDelete(t, buckets[2], "")
		wantNotFound(t, buckets[1], "")

		for _, name := range []string{"a\nb", "bell\a", "\xff", "zero\u200bwidth"} {
			if b, err := nodes[0].store.Bucket(ctx, name, BucketConfig{}); b != nil || !errors.Is(err, ErrBadBucket) {
				t.Errorf("bucket %q: %v", name, err)
			}
		}
		openBucket(t, nodes[0].store, "Wärme 2, カメラ", BucketConfig{})
		s, sys := nodes[0].store, nodes[0].store.buckets.system()
		old := wire.BucketDef{Name: "old\nname", Copies: 3}
		if _, err := s.put(ctx, s.buckets.definition(&bucket{def: old}, s.place(sys.id, old.Name), nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		mustPut(t, openBucket(t, nodes[1].store, old.Name, BucketConfig{}), "k", "v")
	})
}
