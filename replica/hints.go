package replica

import (
	"context"
	"errors"
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
	transferBytes = 1 << 20          // their bytes, one record at least
	maxOffer      = 34 << 20         // bytes of one record that can be sent at all
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

// hints delivers what this store keeps for others.
type hints struct {
	s       *Store
	kick    notify.Bell
	added   notify.Bell
	lagging atomic.Bool // some were left out because this store has to catch up with a purge first

	mu   sync.Mutex
	owed replicate.Doubts // whom what is kept here has not reached since they came, or were silent
}

func newHints(s *Store) *hints {
	return &hints{s: s, kick: notify.NewBell(), added: notify.NewBell()}
}

// wakeDelivery has the hints looked through at once.
func (h *hints) wakeDelivery() { h.kick.Ring() }

// scheduleDelivery has them looked through when the writes under way have had their time.
// Every commit that adds a hint calls for it, or a hint whose target was there
// all the time, and only silent when it mattered, would have nothing to wake it.
func (h *hints) scheduleDelivery() { h.added.Ring() }

// markOwed notes that what is kept for these stores, in contact, did not reach them in time.
func (h *hints) markOwed(targets ...view.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range targets {
		h.owed.Raise(id, h.s.uptime())
	}
}

// isOwed tells whether what is kept for a store is more than writes under way. What is
// kept for one that is out of contact waits for it, what was for one that is gone
// belongs to the homes now.
func (h *hints) isOwed(lay *layout.Layout, target view.NodeID) bool {
	in, belongs := lay.InMesh[target]
	h.mu.Lock()
	defer h.mu.Unlock()
	return !belongs || in && h.owed.Has(target)
}

func (h *hints) keepDelivering(ctx context.Context) {
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
				retry.Reset(hintGrace * h.s.cfg.AckTimeout)
				armed = true
			}
			continue
		case <-retry.C:
		}
		left, err := h.deliverAll(ctx)
		if err != nil && ctx.Err() == nil {
			h.s.log.Debug("hints not delivered yet", "error", err)
		}
		behind := h.lagging.Swap(false)
		armed = left || behind
		switch {
		case errors.Is(err, ErrStorageFull), errors.Is(err, storage.ErrCorrupt):
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
func (h *hints) deliverAll(ctx context.Context) (left bool, err error) {
	h.mu.Lock()
	owed := h.owed.Events()
	h.mu.Unlock()
	targets, err := h.s.records.ListHintTargets(ctx)
	if err != nil {
		return true, err
	}
	var errs []error
	for _, target := range targets {
		in, known := h.s.homes.Now().InMesh[target]
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
func (h *hints) settleOwed(events map[view.NodeID]uint64) {
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
func (h *hints) deliverTo(ctx context.Context, target view.NodeID, leaving bool, send func(context.Context, view.NodeID, []keep.Stamped) ([]keep.Settled, error)) (rest bool, err error) {
	lower, upper := wire.IndexRange(wire.IndexHint, target)
	var moved error
	for {
		page, stray, err := h.readPage(ctx, target, &lower, upper)
		if err != nil {
			return rest, err
		}
		if _, err := h.s.records.SettleHints(ctx, stray); err != nil && !errors.Is(err, ErrStorageFull) {
			return rest, err
		}
		if len(page) == 0 && len(stray) == 0 {
			return rest, moved
		}
		gone, sendErr := send(ctx, target, page)
		n, err := h.s.records.SettleHints(ctx, gone)
		if leaving && errors.Is(err, ErrStorageFull) {
			n, err = len(gone), nil // they go with the node
		}
		if err != nil {
			return rest, err
		}
		h.s.stats.delivered.Add(uint64(n))
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
func (h *hints) readPage(ctx context.Context, target view.NodeID, lower *[]byte, upper []byte) (page []keep.Stamped, stray []keep.Settled, err error) {
	size := 0
	err = h.s.disk.Scan(ctx, *lower, upper, func(k, _ []byte) error {
		_, record, _ := wire.ParseIndexKey(k)
		*lower = append(append((*lower)[:0:0], k...), 0)
		at, ok := layout.PlaceOf(record)
		if !ok {
			return nil
		}
		stamp := h.s.records.SyncedStamp(at.Shard)
		if stamp.Lagging() {
			h.lagging.Store(true)
			return nil // some of it may have been purged
		}
		rec, err := h.s.records.Load(ctx, at)
		switch {
		case err != nil:
			return err
		case rec.Damaged:
			return nil // damaged: its repair brings it back
		case rec.Unknown():
			stray = append(stray, keep.Settled{At: at, Target: target})
		default:
			if one := (keep.Stamped{At: at, Rec: rec, Stamp: stamp}); !h.s.tooLargeToSend(one) {
				page = append(page, one)
				size += len(rec.Raw)
			}
		}
		if len(page) == keep.PageKeys || len(stray) == keep.PageKeys || size >= h.s.pace.pieceBytes() {
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
func (h *hints) toTarget(ctx context.Context, target view.NodeID, page []keep.Stamped) ([]keep.Settled, error) {
	if err := h.s.transferRecords(ctx, target, 0, page); err != nil {
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
func (h *hints) toHomes(ctx context.Context, target view.NodeID, page []keep.Stamped) ([]keep.Settled, error) {
	lay := h.s.homes.Now()
	live := func(id view.NodeID) bool { return lay.InMesh[id] }
	by := make(map[view.NodeID][]keep.Stamped)
	hint := make([]replicate.Hint, len(page))
	for i, k := range page {
		b := h.s.buckets.FindByID(k.At.Bucket)
		if b == nil {
			continue
		}
		rt := lay.RouteOf(b, k.At.Shard)
		hint[i] = replicate.Hint{Target: target, Homes: rt.Order[:rt.Homes]}
		for _, id := range hint[i].Deliver(h.s.id, live) {
			by[id] = append(by[id], k)
		}
	}
	acked := make(map[view.NodeID]bool)
	var errs []error
	for id, part := range by {
		err := h.s.transferRecords(ctx, id, 0, part)
		acked[id] = err == nil
		errs = append(errs, err)
	}
	var out []keep.Settled
	for i, k := range page {
		if hint[i].Target != 0 && hint[i].Done(h.s.id, live, func(id view.NodeID) bool { return acked[id] }) {
			out = append(out, keep.Settled{At: k.At, Target: target, Item: k.Rec.Item})
		}
	}
	return out, errors.Join(errs...)
}

// tooLargeToSend tells, and logs, that a record's concurrent values have grown
// together, by merging, beyond what one request carries. It stays where it is
// and must not hold up what comes after it. A write that has seen the values
// makes it small again.
func (s *Store) tooLargeToSend(k keep.Stamped) bool {
	if len(k.Rec.Raw) <= maxOffer {
		return false
	}
	s.log.Error("concurrent values are too large to be copied: write the key anew", "key", k.At.Key, "bytes", len(k.Rec.Raw))
	return true
}

// transferRecords sends records to a store in the background, to keep as a home or for
// another store, and waits until it has synced them.
func (s *Store) transferRecords(ctx context.Context, to, keepFor view.NodeID, page []keep.Stamped) error {
	if len(page) == 0 {
		return nil
	}
	offers := make([]wire.Offer, len(page))
	size := 0
	for i, k := range page {
		offers[i] = wire.Offer{Bucket: k.At.Bucket, Key: k.At.Key, For: keepFor, Item: k.Rec.Raw, Stamp: keep.WireStamp(k.Stamp)}
		size += len(k.Rec.Raw)
	}
	if err := s.pace.waitForBytes(ctx, size); err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, transferWait+time.Duration(size)*time.Second/slowestLink)
	defer cancel()
	begun := time.Now()
	got, err := s.sendMerge(call, to, offers)
	if err == nil || errors.Is(call.Err(), context.DeadlineExceeded) {
		s.pace.adaptPiece(time.Since(begun))
	}
	if err != nil {
		return err
	}
	behind := make(map[int]bool)
	for i := range got {
		if got[i].stale {
			behind[page[i].At.Shard] = true
			err = keep.ErrStale
		}
	}
	for shard := range behind {
		if caught := s.purging.CatchUp(ctx, to, shard); caught != nil {
			return caught
		}
	}
	return err
}
