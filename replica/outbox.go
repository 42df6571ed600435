package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

const (
	outboxParallel = 8    // deliveries at a time: the rest of the line is for the program
	outboxRecord   = 256  // bytes that an operation counts beside its key and value
	outboxKnown    = 4096 // keys of which it is known what this node wrote last
)

// outbox keeps what a node that stores nothing cannot hand to a store now, and
// hands it over later. The rules are in replicate.Outbox.
//
// Lock order: the committing goroutine of disk takes mu within an update; so
// nobody who holds mu waits for disk.
type outbox struct {
	s     *Store
	disk  *storage.Store
	kick  notify.Bell
	base  time.Duration // what the node had run when it was opened, as far as is known
	noted time.Duration // of run alone: what disk knows of that
	said  time.Duration // of run alone: when drops were logged last

	mu      sync.Mutex
	core    *replicate.Outbox
	known   map[replicate.OutboxKey]footing
	done    map[uint64]footing // delivered, and not yet deleted here
	landed  chan struct{}      // closed when a delivery ends
	damaged [][]byte           // keys of records that do not read, found since the last look
	stuck   uint64             // the operation that lastErr is about
	lastErr string

	delivered, dropped, untold uint64 // untold: drops that were not logged yet
}

// footing is what is known here of a key since this node's last write of it has
// reached a store. A next write that is made out of reach of all stores
// replaces that, and nothing that others have written since.
type footing struct {
	seen reconcile.Seen // by that write, itself included
	seq  uint64         // of the operation that was queued; 0: it was not
	all  reconcile.Seen // what else was there then: a blind write replaces it, as it would have at that moment
}

// asked is what a client wants of a write, as it said it.
type asked struct {
	after   uint64 // see Context
	level   Level
	durable int
}

// footingOf returns what a queued write has seen beside its own context.
func (o *outbox) footingOf(key replicate.OutboxKey, blind bool, after uint64) (reconcile.Seen, bool) {
	f, ok := o.known[key]
	if ok && blind {
		return join(f.seen, f.all), true
	}
	return f.seen, ok && after != 0 && after == f.seq
}

// note keeps what this node knows of a key. It needs mu.
func (o *outbox) note(key replicate.OutboxKey, f footing) {
	if _, ok := o.known[key]; !ok && len(o.known) >= outboxKnown {
		for other := range o.known { // any: to forget one costs a concurrent value at worst
			delete(o.known, other)
			break
		}
	}
	o.known[key] = f
}

func join(a, b reconcile.Seen) reconcile.Seen {
	return reconcile.Seen{Ctx: a.Ctx.Join(b.Ctx), HLC: max(a.HLC, b.HLC)}
}

// errNotTaken comes when a key's earlier operations wait already.
var errNotTaken = errors.New("replica: earlier operations of the key wait in the outbox")

// write hands a write to a store, or else keeps it.
func (o *outbox) write(ctx context.Context, b *Bucket, q *request, a asked) (Result, error) {
	key := replicate.OutboxKey{Bucket: q.bucket.id, Key: q.at.key}
	blind := q.write.Seen == nil
	err := errNotTaken
	if !o.waits(ctx, key) {
		if !blind {
			o.mu.Lock()
			if seen, ok := o.footingOf(key, false, a.after); ok {
				seen = join(*q.write.Seen, seen)
				q.write.Seen = &seen
			}
			o.mu.Unlock()
		}
		var out outcome
		if out, err = o.s.put(ctx, q); !errors.Is(err, ErrUnavailable) {
			if err == nil || errors.Is(err, ErrDegraded) {
				o.reached(key, out.seen)
			}
			return b.result(q.at.key, out, err)
		}
	}
	if o.s.group.Context().Err() != nil {
		return Result{}, ErrClosed
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// The stores were silent until the client's time was over. To keep the
		// write takes one sync, and is what the outbox is for.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), o.s.cfg.AckTimeout)
		defer cancel()
	}
	seq, kept := o.accept(ctx, key, b.queued(q, a), blind, a.after)
	if kept != nil {
		if !errors.Is(err, ErrUnavailable) {
			err = errors.Join(ErrUnavailable, err)
		}
		return Result{}, b.told(errors.Join(err, kept))
	}
	var seen reconcile.Seen
	if !blind {
		seen = *q.write.Seen
	}
	c := b.contextOf(q.at.key, seen)
	c.after = seq
	return Result{Context: c, Durable: 1, Queued: true}, b.told(b.alone(a))
}

// queued is a write as it is kept.
func (b *Bucket) queued(q *request, a asked) *wire.OutboxOp {
	rec := &wire.OutboxOp{
		Bucket: b.b.def, Key: q.at.key, Priority: int64(b.cfg.Priority), Tomb: q.write.Tomb,
		Level: int64(a.level), MinDurable: uint64(max(a.durable, 0)), TTL: uint64(q.write.TTL), Value: q.write.Value,
	}
	if rec.MinDurable == 0 {
		rec.MinDurable = uint64(b.cfg.MinDurable)
	}
	if q.write.Seen != nil {
		rec.Ctx, rec.HLC = q.write.Seen.Ctx, q.write.Seen.HLC
	}
	return rec
}

// alone tells the client that its write is in one place, if that is not what it
// asked for. How many stores there are is not known out of reach of them.
func (b *Bucket) alone(a asked) error {
	usual := min(b.b.def.Copies, 2)
	stores, durable := a.level, a.durable
	if stores == 0 {
		stores = Sloppy(usual)
	}
	if durable <= 0 {
		durable = b.cfg.MinDurable
	}
	if durable == 0 {
		durable = usual
	}
	if durable == 1 && (stores == One || stores == Sloppy(1)) {
		return nil
	}
	return fmt.Errorf("%w: it waits in the outbox of this node", ErrDegraded)
}

// waits tells whether operations of a key wait, so that another one has to wait
// behind them. When there is only one, and it is on its way, its end is awaited:
// a key that is written all the time would never be out of the outbox.
func (o *outbox) waits(ctx context.Context, key replicate.OutboxKey) bool {
	for {
		o.mu.Lock()
		held, landing := o.core.Holds(key)
		landed := o.landed
		o.mu.Unlock()
		if !landing {
			return held
		}
		select {
		case <-landed:
		case <-ctx.Done():
			return true
		case <-o.s.group.Context().Done():
			return true
		}
	}
}

// reached takes note of a write that a store has taken at once.
func (o *outbox) reached(key replicate.OutboxKey, seen reconcile.Seen) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(key, footing{seen: seen})
	if o.core.Reached() {
		o.kick.Ring()
	}
}

// accept syncs an operation to disk.
func (o *outbox) accept(ctx context.Context, key replicate.OutboxKey, rec *wire.OutboxOp, blind bool, after uint64) (uint64, error) {
	var a replicate.Admission
	ran, done := make(chan struct{}), make(chan error, 1)
	started, err := o.disk.Start(ctx, func(tx *storage.Tx) (err error) {
		defer close(ran)
		a, err = o.admit(tx, key, rec, blind, after)
		return err
	}, func(err error) {
		o.accepted(a, err)
		done <- err
	})
	if err != nil {
		return 0, o.s.diskError("queue", err)
	}
	var over error
	select {
	case err = <-done:
		return a.Op.Seq, o.s.diskError("queue", err)
	case <-ctx.Done():
		over = ctx.Err()
	case <-o.s.group.Context().Done():
		over = storage.ErrClosed
	}
	if started.Abandon() {
		return 0, o.s.diskError("queue", over)
	}
	select { // it reads what belongs to the caller
	case <-ran:
		select {
		case err = <-done:
			return a.Op.Seq, o.s.diskError("queue", err)
		default:
		}
		return 0, o.s.diskError("queue", fmt.Errorf("it may or may not be kept: %w", over))
	case err = <-done:
		return a.Op.Seq, o.s.diskError("queue", err)
	}
}

// admit writes what it takes to accept an operation. It runs on the committing
// goroutine.
func (o *outbox) admit(tx *storage.Tx, key replicate.OutboxKey, rec *wire.OutboxOp, blind bool, after uint64) (replicate.Admission, error) {
	sees := after
	if blind {
		sees = replicate.SeesAll
	}
	now := o.now()
	o.mu.Lock()
	a, ok := o.core.Admit(replicate.OutboxOp{Key: key, Priority: int(rec.Priority), Bytes: sizeOf(rec), Accepted: now}, sees)
	seen, based := o.footingOf(key, blind, after)
	o.mu.Unlock()
	if !ok {
		return a, ErrOutboxFull
	}
	seen = join(reconcile.Seen{Ctx: rec.Ctx, HLC: rec.HLC}, pick(based, seen))
	for _, seq := range a.Replaced {
		old, err := decodeWaiting(tx.Get(wire.OutboxKey(seq)))
		if err == nil { // what was damaged had nothing to add
			seen = join(seen, reconcile.Seen{Ctx: old.Ctx, HLC: old.HLC})
		}
		if err := tx.Delete(wire.OutboxKey(seq)); err != nil {
			return a, err
		}
	}
	for _, op := range a.Dropped {
		if err := tx.Delete(wire.OutboxKey(op.Seq)); err != nil {
			return a, err
		}
	}
	rec.Ctx, rec.HLC = seen.Ctx, seen.HLC
	rec.Accepted, rec.Follows = uint64(now.Milliseconds()), a.Op.Follows
	return a, tx.Set(wire.OutboxKey(a.Op.Seq), wire.AppendOutboxOp(nil, rec))
}

func pick(ok bool, seen reconcile.Seen) reconcile.Seen {
	if ok {
		return seen
	}
	return reconcile.Seen{}
}

// accepted is told whether an operation is synced. Until then it is not
// delivered: what has left this node must not be forgotten by it.
func (o *outbox) accepted(a replicate.Admission, err error) {
	if err != nil {
		return
	}
	o.mu.Lock()
	o.core.Synced(a.Op.Seq)
	o.drop(len(a.Dropped))
	o.mu.Unlock()
	o.kick.Ring()
}

// drop counts operations that are given up. It needs mu.
func (o *outbox) drop(n int) {
	o.dropped += uint64(n)
	o.untold += uint64(n)
}

// sizeOf is what an operation counts towards OutboxBytes.
func sizeOf(rec *wire.OutboxOp) int64 {
	return int64(outboxRecord + len(rec.Key) + len(rec.Value) + 24*len(rec.Ctx))
}

func (o *outbox) status(st *Status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	st.OutboxOps, st.OutboxBytes = o.core.Size()
	if since, ok := o.core.Oldest(); ok {
		st.OutboxOldest = max(o.now()-since, 0)
	}
	st.OutboxDelivered, st.OutboxDropped = o.delivered, o.dropped
	if o.core.Has(o.stuck) {
		st.OutboxError = o.lastErr
	}
	if st.OutboxOps > 0 && !o.s.layout.Load().meetsStores() {
		st.OutboxError = "no storing node is in contact"
	}
	if err := o.disk.Err(); err != nil {
		st.OutboxError = err.Error()
	}
}
