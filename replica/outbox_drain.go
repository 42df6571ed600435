package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	outboxNote  = 5 * time.Minute  // between notes of how long the node has run
	outboxTell  = 10 * time.Second // between warnings of what was given up
	outboxLast  = time.Second      // for a word to the disk while the store closes
	outboxRetry = time.Second      // until what the disk did not take is tried again
	outboxPage  = 256              // operations given up in one batch
)

// now is how long the node has run, all its runs together. The wall clock has
// no part in it: a box that boots in 1970 and then learns the time gives
// nothing up for that.
func (o *outbox) now() time.Duration { return o.base + o.s.since() }

// met is told which members have come into contact.
func (o *outbox) met(lay *layout, back []view.NodeID) {
	if !slices.ContainsFunc(back, func(id view.NodeID) bool { return slices.Contains(lay.placed, id) }) {
		return
	}
	o.mu.Lock()
	o.core.Resume()
	o.mu.Unlock()
	o.kick.Ring()
}

// run delivers what waits, and gives up what has waited too long.
func (o *outbox) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.kick:
		case <-timer.C:
		}
		o.expire(ctx)
		o.noteRun(ctx)
		o.tell(false)
		if wait, ok := o.start(); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// start begins the deliveries that may begin now, and returns when to look
// again though nothing has happened.
func (o *outbox) start() (wait time.Duration, ok bool) {
	lay := o.s.layout.Load()
	contact := lay.meetsStores()
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if n, _ := o.core.Size(); n == 0 {
		return outboxTell, o.untold > 0
	}
	next := now + outboxNote
	if at, ok := o.core.Expires(); ok {
		next = min(next, max(at, now+outboxRetry))
	}
	if o.untold > 0 {
		next = min(next, now+outboxTell)
	}
	if !contact || o.disk.Err() != nil {
		return next - now, true
	}
	ops, wake, more := o.core.Next(now)
	if more {
		next = min(next, wake)
	}
	for _, op := range ops {
		o.s.group.Go(func(ctx context.Context) { o.deliver(ctx, op) })
	}
	return next - now, true
}

// deliver hands an operation to a store and forgets it once that is done.
func (o *outbox) deliver(ctx context.Context, op replicate.OutboxOp) {
	left, err := o.hand(ctx, op)
	switch {
	case ctx.Err() != nil && err != nil:
		return
	case errors.Is(err, errDamaged):
		o.s.log.Error("an operation in the outbox is damaged and cannot be delivered", "key", op.Key.Key, "error", err)
		err = o.forget(op, nil)
	case err == nil:
		err = o.forget(op, &left)
	}
	o.mu.Lock()
	if err != nil {
		refused := !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrOverloaded)
		o.core.Failed(op.Seq, o.now(), refused, rand.Float64())
		o.stuck, o.lastErr = op.Seq, err.Error()
	}
	close(o.landed)
	o.landed = make(chan struct{})
	o.mu.Unlock()
	if err != nil {
		o.s.log.Debug("operation not delivered yet", "key", op.Key.Key, "error", err)
	}
	o.kick.Ring()
}

// errDamaged: a record of the outbox does not read.
var errDamaged = errors.New("replica: damaged operation")

// hand has a store coordinate the operation as a new write, and returns what
// that leaves behind. The operation comes with all that its client can have known,
// and be it nothing: a blind one must not replace what others have written
// while this node was out of reach. That becomes its sibling.
func (o *outbox) hand(ctx context.Context, op replicate.OutboxOp) (footing, error) {
	o.mu.Lock()
	left, ok := o.done[op.Seq]
	o.mu.Unlock()
	if ok {
		return left, nil // only the disk did not take it
	}
	data, err := o.disk.Get(ctx, wire.OutboxKey(op.Seq))
	if err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrNotFound) {
		return footing{}, o.s.diskError("read the outbox", err)
	}
	rec, err := decodeWaiting(data, err)
	if err != nil {
		return footing{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	known, err := o.s.buckets.add(rec.Bucket)
	if err != nil {
		return footing{}, err
	}
	b := &Bucket{s: o.s, b: known}
	q, err := b.request(rec.Key, reconcile.Write{
		Seen: &reconcile.Seen{Ctx: rec.Ctx, HLC: rec.HLC}, Value: rec.Value, Tomb: rec.Tomb, TTL: int64(rec.TTL),
	}, Level(rec.Level), int(rec.MinDurable))
	if err != nil {
		return footing{}, err
	}
	out, err := o.s.put(ctx, q)
	if err != nil && !errors.Is(err, ErrDegraded) {
		return footing{}, err
	}
	left = footing{seen: out.seen, seq: op.Seq}
	if !out.seen.Ctx.Covers(out.dot) {
		// A value that it had not seen has an older dot of the same birth, so no
		// context covers the one without the other. From one cut to the next
		// each write would stay as one more sibling, until there are too many.
		if read, err := o.s.get(ctx, b.b, q.at, replicate.DefaultLevel); err == nil {
			left.all = reconcile.SeenOf(read.Item)
		}
	}
	return left, nil
}

// decodeWaiting reads an operation.
func decodeWaiting(data []byte, err error) (wire.OutboxOp, error) {
	if err != nil {
		return wire.OutboxOp{}, err
	}
	return wire.DecodeOutboxOp(data)
}

// forget deletes an operation that was delivered. left is what it has left
// behind: those that follow it have seen what it had seen. A crash before this is
// synced has the operation delivered once more, as another write of the same
// value, which is harmless. With left nil it is given up.
func (o *outbox) forget(op replicate.OutboxOp, left *footing) error {
	if left != nil {
		o.mu.Lock()
		o.done[op.Seq] = *left
		o.mu.Unlock()
	}
	ctx, cancel := o.finishing()
	defer cancel()
	ran := false
	err := o.disk.Update(ctx, func(tx *storage.Tx) error {
		ran = true
		o.mu.Lock()
		followers := o.core.Delivered(op.Seq)
		if left != nil {
			o.note(op.Key, *left)
		}
		o.mu.Unlock()
		for _, seq := range followers {
			if err := follow(tx, seq, left); err != nil {
				return err
			}
		}
		return tx.Delete(wire.OutboxKey(op.Seq))
	})
	if !ran {
		return o.s.diskError("forget what was delivered", err)
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
		o.drop(1)
	}
	o.core.Release(op.Key)
	return nil
}

// follow adds what an operation has left behind to what its follower has seen.
func follow(tx *storage.Tx, seq uint64, left *footing) error {
	rec, err := decodeWaiting(tx.Get(wire.OutboxKey(seq)))
	if err != nil || left == nil {
		return nil // found out when it is delivered
	}
	all := join(reconcile.Seen{Ctx: rec.Ctx, HLC: rec.HLC}, left.seen)
	rec.Ctx, rec.HLC = all.Ctx, all.HLC
	return tx.Set(wire.OutboxKey(seq), wire.AppendOutboxOp(nil, &rec))
}

// finishing is for the last word on something that has happened: it takes as
// long as the disk takes, and outlives the beginning of Close for a moment.
func (o *outbox) finishing() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(o.s.group.Context(), func() { time.AfterFunc(outboxLast, cancel) })
	return ctx, func() { stop(); cancel() }
}

// expire gives up what has waited too long.
func (o *outbox) expire(ctx context.Context) {
	for {
		o.mu.Lock()
		at, ok := o.core.Expires()
		o.mu.Unlock()
		if !ok || at > o.now() {
			return
		}
		var gone []replicate.OutboxOp
		err := o.disk.Update(ctx, func(tx *storage.Tx) error {
			o.mu.Lock()
			gone = o.core.Expire(o.now(), outboxPage)
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
		o.drop(len(gone))
		o.mu.Unlock()
	}
}

// noteRun notes now and then how long the node has run, as long as that matters.
func (o *outbox) noteRun(ctx context.Context) {
	o.mu.Lock()
	n, _ := o.core.Size()
	o.mu.Unlock()
	if now := o.now(); n > 0 && now-o.noted >= outboxNote {
		err := o.disk.Update(ctx, func(tx *storage.Tx) error {
			return tx.Set(metaOutbox(), wire.AppendOutboxMeta(nil, wire.OutboxMeta{Ran: uint64(now.Milliseconds())}))
		})
		if err == nil {
			o.noted = now
		}
	}
}

// tell warns of what was given up: at once, then not too often.
func (o *outbox) tell(last bool) {
	now := o.now()
	o.mu.Lock()
	n, total := o.untold, o.dropped
	if n == 0 || !last && o.said != 0 && now-o.said < outboxTell {
		o.mu.Unlock()
		return
	}
	o.untold, o.said = 0, max(now, 1)
	o.mu.Unlock()
	o.s.log.Warn("operations in the outbox were given up", "now", n, "since opening", total)
}

// close closes the disk. What is left waits for the next opening.
func (o *outbox) close() error {
	o.tell(true)
	ctx, cancel := context.WithTimeout(context.Background(), outboxLast)
	defer cancel()
	o.noted = -outboxNote
	o.noteRun(ctx)
	return o.disk.Close()
}
