package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
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
		rec, err := home.store.records.Load(ctx, home.store.homes.LocateKey(c.all[0].b.ID, "k"))
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
			Bucket: c.all[0].b.ID, Key: "k", Item: wire.AppendItem(nil, &all),
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
				case wire.MethodPut, wire.MethodPutMany, wire.MethodRead, wire.MethodPage, wire.MethodWatch, wire.MethodClock:
					continue
				case wire.MethodAdminGet, wire.MethodAdminPut, wire.MethodAdminDelete, wire.MethodAdminStatus, wire.MethodAdminHealth,
					wire.MethodAdminScan, wire.MethodAdminBuckets, wire.MethodAdminWatch, wire.MethodAdminGetMany, wire.MethodAdminPutMany, wire.MethodAdminDeleteMany,
					wire.MethodAdminImport: // who has the secret could be a store
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
		for _, n := range c.nodes {
			policy, err := n.store.buckets.AddDefinition(def)
			if err != nil {
				t.Fatal(err)
			}
			policy.Def = wire.BucketDef{Name: "policy", Copies: 3} // as if its hash were that of the other
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
		q, err := buckets[0].newRequest("", testWrite("old", 0), Quorum, 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[0].store.router.RouteWrite(ctx, q); err != nil {
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
		s, sys := nodes[0].store, nodes[0].store.buckets.System()
		old := wire.BucketDef{Name: "old\nname", Copies: 3}
		if _, err := s.router.RouteWrite(ctx, s.router.NewDefinition(&layout.Bucket{Def: old}, s.homes.LocateKey(sys.ID, old.Name), nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		mustPut(t, openBucket(t, nodes[1].store, old.Name, BucketConfig{}), "k", "v")
	})
}

// A node that stores nothing is served as soon as it is in the roster, not only
// when the layout that is made from it is.
func TestNewClientIsServedAtOnce(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		var clients []*fakeNode
		for range 20 {
			c := net.add(false)
			clients = append(clients, c)
			nodes[0].mu.Lock()
			serve := nodes[0].handlers[wire.MethodRead]
			nodes[0].mu.Unlock()
			if _, err := serve(context.Background(), c.id, wire.AppendReadRequest(nil, &wire.ReadRequest{})); err != nil {
				t.Error(err)
			}
		}
		for _, c := range clients {
			c.views.Close()
		}
	})
}

// A context that a client has made up is refused. One could cover what a store has
// yet to write, so that its acknowledged write were dropped when a cut heals; or be
// dated at the end of time.
func TestForgedContext(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx, b := context.Background(), buckets[0]
		mustPut(t, b, "written", "v")
		var future version.Context
		for _, n := range nodes {
			session := sessionOf(t, n.store)
			for seq := range uint32(50) {
				future = future.With(version.Actor{Store: uint64(n.id), Session: session, Seq: seq + 1}, 1000)
			}
		}
		other := wire.ContextKey{1}
		for _, key := range []string{"written", "new"} {
			for name, token := range map[string][]byte{
				"future": wire.AppendContext(nil, &wire.SeenContext{Ctx: future}, b.b.ID, key, &other),
				"date":   wire.AppendContext(nil, &wire.SeenContext{HLC: version.Limit - 1}, b.b.ID, key, &other),
				"bare":   wire.AppendContext(nil, &wire.SeenContext{Ctx: future}, b.b.ID, key, &other)[:20],
			} {
				var c Context
				if err := c.UnmarshalBinary(token); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Put(ctx, key, []byte("forged"), &PutOptions{Context: c}); !errors.Is(err, ErrBadContext) {
					t.Errorf("put of %s with a made up %s: %v", key, name, err)
				}
				if _, err := b.Delete(ctx, key, &DeleteOptions{Context: c}); !errors.Is(err, ErrBadContext) {
					t.Errorf("delete of %s with a made up %s: %v", key, name, err)
				}
			}
		}
		wantValue(t, b, "written", "v")
	})
}

// A context that went through a client counts at each node of the mesh, and all of
// it, also where a cut keeps its store from those who know what it covers.
func TestContextCrossesACut(t *testing.T) {
	bubble(t, 3, BucketConfig{Copies: 3}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "deleted", "old")
		mustPut(t, buckets[0], "replaced", "old")
		time.Sleep(time.Second)
		net.split(true, nodes[2].id)
		time.Sleep(10 * time.Second)
		seen := make(map[string]Context)
		for _, key := range []string{"deleted", "replaced"} {
			r, err := buckets[0].Put(ctx, key, []byte("newer"), nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := r.Context.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			var c Context
			if err := c.UnmarshalText(text); err != nil {
				t.Fatal(err)
			}
			seen[key] = c
		}
		if r, err := buckets[2].Delete(ctx, "deleted", &DeleteOptions{Context: seen["deleted"]}); r.Durable == 0 {
			t.Fatal(err)
		}
		if r, err := buckets[2].Put(ctx, "replaced", []byte("newest"), &PutOptions{Context: seen["replaced"]}); r.Durable == 0 {
			t.Fatal(err)
		}
		net.heal()
		time.Sleep(time.Minute)
		for _, b := range buckets {
			wantNotFound(t, b, "deleted")
			got, err := b.Get(ctx, "replaced", nil)
			if v, _ := got.Value(); err != nil || string(v) != "newest" || len(got.Siblings()) != 1 {
				t.Errorf("%q of %q, %v", v, got.Siblings(), err)
			}
		}
	})
}

// A record that is dated at the end of time can be written and deleted.
func TestLastDate(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		at := nodes[0].store.homes.LocateKey(buckets[0].b.ID, "dated")
		a := version.Actor{Store: 99, Session: 1, Seq: 1}
		it := version.Item{Ctx: version.Context{{A: a, N: 1}}, HLC: version.Limit - 1, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}, HLC: version.Limit - 1, Value: []byte("dated")}}}
		for _, n := range nodes {
			if _, err := n.store.records.AcceptAll(ctx, []keep.Arrival{{At: at, Item: it, Raw: wire.AppendItem(nil, &it)}}); err != nil {
				t.Fatal(err)
			}
		}
		for i, b := range buckets {
			got, err := b.Get(ctx, "dated", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Put(ctx, "dated", []byte("later"), &PutOptions{Context: got.Context}); err != nil {
				t.Errorf("at %d: %v", i, err)
			}
			wantValue(t, b, "dated", "later")
		}
		mustDelete(t, buckets[1], "dated")
		time.Sleep(time.Second)
		wantNotFound(t, buckets[2], "dated")
	})
}

// A write with the context of what the store that coordinates it has missed
// replaces that.
func TestContextOfALostCopy(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		for i := range 9 {
			key := fmt.Sprint("k", i)
			old := mustPut(t, buckets[0], key, "old")
			time.Sleep(time.Second)
			missed := buckets[i%3]
			loseHere(t, missed.s, missed.b.ID, key)
			q, err := missed.newRequest(key, testWrite("new", 0), Quorum, 2)
			if err != nil {
				t.Fatal(err)
			}
			q.Write.Seen = old.Context.seen
			if _, err := missed.s.coordinator.CoordinateWrite(ctx, q); err != nil {
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
