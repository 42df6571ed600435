package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// MaxOffer is how many bytes of one record can be sent at all.
	MaxOffer = 34 << 20

	transferBytes = 1 << 20          // of records in one call in the background, one record at least
	transferWait  = 10 * time.Second // for the answer to such a call, on top of
	slowestLink   = 8 << 10          // the time that so many bytes a second take

	// Between attempts to deliver, growing from the first to the last. A node
	// that comes back is in the mesh a moment before its store is open.
	firstHintRetry = 200 * time.Millisecond
	lastHintRetry  = 5 * time.Second
	lagHintRetry   = 30 * time.Second // while there is a purge to catch up with, or the disk is full

	// Before hints of a write that is still under way are looked at, in ack
	// timeouts: the write itself takes most of them away.
	hintGrace = 2
)

// Hints delivers what this store keeps for others. All methods may be used concurrently.
type Hints struct {
	c       *Carrier
	kick    notify.Bell
	added   notify.Bell
	lagging atomic.Bool // some were left out because this store has to catch up with a purge first

	mu   sync.Mutex
	owed replicate.Doubts // whom what is kept here has not reached since they came, or were silent
}

func newHints(c *Carrier) *Hints {
	return &Hints{c: c, kick: notify.NewBell(), added: notify.NewBell()}
}

// WakeDelivery has the hints looked through at once.
func (h *Hints) WakeDelivery() { h.kick.Ring() }

// ScheduleDelivery has them looked through when the writes under way have had their time.
// Every commit that adds a hint calls for it, or a hint whose target was there
// all the time, and only silent when it mattered, would have nothing to wake it.
func (h *Hints) ScheduleDelivery() { h.added.Ring() }

// MarkOwed notes that what is kept for these stores, in contact, did not reach them in time.
func (h *Hints) MarkOwed(targets ...view.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range targets {
		h.owed.Raise(id, h.c.opts.Uptime())
	}
}

// IsOwed tells whether what is kept for a store is more than writes under way. What is
// kept for one that is out of contact waits for it, what was for one that is gone
// belongs to the homes now.
func (h *Hints) IsOwed(lay *layout.Layout, target view.NodeID) bool {
	in, belongs := lay.InMesh[target]
	h.mu.Lock()
	defer h.mu.Unlock()
	return !belongs || in && h.owed.Has(target)
}

// KeepDelivering delivers what can be delivered until ctx ends.
func (h *Hints) KeepDelivering(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	wait := clock.Backoff{First: firstHintRetry, Last: lastHintRetry}
	armed := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.kick:
			wait.Reset()
		case <-h.added:
			if !armed {
				retry.Reset(hintGrace * h.c.opts.AckTimeout)
				armed = true
			}
			continue
		case <-retry.C:
		}
		left, err := h.deliverAll(ctx)
		if err != nil && ctx.Err() == nil {
			h.c.log.Debug("hints not delivered yet", "error", err)
		}
		behind := h.lagging.Swap(false)
		armed = left || behind
		switch {
		case errors.Is(err, keep.ErrStorageFull), errors.Is(err, storage.ErrCorrupt):
			retry.Reset(lagHintRetry) // what is delivered cannot be deleted here, or not be read
		case left:
			retry.Reset(wait.Next())
		case behind:
			retry.Reset(lagHintRetry)
		default:
			retry.Stop()
		}
	}
}

// deliverAll goes through the hints once. left is true if some remain that
// could be delivered now.
func (h *Hints) deliverAll(ctx context.Context) (left bool, err error) {
	h.mu.Lock()
	owed := h.owed.Events()
	h.mu.Unlock()
	targets, err := h.c.records.ListHintTargets(ctx)
	if err != nil {
		return true, err
	}
	var errs []error
	for _, target := range targets {
		in, known := h.c.homes.Now().InMesh[target]
		switch {
		case known && !in:
			delete(owed, target)
			continue // it will be back, and its return wakes us
		case known:
			_, err = h.deliverTo(ctx, target, false, h.toTarget)
		default:
			// What waits for homes that are down goes when those return, which
			// wakes us: to try over and over would be to send all of it each time.
			_, err = h.deliverTo(ctx, target, false, h.toHomes)
		}
		if err != nil {
			delete(owed, target)
			errs = append(errs, err)
		}
	}
	if !h.lagging.Load() {
		h.settleOwed(owed)
	}
	return len(errs) > 0, errors.Join(errs...)
}

// settleOwed notes that all that was kept for these stores has reached them.
func (h *Hints) settleOwed(events map[view.NodeID]uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, event := range events {
		h.owed.Settle(id, event)
	}
}

var errMovedOn = errors.New("records changed while they were delivered")

// deliverTo hands the records kept for target, page by page, to send, which
// returns those whose hints may go. rest tells that there were others. leaving is
// for a store that goes for good.
func (h *Hints) deliverTo(ctx context.Context, target view.NodeID, leaving bool, send func(context.Context, view.NodeID, []keep.Stamped) ([]keep.Settled, error)) (rest bool, err error) {
	lower, upper := wire.IndexRange(wire.IndexHint, target)
	var moved error
	for {
		page, stray, err := h.readPage(ctx, target, &lower, upper)
		if err != nil {
			return rest, err
		}
		if _, err := h.c.records.SettleHints(ctx, stray); err != nil && !errors.Is(err, keep.ErrStorageFull) {
			return rest, err
		}
		if len(page) == 0 && len(stray) == 0 {
			return rest, moved
		}
		gone, sendErr := send(ctx, target, page)
		n, err := h.c.records.SettleHints(ctx, gone)
		if leaving && errors.Is(err, keep.ErrStorageFull) {
			n, err = len(gone), nil // they go with the node
		}
		if err != nil {
			return rest, err
		}
		h.c.delivered.Add(uint64(n))
		if sendErr != nil {
			return rest, sendErr
		}
		if n < len(gone) {
			moved = errMovedOn
		}
		rest = rest || len(gone) < len(page)
	}
}

// readPage reads the next records that are kept for target, from lower on, which
// it moves. stray are entries of the index behind which there is nothing: the
// record was damaged, and then found to be purged.
func (h *Hints) readPage(ctx context.Context, target view.NodeID, lower *[]byte, upper []byte) (page []keep.Stamped, stray []keep.Settled, err error) {
	size := 0
	err = h.c.disk.Scan(ctx, *lower, upper, func(k, _ []byte) error {
		_, record, _ := wire.ParseIndexKey(k)
		*lower = append(append((*lower)[:0:0], k...), 0)
		at, ok := layout.PlaceOf(record)
		if !ok {
			return nil
		}
		stamp := h.c.records.SyncedStamp(at.Shard)
		if stamp.Lagging() {
			h.lagging.Store(true)
			return nil // some of it may have been purged
		}
		rec, err := h.c.records.Load(ctx, at)
		switch {
		case err != nil:
			return err
		case rec.Damaged:
			return nil // damaged: its repair brings it back
		case rec.Unknown():
			stray = append(stray, keep.Settled{At: at, Target: target})
		default:
			if one := (keep.Stamped{At: at, Rec: rec, Stamp: stamp}); !h.c.TooLarge(one) {
				page = append(page, one)
				size += len(rec.Raw)
			}
		}
		if len(page) == keep.PageKeys || len(stray) == keep.PageKeys || size >= h.c.Pace.PieceBytes() {
			return keep.ErrStop
		}
		return nil
	})
	if errors.Is(err, keep.ErrStop) {
		err = nil
	}
	return page, stray, err
}

// toTarget delivers to the store that the records are kept for.
func (h *Hints) toTarget(ctx context.Context, target view.NodeID, page []keep.Stamped) ([]keep.Settled, error) {
	if err := h.c.transferRecords(ctx, target, 0, page); err != nil {
		return nil, err
	}
	out := make([]keep.Settled, len(page))
	for i, k := range page {
		out[i] = keep.Settled{At: k.At, Target: target, Item: k.Rec.Item}
	}
	return out, nil
}

// toHomes delivers what was kept for a store that is gone for good to those
// that are homes now.
func (h *Hints) toHomes(ctx context.Context, target view.NodeID, page []keep.Stamped) ([]keep.Settled, error) {
	lay := h.c.homes.Now()
	live := func(id view.NodeID) bool { return lay.InMesh[id] }
	by := make(map[view.NodeID][]keep.Stamped)
	hint := make([]replicate.Hint, len(page))
	for i, k := range page {
		b := h.c.homes.Buckets.FindByID(k.At.Bucket)
		if b == nil {
			continue
		}
		rt := lay.RouteOf(b, k.At.Shard)
		hint[i] = replicate.Hint{Target: target, Homes: rt.Order[:rt.Homes]}
		for _, id := range hint[i].Deliver(h.c.id, live) {
			by[id] = append(by[id], k)
		}
	}
	acked := make(map[view.NodeID]bool)
	var errs []error
	for id, part := range by {
		err := h.c.transferRecords(ctx, id, 0, part)
		acked[id] = err == nil
		errs = append(errs, err)
	}
	var out []keep.Settled
	for i, k := range page {
		if hint[i].Target != 0 && hint[i].Done(h.c.id, live, func(id view.NodeID) bool { return acked[id] }) {
			out = append(out, keep.Settled{At: k.At, Target: target, Item: k.Rec.Item})
		}
	}
	return out, errors.Join(errs...)
}

// handHintsOn delivers the hints of a leaving store. What is kept for a store that
// is not in reach is given to another one to keep.
func (h *Hints) handHintsOn(ctx context.Context, lay *layout.Layout) error {
	targets, err := h.c.records.ListHintTargets(ctx)
	if err != nil {
		return err
	}
	var errs []error
	h.lagging.Store(false)
	for _, target := range targets {
		if lay.InMesh[target] {
			if rest, err := h.deliverTo(ctx, target, true, h.toTarget); err == nil && !rest {
				continue
			}
		}
		rest, err := h.deliverTo(ctx, target, true, func(ctx context.Context, target view.NodeID, page []keep.Stamped) ([]keep.Settled, error) {
			return h.toOthers(ctx, lay, target, page)
		})
		if err == nil && rest {
			err = errNobody
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("replica: what is kept for %v: %w", target, err))
		}
	}
	if h.lagging.Load() {
		errs = append(errs, errBehind)
	}
	return errors.Join(errs...)
}

// toOthers gives what is kept for a store to others: to keep it for that store,
// or, where that is gone for good, to the homes and those that stand in for them.
func (h *Hints) toOthers(ctx context.Context, lay *layout.Layout, target view.NodeID, page []keep.Stamped) ([]keep.Settled, error) {
	parts := make(map[bundle][]keep.Stamped)
	of := make([][]bundle, len(page))
	for i, k := range page {
		if b := h.c.homes.Buckets.FindByID(k.At.Bucket); b != nil {
			of[i] = h.planBundles(lay, lay.RouteOf(b, k.At.Shard), target)
		}
		for _, b := range of[i] {
			parts[b] = append(parts[b], k)
		}
	}
	failed := make(map[bundle]bool)
	var errs []error
	for b, part := range parts {
		if err := h.c.transferRecords(ctx, b.to, b.keepFor, part); err != nil {
			failed[b] = true
			errs = append(errs, err)
		}
	}
	var out []keep.Settled
	for i, k := range page {
		if len(of[i]) > 0 && !slices.ContainsFunc(of[i], func(b bundle) bool { return failed[b] }) {
			out = append(out, keep.Settled{At: k.At, Target: target, Item: k.Rec.Item})
		}
	}
	return out, errors.Join(errs...)
}

// planBundles names who is to have a record that is kept for target.
func (h *Hints) planBundles(lay *layout.Layout, rt *layout.Route, target view.NodeID) (out []bundle) {
	live := func(id view.NodeID) bool { return lay.InMesh[id] }
	stand := func(n int, home view.NodeID) {
		if to, ok := replicate.StandIn(rt.Order, rt.Homes, n, home, h.c.id, live); ok {
			out = append(out, bundle{to, home})
		}
	}
	if _, known := lay.InMesh[target]; known {
		stand(0, target)
		return out
	}
	for n, home := range rt.Order[:rt.Homes] {
		if live(home) {
			out = append(out, bundle{to: home})
		} else {
			stand(n, home)
		}
	}
	return out
}
