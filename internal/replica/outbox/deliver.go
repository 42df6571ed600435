package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

const (
	saveEvery = 5 * time.Minute  // between notes of how long the node has run
	warnEvery = 10 * time.Second // between warnings of what was given up
	lastWord  = time.Second      // for a word to the disk while the store closes
	retryDisk = time.Second      // until what the disk did not take is tried again
	dropPage  = 256              // operations given up in one batch
)

// runTime is how long the node has run, all its runs together. The wall clock has
// no part in it: a box that boots in 1970 and then learns the time gives
// nothing up for that.
func (o *Outbox) runTime() time.Duration { return o.base + o.opts.Uptime() }

// DeliverWaiting delivers what waits, and gives up what has waited too long, until ctx
// ends.
func (o *Outbox) DeliverWaiting(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-timer.C:
		}
		o.dropExpired(ctx)
		o.saveRunTime(ctx)
		o.warnOfDropped(false)
		if wait, ok := o.startDeliveries(); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// startDeliveries begins what may begin now, and returns when to look again though
// nothing has happened.
func (o *Outbox) startDeliveries() (wait time.Duration, ok bool) {
	contact := o.opts.Stores.InContact()
	now := o.runTime()
	o.mu.Lock()
	defer o.mu.Unlock()
	if n, _ := o.core.Size(); n == 0 {
		return warnEvery, o.unlogged > 0
	}
	next := now + saveEvery
	if at, ok := o.core.Expires(); ok {
		next = min(next, max(at, now+retryDisk))
	}
	if o.unlogged > 0 {
		next = min(next, now+warnEvery)
	}
	if !contact || o.disk.Err() != nil {
		return next - now, true
	}
	ops, wake, more := o.core.Next(now)
	if more {
		next = min(next, wake)
	}
	for _, op := range ops {
		o.opts.Group.Go(func(ctx context.Context) { o.deliverOp(ctx, op) })
	}
	return next - now, true
}

// deliverOp hands an operation to a store and forgets it once that is done.
func (o *Outbox) deliverOp(ctx context.Context, op replicate.OutboxOp) {
	left, err := o.handToStore(ctx, op)
	switch {
	case ctx.Err() != nil && err != nil:
		return
	case errors.Is(err, errDamaged):
		o.opts.Log.Error("an operation in the outbox is damaged and cannot be delivered", "key", op.Key.Key, "error", err)
		err = o.forgetOp(op, nil)
	case errors.Is(err, reconcile.ErrFenced):
		o.opts.Log.Warn("an operation in the outbox is given up: a later leader has written its key", "key", op.Key.Key, "error", err)
		err = o.forgetOp(op, nil)
	case err == nil:
		err = o.forgetOp(op, &left)
	}
	refused := err != nil && !o.opts.Stores.IsPassing(err)
	o.mu.Lock()
	if err != nil {
		o.core.Failed(op.Seq, o.runTime(), refused, rand.Float64())
		o.stuck, o.lastErr = op.Seq, err.Error()
	}
	close(o.landed)
	o.landed = make(chan struct{})
	o.mu.Unlock()
	if err != nil {
		o.opts.Log.Debug("operation not delivered yet", "key", op.Key.Key, "error", err)
	}
	o.wake.Ring()
}

// errDamaged: a record of the outbox does not read.
var errDamaged = errors.New("outbox: damaged operation")

// handToStore has a store coordinate the operation, and returns what that leaves
// behind.
func (o *Outbox) handToStore(ctx context.Context, op replicate.OutboxOp) (footing, error) {
	o.mu.Lock()
	left, ok := o.done[op.Seq]
	o.mu.Unlock()
	if ok {
		return left, nil // only the disk did not take it
	}
	data, err := o.disk.Get(ctx, wire.OutboxKey(op.Seq))
	if err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrNotFound) {
		return footing{}, fmt.Errorf("outbox: read operation %d: %w", op.Seq, err)
	}
	rec, err := decodeOp(data, err)
	if err != nil {
		return footing{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	landed, err := o.opts.Stores.Deliver(ctx, &rec)
	return footing{Landed: landed, seq: op.Seq}, err
}

// decodeOp reads an operation.
func decodeOp(data []byte, err error) (wire.OutboxOp, error) {
	if err != nil {
		return wire.OutboxOp{}, err
	}
	return wire.DecodeOutboxOp(data)
}

// forgetOp deletes an operation that was delivered. left is what it has left
// behind: those that follow it have seen what it had seen. A crash before this is
// synced has the operation delivered once more, as another write of the same
// value, which is harmless. With left nil it is given up.
func (o *Outbox) forgetOp(op replicate.OutboxOp, left *footing) error {
	if left != nil {
		o.mu.Lock()
		o.done[op.Seq] = *left
		o.mu.Unlock()
	}
	ctx, cancel := o.withLastWord()
	defer cancel()
	ran := false
	err := o.disk.Update(ctx, func(tx *storage.Tx) error {
		tx.UseReserve()
		ran = true
		o.mu.Lock()
		followers := o.core.Delivered(op.Seq)
		if left != nil {
			o.rememberKey(op.Key, *left)
		}
		o.mu.Unlock()
		for _, seq := range followers {
			if err := informFollower(tx, seq, left); err != nil {
				return err
			}
		}
		return tx.Delete(wire.OutboxKey(op.Seq))
	})
	if !ran {
		return fmt.Errorf("outbox: forget operation %d, which was delivered: %w", op.Seq, err)
	}
	if err != nil {
		return nil // the disk has failed, or the store is closing: that was the last of it
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.done, op.Seq)
	if left != nil {
		o.delivered++
	} else {
		o.countDropped(1)
	}
	o.core.Release(op.Key)
	return nil
}

// informFollower adds what an operation has left behind to what its follower has seen.
func informFollower(tx *storage.Tx, seq uint64, left *footing) error {
	rec, err := decodeOp(tx.Get(wire.OutboxKey(seq)))
	if err != nil || left == nil {
		return nil // found out when it is delivered
	}
	all := reconcile.Seen{Ctx: rec.Ctx, HLC: rec.HLC}.Join(left.Seen)
	rec.Ctx, rec.HLC = all.Ctx, all.HLC
	return tx.Set(wire.OutboxKey(seq), wire.AppendOutboxOp(nil, &rec))
}

// withLastWord returns a context for the last word on something that has happened: it
// takes as long as the disk takes, and outlives the beginning of Close for a moment.
func (o *Outbox) withLastWord() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(o.opts.Group.Context(), func() { time.AfterFunc(lastWord, cancel) })
	return ctx, func() { stop(); cancel() }
}

// dropExpired gives up what has waited too long.
func (o *Outbox) dropExpired(ctx context.Context) {
	for {
		o.mu.Lock()
		at, ok := o.core.Expires()
		o.mu.Unlock()
		if !ok || at > o.runTime() {
			return
		}
		var gone []replicate.OutboxOp
		err := o.disk.Update(ctx, func(tx *storage.Tx) error {
			o.mu.Lock()
			gone = o.core.Expire(o.runTime(), dropPage)
			o.mu.Unlock()
			for _, op := range gone {
				if err := tx.Delete(wire.OutboxKey(op.Seq)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(gone) == 0 {
			return // the disk will not do it now, or what is too old is under delivery
		}
		o.mu.Lock()
		o.countDropped(len(gone))
		o.mu.Unlock()
	}
}

// saveRunTime notes now and then how long the node has run, as long as that matters.
func (o *Outbox) saveRunTime(ctx context.Context) {
	o.mu.Lock()
	n, _ := o.core.Size()
	o.mu.Unlock()
	if now := o.runTime(); n > 0 && now-o.saved >= saveEvery {
		err := o.disk.Update(ctx, func(tx *storage.Tx) error {
			tx.UseReserve()
			return tx.Set(runTimeKey(), wire.AppendOutboxMeta(nil, wire.OutboxMeta{Ran: uint64(now.Milliseconds())}))
		})
		if err == nil {
			o.saved = now
		}
	}
}

// warnOfDropped warns of what was given up: at once, then not too often.
func (o *Outbox) warnOfDropped(last bool) {
	now := o.runTime()
	o.mu.Lock()
	n, total := o.unlogged, o.dropped
	if n == 0 || !last && o.warned != 0 && now-o.warned < warnEvery {
		o.mu.Unlock()
		return
	}
	o.unlogged, o.warned = 0, max(now, 1)
	o.mu.Unlock()
	o.opts.Log.Warn("operations in the outbox were given up", "now", n, "since opening", total)
}

// Close closes the disk, when the group has ended. What is left waits for the next
// opening.
func (o *Outbox) Close() error {
	o.warnOfDropped(true)
	ctx, cancel := context.WithTimeout(context.Background(), lastWord)
	defer cancel()
	o.saved = -saveEvery
	o.saveRunTime(ctx)
	return o.disk.Close()
}
