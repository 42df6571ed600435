package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// A group takes what has queued, up to these bounds; the last update
	// may go over the bytes.
	maxGroupUpdates = 1024
	maxGroupBytes   = 1 << 20
)

// update is a queued call of Update or Start.
type update struct {
	fn    func(*Tx) error
	look  bool          // fn writes nothing
	then  func(error)   // what to do with the outcome, on the committer; nil: see done
	parts []update      // updates in its place, run one after the other in one group
	state atomic.Uint32 // queued, then begun or abandoned
	ran   chan struct{} // capacity 1: fn has returned
	done  chan error    // capacity 1: the outcome
}

const (
	queued uint32 = iota
	begun
	abandoned
)

// tryEnqueue gives an update to the committer if the queue has room.
func (s *Store) tryEnqueue(u *update) error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	select {
	case <-s.committerDone: // the queue may have room, but nobody takes from it
		return ErrClosed
	default:
	}
	select {
	case s.queue <- u:
		return nil
	default:
		return ErrBusy
	}
}

// enqueue gives an update to the committer.
func (s *Store) enqueue(ctx context.Context, u *update) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.tryEnqueue(u); !errors.Is(err, ErrBusy) {
		return err
	}
	select { // contexts make channel and timer when they are first asked for them
	case s.queue <- u:
		return nil
	case <-s.committerDone:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) awaitUpdate(ctx context.Context, fn func(*Tx) error, look bool) error {
	u := s.newUpdate(fn)
	u.look = look
	if err := s.enqueue(ctx, u); err != nil {
		return err
	}
	select {
	case err := <-u.done:
		s.recycleUpdate(u)
		return err
	case <-s.committerDone:
		select {
		case err := <-u.done: // it was the last one
			return err
		default:
			return ErrClosed
		}
	case <-ctx.Done():
	}
	if u.abandon() {
		return ctx.Err()
	}
	select {
	case <-u.ran:
	case <-s.committerDone:
	}
	select {
	case err := <-u.done:
		return err
	default:
		return fmt.Errorf("update may or may not be kept: %w", ctx.Err())
	}
}

// abandon takes back an update that has not begun.
func (u *update) abandon() bool { return u.state.CompareAndSwap(queued, abandoned) }

// Started is an update under way.
type Started struct{ u *update }

// Abandon takes the update back if it has not begun, with all that were queued
// together: it writes nothing then, and nobody is told. It reports whether it could.
func (s Started) Abandon() bool { return s.u.abandon() }

func (s *Store) startUpdate(ctx context.Context, fn func(*Tx) error, then func(error)) (Started, error) {
	u := &update{fn: fn, then: then}
	return Started{u}, s.enqueue(ctx, u)
}

func (s *Store) tryStartUpdate(fn func(*Tx) error, then func(error)) (Started, error) {
	u := &update{fn: fn, then: then}
	return Started{u}, s.tryEnqueue(u)
}

// joinParts makes one update of several.
func joinParts(parts []Part) *update {
	u := &update{parts: make([]update, len(parts))}
	for i := range parts {
		u.parts[i].fn, u.parts[i].then = parts[i].Run, parts[i].Then
	}
	return u
}

// newUpdate takes one that is done with. They are a store's own: a pool of all
// would carry channels from one synctest bubble into another.
func (s *Store) newUpdate(fn func(*Tx) error) *update {
	u, ok := s.updates.Get().(*update)
	if !ok {
		u = &update{ran: make(chan struct{}, 1), done: make(chan error, 1)}
	}
	u.fn = fn
	return u
}

// recycleUpdate gets an update that has been answered ready for another one; the
// committer is done with it.
func (s *Store) recycleUpdate(u *update) {
	select {
	case <-u.ran:
	default:
	}
	u.fn = nil
	u.state.Store(queued)
	s.updates.Put(u)
}

// tellOutcome tells the outcome.
func (u *update) tellOutcome(err error) {
	if u.then != nil {
		u.then(err)
	} else {
		u.done <- err
	}
}

// group is what one batch writes: the updates that share a sync. From before
// it is applied to Pebble until it is known to be synced it is
// Store.inflight, and whoever has read from Pebble then looks there: a key
// of the group may have been read unsynced, so the reader waits for done.
type group struct {
	opened  time.Time
	ran     int              // updates, those that failed included; what was queued together is one
	writes  map[string]write // not changed any more once inflight
	bytes   int
	updates []*update     // those to answer with the outcome of the sync
	done    chan struct{} // closed when the outcome is known
	err     error         // the outcome, to be read after done
}

type write struct {
	record []byte // nil: deleted
}

func (w write) recordValue() ([]byte, error) {
	if w.record == nil {
		return nil, ErrNotFound
	}
	return w.record[recordOverhead:], nil
}

// Tx is what an update sees and writes. It is valid until the update
// function returns.
type Tx struct {
	s    *Store
	g    *group
	undo []undo

	tight    error // why nothing may be written that brings data
	reserved bool  // this update brings none
}

type undo struct {
	key string
	old write
	had bool
}

// Get returns the value of key as the updates before this one, and this one
// so far, have left it. What others wrote may be unsynced; it becomes
// durable no later than this update and must not be shown to anyone before.
// The value is shared and must not be changed. The error is ErrNotFound,
// ErrCorrupt (unknown) or ErrStoreFailed.
func (tx *Tx) Get(key []byte) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if w, ok := tx.g.writes[string(key)]; ok {
		return w.recordValue()
	}
	value, gen, ok := tx.s.cache.getValue(key)
	if ok {
		return value, nil
	}
	value, err := tx.s.loadUnsynced(key, tx.s.readIfThere)
	if err == nil {
		tx.s.cache.keepRead(key, value, gen)
	}
	return value, err
}

// UseReserve says that this update brings no data, or asks NeedRoom before it writes any:
// it makes room, or notes what has to be noted. Such updates go on when others get
// ErrStorageFull, until an eighth of Options.Reserve is left.
func (tx *Tx) UseReserve() { tx.reserved = true }

// NeedRoom returns ErrStorageFull when there is room for nothing but such updates.
func (tx *Tx) NeedRoom() error { return tx.tight }

// Set makes value the value of key. Both are copied. The error is ErrKey, ErrTooLarge or
// ErrStorageFull.
func (tx *Tx) Set(key, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if tx.tight != nil && !tx.reserved {
		return tx.tight
	}
	if len(value) > MaxValue {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(value))
	}
	tx.stageWrite(key, write{record: encodeRecord(key, value)})
	return nil
}

// Delete removes the record of key, if there is one.
func (tx *Tx) Delete(key []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	tx.stageWrite(key, write{})
	return nil
}

// checkKey refuses the empty key, which Pebble does not take everywhere, and
// the store's own.
func checkKey(key []byte) error {
	if len(key) == 0 || len(key) > MaxKey || key[0] == 0 {
		return fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	return nil
}

func (tx *Tx) stageWrite(key []byte, w write) {
	k := string(key)
	old, had := tx.g.writes[k]
	tx.undo = append(tx.undo, undo{key: k, old: old, had: had})
	tx.g.writes[k] = w
	tx.g.bytes += len(k) + len(w.record)
}

// runUpdate runs one update within the group; one that fails leaves nothing.
func (tx *Tx) runUpdate(u *update) error {
	tx.undo, tx.reserved = tx.undo[:0], u.look
	bytes := tx.g.bytes
	err := u.fn(tx)
	if err == nil && u.look && len(tx.undo) > 0 {
		err = ErrReadOnly
	}
	if err == nil {
		return nil
	}
	for i := len(tx.undo) - 1; i >= 0; i-- {
		if u := tx.undo[i]; u.had {
			tx.g.writes[u.key] = u.old
		} else {
			delete(tx.g.writes, u.key)
		}
	}
	tx.g.bytes = bytes
	return err
}

// commitLoop is the committer. It ends when ctx does, having answered every
// update it took.
func (s *Store) commitLoop(ctx context.Context) {
	defer close(s.committerDone)
	for {
		select {
		case u := <-s.queue:
			s.commitGroup(u)
		case m := <-s.mends:
			m.done <- s.giveUp(m)
		case <-ctx.Done():
			return
		}
	}
}

// commitGroup commits an update and those that come with it. The parts of one that are
// more than a group may hold make further groups, in their order.
func (s *Store) commitGroup(first *update) {
	tx, refusal := s.openGroup()
	for u := first; u != nil; u = s.nextUpdate(tx.g) {
		if !u.state.CompareAndSwap(queued, begun) {
			continue
		}
		tx.g.ran++
		if u.parts == nil {
			tx.runInGroup(u, refusal)
		}
		for i := range u.parts {
			if tx.g.bytes >= maxGroupBytes {
				s.closeGroup(tx)
				tx, refusal = s.openGroup()
				tx.g.ran++
			}
			tx.runInGroup(&u.parts[i], refusal)
		}
	}
	s.closeGroup(tx)
	// Those who write again at once shall be in the next group, not the one
	// after it, also where none is expected.
	runtime.Gosched()
}

// openGroup begins a group once there is room for one. With a refusal it takes no writes.
func (s *Store) openGroup() (tx *Tx, refusal error) {
	tight, refusal := s.awaitRoom()
	g := &group{opened: time.Now(), writes: make(map[string]write), done: make(chan struct{})}
	return &Tx{s: s, g: g, tight: tight}, refusal
}

// closeGroup makes a group durable and tells its updates.
func (s *Store) closeGroup(tx *Tx) {
	g := tx.g
	g.err = s.persistGroup(g)
	close(g.done)
	if tx.tight != nil {
		s.pressure.tighter.Ring()
		if g.err == nil && len(g.writes) > 0 { // it used the reserve
			s.pressure.eased.Ring()
		}
	}
	for _, u := range g.updates {
		u.tellOutcome(g.err)
	}
}

// runInGroup runs one update, which is to be told of the sync if it succeeds.
func (tx *Tx) runInGroup(u *update, refusal error) {
	err := refusal
	if err == nil || u.look && errors.Is(err, ErrStorageFull) {
		err = tx.runUpdate(u)
	}
	if u.then == nil {
		u.ran <- struct{}{}
	}
	if err != nil {
		u.tellOutcome(err)
	} else {
		tx.g.updates = append(tx.g.updates, u)
	}
}

// nextUpdate returns another update for g: one that has queued, or one that is worth
// waiting for.
func (s *Store) nextUpdate(g *group) *update {
	if len(g.updates) >= maxGroupUpdates || g.bytes >= maxGroupBytes {
		return nil
	}
	select {
	case u := <-s.queue:
		return u
	default:
	}
	if len(g.writes) == 0 {
		return nil // no sync to share; what failed may succeed in the next group
	}
	return s.gathering.awaitUpdate(s.queue, g.ran, g.opened)
}

// persistGroup makes g durable. When it fails the store has failed.
func (s *Store) persistGroup(g *group) error {
	if len(g.writes) == 0 {
		// Nothing is left of the group, but its updates may have seen
		// what others wrote; all that is synced.
		return s.guard.failure()
	}
	start := time.Now()
	// The size stands twice: one is for a batch that is used again, and without the other
	// Pebble would throw a new one away for one of the next power of two.
	size := g.bytes + 16*len(g.writes) + 64
	batch := s.db.NewBatchWithSize(size, pebble.WithInitialSizeBytes(size))
	for key, w := range g.writes {
		if w.record == nil {
			_ = batch.Delete([]byte(key), nil) // only fails on indexed batches
		} else {
			_ = batch.Set([]byte(key), w.record, nil)
		}
	}
	var count [8]byte
	binary.LittleEndian.PutUint64(count[:], s.groupCount+1)
	_ = batch.Set(countKey, encodeRecord(countKey, count[:]), nil)
	// In this order: registered, applied (visible in Pebble), synced, shown.
	s.inflight.Store(g)
	s.applyBatch(batch)
	if err := s.guard.failure(); err != nil {
		return err // g stays in flight: nothing of it is ever shown
	}
	took := time.Since(start)
	for key, w := range g.writes {
		if w.record == nil {
			s.cache.forgetDeleted(key)
		} else {
			s.cache.keepWritten(key, w.record[recordOverhead:])
		}
	}
	s.inflight.Store(nil)
	s.gathering.noteCommit(g.ran, len(s.queue), time.Since(start))
	s.groupCount++
	s.syncedCount.Store(s.groupCount)
	s.stats.groups.Add(1)
	s.stats.updates.Add(uint64(len(g.updates)))
	s.stats.bytes.Add(uint64(g.bytes))
	s.pressure.bytesSince += int64(g.bytes)
	// Not before: who is told of a write by it, and reads, must not get what the cache had.
	if s.opts.OnSync != nil {
		s.opts.OnSync(took)
	}
	return nil
}

// applyBatch writes and syncs the batch; what goes wrong is found in the guard.
func (s *Store) applyBatch(batch *pebble.Batch) {
	defer func() {
		if p := recover(); p != nil {
			// Pebble panicked with locks held: it cannot even be closed.
			s.pebbleWedged.Store(true)
			s.guard.failStore(fmt.Errorf("commit: %v", p))
		}
	}()
	if err := s.db.Apply(batch, pebble.Sync); err != nil {
		s.guard.failStore(fmt.Errorf("commit: %w", err))
		return
	}
	_ = batch.Close() // gives memory back, cannot fail after Apply
}
