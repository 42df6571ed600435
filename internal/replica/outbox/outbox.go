// Package outbox keeps the writes that a node without a store of its own cannot
// hand to any store now, and hands them over later, in the order of each key. What
// it has kept is synced on the node's disk and outlives its process.
//
// The rules (what waits, what takes the place of what, when to try again, what is
// given up) are in replicate.Outbox. This package is their shell: one directory, one
// loop, at most eight deliveries at a time.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	Parallel = 8   // deliveries at a time: the rest of the line is for the program
	Record   = 256 // bytes that an operation counts beside its key and value

	knownKeys = 4096 // keys of which it is known what this node wrote last
)

// Stores is what an outbox knows of the stores of the mesh. Its methods may be called
// concurrently, and with no lock held.
type Stores interface {
	// InContact tells whether a storing node is in contact.
	InContact() bool
	// Deliver has a store coordinate an operation as a new write that has seen
	// what the operation has, and nothing else: a blind one must not replace what
	// others have written while this node was out of reach.
	Deliver(ctx context.Context, op *wire.OutboxOp) (Landed, error)
	// IsPassing tells of an error of Deliver whether the same operation may well be
	// taken later.
	IsPassing(err error) bool
}

// Landed is what is known of a key when a write of this node has reached a store.
type Landed struct {
	// Seen is what the write has seen, itself included.
	Seen reconcile.Seen
	// Rest is what else the key held then. A later blind write replaces that too,
	// as it would have at that moment.
	Rest reconcile.Seen
}

// Options describe an outbox. All fields must be set but Reserve.
type Options struct {
	FS      vfs.FS
	Dir     string        // its own, made when it is missing
	Reserve int64         // bytes that stay free on its disk, as in storage.Options
	Bytes   int64         // what may wait at most; each operation counts Record, key and value
	Age     time.Duration // of run time, after which an operation is given up
	Stores  Stores
	Group   *lifecycle.Group         // of the loop and the deliveries
	Uptime  func() time.Duration     // how long this process has run
	OnSync  func(took time.Duration) // as in storage.Options
	Log     *slog.Logger
}

// ErrFull: there is no room for an operation, and nothing that waits is of lower
// priority.
var ErrFull = errors.New("outbox: full")

// Outbox is one node's. All methods may be used concurrently; Close comes last, after
// the group has ended.
//
// Lock order: the committing goroutine of disk takes mu within an update; so
// nobody who holds mu waits for disk.
type Outbox struct {
	opts   Options
	disk   *storage.Store
	wake   notify.Bell
	base   time.Duration // what the node had run when it was opened, as far as is known
	saved  time.Duration // of the loop alone: what disk knows of that
	warned time.Duration // of the loop alone: when drops were logged last

	mu      sync.Mutex
	core    *replicate.Outbox
	known   map[replicate.OutboxKey]footing
	done    map[uint64]footing // delivered, and not yet deleted here
	landed  chan struct{}      // closed when a delivery ends
	damaged [][]byte           // keys of records that do not read, found since the last look
	stuck   uint64             // the operation that lastErr is about
	lastErr string

	delivered, dropped, unlogged uint64 // unlogged: drops that were not logged yet
}

// footing is what is known here of a key since this node's last write of it has
// reached a store. A next write that is made out of reach of all stores
// replaces that, and nothing that others have written since.
type footing struct {
	Landed
	seq uint64 // of the operation that was queued; 0: it was not
}

// Key names what an operation is about.
type Key = replicate.OutboxKey

// SeenBy returns what a write of a key has seen beside its own context: what this node
// wrote there before. A blind write has seen all of that. Another one has when its
// context came from the operation with the number after.
func (o *Outbox) SeenBy(key Key, blind bool, after uint64) (seen reconcile.Seen, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seenBy(key, blind, after)
}

// seenBy needs mu.
func (o *Outbox) seenBy(key Key, blind bool, after uint64) (reconcile.Seen, bool) {
	f, ok := o.known[key]
	if ok && blind {
		return f.Seen.Join(f.Rest), true
	}
	if !ok || after == 0 || after != f.seq {
		return reconcile.Seen{}, false
	}
	return f.Seen, true
}

// rememberKey keeps what this node knows of a key. It needs mu.
func (o *Outbox) rememberKey(key Key, f footing) {
	if _, ok := o.known[key]; !ok && len(o.known) >= knownKeys {
		for other := range o.known { // any: to forget one costs a concurrent value at worst
			delete(o.known, other)
			break
		}
	}
	o.known[key] = f
}

// Holds tells whether operations of a key wait, so that another one has to wait
// behind them. When there is only one, and it is on its way, its end is awaited:
// a key that is written all the time would never be out of the outbox.
func (o *Outbox) Holds(ctx context.Context, key Key) bool {
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
		case <-o.opts.Group.Context().Done():
			return true
		}
	}
}

// Concerns tells whether operations of a key wait or are on their way.
func (o *Outbox) Concerns(key Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	held, landing := o.core.Holds(key)
	return held || landing
}

// NoteReached is told of a write that a store has taken at once.
func (o *Outbox) NoteReached(key Key, seen reconcile.Seen) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rememberKey(key, footing{Landed: Landed{Seen: seen}})
	if o.core.Reached() {
		o.wake.Ring()
	}
}

// Resume is told that a storing node has come into contact.
func (o *Outbox) Resume() {
	o.mu.Lock()
	o.core.Resume()
	o.mu.Unlock()
	o.wake.Ring()
}

// Keep syncs an operation to disk and returns its number. It sets the fields of rec
// that are the outbox's own, and adds to its context what SeenBy tells. Nothing of rec
// is kept after it has returned. The error is ErrFull, a *reconcile.Fenced where what waits
// of the key, or what rec has seen, has a higher token, that of ctx or one of storage; it says so where the operation may have been kept in spite of it.
func (o *Outbox) Keep(ctx context.Context, key Key, rec *wire.OutboxOp, blind bool, after uint64) (uint64, error) {
	var a replicate.Admission
	ran, done := make(chan struct{}), make(chan error, 1)
	started, err := o.disk.Start(ctx, func(tx *storage.Tx) (err error) {
		defer close(ran)
		a, err = o.admitOp(tx, key, rec, blind, after)
		return err
	}, func(err error) {
		o.startWaiting(a, err)
		done <- err
	})
	if err != nil {
		return 0, err
	}
	var over error
	select {
	case err = <-done:
		return a.Op.Seq, err
	case <-ctx.Done():
		over = ctx.Err()
	case <-o.opts.Group.Context().Done():
		over = storage.ErrClosed
	}
	if started.Abandon() {
		return 0, over
	}
	select { // it reads what belongs to the caller
	case <-ran:
		select {
		case err = <-done:
			return a.Op.Seq, err
		default:
		}
		return 0, fmt.Errorf("it may or may not be kept: %w", over)
	case err = <-done:
		return a.Op.Seq, err
	}
}

// admitOp writes what it takes to accept an operation. It runs on the committing
// goroutine.
func (o *Outbox) admitOp(tx *storage.Tx, key Key, rec *wire.OutboxOp, blind bool, after uint64) (replicate.Admission, error) {
	if err := tx.NeedRoom(); err != nil {
		return replicate.Admission{}, err // before the core has taken it in
	}
	sees := after
	if blind {
		sees = replicate.SeesAll
	}
	now := o.runTime()
	op := replicate.OutboxOp{Key: key, Priority: int(rec.Priority), Bytes: sizeOf(rec), Accepted: now, Token: rec.Token}
	a, before, err := o.admitFenced(op, sees, after)
	if err != nil {
		return a, err
	}
	if a.Op.Seq == 0 {
		return a, ErrFull
	}
	seen := reconcile.Seen{Ctx: rec.Ctx, HLC: rec.HLC}.Join(before)
	for _, seq := range a.Replaced {
		old, err := decodeOp(tx.Get(wire.OutboxKey(seq)))
		if err == nil { // what was damaged had nothing to add
			seen = seen.Join(reconcile.Seen{Ctx: old.Ctx, HLC: old.HLC})
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

// admitFenced has the core take an operation in, unless a higher token was seen. before is
// what SeenBy tells. An operation for which there is no room has no number.
func (o *Outbox) admitFenced(op replicate.OutboxOp, sees, after uint64) (a replicate.Admission, before reconcile.Seen, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, _ = o.seenBy(op.Key, sees == replicate.SeesAll, after)
	for _, seen := range []token.Token{o.core.Fence(op.Key), before.Fence} {
		if err := reconcile.CheckFence(op.Token, seen); err != nil {
			return a, before, err
		}
	}
	a, _ = o.core.Admit(op, sees)
	return a, before, nil
}

// startWaiting is told whether an operation is synced. Until then it is not
// delivered: what has left this node must not be forgotten by it.
func (o *Outbox) startWaiting(a replicate.Admission, err error) {
	if err != nil {
		return
	}
	o.mu.Lock()
	o.core.Synced(a.Op.Seq)
	o.countDropped(len(a.Dropped))
	o.mu.Unlock()
	o.wake.Ring()
}

// countDropped counts operations that are given up. It needs mu.
func (o *Outbox) countDropped(n int) {
	o.dropped += uint64(n)
	o.unlogged += uint64(n)
}

// sizeOf is what an operation counts towards Options.Bytes.
func sizeOf(rec *wire.OutboxOp) int64 {
	return int64(Record + len(rec.Key) + len(rec.Value) + 24*len(rec.Ctx))
}

// Status is how an outbox stands.
type Status struct {
	Ops                int   // that wait
	Bytes              int64 // of Options.Bytes, which they take
	Oldest             time.Duration
	Delivered, Dropped uint64 // since it was opened
	Error              string // why it gets no further; empty: all is well
}

// DiskStats tells how the outbox's disk is doing, and why it has failed; nil: it has not.
func (o *Outbox) DiskStats() (storage.Stats, error) { return o.disk.Stats(), o.disk.Err() }

// Status tells how the outbox stands.
func (o *Outbox) Status() Status {
	contact := o.opts.Stores.InContact()
	o.mu.Lock()
	defer o.mu.Unlock()
	st := Status{Delivered: o.delivered, Dropped: o.dropped}
	st.Ops, st.Bytes = o.core.Size()
	if since, ok := o.core.Oldest(); ok {
		st.Oldest = max(o.runTime()-since, 0)
	}
	if o.core.Has(o.stuck) {
		st.Error = o.lastErr
	}
	if st.Ops > 0 && !contact {
		st.Error = "no storing node is in contact"
	}
	if err := o.disk.Err(); err != nil {
		st.Error = err.Error()
	}
	return st
}
