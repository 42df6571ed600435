package replica

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// openOutbox opens the outbox of a node that stores nothing.
func (s *Store) openOutbox(ctx context.Context) error {
	dir := filepath.Join(s.mesh.Dir(), former.OutboxName)
	if s.cfg.OutboxBytes < 0 {
		if _, err := s.cfg.fs.Stat(dir); err == nil {
			s.log.Warn("the outbox is switched off; what an earlier run has left in it is not delivered", "dir", dir)
		}
		return nil
	}
	reserve := s.cfg.ReserveBytes
	if reserve == 0 {
		reserve = -1 // zero means something else to storage
	}
	o, err := outbox.Open(ctx, outbox.Options{
		FS: s.cfg.fs, Dir: dir, Reserve: reserve, Bytes: s.cfg.OutboxBytes, Age: s.cfg.OutboxAge,
		Stores: outboxStores{s}, Group: s.group, Uptime: s.uptime, OnSync: s.meters.countSync, Log: s.log,
	}, func(def *wire.BucketDef) uint64 { return layout.BucketID(wire.AppendBucketDef(nil, def)) })
	switch {
	case errors.Is(err, storage.ErrLocked):
		return fmt.Errorf("%w: outbox: %w", ErrLocked, err)
	case errors.Is(err, storage.ErrNewerFormat), errors.Is(err, wire.ErrNewerVersion):
		return fmt.Errorf("%w: outbox: %w", ErrNewerFormat, err)
	case err != nil:
		return fmt.Errorf("replica: open outbox: %w", err)
	}
	s.outbox = o
	return nil
}

// outboxStores is the stores of the mesh as the outbox sees them.
type outboxStores struct{ s *Store }

func (o outboxStores) InContact() bool { return o.s.homes.Now().MeetsStores() }

func (o outboxStores) IsPassing(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOverloaded)
}

// Deliver has a store coordinate the operation as a new write. It comes with all that
// its client can have known, and be it nothing.
func (o outboxStores) Deliver(ctx context.Context, op *wire.OutboxOp) (outbox.Landed, error) {
	known, err := o.s.buckets.AddDefinition(op.Bucket)
	if err != nil {
		return outbox.Landed{}, err
	}
	b := &Bucket{s: o.s, b: known}
	q, err := b.newRequest(op.Key, reconcile.Write{
		Seen: &reconcile.Seen{Ctx: op.Ctx, HLC: op.HLC}, Value: op.Value, Tomb: op.Tomb, TTL: int64(op.TTL), Token: op.Token,
	}, Level(op.Level), int(op.MinDurable))
	if err != nil {
		return outbox.Landed{}, err
	}
	out, err := o.s.router.RouteWrite(ctx, q)
	if err != nil && !errors.Is(err, ErrDegraded) {
		return outbox.Landed{}, err
	}
	left := outbox.Landed{Seen: out.Seen}
	if !out.Seen.Ctx.Covers(out.Dot) {
		// A value that it had not seen has an older dot of the same birth, so no
		// context covers the one without the other. From one cut to the next
		// each write would stay as one more sibling, until there are too many.
		if read, err := o.s.reader.ReadKey(ctx, b.b, q.At, replicate.DefaultLevel); err == nil {
			left.Rest = reconcile.SeenOf(read.Item)
		}
	}
	return left, nil
}

// resumeOutbox tells the outbox when one of the members that have come into contact is
// a storing node.
func (s *Store) resumeOutbox(lay *layout.Layout, back []view.NodeID) {
	if slices.ContainsFunc(back, func(id view.NodeID) bool { return slices.Contains(lay.Placed, id) }) {
		s.outbox.Resume()
	}
}

// writeWish is what a client wants of a write, as it said it.
type writeWish struct {
	after   uint64 // see Context
	level   Level
	durable int
}

// writeOrQueue hands a write to a store, or else keeps it in the outbox.
func (b *Bucket) writeOrQueue(ctx context.Context, q *writing.Request, a writeWish) (Result, error) {
	box, key := b.s.outbox, outbox.Key{Bucket: q.Bucket.ID, Key: q.At.Key}
	if box.Holds(ctx, key) {
		err := fmt.Errorf("%w: earlier operations of the key wait in the outbox", ErrUnavailable)
		return b.queueWrite(ctx, q, a, err)
	}
	b.joinSeen(key, q, a.after)
	out, err := b.s.router.RouteWrite(ctx, q)
	if errors.Is(err, ErrUnavailable) {
		return b.queueWrite(ctx, q, a, err)
	}
	if err == nil || errors.Is(err, ErrDegraded) {
		box.NoteReached(key, out.Seen)
	}
	return b.newResult(q.At.Key, out, err)
}

// joinSeen adds to what a write has seen what the operation with the number after has.
func (b *Bucket) joinSeen(key outbox.Key, q *writing.Request, after uint64) {
	if q.Write.Seen == nil {
		return
	}
	if before, ok := b.s.outbox.SeenBy(key, false, after); ok {
		seen := q.Write.Seen.Join(before)
		q.Write.Seen = &seen
	}
}

// queueWrite keeps a write in the outbox, which no store takes now because of err.
func (b *Bucket) queueWrite(ctx context.Context, q *writing.Request, a writeWish, err error) (Result, error) {
	if err := q.CheckSeen(); err != nil {
		return Result{}, b.withConflict(err)
	}
	blind := q.Write.Seen == nil
	if b.s.group.Context().Err() != nil {
		return Result{}, ErrClosed
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// The stores were silent until the client's time was over. To keep the
		// write takes one sync, and is what the outbox is for.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), b.s.cfg.AckTimeout)
		defer cancel()
	}
	seq, kept := b.s.outbox.Keep(ctx, outbox.Key{Bucket: q.Bucket.ID, Key: q.At.Key}, b.queuedOp(q, a), blind, a.after)
	if errors.Is(kept, reconcile.ErrFenced) {
		return Result{}, b.withConflict(writing.PublicError(kept))
	}
	if kept != nil {
		return Result{}, b.withConflict(errors.Join(err, b.s.queueError(kept)))
	}
	var seen reconcile.Seen
	if !blind {
		seen = *q.Write.Seen
	}
	seen.Fence = q.Write.Token
	c := b.contextOf(q.At.Key, seen)
	c.after = seq
	return Result{Context: c, Durable: 1, Queued: true}, b.withConflict(b.checkSingleCopy(a))
}

// queueError is the error of a write that the outbox does not keep.
func (s *Store) queueError(err error) error {
	if errors.Is(err, outbox.ErrFull) {
		return ErrOutboxFull
	}
	return keep.WrapError(s.group, "queue", err) // there are no records here
}

// queuedOp is a write as it is kept.
func (b *Bucket) queuedOp(q *writing.Request, a writeWish) *wire.OutboxOp {
	rec := &wire.OutboxOp{
		Bucket: b.b.Def, Key: q.At.Key, Priority: int64(b.cfg.Priority), Tomb: q.Write.Tomb,
		Level: int64(a.level), MinDurable: uint64(max(a.durable, 0)), TTL: uint64(q.Write.TTL), Value: q.Write.Value,
		Token: q.Write.Token,
	}
	if rec.MinDurable == 0 {
		rec.MinDurable = uint64(b.cfg.MinDurable)
	}
	if q.Write.Seen != nil {
		rec.Ctx, rec.HLC = q.Write.Seen.Ctx, q.Write.Seen.HLC
	}
	return rec
}

// checkSingleCopy tells the client that its write is in one place, if that is not what it
// asked for. How many stores there are is not known out of reach of them.
func (b *Bucket) checkSingleCopy(a writeWish) error {
	usual := min(b.b.Def.Copies, 2)
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

// outboxStatus tells how the outbox stands.
func (s *Store) outboxStatus(st *Status) {
	o := s.outbox.Status()
	st.OutboxOps, st.OutboxBytes, st.OutboxOldest = o.Ops, o.Bytes, o.Oldest
	st.OutboxDelivered, st.OutboxDropped, st.OutboxError = o.Delivered, o.Dropped, o.Error
}
