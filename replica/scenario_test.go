package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// dump returns the items of a running store by storage key.
func dump(t *testing.T, s *Store) map[string]version.Item {
	t.Helper()
	out := make(map[string]version.Item)
	lower, upper := wire.RecordRange()
	err := s.disk.Scan(context.Background(), lower, upper, func(k, v []byte) error {
		it, err := keep.ItemOf(slices.Clone(v))
		if err != nil {
			return err
		}
		out[string(k)] = it
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantEqualHomes fails unless every key is on all its homes, and equal there,
// and no hint is left.
func wantEqualHomes(t *testing.T, stores ...*Store) {
	t.Helper()
	all := make(map[string]bool)
	dumps := make(map[view.NodeID]map[string]version.Item)
	byID := make(map[view.NodeID]*Store)
	for _, s := range stores {
		byID[s.id] = s
		dumps[s.id] = dump(t, s)
		for k := range dumps[s.id] {
			all[k] = true
		}
		if left, err := s.records.ListHintTargets(context.Background()); err != nil || len(left) > 0 {
			t.Errorf("%v keeps hints for %v, %v", s.id, left, err)
		}
	}
	for k := range all {
		at, _ := layout.PlaceOf([]byte(k))
		s := stores[0]
		b := s.buckets.FindByID(at.Bucket)
		if b == nil {
			t.Fatalf("bucket %x unknown at %v", at.Bucket, s.id)
		}
		rt := s.homes.Now().RouteOf(b, at.Shard)
		var first *version.Item
		for _, id := range rt.Order[:rt.Homes] {
			if byID[id] == nil {
				continue
			}
			it, ok := dumps[id][k]
			if !ok {
				t.Errorf("home %v lacks %q", id, at.Key)
			} else if first == nil {
				first = &it
			} else if !first.Equal(it) {
				t.Errorf("homes differ on %q: %v and %v", at.Key, *first, it)
			}
		}
	}
	for _, s := range stores {
		wantTrueDigests(t, s)
	}
}

// wantTrueDigests compares every digest in memory with what storage holds.
func wantTrueDigests(t *testing.T, s *Store) {
	t.Helper()
	want := make(map[layout.Slice]reconcile.Digest)
	for k, it := range dump(t, s) {
		at, _ := layout.PlaceOf([]byte(k))
		d := want[at.Slice]
		d.Add(s.records.ElementOf(at.Shard, []byte(at.Key), it))
		want[at.Slice] = d
	}
	built := 0
	for _, b := range s.buckets.ListAll() {
		for shard := range s.homes.ShardsOf(b) {
			at := layout.Slice{Bucket: b.ID, Shard: shard}
			total, _, ok := s.records.BuiltDigest(at)
			if !ok {
				continue
			}
			built++
			if total != want[at] {
				t.Errorf("%v: digest of %v is %v, storage says %v", s.id, at, total, want[at])
			}
		}
	}
	if built == 0 {
		t.Errorf("%v has built no digest", s.id)
	}
}

func stores(nodes []*fakeNode) (out []*Store) {
	for _, n := range nodes {
		if !n.isDown() {
			out = append(out, n.store)
		}
	}
	return out
}

func TestKilledNodeGetsWhatItMissed(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 40 {
			mustPut(t, buckets[i%5], fmt.Sprintf("k%d", i), "before")
		}
		nodes[4].kill()
		hinted := 0
		for i := range 40 {
			r := mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "after")
			hinted += r.Hinted
		}
		if hinted == 0 {
			t.Error("no write was kept for the dead home")
		}
		time.Sleep(time.Minute)
		for i := range 40 {
			wantValue(t, buckets[i%4], fmt.Sprintf("k%d", i), "after")
		}
		s := nodes[4].restart()
		b := openBucket(t, s, "b", BucketConfig{})
		time.Sleep(20 * time.Second)
		for i := range 40 {
			wantValue(t, b, fmt.Sprintf("k%d", i), "after")
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

func TestHintsAloneBringARestartedHomeUpToDate(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		nodes[4].kill()
		for i := range 40 {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		var delivered uint64
		nodes[4].restart()
		time.Sleep(20 * time.Second)
		for _, n := range nodes {
			delivered += n.store.carrier.Delivered()
		}
		if delivered == 0 {
			t.Error("no hint was delivered")
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// The homes were only silent: nothing in the view changes when they answer
// again, and a store that is no home compares with nobody.
func TestHintsOfAStrangerNeedNoWake(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		key, stranger := "", 0
		for i := 0; key == ""; i++ {
			k := fmt.Sprintf("k%d", i)
			for n := range nodes {
				if !slices.Contains(buckets[0].Homes(k), nodes[n].id) {
					key, stranger = k, n
				}
			}
		}
		net.split(false, nodes[stranger].id)
		r, err := buckets[stranger].Put(context.Background(), key, []byte("v"), &PutOptions{Level: One, MinDurable: 1})
		if err != nil || r.Homes != 0 {
			t.Fatalf("put of a stranger that is cut off: %+v, %v", r, err)
		}
		time.Sleep(20 * time.Second)
		net.heal()
		time.Sleep(20 * time.Second)
		st, err := nodes[stranger].store.Status(context.Background())
		if err != nil || st.Hints != 0 || st.Delivered == 0 {
			t.Errorf("20 s after the homes answer again: %+v, %v", st, err)
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

func TestSilentHomeCountsAsDeadAfterTheAckTimeout(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		net.split(false, nodes[4].id) // nobody is told
		var slow time.Duration
		for i := range 60 {
			start := time.Now()
			r, err := buckets[i%4].Put(context.Background(), fmt.Sprintf("k%d", i), []byte("v"), &PutOptions{Level: Sloppy(3), MinDurable: 3})
			if err != nil || r.Durable < 3 {
				t.Fatalf("%+v %v", r, err)
			}
			slow = max(slow, time.Since(start))
		}
		if slow < 400*time.Millisecond || slow > 1600*time.Millisecond {
			t.Errorf("slowest write took %v", slow)
		}
		net.heal()
		time.Sleep(30 * time.Second)
		wantEqualHomes(t, stores(nodes)...)
	})
}

func TestBothSidesOfACutWriteAndBecomeOne(t *testing.T) {
	for _, policy := range []Policy{LastWriterWins, Siblings} {
		bubble(t, 5, BucketConfig{Policy: policy}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			ctx := context.Background()
			for i := range 30 {
				mustPut(t, buckets[0], fmt.Sprintf("k%d", i), "base")
			}
			net.split(true, nodes[3].id, nodes[4].id)
			for i := range 30 {
				key := fmt.Sprintf("k%d", i)
				if _, err := buckets[0].Put(ctx, key, []byte("left"), nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
				if _, err := buckets[3].Put(ctx, key, []byte("right"), nil); err != nil {
					t.Fatal(err)
				}
			}
			net.heal()
			time.Sleep(time.Minute)
			wantEqualHomes(t, stores(nodes)...)
			for i := range 30 {
				for _, b := range buckets {
					it, err := b.Get(ctx, fmt.Sprintf("k%d", i), nil)
					if err != nil {
						t.Fatal(err)
					}
					if v, _ := it.Value(); string(v) != "right" {
						t.Fatalf("k%d is %q, the later write was right", i, v)
					}
					sib := it.Siblings()
					if len(sib) != 2 {
						t.Fatalf("k%d has %d siblings, want left and right", i, len(sib))
					}
				}
			}
			it, err := buckets[1].Get(ctx, "k3", nil)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := buckets[2].Put(ctx, "k3", []byte("merged"), &PutOptions{Context: it.Context}); err != nil || len(r.Covered) != 2 {
				t.Fatalf("%+v %v", r, err)
			}
			wantValue(t, buckets[4], "k3", "merged")
		})
	}
}

// sessionOf is the session of a store's births.
func sessionOf(t *testing.T, s *Store) (session uint64) {
	t.Helper()
	err := s.records.Update(context.Background(), "look", func(tx keep.Tx) error {
		session = tx.Writer().Session()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func TestRestartKeepsEverything(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 20 {
			mustPut(t, buckets[i%3], fmt.Sprintf("k%d", i), "v")
		}
		session := sessionOf(t, nodes[0].store)
		for _, n := range nodes {
			n.kill()
		}
		for _, n := range nodes {
			n.restart()
		}
		if got := sessionOf(t, nodes[0].store); got != session {
			t.Errorf("session changed without need: %x, %x", session, got)
		}
		time.Sleep(time.Second)
		for i, n := range nodes {
			buckets[i] = openBucket(t, n.store, "b", BucketConfig{})
		}
		for i := range 20 {
			wantValue(t, buckets[(i+1)%3], fmt.Sprintf("k%d", i), "v")
		}
		nodes[0].kill()
		nodes[0].restart(func(c *Config) { c.boot = "another boot of the machine" })
		if sessionOf(t, nodes[0].store) == session {
			t.Error("session went on although the machine was booted")
		}
	})
}

func TestDamagedRecordIsRepairedNotDeleted(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "read", "v")
		mustPut(t, buckets[0], "written", "v")
		mustPut(t, buckets[0], "compared", "v")
		time.Sleep(time.Second)
		damage := func(s *Store, key string) {
			at := s.homes.LocateKey(buckets[0].b.ID, key)
			if err := s.disk.Update(ctx, func(tx *storage.Tx) error { return tx.Set(at.Record, []byte{1, 0x93}) }); err != nil {
				t.Fatal(err)
			}
		}
		for i, n := range nodes {
			damage(n.store, "read")
			if i != 2 {
				damage(n.store, "written")
			}
			if i == 1 {
				damage(n.store, "compared")
			}
			if i == 0 {
				n.store.records.ForgetDigest(n.store.homes.LocateKey(buckets[0].b.ID, "compared").Slice)
			}
		}
		// Two of three damaged: the third still answers, for a read and as the
		// base of a blind write.
		it, err := buckets[0].Get(ctx, "written", nil)
		if v, ok := it.Value(); !ok || string(v) != "v" {
			t.Fatalf("one whole copy left: %q %v", v, err)
		}
		mustPut(t, buckets[1], "written", "w")
		wantValue(t, buckets[2], "written", "w")
		it, err = buckets[2].Get(ctx, "written", nil)
		if err != nil || len(it.Siblings()) != 1 {
			t.Fatalf("blind write on a damaged record left siblings: %q %v", it.Siblings(), err)
		}
		// All damaged: unknown, which is not deleted.
		if _, err := buckets[0].Get(ctx, "read", nil); !errors.Is(err, ErrNotFound) || !errors.Is(err, ErrDegraded) {
			t.Fatalf("all copies damaged: %v, want not found and degraded", err)
		}
		if _, err := buckets[1].Get(ctx, "compared", &GetOptions{Level: One}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		wantValue(t, buckets[1], "compared", "v")
		for _, n := range nodes {
			rec, err := n.store.records.Load(ctx, n.store.homes.LocateKey(buckets[0].b.ID, "compared"))
			if err != nil || rec.Unknown() {
				t.Errorf("%v did not repair its record: %v", n.id, err)
			}
		}
	})
}

func TestBucketConflict(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		if _, err := nodes[1].store.Bucket(ctx, "b", BucketConfig{Copies: 2}); !errors.Is(err, ErrBucketConflict) || !strings.Contains(err.Error(), "Copies is 2 here and 3 in the mesh") {
			t.Fatalf("second definition: %v", err)
		}
		net.split(true, nodes[2].id, nodes[3].id)
		left := openBucket(t, nodes[0].store, "new", BucketConfig{})
		right := openBucket(t, nodes[2].store, "new", BucketConfig{Policy: Siblings})
		same := openBucket(t, nodes[0].store, "same", BucketConfig{})
		openBucket(t, nodes[2].store, "same", BucketConfig{})
		if left.b.ID == right.b.ID {
			t.Fatal("different definitions share an id")
		}
		mustPut(t, left, "k", "left")
		mustPut(t, right, "k", "right")
		net.heal()
		time.Sleep(30 * time.Second)
		for _, c := range []struct {
			b    *Bucket
			want string
		}{{left, "left"}, {right, "right"}} {
			it, err := c.b.Get(ctx, "k", nil)
			if !errors.Is(err, ErrBucketConflict) {
				t.Errorf("get in conflict: %v", err)
			}
			if v, ok := it.Value(); !ok || string(v) != c.want {
				t.Errorf("data of %q not kept: %q", c.want, v)
			}
			if _, err := c.b.Put(ctx, "k", []byte("more"), nil); !errors.Is(err, ErrBucketConflict) {
				t.Errorf("put in conflict: %v", err)
			}
		}
		for i, cfg := range []BucketConfig{{}, {Policy: Siblings}} {
			if b, err := nodes[i].store.Bucket(ctx, "new", cfg); !errors.Is(err, ErrBucketConflict) || b == nil {
				t.Errorf("opening a side of the conflict: %v %v", b, err)
			}
		}
		if b, err := nodes[0].store.Bucket(ctx, "new", BucketConfig{Copies: 1}); !errors.Is(err, ErrBucketConflict) || b != nil {
			t.Errorf("opening a third definition: %v %v", b, err)
		}
		mustPut(t, same, "k", "v") // the same definition twice is no conflict
	})
}

func TestDegradedWriteIsKeptAndSaid(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		net.split(true, nodes[0].id)
		r, err := buckets[0].Put(context.Background(), "k", []byte("alone"), nil)
		if !errors.Is(err, ErrDegraded) || r.Durable != 1 || r.Context.IsZero() {
			t.Fatalf("alone: %+v %v", r, err)
		}
		it, err := buckets[0].Get(context.Background(), "k", nil)
		if v, ok := it.Value(); !ok || string(v) != "alone" || !errors.Is(err, ErrDegraded) {
			t.Fatalf("alone: %q %v", v, err)
		}
		net.heal()
		time.Sleep(30 * time.Second)
		wantValue(t, buckets[2], "k", "alone")
		wantEqualHomes(t, stores(nodes)...)
	})
}

func TestNodeThatStoresNothing(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		camera := net.add(false)
		s := camera.open()
		defer camera.views.Close()
		defer s.Close()
		b := openBucket(t, s, "b", BucketConfig{})
		mine := openBucket(t, s, "camera's own", BucketConfig{Copies: 2})
		for i := range 20 {
			mustPut(t, b, fmt.Sprintf("k%d", i), "v")
			mustPut(t, mine, fmt.Sprintf("k%d", i), "v")
		}
		wantValue(t, b, "k3", "v")
		wantValue(t, mine, "k3", "v")
		wantNotFound(t, b, "never")
		nodes[0].kill()
		for i := range 20 {
			mustPut(t, b, fmt.Sprintf("k%d", i), "w")
			wantValue(t, b, fmt.Sprintf("k%d", i), "w")
		}
		net.split(true, camera.id)
		if r, err := b.Put(context.Background(), "k", nil, nil); !errors.Is(err, ErrDegraded) || !r.Queued {
			t.Errorf("put cut off: %+v, %v", r, err)
		}
		if _, err := b.Get(context.Background(), "k1", nil); !errors.Is(err, ErrUnavailable) {
			t.Errorf("get cut off: %v", err)
		}
	})
}

func TestJoinFillsTheNewHome(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 60 {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		n := net.add(true)
		s := n.open()
		defer n.views.Close()
		defer s.Close()
		time.Sleep(time.Minute)
		got := len(dump(t, s))
		if got < 10 {
			t.Errorf("the new home got %d records", got)
		}
		b := openBucket(t, s, "b", BucketConfig{})
		for i := range 60 {
			wantValue(t, b, fmt.Sprintf("k%d", i), "v")
		}
		wantNotFound(t, b, "never")
		wantEqualHomes(t, append(stores(nodes), s)...)
	})
}

func TestLeaveHandsEverythingOver(t *testing.T) {
	bubble(t, 5, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		for i := range 100 {
			mustPut(t, buckets[i%5], fmt.Sprintf("k%d", i), "v")
		}
		held := len(dump(t, nodes[2].store))
		if held < 10 {
			t.Fatalf("only %d records to hand over", held)
		}
		net.status(nodes[2].id, view.Leaving)
		for _, h := range nodes[2].leave {
			if err := h(ctx); err != nil {
				t.Fatal(err)
			}
		}
		net.status(nodes[2].id, view.Left)
		nodes[2].kill()
		time.Sleep(time.Minute)
		for i := range 100 {
			wantValue(t, buckets[(i%2)*3], fmt.Sprintf("k%d", i), "v")
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// Others may not have heard yet that a store is leaving when it has handed
// over all it had: what they send it from then on would go with it.
func TestWritesDuringALeaveAreKept(t *testing.T) {
	bubble(t, 5, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		for i := range 50 {
			mustPut(t, buckets[i%5], fmt.Sprintf("k%d", i), "v")
		}
		var mu sync.Mutex
		var acked []string
		var stop atomic.Bool
		var writers sync.WaitGroup
		for w := range nodes {
			writers.Go(func() {
				for n := 0; !stop.Load(); n++ {
					key := fmt.Sprintf("w%d-%d", w, n)
					if _, err := buckets[w].Put(ctx, key, []byte("v"), &PutOptions{Level: One}); err == nil {
						mu.Lock()
						acked = append(acked, key)
						mu.Unlock()
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		time.Sleep(time.Second)
		time.AfterFunc(3*time.Second, func() { net.status(nodes[2].id, view.Leaving) })
		begun := time.Now()
		for _, h := range nodes[2].leave { // nobody is told yet
			if err := h(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(begun) < 3*time.Second {
			t.Error("left before the others knew: they may hand over to it what it hands to them")
		}
		time.Sleep(time.Second)
		net.status(nodes[2].id, view.Left)
		nodes[2].kill()
		stop.Store(true)
		writers.Wait()
		time.Sleep(time.Minute)
		if len(acked) < 500 {
			t.Errorf("only %d writes were acknowledged", len(acked))
		}
		for _, key := range acked {
			wantValue(t, buckets[3], key, "v")
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

func TestWrongClocks(t *testing.T) {
	for name, year := range map[string]int{"1970": 1970, "2106": 2106} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				ctx := context.Background()
				if _, err := buckets[0].Put(ctx, "ttl", []byte("v"), &PutOptions{TTL: time.Hour}); err != nil {
					t.Fatal(err)
				}
				off := time.Until(time.Date(year, 1, 1, 0, 0, 30, 0, time.UTC))
				nodes[2].clock.SetSkew(off)
				// Whoever coordinates, whichever clock dates a write: a write
				// that has seen another replaces it.
				for i := range 60 {
					key := fmt.Sprintf("k%d", i%20)
					mustPut(t, buckets[i%3], key, fmt.Sprint(i))
					wantValue(t, buckets[(i+1)%3], key, fmt.Sprint(i))
				}
				wantValue(t, buckets[0], "ttl", "v")
				time.Sleep(time.Minute)
				wantEqualHomes(t, stores(nodes)...)
				nodes[2].clock.SetSkew(0)
				for i := range 20 {
					key := fmt.Sprintf("k%d", i)
					mustPut(t, buckets[0], key, "right clock")
					wantValue(t, buckets[2], key, "right clock")
				}
				// The right clocks were not dragged along.
				if now := dump(t, nodes[0].store); year == 2106 {
					mustPut(t, buckets[0], "fresh", "v")
					for k, it := range dump(t, nodes[0].store) {
						if _, old := now[k]; !old && it.HLC.Millis() > time.Now().Add(time.Hour).UnixMilli() {
							t.Errorf("a new key is dated %v", time.UnixMilli(it.HLC.Millis()))
						}
					}
				}
			})
		})
	}
}
