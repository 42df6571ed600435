package comparing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
)

const (
	stretchKeys  = 32      // keys that are read to find one
	keptAtOnce   = 4       // inventories for peers
	keptKeys     = 2 << 20 // keys in all of them, 8 bytes each
	keptUnused   = time.Minute
	maxInventory = 4 << 20 // keys in one
)

// inventory is what a store has of some slices of one bucket, at one moment: the
// fingerprints of all records in the order of storage, from which symbols are
// made, and where to look for the record of each.
type inventory struct {
	name   uint64
	prints []reconcile.Fingerprint
	// stretches are the keys' places: a record is looked for in one of them.
	stretches []stretch

	mu     sync.Mutex
	sketch *reconcile.Sketch
	used   time.Time
}

// stretch is a part of a slice: from its key on up to the next stretch's, or to
// the end of the slice.
type stretch struct {
	at    layout.Slice
	from  []byte // storage key
	first int    // place of its first fingerprint
}

// takeStock reads all records of slices, which are in rising order. Damaged
// records are not there.
func (c *Comparer) takeStock(ctx context.Context, at []layout.Slice) (*inventory, error) {
	if err := c.records.AwaitTurn(ctx); err != nil {
		return nil, err
	}
	defer c.records.EndTurn()
	v := &inventory{name: rand.Uint64() | 1}
	for _, a := range at {
		lower := wire.RecordPrefix(a.Shard, a.Bucket, 0)
		n := 0
		v.stretches = append(v.stretches, stretch{a, lower, len(v.prints)})
		err := c.disk.Scan(ctx, lower, wire.After(lower), func(k, value []byte) error {
			it, err := keep.ItemOf(value)
			if err != nil {
				return nil
			}
			if len(v.prints) == maxInventory {
				return errInventory
			}
			if n++; n > stretchKeys {
				n = 1
				v.stretches = append(v.stretches, stretch{a, slices.Clone(k), len(v.prints)})
			}
			_, _, key, _ := wire.ParseRecordKey(k)
			v.prints = append(v.prints, c.records.ElementOf(a.Shard, []byte(key), it).Fingerprint())
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("replica: read shard %d for a sketch: %w", a.Shard, err)
		}
	}
	return v, nil
}

// appendRecords puts another inventory's records in. No symbols may have been made.
func (v *inventory) appendRecords(w *inventory) {
	for _, t := range w.stretches {
		t.first += len(v.prints)
		v.stretches = append(v.stretches, t)
	}
	v.prints = append(v.prints, w.prints...)
}

// errInventory: there is more than may be kept in memory at once.
var errInventory = errors.New("replica: too many keys for one sketch")

// makeSymbols returns count symbols from from on, or as many of them as are of use:
// beyond that the keys themselves take no more room. The sketch is made longer
// than it was asked for: that costs next to nothing while it is made.
func (v *inventory) makeSymbols(from, count int) []reconcile.Symbol {
	v.mu.Lock()
	defer v.mu.Unlock()
	most := len(v.prints) + 1<<12
	end := min(from+count, most)
	if end <= from {
		return nil
	}
	if v.sketch == nil || len(v.sketch.Symbols()) < end {
		v.sketch = reconcile.NewSketch(min(2*end, most))
		for _, f := range v.prints {
			v.sketch.Add(f)
		}
	}
	return slices.Clone(v.sketch.Symbols()[from:end])
}

// finder finds the keys of fingerprints, reading one stretch of records for each.
type finder struct {
	c      *Comparer
	v      *inventory
	places map[reconcile.Fingerprint]int
	read   map[int]bool // stretches
}

func (v *inventory) newFinder(c *Comparer, prints []reconcile.Fingerprint) *finder {
	f := &finder{c, v, make(map[reconcile.Fingerprint]int, len(prints)), make(map[int]bool)}
	for _, p := range prints {
		f.places[p] = -1
	}
	for i, p := range v.prints {
		if _, ok := f.places[p]; ok {
			f.places[p] = i
		}
	}
	return f
}

// findKeys returns the keys that a fingerprint's stretch holds of those looked for,
// and of records that have changed since the inventory was made: one of these may
// be the one. Each stretch is looked at once.
func (f *finder) findKeys(ctx context.Context, p reconcile.Fingerprint) (out []string, err error) {
	place, asked := f.places[p]
	if !asked || place < 0 {
		return nil, nil
	}
	v := f.v
	n := sort.Search(len(v.stretches), func(i int) bool { return v.stretches[i].first > place }) - 1
	if f.read[n] {
		return nil, nil
	}
	f.read[n] = true
	here := v.stretches[n]
	end, upper := len(v.prints), wire.After(wire.RecordPrefix(here.at.Shard, here.at.Bucket, 0))
	if n+1 < len(v.stretches) {
		next := v.stretches[n+1]
		if end = next.first; next.at == here.at {
			upper = next.from
		}
	}
	known := v.prints[here.first:end]
	err = f.c.disk.Scan(ctx, here.from, upper, func(k, value []byte) error {
		it, err := keep.ItemOf(value)
		if err != nil {
			return nil
		}
		_, _, key, _ := wire.ParseRecordKey(k)
		now := f.c.records.ElementOf(here.at.Shard, []byte(key), it).Fingerprint()
		if _, wanted := f.places[now]; wanted || !slices.Contains(known, now) {
			out = append(out, key)
		}
		return nil
	})
	return out, err
}

// inventories are those that peers ask for symbols of.
type inventories struct {
	mu   sync.Mutex
	kept []*inventory // the one used last is the last
}

// findByName returns the inventory of a name, nil if it is gone.
func (h *inventories) findByName(name uint64, now time.Time) *inventory {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.kept, func(v *inventory) bool { return v.name == name })
	if i < 0 {
		return nil
	}
	v := h.kept[i]
	h.kept = append(slices.Delete(h.kept, i, i+1), v)
	v.used = now
	return v
}

// addInventory keeps an inventory, and as many of those before it as there is room for.
func (h *inventories) addInventory(v *inventory, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v.used = now
	h.kept = append(h.kept, v)
	keys := 0
	for i := len(h.kept) - 1; i >= 0; i-- {
		if keys += len(h.kept[i].prints); i < len(h.kept)-1 && (keys > keptKeys || len(h.kept)-i > keptAtOnce) {
			h.kept = slices.Delete(h.kept, 0, i+1)
			return
		}
	}
}

// dropUnused lets go of an inventory that was not used lately; else it returns how
// long to wait.
func (h *inventories) dropUnused(v *inventory, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.kept, v)
	if i < 0 {
		return 0
	}
	left := keptUnused - now.Sub(v.used)
	if left <= 0 {
		h.kept = slices.Delete(h.kept, i, i+1)
	}
	return max(left, 0)
}

// keepInventory keeps an inventory until it is not used any more.
func (c *Comparer) keepInventory(v *inventory) {
	c.inventories.addInventory(v, time.Now())
	c.opts.Group.Go(func(ctx context.Context) {
		wait := time.NewTimer(keptUnused)
		defer wait.Stop()
		for {
			select {
			case <-wait.C:
			case <-ctx.Done():
				return
			}
			left := c.inventories.dropUnused(v, time.Now())
			if left == 0 {
				return
			}
			wait.Reset(left)
		}
	})
}
