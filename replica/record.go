package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// stored is a record with the bytes of its item.
type stored struct {
	replicate.Record
	item []byte
	// unknown: there was a record, but it is damaged. The store knows nothing
	// of the key, and the digest cannot be corrected for what it was.
	unknown bool
}

// decodeStored reads a record. A record that does not read is a damaged one.
func decodeStored(value []byte, err error) (stored, error) {
	if errors.Is(err, storage.ErrNotFound) {
		return stored{}, nil
	}
	if err == nil {
		var rec wire.Record
		if rec, err = wire.DecodeRecord(value); err == nil {
			var it version.Item
			if it, err = wire.DecodeItem(rec.Item); err == nil {
				r := stored{item: rec.Item}
				r.Item, r.Mine, r.Home, r.Hints = it, rec.Mine, rec.Home, rec.Hints
				return r, nil
			}
		}
	}
	if errors.Is(err, storage.ErrCorrupt) || errors.Is(err, wire.ErrMalformed) {
		return stored{unknown: true}, nil
	}
	return stored{}, err
}

// loadRecord reads a record outside of an update: synced data only.
func (s *Store) loadRecord(ctx context.Context, at layout.Place) (stored, error) {
	return decodeStored(s.disk.Get(ctx, at.Record))
}

// saveRecord writes a record that took the place of old, with its index entries and
// what the digest makes of it, or drops it when it has no role any more. item
// is the encoding of r.Item. It is the last step of an update.
func (s *Store) saveRecord(tx *storage.Tx, at layout.Place, old stored, r replicate.Record, item []byte) error {
	for _, id := range old.Hints {
		if !r.Hinted(id) {
			if err := tx.Delete(wire.IndexKey(wire.IndexHint, id, at.Record)); err != nil {
				return err
			}
		}
	}
	for _, id := range r.Hints {
		if !old.Hinted(id) {
			if err := tx.Set(wire.IndexKey(wire.IndexHint, id, at.Record), nil); err != nil {
				return err
			}
			s.hinted = true
		}
	}
	if err := s.saveGrave(tx, at, old.Record, r); err != nil {
		return err
	}
	s.rounds.current[at.Shard].Filled = true
	if r.Home && !old.Home && !s.homes.Keeps(at.Slice) {
		s.strayed = true
	}
	var err error
	if r.Idle() {
		r.Item = version.Item{}
		err = tx.Delete(at.Record)
	} else {
		buf := s.scratch[:0]
		s.scratch = wire.AppendRecord(buf, wire.Record{Item: item, Mine: r.Mine, Home: r.Home, Hints: r.Hints})
		err = tx.Set(at.Record, s.scratch)
	}
	if err != nil {
		return err
	}
	s.changes = append(s.changes, change{at, old.unknown, old.Item, r.Item})
	return nil
}

// saveGrave keeps the index of records of which nothing is alive, or will be
// from some time on: those that may be purged then.
func (s *Store) saveGrave(tx *storage.Tx, at layout.Place, old, r replicate.Record) error {
	was, wasDue := purge.Due(old.Item)
	now, isDue := purge.Due(r.Item)
	wasDue, isDue = wasDue && old.Home, isDue && r.Home && !r.Idle()
	if wasDue && (!isDue || was != now) {
		if err := tx.Delete(wire.IndexKey(wire.IndexGrave, view.NodeID(was), at.Record)); err != nil {
			return err
		}
	}
	if isDue && (!wasDue || was != now) {
		return tx.Set(wire.IndexKey(wire.IndexGrave, view.NodeID(now), at.Record), nil)
	}
	return nil
}

// change is what an update did to a record, for the digests.
type change struct {
	at            layout.Place
	unknown       bool // what was there before cannot be known
	before, after version.Item
}

// updateDisk runs fn on the committing goroutine. What fn does to the writer and
// reports to the digests counts only if fn succeeds; what it wrote is then
// synced, or the store has failed for good.
func (s *Store) updateDisk(ctx context.Context, what string, fn func(tx *storage.Tx) error) error {
	var left updateEffects
	err := s.disk.Update(ctx, func(tx *storage.Tx) error { return s.runUpdate(tx, fn, &left) })
	return s.finishUpdate(what, &left, err)
}

// updateEffects is what an update leaves to be done once it is synced.
type updateEffects struct {
	hinted  bool // a record is kept for another store that was not before
	strayed bool // a record has come here that this store is not to keep
	raised  []changedRound
}

// starter is a way to queue an update.
type starter func(fn func(tx *storage.Tx) error, then func(error)) (storage.Started, error)

// whenRoom waits for a place among the updates; storage.TryStart does not.
func (s *Store) whenRoom(ctx context.Context) starter {
	return func(fn func(tx *storage.Tx) error, then func(error)) (storage.Started, error) {
		return s.disk.Start(ctx, fn, then)
	}
}

// startUpdate is update without the wait; the committing goroutine calls then.
func (s *Store) startUpdate(start starter, what string, fn func(tx *storage.Tx) error, then func(error)) (storage.Started, error) {
	var left updateEffects
	started, err := start(func(tx *storage.Tx) error { return s.runUpdate(tx, fn, &left) }, func(err error) {
		then(s.finishUpdate(what, &left, err))
	})
	return started, s.diskError(what, err)
}

// runUpdate is the part of update and begin on the committing goroutine.
func (s *Store) runUpdate(tx *storage.Tx, fn func(tx *storage.Tx) error, left *updateEffects) error {
	writer := s.writer
	s.changes, s.hinted, s.strayed = s.changes[:0], false, false
	s.rounds.beginUpdate()
	if err := fn(tx); err != nil {
		s.writer = writer
		s.rounds.undoUpdate()
		return err
	}
	*left = updateEffects{hinted: s.hinted, strayed: s.strayed, raised: s.rounds.changedRounds()}
	for i := range s.changes {
		c := &s.changes[i]
		if c.unknown {
			s.digests.forgetSum(c.at.Slice)
		} else {
			s.digests.applyChange(c.at.Slice, c.at.Key, c.before, c.after)
		}
	}
	clear(s.changes)
	return nil
}

// finishUpdate is the part after the sync.
func (s *Store) finishUpdate(what string, left *updateEffects, err error) error {
	if left.hinted {
		s.hints.scheduleDelivery()
	}
	if left.strayed {
		s.entropy.LookLater()
	}
	if err == nil {
		s.rounds.showRounds(left.raised)
	}
	return s.diskError(what, err)
}

// errUninformed: the write would be based on nothing although this store
// cannot tell that there is nothing.
var errUninformed = errors.New("record unknown here")

// terms say on what missing knowledge a write may be based, and when it is
// too late for it.
type terms struct {
	nothing bool // no record, for a write that is no delete
	damage  bool // a damaged record, or a delete of no record
	by      time.Duration
}

// maxItem bounds the concurrent values of a key: an item travels whole, in
// one request.
const maxItem = 32 << 20

// written is what became of a client's write: decoded, as it is sent, and the
// stamp that it is sent with.
type written struct {
	reconcile.Wrote
	item  []byte
	stamp purge.Stamp
}

// commitWrite begins to apply a client's write here. Once that is synced, or
// has failed, the committing goroutine calls then.
func (s *Store) commitWrite(start starter, at layout.Place, w reconcile.Write, roles []replicate.Role, on terms, then func(wrote written, err error)) (storage.Started, error) {
	var wrote written
	return s.startUpdate(start, "write", func(tx *storage.Tx) error {
		old, err := decodeStored(tx.Get(at.Record))
		if err != nil {
			return err
		}
		if on.by != 0 && s.cfg.clock.Boot() > on.by {
			return peering.ErrLate
		}
		if old.Unknown() && !on.damage && (!on.nothing || old.unknown || w.Tomb) {
			return errUninformed
		}
		now, late, vouched := s.clocks.ForWrite()
		if w.Late = late; vouched {
			s.writer.Correct(now)
		}
		var r replicate.Record
		if r, wrote.Wrote, err = old.Commit(&s.writer, w, now, roles); err != nil {
			return err
		}
		if wire.ItemSize(&r.Item) > maxItem && len(r.Sibs) > 1 {
			return fmt.Errorf("%w: %d values, %d bytes", ErrSiblingLimit, len(r.Sibs), wire.ItemSize(&r.Item))
		}
		wrote.item = wire.AppendItem(make([]byte, 0, wire.ItemSize(&r.Item)), &r.Item)
		wrote.stamp = s.rounds.current[at.Shard].Stamp
		if err := s.saveMeta(tx, wrote.Meta); err != nil {
			return err
		}
		return s.saveRecord(tx, at, old, r, wrote.item)
	}, func(err error) { then(wrote, err) })
}

// arrival is an item from another store, decoded.
type arrival struct {
	at    layout.Place
	role  replicate.Role
	item  version.Item
	raw   []byte
	stamp purge.Stamp // that it came with
	from  view.NodeID // who sent it, 0: nobody in particular
}

// merged tells what became of an arrival.
type merged struct {
	behind bool // the sender lacks something that is here
	stale  bool // it was read before a round that this store has acknowledged: nothing was done
}

// acceptAll merges what came from elsewhere in one update, and returns once
// all of it is synced.
func (s *Store) acceptAll(ctx context.Context, in []arrival) ([]merged, error) {
	out := make([]merged, len(in))
	fresh := make([]bool, len(in))
	err := s.updateDisk(ctx, "merge", func(tx *storage.Tx) error {
		for i := range in {
			var err error
			if out[i], fresh[i], err = s.acceptItem(tx, &in[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	defined := false
	for i := range in {
		defined = defined || fresh[i] && in[i].at.Bucket == layout.SystemBucket
	}
	if defined {
		err = s.loadDefinitions(ctx)
	}
	return out, err
}

// acceptLater is acceptAll without any wait, for items that are no definitions
// of buckets. The committing goroutine calls then; storage.ErrBusy when it has
// enough to do.
func (s *Store) acceptLater(in []arrival, then func(stale []int, err error)) error {
	var stale []int
	_, err := s.startUpdate(s.disk.TryStart, "merge", func(tx *storage.Tx) error {
		for i := range in {
			out, _, err := s.acceptItem(tx, &in[i])
			if err != nil {
				return err
			}
			if out.stale {
				stale = append(stale, i)
			}
		}
		return nil
	}, func(err error) { then(stale, err) })
	return err
}

func (s *Store) acceptItem(tx *storage.Tx, in *arrival) (out merged, fresh bool, err error) {
	if ok, err := s.admitStamp(tx, in); err != nil || !ok {
		return merged{stale: !ok}, false, err
	}
	old, err := decodeStored(tx.Get(in.at.Record))
	if err != nil {
		return out, false, err
	}
	if err := s.stripPurged(tx, in); err != nil {
		return out, false, err
	}
	if old.Unknown() && !old.unknown {
		if gone, err := s.isPurged(tx, in); err != nil || gone {
			return out, false, err
		}
	}
	r, got, err := old.Accept(&s.writer, in.item, in.role, s.currentDate())
	if err != nil {
		return out, false, err
	}
	out.behind = got.Behind
	if got.Skewed {
		s.warnOfSkew(in.at.Bucket)
	}
	for i := range got.Clashes {
		// The dot was given out twice, by a store and by a copy of it. The
		// value that lost it lives on under a dot of our own.
		wrote := s.writer.Import(r.Local, got.Clashes[i])
		r.Local, got.Changed, out.behind = wrote.Local, true, true
		if err := s.saveMeta(tx, wrote.Meta); err != nil {
			return out, false, err
		}
	}
	if !got.Changed && !old.unknown {
		return out, false, nil
	}
	raw := in.raw
	if out.behind {
		raw = wire.AppendItem(make([]byte, 0, wire.ItemSize(&r.Item)), &r.Item)
	}
	if err := s.saveRecord(tx, in.at, old, r, raw); err != nil {
		return out, false, err
	}
	s.hinted = s.hinted || old.unknown // it may have been kept for others
	return out, true, nil
}

// keepHint makes the record here stand for a home that is down.
func (s *Store) keepHint(ctx context.Context, at layout.Place, target view.NodeID) error {
	return s.updateDisk(ctx, "keep a hint", func(tx *storage.Tx) error {
		old, err := decodeStored(tx.Get(at.Record))
		if err != nil {
			return err
		}
		if old.Unknown() {
			return errors.New("the record is gone or damaged")
		}
		return s.saveRecord(tx, at, old, old.Take(replicate.Role{For: target}), old.item)
	})
}

// settled is a record whose hint for target may go: target has item.
type settled struct {
	at     layout.Place
	target view.NodeID
	item   version.Item
}

// settleHints takes away hints whose targets have acked, and returns how many. A
// record that has moved on meanwhile keeps its hint.
func (s *Store) settleHints(ctx context.Context, in []settled) (n int, err error) {
	err = s.updateDisk(ctx, "settle hints", func(tx *storage.Tx) error {
		n = 0
		for i := range in {
			at := in[i].at
			old, err := decodeStored(tx.Get(at.Record))
			if err != nil {
				return err
			}
			if !old.unknown && !old.Hinted(in[i].target) {
				// The record was damaged, and mended without its hints, or dropped.
				if err := tx.Delete(wire.IndexKey(wire.IndexHint, in[i].target, at.Record)); err != nil {
					return err
				}
				n++
				continue
			}
			r := old.Settle(in[i].target, in[i].item)
			r.Home = r.Home || s.homes.IsHome(at.Slice)
			if len(r.Hints) == len(old.Hints) {
				continue
			}
			if err := s.saveRecord(tx, at, old, r, old.item); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

func (s *Store) saveMeta(tx *storage.Tx, m *reconcile.Meta) error {
	if m == nil {
		return nil
	}
	return tx.Set(metaSession(), wire.AppendWriterMeta(nil, wire.WriterMeta(*m)))
}

// diskError says what failed, in the words of this package.
func (s *Store) diskError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrStorageFull):
		return fmt.Errorf("%w: %s: %w", ErrStorageFull, what, err)
	case errors.Is(err, storage.ErrStoreFailed):
		return fmt.Errorf("%w: %s: %w", ErrStorage, what, err)
	case errors.Is(err, storage.ErrClosed):
		return fmt.Errorf("%w: %s", ErrClosed, what)
	case errors.Is(err, errUninformed), errors.Is(err, peering.ErrLate), errors.Is(err, ErrSiblingLimit):
		return err
	case errors.Is(err, reconcile.ErrSiblingLimit):
		return fmt.Errorf("%w: %w", ErrSiblingLimit, err)
	case errors.Is(err, context.Canceled) && s.group.Context().Err() != nil:
		return fmt.Errorf("%w: %s", ErrClosed, what)
	}
	return fmt.Errorf("replica: %s: %w", what, err)
}
