package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// bubbleUncompared is bubble with stores that compare only when the test has them
// compare: a comparison by the clock, which comes by chance, would be counted with
// the test's own.
func bubbleUncompared(t *testing.T, n int, cfg BucketConfig, fn func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket)) {
	t.Helper()
	bubbleOn(t, n, cfg, func(_ int, _ *fakeNode, c *Config) { never(c) }, fn)
}

// writeHere writes a value at one store only, without a word to the others.
func writeHere(t *testing.T, s *Store, bucket uint64, key, value string) {
	t.Helper()
	at, done := s.homes.LocateKey(bucket, key), make(chan error, 1)
	w := reconcile.Write{Value: []byte(value)}
	_, err := s.records.CommitWrite(s.records.WhenRoom(context.Background()), at, w, []replicate.Role{replicate.HomeRole}, keep.Terms{Nothing: true},
		func(_ keep.Written, err error) { done <- err })
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
}

// loseHere drops a record of one store, as if it had never come.
func loseHere(t *testing.T, s *Store, bucket uint64, key string) {
	t.Helper()
	ctx, at := context.Background(), s.homes.LocateKey(bucket, key)
	err := s.records.Update(ctx, "lose", func(tx keep.Tx) error {
		old, err := tx.Load(at)
		if err != nil {
			return err
		}
		return tx.Save(at, old, replicate.Record{}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// differing writes so many keys and makes one in every so many differ between
// the first two stores: they lack it, in turn, or know another version.
func differing(t *testing.T, nodes []*fakeNode, b *Bucket, keys, each int) (differ []string) {
	t.Helper()
	for i := range keys {
		mustPut(t, b, fmt.Sprintf("k%05d", i), "v")
	}
	time.Sleep(time.Minute) // all is where it belongs
	for i, n := range nodes[:2] {
		if err := n.store.compareWith(context.Background(), nodes[1-i].id); err != nil {
			t.Fatal(err)
		}
	}
	for i := each / 2; i < keys; i += each {
		key := fmt.Sprintf("k%05d", i)
		differ = append(differ, key)
		switch len(differ) % 4 {
		case 0:
			loseHere(t, nodes[0].store, b.b.ID, key)
		case 1:
			loseHere(t, nodes[1].store, b.b.ID, key)
		case 2:
			writeHere(t, nodes[0].store, b.b.ID, key, "newer here")
		default:
			writeHere(t, nodes[1].store, b.b.ID, key, "newer there")
		}
	}
	return differ
}

// wantEqual compares what two stores hold.
func wantEqual(t *testing.T, a, b *Store) {
	t.Helper()
	mine, theirs := dump(t, a), dump(t, b)
	for k, it := range mine {
		if !it.Equal(theirs[k]) {
			at, _ := layout.PlaceOf([]byte(k))
			t.Errorf("%q differs: %v and %v", at.Key, it, theirs[k])
		}
	}
	if len(mine) != len(theirs) {
		t.Errorf("%d and %d records", len(mine), len(theirs))
	}
}

// TestF1_23_ComparisonFollowsTheDifference: what is sent does not grow with what
// is there, records that are equal do not move, and both stores gain.
func TestF1_23_ComparisonFollowsTheDifference(t *testing.T) {
	bubbleUncompared(t, 2, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		differ := differing(t, nodes, buckets[0], 2000, 100)
		s := nodes[0].store
		moved := s.stats.moved.Load()
		net.watchCalls(nil)
		if err := s.compareWith(context.Background(), nodes[1].id); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, s, nodes[1].store)
		wantTrueDigests(t, s)
		if n := s.stats.moved.Load() - moved; n > uint64(2*len(differ)) {
			t.Errorf("%d records moved for %d that differ", n, len(differ))
		}
		lists, _ := net.counted(wire.MethodList)
		digests, _ := net.counted(wire.MethodDigest)
		_, sums := net.counted(wire.MethodSums)
		sketches, symbols := net.counted(wire.MethodSketch)
		if lists+digests > 0 || sketches == 0 {
			t.Errorf("%d lists of keys, %d of digests, %d sketches", lists, digests, sketches)
		}
		if each := (sums + symbols) / len(differ); each > 100 {
			t.Errorf("%d bytes for each of %d keys that differ", each, len(differ))
		}
	})
}

// TestRecordsThatChangeAfterTheSketch: what was found to differ is another record
// by the time it is fetched. It must come all the same. By chance it may come another
// way: three times it does not.
func TestRecordsThatChangeAfterTheSketch(t *testing.T) {
	for range 3 {
		recordsThatChange(t)
	}
}

func recordsThatChange(t *testing.T) {
	bubbleUncompared(t, 2, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		differ := differing(t, nodes, buckets[0], 500, 50)
		s, id := nodes[0].store, buckets[0].b.ID
		once := false
		net.watchCalls(func(method string) {
			if method == wire.MethodFetch && !once {
				once = true
				for _, key := range differ {
					writeHere(t, nodes[1].store, id, key, "changed since")
				}
			}
		})
		if err := s.compareWith(context.Background(), nodes[1].id); err != nil && !errors.Is(err, errUnlike) {
			t.Fatal(err)
		}
		if !once {
			t.Fatal("nothing was fetched")
		}
		for i, key := range differ {
			if i%4 == 0 {
				continue // only the peer lacked it: it was not fetched, and what was written since is on its way
			}
			rec, err := s.records.Load(context.Background(), s.homes.LocateKey(id, key))
			if err != nil || rec.Unknown() || !slices.ContainsFunc(rec.Sibs, func(v version.Sibling) bool { return string(v.Value) == "changed since" }) {
				t.Errorf("%q did not come: %v %v", key, rec.Item, err)
			}
		}
	})
}

// TestSymbolsOfOneState: records change at both stores while symbols are sent, and
// the difference is taken apart all the same.
func TestSymbolsOfOneState(t *testing.T) {
	bubbleUncompared(t, 2, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		differing(t, nodes, buckets[0], 2000, 8)
		sketches := 0
		net.watchCalls(func(method string) {
			if method != wire.MethodSketch {
				return
			}
			if sketches++; sketches > 1 {
				for i, n := range nodes {
					writeHere(t, n.store, buckets[0].b.ID, fmt.Sprintf("k%05d", 100*sketches+i), "meanwhile")
				}
			}
		})
		// What is written after the last state was taken comes with the next comparison.
		if err := nodes[0].store.compareWith(context.Background(), nodes[1].id); err != nil && !errors.Is(err, errUnlike) {
			t.Fatal(err)
		}
		if lists, _ := net.counted(wire.MethodList); lists > 0 || sketches < 2 {
			t.Errorf("%d lists of keys after %d sketches", lists, sketches)
		}
		net.watchCalls(nil)
		if err := nodes[0].store.compareWith(context.Background(), nodes[1].id); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, nodes[0].store, nodes[1].store)
	})
}

// TestWritesUnderWayAreNotScannedFor: while clients write, shards that differ only
// for the moment are not read.
func TestWritesUnderWayAreNotScannedFor(t *testing.T) {
	bubbleUncompared(t, 2, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		differ := differing(t, nodes, buckets[0], 400, 200)
		s, peer, id := nodes[0].store, nodes[1].store, buckets[0].b.ID
		lasting := make(map[int]bool)
		for _, key := range differ {
			lasting[s.homes.LocateKey(id, key).Shard] = true
		}
		var passing []string // in other shards
		for i := 0; len(passing) < 5; i++ {
			if key := fmt.Sprint("new", i); !lasting[s.homes.LocateKey(id, key).Shard] {
				passing = append(passing, key)
				writeHere(t, s, id, key, "on its way")
			}
		}
		looks := 0
		net.watchCalls(func(method string) {
			if method != wire.MethodDigest {
				return
			}
			if looks++; looks == 1 { // what it shows was read before
				for _, key := range passing {
					loseHere(t, s, id, key)
				}
			}
		})
		s.gate.clients.pending.Add(1)
		err := s.compareWith(context.Background(), nodes[1].id)
		s.gate.clients.pending.Add(-1)
		if err != nil || looks != 3 { // the last one after the exchange
			t.Fatalf("digests were looked at %d times, %v", looks, err)
		}
		wantEqual(t, s, peer)
		for _, v := range peer.inventories.kept {
			for _, st := range v.stretches {
				if !lasting[st.at.Shard] {
					t.Errorf("shard %d was read", st.at.Shard)
				}
			}
		}
		if len(peer.inventories.kept) == 0 {
			t.Error("no sketch was made")
		}
	})
}

// TestEqualMarksHideNothing: shards that differ, and of which the bytes that stand for
// their digests are equal by chance, are found while clients write.
func TestEqualMarksHideNothing(t *testing.T) {
	bubbleUncompared(t, 2, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		differ := differing(t, nodes, buckets[0], 400, 200)
		s, peer, id := nodes[0].store, nodes[1].store, buckets[0].b.ID
		for _, key := range differ {
			at := []layout.Slice{s.homes.LocateKey(id, key).Slice}
			for i := 0; !bytes.Equal(s.records.HashBytes(at, 0), peer.records.HashBytes(at, 0)); i++ {
				writeHere(t, s, id, key, fmt.Sprint(i))
			}
		}
		s.gate.clients.pending.Add(1)
		err := s.compareWith(context.Background(), nodes[1].id)
		s.gate.clients.pending.Add(-1)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, s, peer)
	})
}

// TestSketchOfAStateThatIsGone: the comparison is begun anew.
func TestSketchOfAStateThatIsGone(t *testing.T) {
	bubbleUncompared(t, 2, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		differing(t, nodes, buckets[0], 300, 30)
		s, peer := nodes[0].store, nodes[1].store
		net.watchCalls(func(method string) {
			if method == wire.MethodFetch {
				peer.inventories.mu.Lock()
				peer.inventories.kept = nil
				peer.inventories.mu.Unlock()
			}
		})
		if err := s.compareWith(context.Background(), nodes[1].id); !errors.Is(err, errGone) {
			t.Fatalf("%v, want %v", err, errGone)
		}
		net.watchCalls(nil)
		if err := s.compareWith(context.Background(), nodes[1].id); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, s, peer)
		time.Sleep(2 * keptUnused)
		synctest.Wait()
		if n := len(peer.inventories.kept); n > 0 {
			t.Errorf("%d states are kept for nobody", n)
		}
	})
}

// TestF1_22_SketchIsOfWhatIsStored compares an inventory with storage, and finds
// each record by its fingerprint, also after others have come and gone.
func TestF1_22_SketchIsOfWhatIsStored(t *testing.T) {
	bubble(t, 1, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx, s, id := context.Background(), nodes[0].store, buckets[0].b.ID
		for i := range 1500 {
			mustPut(t, buckets[0], fmt.Sprint(i*i), "v")
		}
		at := []layout.Slice{{Bucket: id, Shard: 0}, {Bucket: id, Shard: 3}, {Bucket: id, Shard: 4}, {Bucket: id, Shard: 15}}
		v, err := s.takeStock(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		want := reconcile.NewSketch(50)
		keys := make(map[reconcile.Fingerprint]string)
		for k, it := range dump(t, s) {
			if p, _ := layout.PlaceOf([]byte(k)); slices.Contains(at, p.Slice) {
				f := s.records.ElementOf(p.Shard, []byte(p.Key), it).Fingerprint()
				want.Add(f)
				keys[f] = p.Key
			}
		}
		if !slices.Equal(v.makeSymbols(0, 20), want.Symbols()[:20]) || !slices.Equal(v.makeSymbols(20, 30), want.Symbols()[20:]) || len(v.prints) != len(keys) {
			t.Fatal("the sketch is not that of the records")
		}
		r := rand.New(rand.NewPCG(1, 22))
		changed := make(map[string]bool)
		for range 100 {
			key := fmt.Sprint(r.IntN(3000))
			changed[key] = true
			mustPut(t, buckets[0], key, "another version, or new")
		}
		for f, key := range keys {
			got, err := v.newFinder(s, []reconcile.Fingerprint{f}).findKeys(ctx, f)
			if err != nil || !slices.Contains(got, key) {
				t.Fatalf("%q was not found, but %v, %v", key, got, err)
			}
			for _, k := range got {
				if k != key && !changed[k] {
					t.Fatalf("%q was found for %q", k, key)
				}
			}
		}
		if got, err := v.newFinder(s, []reconcile.Fingerprint{1}).findKeys(ctx, 1); len(got) > 0 || err != nil {
			t.Errorf("%v has a fingerprint that nothing has, %v", got, err)
		}
	})
}

func TestKeptInventoriesAreBounded(t *testing.T) {
	var h inventories
	var all []*inventory
	now := time.Unix(0, 0)
	for i := range 2 * keptAtOnce {
		all = append(all, &inventory{name: uint64(i + 1)})
		h.addInventory(all[i], now)
	}
	if h.findByName(all[keptAtOnce-1].name, now) != nil || h.findByName(all[keptAtOnce].name, now) == nil || len(h.kept) != keptAtOnce {
		t.Fatalf("%d are kept", len(h.kept))
	}
	large := &inventory{name: 99, prints: make([]reconcile.Fingerprint, keptKeys)}
	h.addInventory(large, now)
	if len(h.kept) != keptAtOnce || h.findByName(99, now) == nil {
		t.Fatalf("%d are kept beside one as large as all may be together", len(h.kept))
	}
	h.addInventory(&inventory{name: 100, prints: make([]reconcile.Fingerprint, 1)}, now)
	if len(h.kept) != 1 || h.findByName(100, now) == nil {
		t.Fatalf("%d are kept: more keys than there is room for", len(h.kept))
	}
	if left := h.dropUnused(h.kept[0], now.Add(keptUnused/2)); left != keptUnused/2 || len(h.kept) != 1 {
		t.Errorf("dropped while in use: %v left", left)
	}
	if left := h.dropUnused(h.kept[0], now.Add(keptUnused)); left != 0 || len(h.kept) != 0 {
		t.Errorf("not dropped: %v left", left)
	}
}

// TestLaggingShardsAreLeftOut: a store that has to catch up with a purge in one
// shard gives nothing of that away, is made equal in all others, and claims no
// more than that.
func TestLaggingShardsAreLeftOut(t *testing.T) {
	for try := range 8 { // what differs may be found in another way, once in forty
		lags := try % 2
		bubbleUncompared(t, 3, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			// The third is a home of nothing, but may remember the purge.
			net.status(nodes[2].id, view.Leaving)
			net.split(false, nodes[2].id)
			ctx, id := context.Background(), buckets[0].b.ID
			differ := differing(t, nodes, buckets[0], 400, 10)
			s, late := nodes[0].store, nodes[lags].store
			lacking := s.homes.LocateKey(id, differ[3*lags]) // at the other one
			shard := lacking.Shard
			round := purge.Round{Counter: 9}
			setStamp(t, late, shard, purge.Stamp{Committed: round})
			// The other one took part, but does not remember it.
			err := nodes[1-lags].store.records.Update(ctx, "take part", func(tx keep.Tx) error {
				next := tx.Standing(shard)
				next.Stamp, next.From = purge.Stamp{Acked: round, Committed: round}, round
				return tx.Move(shard, next)
			})
			if err != nil {
				t.Fatal(err)
			}
			// What each had once may have been taken for all there is.
			b := s.buckets.FindByID(id)
			s.homes.NoteLoss(func(layout.Slice) bool { return true })
			if err := s.compareWith(ctx, nodes[1].id); !errors.Is(err, keep.ErrStale) {
				t.Fatalf("%v, want %v", err, keep.ErrStale)
			}
			s.homes.FollowBucket(b, func(int) bool { return false })
			for at := range s.shards {
				if b.ProvesAbsence(at) != (at != shard) {
					t.Errorf("lags at %d in shard %d: vouches for shard %d: %v", lags, shard, at, b.ProvesAbsence(at))
				}
			}
			for _, key := range differ {
				at := s.homes.LocateKey(id, key)
				mine, err := s.records.Load(ctx, at)
				theirs, err2 := nodes[1].store.records.Load(ctx, at)
				if err = errors.Join(err, err2); err != nil {
					t.Fatal(err)
				}
				if at.Shard != shard && !mine.Item.Equal(theirs.Item) {
					t.Errorf("%q differs: %v and %v", key, mine.Item, theirs.Item)
				}
			}
			if rec, err := nodes[1-lags].store.records.Load(ctx, lacking); err != nil || !rec.Unknown() {
				t.Errorf("%q was given away, %v", lacking.Key, err)
			}
		})
	}
}
