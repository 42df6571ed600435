package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/slice"
)

// copied is what stores have exported, as a backup would keep it.
type copied struct {
	slice   slice.Slice
	records []slice.Old
	purged  map[string][]byte
}

// exportAll reads what all of the stores lead.
func exportAll(t *testing.T, nodes ...*fakeNode) (out []*copied) {
	t.Helper()
	for _, n := range nodes {
		err := n.store.Export(context.Background(), func(s slice.Slice) (func(*slice.Record) error, error) {
			if s.Err != nil {
				t.Fatalf("%s/%d at %v: %v", s.Bucket, s.Shard, n.id, s.Err)
			}
			c := &copied{slice: s, purged: make(map[string][]byte)}
			return func(r *slice.Record) error {
				switch {
				case r == nil:
					out = append(out, c)
				case r.Purged:
					c.purged[r.Key] = bytes.Clone(r.Item)
				default:
					c.records = append(c.records, slice.Old{Key: r.Key, Item: bytes.Clone(r.Item), Origin: s.Origin, Whole: true})
				}
				return nil
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// importAll brings all of it into a mesh, and returns the keys that were refused.
func importAll(t *testing.T, s *Store, all []*copied) (brought int, refused []string) {
	t.Helper()
	for _, c := range all {
		got, err := s.Import(context.Background(), c.slice.Def, c.records)
		if err != nil {
			t.Fatalf("%s/%d: %v", c.slice.Bucket, c.slice.Shard, err)
		}
		brought += got.Brought
		for _, i := range got.Refused {
			refused = append(refused, c.records[i].Key)
		}
	}
	slices.Sort(refused)
	return brought, refused
}

// Each slice is exported by one node, and what was exported makes another mesh, of another
// size, equal. To import it again brings nothing.
func TestExportedItemsMakeAnotherMeshEqual(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		want := map[string]string{}
		for i := range 200 {
			key := fmt.Sprint("k", i)
			mustPut(t, buckets[i%5], key, "old")
			if i%3 == 0 {
				mustPut(t, buckets[i%5], key, "new")
				want[key] = "new"
			} else if i%7 == 0 {
				mustDelete(t, buckets[i%5], key)
			} else {
				want[key] = "old"
			}
		}
		time.Sleep(time.Minute)
		all := exportAll(t, nodes...)
		seen := map[string]bool{}
		for _, c := range all {
			id := fmt.Sprintf("%x/%d", c.slice.Def, c.slice.Shard)
			if seen[id] {
				t.Errorf("%s is exported twice", id)
			}
			seen[id] = true
		}
		if len(seen) != buckets[0].s.shards {
			t.Errorf("%d slices of %d", len(seen), buckets[0].s.shards)
		}
		other := newFakeNet(t)
		other.mesh = view.MeshID{2}
		var fresh []*fakeNode
		for range 3 {
			n := other.add(true)
			n.open()
			defer closing(t, n)
			fresh = append(fresh, n)
		}
		time.Sleep(time.Minute)
		brought, refused := importAll(t, fresh[1].store, all)
		if len(refused) > 0 || brought < len(want) {
			t.Errorf("%d brought of %d, refused %q", brought, len(want), refused)
		}
		b := openBucket(t, fresh[2].store, "b", BucketConfig{})
		for i := range 200 {
			key := fmt.Sprint("k", i)
			it, err := b.Get(context.Background(), key, nil)
			if v, ok := it.Value(); string(v) != want[key] || ok != (want[key] != "") {
				t.Errorf("%s is %q, %v; it was %q", key, v, err, want[key])
			}
		}
		wantEqualHomes(t, stores(fresh)...)
		if brought, refused = importAll(t, fresh[0].store, all); brought+len(refused) > 0 {
			t.Errorf("again: %d brought, refused %q", brought, refused)
		}
	})
}

// Backup from before the delete: a key of it is deleted and purged, another one written anew
// since. To import the backup changes nothing, and brings back what was lost.
func TestF2_11_BackupFromBeforeTheDelete(t *testing.T) {
	soon := func(_ int, _ *fakeNode, c *Config) { c.PurgeEvery = 10 * time.Minute }
	bubbleOn(t, 3, BucketConfig{}, soon, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for _, key := range []string{"gone", "anew", "changed", "same"} {
			mustPut(t, buckets[0], key, "day 1")
		}
		time.Sleep(time.Minute)
		day1 := exportAll(t, nodes...)
		mustDelete(t, buckets[1], "gone")
		mustDelete(t, buckets[1], "anew")
		time.Sleep(time.Hour)
		for _, n := range nodes {
			if _, err := n.store.records.Load(context.Background(), n.store.homes.LocateKey(buckets[0].b.ID, "gone")); err != nil {
				t.Fatal(err)
			}
		}
		mustPut(t, buckets[2], "anew", "day 5")
		mustPut(t, buckets[2], "changed", "day 5")
		_, refused := importAll(t, nodes[2].store, day1)
		if len(refused) > 0 {
			t.Errorf("refused %q, though the logs of purges reach back", refused)
		}
		check := func(when string) {
			for key, want := range map[string]string{"anew": "day 5", "changed": "day 5", "same": "day 1"} {
				wantValue(t, buckets[0], key, want)
			}
			if it, err := buckets[0].Get(context.Background(), "gone", nil); !errors.Is(err, ErrNotFound) {
				v, _ := it.Value()
				t.Errorf("%s: what was deleted is %q, %v", when, v, err)
			}
		}
		check("in the same mesh")
		// In another mesh nobody remembers the delete but what was exported since.
		day6 := exportAll(t, nodes...)
		other := newFakeNet(t)
		other.mesh = view.MeshID{2}
		n := other.add(true)
		n.open()
		defer closing(t, n)
		time.Sleep(time.Minute)
		for _, c := range day1 {
			for i := range c.records {
				for _, later := range day6 {
					if item := later.purged[c.records[i].Key]; item != nil && string(later.slice.Def) == string(c.slice.Def) {
						c.records[i].Gone = append(c.records[i].Gone, item)
					}
				}
			}
		}
		if _, refused := importAll(t, n.store, append(day1, day6...)); len(refused) > 0 {
			t.Errorf("in another mesh: refused %q", refused)
		}
		buckets[0] = openBucket(t, n.store, "b", BucketConfig{})
		check("in another mesh")
	})
}

// Where nobody knows whether a key was deleted since, its record is refused, but not where the
// mesh has the key.
func TestImportWithoutMemoryIsRefused(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "there", "old")
		mustPut(t, buckets[0], "lost", "old")
		time.Sleep(time.Minute)
		all := exportAll(t, nodes...)
		other := newFakeNet(t)
		other.mesh = view.MeshID{2}
		n := other.add(true)
		n.open()
		defer closing(t, n)
		time.Sleep(time.Minute)
		only := func(key string, whole bool) (out []*copied) {
			for _, c := range all {
				d := &copied{slice: c.slice}
				for _, r := range c.records {
					if r.Key == key {
						r.Whole = whole
						d.records = append(d.records, r)
					}
				}
				out = append(out, d)
			}
			return out
		}
		if brought, refused := importAll(t, n.store, only("there", true)); brought != 1 || len(refused) > 0 {
			t.Fatalf("%d brought, refused %q", brought, refused)
		}
		if _, refused := importAll(t, n.store, append(only("there", false), only("lost", false)...)); !slices.Equal(refused, []string{"lost"}) {
			t.Errorf("refused %q", refused)
		}
	})
}

// On two sides of a cut both read what they have, and a store that is closed says so.
func TestExportOfACut(t *testing.T) {
	bubble(t, 3, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 50 {
			mustPut(t, buckets[0], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Minute)
		net.split(true, nodes[2].id)
		time.Sleep(time.Second)
		apart := map[string]bool{}
		for i, n := range nodes[1:] {
			for _, c := range exportAll(t, n) {
				for _, r := range c.records {
					if i == 1 {
						apart[r.Key] = true
					}
				}
			}
		}
		held := 0
		for i := range 50 {
			if slices.Contains(buckets[0].Homes(fmt.Sprint("k", i)), nodes[2].id) {
				held++
				if !apart[fmt.Sprint("k", i)] {
					t.Errorf("k%d is not exported by the side that is cut off", i)
				}
			}
		}
		if held == 0 {
			t.Fatal("it is no home")
		}
		if err := nodes[0].store.Close(); err != nil {
			t.Fatal(err)
		}
		if err := nodes[0].store.Export(context.Background(), func(slice.Slice) (func(*slice.Record) error, error) { return nil, nil }); !errors.Is(err, ErrClosed) {
			t.Errorf("of a closed store: %v", err)
		}
	})
}

// In a mesh that has lost nothing the import of any old backup, at any time, changes nothing
// that a reader sees: over random histories with deletes and purges.
func TestF1_26_ImportChangesNothingThatIsThere(t *testing.T) {
	soon := func(c *Config) { c.PurgeEvery = 5 * time.Minute }
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 26))
		bubbleOn(t, 3, BucketConfig{}, func(_ int, _ *fakeNode, c *Config) { soon(c) }, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			var old [][]*copied
			see := func() map[string]string {
				out := map[string]string{}
				for i := range 8 {
					key := fmt.Sprint("k", i)
					it, err := buckets[0].Get(context.Background(), key, nil)
					if err != nil && !errors.Is(err, ErrNotFound) {
						t.Fatal(err)
					}
					if v, ok := it.Value(); ok {
						out[key] = string(v)
					}
				}
				return out
			}
			for step := range 60 {
				key, at := fmt.Sprint("k", r.IntN(8)), buckets[r.IntN(3)]
				switch n := r.IntN(10); {
				case n < 4:
					mustPut(t, at, key, fmt.Sprint("v", step))
				case n < 6:
					mustDelete(t, at, key)
				case n < 7:
					time.Sleep(time.Duration(r.IntN(40)) * time.Minute)
				case n < 8:
					old = append(old, exportAll(t, nodes...))
				case len(old) > 0:
					time.Sleep(time.Minute)
					before := see()
					_, refused := importAll(t, nodes[r.IntN(3)].store, old[r.IntN(len(old))])
					if after := see(); !maps.Equal(before, after) {
						t.Fatalf("seed %d, step %d: it was %v, and is %v; refused %q", seed, step, before, after, refused)
					}
				}
			}
			time.Sleep(time.Minute)
			wantEqualHomes(t, stores(nodes)...)
		})
	}
}

// A home that cannot vouch yet for what it lacks says so, and exports nothing of it.
func TestExportOfAFreshHome(t *testing.T) {
	bubble(t, 2, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		time.Sleep(time.Minute)
		n := net.add(true)
		net.split(true, n.id)
		n.open()
		defer closing(t, n)
		time.Sleep(time.Minute)
		if _, err := n.store.Bucket(context.Background(), "b", BucketConfig{}); err != nil {
			t.Fatal(err)
		}
		slices := 0
		err := n.store.Export(context.Background(), func(s slice.Slice) (func(*slice.Record) error, error) {
			if slices++; !errors.Is(s.Err, ErrNotReady) {
				t.Errorf("%s/%d: %v", s.Bucket, s.Shard, s.Err)
			}
			return func(*slice.Record) error { return nil }, nil
		})
		if slices == 0 || err != nil {
			t.Errorf("%d slices, %v", slices, err)
		}
	})
}

// A record that does not read: its slice is not told to be whole, all others are.
func TestExportOfADamagedRecord(t *testing.T) {
	bubble(t, 1, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 50 {
			if _, err := buckets[0].Put(context.Background(), fmt.Sprint("k", i), []byte("v"), &PutOptions{Level: One, MinDurable: 1}); err != nil {
				t.Fatal(err)
			}
		}
		s := buckets[0].s
		at := s.homes.LocateKey(buckets[0].b.ID, "k7")
		if err := s.disk.Update(context.Background(), func(tx *storage.Tx) error { return tx.Set(at.Record, []byte{}) }); err != nil {
			t.Fatal(err)
		}
		whole, begun := 0, 0
		err := s.Export(context.Background(), func(sl slice.Slice) (func(*slice.Record) error, error) {
			begun++
			return func(r *slice.Record) error {
				if r == nil {
					whole++
				}
				return nil
			}, nil
		})
		if !errors.Is(err, ErrDamaged) || whole != begun-1 {
			t.Errorf("%d of %d are whole: %v", whole, begun, err)
		}
	})
}

// Records are not taken in while too few of their homes are in contact, and nothing is told to
// be brought.
func TestImportNeedsHomes(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		time.Sleep(time.Minute)
		all := exportAll(t, nodes...)
		other := newFakeNet(t)
		other.mesh = view.MeshID{2}
		var fresh []*fakeNode
		for range 3 {
			n := other.add(true)
			n.open()
			defer closing(t, n)
			fresh = append(fresh, n)
		}
		time.Sleep(time.Minute)
		take := func() (errs error) {
			for _, c := range all {
				got, err := fresh[0].store.Import(context.Background(), c.slice.Def, c.records)
				if err != nil && got.Brought > 0 && len(got.Refused) > 0 {
					t.Errorf("%+v beside %v", got, err)
				}
				errs = errors.Join(errs, err)
			}
			return errs
		}
		other.split(true, fresh[0].id)
		time.Sleep(time.Minute)
		if err := take(); err == nil {
			t.Error("taken in by one home of three")
		}
		other.heal()
		time.Sleep(time.Minute)
		// The others still answer questions, and take in nothing.
		other.lost = func(_, _ view.NodeID, method string, _ []byte) bool { return method == wire.MethodMerge }
		if err := take(); err == nil {
			t.Error("brought, though the others take nothing in")
		}
		// They take things in, and say nothing of what they hold.
		other.lost = func(_, _ view.NodeID, method string, _ []byte) bool { return method == wire.MethodRead }
		if err := take(); err == nil {
			t.Error("brought, though nobody has said what there is")
		}
		other.lost = nil
		if err := take(); err != nil {
			t.Error(err)
		}
		wantValue(t, openBucket(t, fresh[2].store, "b", BucketConfig{}), "k", "v")
	})
}

// A mesh is made anew under the same secret and name: it has forgotten all deletes, and does not
// take its own rounds for those of the backup. Terms of its former leaders bind nobody.
func TestImportIntoAMeshMadeAnew(t *testing.T) {
	soon := func(_ int, _ *fakeNode, c *Config) { c.PurgeEvery = 10 * time.Minute }
	bubbleOn(t, 3, BucketConfig{}, soon, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "other", "v")
		mustDelete(t, buckets[0], "other")
		time.Sleep(time.Hour) // a round
		if _, err := buckets[0].Put(context.Background(), "led", []byte("v"), &PutOptions{Token: token.Token{Term: 500, Node: 1}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		all := exportAll(t, nodes...)
		again := newFakeNet(t) // the same MeshID
		n := again.add(true)
		n.open()
		defer closing(t, n)
		time.Sleep(time.Minute)
		for _, c := range all {
			for i := range c.records {
				c.records[i].Whole = false
			}
		}
		shard := buckets[0].s.homes.LocateKey(buckets[0].b.ID, "other").Shard
		for i := range 200 { // one in the shard that has seen a round
			key := fmt.Sprint("k", i)
			if buckets[0].s.homes.LocateKey(buckets[0].b.ID, key).Shard == shard {
				mustPut(t, buckets[0], key, "v")
				break
			}
		}
		time.Sleep(time.Minute)
		doubted := 0
		for _, c := range exportAll(t, nodes...) {
			if c.slice.Shard != shard {
				continue
			}
			for i := range c.records {
				c.records[i].Whole = false
			}
			got, err := n.store.Import(context.Background(), c.slice.Def, c.records)
			if err != nil {
				t.Fatal(err)
			}
			doubted += len(got.Refused)
		}
		if doubted == 0 {
			t.Error("what nobody vouches for is taken in by a mesh that remembers nothing")
		}
		for _, c := range all {
			for i := range c.records {
				c.records[i].Whole, c.records[i].Origin = true, nil
			}
		}
		if _, refused := importAll(t, n.store, all); len(refused) > 0 {
			t.Errorf("refused %q", refused)
		}
		b := openBucket(t, n.store, "b", BucketConfig{})
		wantValue(t, b, "led", "v")
		if _, err := b.Put(context.Background(), "led", []byte("w"), &PutOptions{Token: token.Token{Term: 1, Node: 1}, Level: One, MinDurable: 1}); err != nil {
			t.Errorf("the first leader of the new mesh: %v", err)
		}
	})
}
