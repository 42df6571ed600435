package comparing

import (
	"bytes"
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
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// TestF1_23_ComparisonFollowsTheDifference: what is sent does not grow with what
// is there, records that are equal do not move, and both stores gain.
func TestF1_23_ComparisonFollowsTheDifference(t *testing.T) {
	withPair(t, func(t *testing.T, p *pair) {
		differ := p.differing(2000, 100)
		s := p.stores[0]
		moved := s.Moved()
		p.watchCalls(nil)
		if err := p.compare(); err != nil {
			t.Fatal(err)
		}
		p.wantEqual()
		if n := s.Moved() - moved; n > uint64(2*len(differ)) {
			t.Errorf("%d records moved for %d that differ", n, len(differ))
		}
		lists, _ := p.counted(wire.MethodList)
		digests, _ := p.counted(wire.MethodDigest)
		_, sums := p.counted(wire.MethodSums)
		sketches, symbols := p.counted(wire.MethodSketch)
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
	withPair(t, func(t *testing.T, p *pair) {
		differ := p.differing(500, 50)
		s := p.stores[0]
		once := false
		p.watchCalls(func(method string) {
			if method == wire.MethodFetch && !once {
				once = true
				for _, key := range differ {
					p.write(p.stores[1], key, "changed since")
				}
			}
		})
		if err := p.compare(); err != nil && !errors.Is(err, errUnlike) {
			t.Fatal(err)
		}
		if !once {
			t.Fatal("nothing was fetched")
		}
		for i, key := range differ {
			if i%4 == 0 {
				continue // only the peer lacked it: it was not fetched, and what was written since is on its way
			}
			rec, err := s.records.Load(t.Context(), p.at(key))
			if err != nil || rec.Unknown() || !slices.ContainsFunc(rec.Sibs, func(v version.Sibling) bool { return string(v.Value) == "changed since" }) {
				t.Errorf("%q did not come: %v %v", key, rec.Item, err)
			}
		}
	})
}

// TestSymbolsOfOneState: records change at both stores while symbols are sent, and
// the difference is taken apart all the same.
func TestSymbolsOfOneState(t *testing.T) {
	withPair(t, func(t *testing.T, p *pair) {
		p.differing(2000, 8)
		sketches := 0
		p.watchCalls(func(method string) {
			if method != wire.MethodSketch {
				return
			}
			if sketches++; sketches > 1 {
				for i, n := range p.stores {
					p.write(n, fmt.Sprintf("k%05d", 100*sketches+i), "meanwhile")
				}
			}
		})
		// What is written after the last state was taken comes with the next comparison.
		if err := p.compare(); err != nil && !errors.Is(err, errUnlike) {
			t.Fatal(err)
		}
		if lists, _ := p.counted(wire.MethodList); lists > 0 || sketches < 2 {
			t.Errorf("%d lists of keys after %d sketches", lists, sketches)
		}
		p.watchCalls(nil)
		if err := p.compare(); err != nil {
			t.Fatal(err)
		}
		p.wantEqual()
	})
}

// TestWritesUnderWayAreNotScannedFor: while clients write, shards that differ only
// for the moment are not read.
func TestWritesUnderWayAreNotScannedFor(t *testing.T) {
	withPair(t, func(t *testing.T, p *pair) {
		differ := p.differing(400, 200)
		s, peer := p.stores[0], p.stores[1]
		lasting := make(map[int]bool)
		for _, key := range differ {
			lasting[p.at(key).Shard] = true
		}
		var passing []string // in other shards
		for i := 0; len(passing) < 5; i++ {
			if key := fmt.Sprint("new", i); !lasting[p.at(key).Shard] {
				passing = append(passing, key)
				p.write(s, key, "on its way")
			}
		}
		looks := 0
		p.watchCalls(func(method string) {
			if method != wire.MethodDigest {
				return
			}
			if looks++; looks == 1 { // what it shows was read before
				for _, key := range passing {
					p.lose(s, key)
				}
			}
		})
		s.writing.Store(true)
		err := p.compare()
		s.writing.Store(false)
		if err != nil || looks != 3 { // the last one after the exchange
			t.Fatalf("digests were looked at %d times, %v", looks, err)
		}
		p.wantEqual()
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
	withPair(t, func(t *testing.T, p *pair) {
		differ := p.differing(400, 200)
		s, peer := p.stores[0], p.stores[1]
		for _, key := range differ {
			at := []layout.Slice{p.at(key).Slice}
			for i := 0; !bytes.Equal(s.records.HashBytes(at, 0), peer.records.HashBytes(at, 0)); i++ {
				p.write(s, key, fmt.Sprint(i))
			}
		}
		s.writing.Store(true)
		err := p.compare()
		s.writing.Store(false)
		if err != nil {
			t.Fatal(err)
		}
		p.wantEqual()
	})
}

// TestSketchOfAStateThatIsGone: the comparison is begun anew.
func TestSketchOfAStateThatIsGone(t *testing.T) {
	withPair(t, func(t *testing.T, p *pair) {
		p.differing(300, 30)
		peer := p.stores[1]
		p.watchCalls(func(method string) {
			if method == wire.MethodFetch {
				peer.inventories.mu.Lock()
				peer.inventories.kept = nil
				peer.inventories.mu.Unlock()
			}
		})
		if err := p.compare(); !errors.Is(err, errGone) {
			t.Fatalf("%v, want %v", err, errGone)
		}
		p.watchCalls(nil)
		if err := p.compare(); err != nil {
			t.Fatal(err)
		}
		p.wantEqual()
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
	withPair(t, func(t *testing.T, p *pair) {
		ctx, s, id := t.Context(), p.stores[0], p.b.ID
		for i := range 1500 {
			p.write(s, fmt.Sprint(i*i), "v")
		}
		at := []layout.Slice{{Bucket: id, Shard: 0}, {Bucket: id, Shard: 3}, {Bucket: id, Shard: 4}, {Bucket: id, Shard: 15}}
		v, err := s.takeStock(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		want := reconcile.NewSketch(50)
		keys := make(map[reconcile.Fingerprint]string)
		for k, it := range p.dump(s) {
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
			p.write(s, key, "another version, or new")
		}
		for f, key := range keys {
			got, err := v.newFinder(s.Comparer, []reconcile.Fingerprint{f}).findKeys(ctx, f)
			if err != nil || !slices.Contains(got, key) {
				t.Fatalf("%q was not found, but %v, %v", key, got, err)
			}
			for _, k := range got {
				if k != key && !changed[k] {
					t.Fatalf("%q was found for %q", k, key)
				}
			}
		}
		if got, err := v.newFinder(s.Comparer, []reconcile.Fingerprint{1}).findKeys(ctx, 1); len(got) > 0 || err != nil {
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
		withPair(t, func(t *testing.T, p *pair) {
			ctx := t.Context()
			differ := p.differing(400, 10)
			p.addAway() // it is a home of nothing, but may remember the purge
			s, late := p.stores[0], p.stores[lags]
			lacking := p.at(differ[3*lags]) // at the other one
			shard := lacking.Shard
			round := purge.Round{Counter: 9}
			p.moveTo(late, shard, purge.Stamp{Committed: round}, purge.Round{})
			// The other one took part, but does not remember it.
			p.moveTo(p.stores[1-lags], shard, purge.Stamp{Acked: round, Committed: round}, round)
			// What each had once may have been taken for all there is.
			b := s.homes.Buckets.FindByID(p.b.ID)
			s.homes.NoteLoss(func(layout.Slice) bool { return true })
			if err := p.compare(); !errors.Is(err, keep.ErrStale) {
				t.Fatalf("%v, want %v", err, keep.ErrStale)
			}
			s.homes.FollowBucket(b, func(int) bool { return false })
			for at := range shards {
				if b.ProvesAbsence(at) != (at != shard) {
					t.Errorf("lags at %d in shard %d: vouches for shard %d: %v", lags, shard, at, b.ProvesAbsence(at))
				}
			}
			for _, key := range differ {
				at := p.at(key)
				mine, err := s.records.Load(ctx, at)
				theirs, err2 := p.stores[1].records.Load(ctx, at)
				if err = errors.Join(err, err2); err != nil {
					t.Fatal(err)
				}
				if at.Shard != shard && !mine.Item.Equal(theirs.Item) {
					t.Errorf("%q differs: %v and %v", key, mine.Item, theirs.Item)
				}
			}
			if rec, err := p.stores[1-lags].records.Load(ctx, lacking); err != nil || !rec.Unknown() {
				t.Errorf("%q was given away, %v", lacking.Key, err)
			}
		})
	}
}
