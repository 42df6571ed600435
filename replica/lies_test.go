package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
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

// forged is a context that a client has made up, for it is guarded by a checksum
// alone.
func forged(t *testing.T, b *Bucket, key string, seen version.Context, date version.HLC) Context {
	t.Helper()
	var c Context
	if err := c.UnmarshalBinary(wire.AppendContext(nil, seen, date, b.b.id, key)); err != nil {
		t.Fatal(err)
	}
	return c
}

// A date at the end of time, by a client or even by a store, leaves a key that can
// be written and deleted.
func TestForgedDate(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "written", "v")
		time.Sleep(time.Second)
		for _, key := range []string{"written", "new"} {
			c := forged(t, buckets[0], key, nil, version.Limit-1)
			if _, err := buckets[0].Put(ctx, key, []byte("forged"), &PutOptions{Context: c}); err != nil {
				t.Error(err)
			}
			for k, it := range dump(t, nodes[0].store) {
				if it.HLC.Millis() > time.Now().Add(time.Hour).UnixMilli() {
					t.Errorf("%q is dated %v", k, time.UnixMilli(it.HLC.Millis()).UTC())
				}
			}
		}
		// One that got in, by an older version.
		at := nodes[0].store.place(buckets[0].b.id, "dated")
		a := version.Actor{Store: 99, Session: 1, Seq: 1}
		it := version.Item{Ctx: version.Context{{A: a, N: 1}}, HLC: version.Limit - 1, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}, HLC: version.Limit - 1, Value: []byte("dated")}}}
		for _, n := range nodes {
			if _, err := n.store.acceptAll(ctx, []arrival{{at: at, item: it, raw: wire.AppendItem(nil, &it)}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{"written", "new", "dated"} {
			for i, b := range buckets {
				got, err := b.Get(ctx, key, nil)
				if err != nil {
					t.Fatalf("%s: %v", key, err)
				}
				if _, err := b.Put(ctx, key, []byte("later"), &PutOptions{Context: got.Context}); err != nil {
					t.Errorf("%s at %d: %v", key, i, err)
				}
				wantValue(t, b, key, "later")
			}
			mustDelete(t, buckets[1], key)
			time.Sleep(time.Second)
			wantNotFound(t, buckets[2], key)
		}
	})
}

// A context that covers what a store has yet to write drops nothing of it.
func TestForgedFuture(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		before := mustPut(t, buckets[2], "other", "v")
		mustPut(t, buckets[0], "k", "old")
		time.Sleep(time.Second)
		var all version.Context
		for _, n := range nodes {
			session := n.store.writer.Session()
			for seq := range uint32(50) {
				all = all.With(version.Actor{Store: uint64(n.id), Session: session, Seq: seq + 1}, 1000)
			}
		}
		if !all.Covers(before.Dot) && before.Dot.A.Store == uint64(nodes[2].id) {
			t.Fatal("the forged context does not cover what it is to cover")
		}
		net.split(true, nodes[2].id)
		time.Sleep(time.Second)
		c := forged(t, buckets[0], "k", all, 0)
		if _, err := buckets[0].Put(ctx, "k", []byte("forged"), &PutOptions{Context: c}); err != nil && !errors.Is(err, ErrDegraded) {
			t.Fatal(err)
		}
		if r, err := buckets[2].Put(ctx, "k", []byte("precious"), nil); r.Durable == 0 {
			t.Fatal(err)
		}
		net.heal()
		time.Sleep(time.Minute)
		for i, b := range buckets {
			got, err := b.Get(ctx, "k", nil)
			var values []string
			for _, v := range got.Siblings() {
				values = append(values, string(v))
			}
			if err != nil || !slices.Contains(values, "precious") {
				t.Errorf("node %d has %q, %v", i, values, err)
			}
		}
	})
}

// A write with the context of what the store that coordinates it has missed
// replaces that: the others are asked before any of the context is cut.
func TestContextOfALostCopy(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		for i := range 9 {
			key := fmt.Sprint("k", i)
			old := mustPut(t, buckets[0], key, "old")
			time.Sleep(time.Second)
			missed := buckets[i%3]
			loseHere(t, missed.s, missed.b.id, key)
			q, err := missed.request(key, testWrite("new", 0), Quorum, 2)
			if err != nil {
				t.Fatal(err)
			}
			q.write.Seen = old.Context.seen
			if _, err := missed.s.coordinate(ctx, q); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			for _, b := range buckets {
				got, err := b.Get(ctx, key, nil)
				if v, _ := got.Value(); err != nil || string(v) != "new" || len(got.Siblings()) != 1 {
					t.Errorf("%s: %q of %q, %v", key, v, got.Siblings(), err)
				}
			}
		}
	})
}
