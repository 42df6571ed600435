package keep

import (
	"context"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Save writes a record that took the place of old, with its index entries and
// what the digest makes of it, or drops it when it has no role any more. item
// is the encoding of r.Item. It is the last step of an update. The error is
// storage.ErrStorageFull where there is little room and the record needs some.
func (tx Tx) Save(at layout.Place, old Stored, r replicate.Record, item []byte) error {
	if needsRoom(old.Record, r) {
		if err := tx.NeedRoom(); err != nil {
			return err
		}
	}
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
			tx.rs.hinted = true
		}
	}
	if err := tx.saveGrave(at, old.Record, r); err != nil {
		return err
	}
	tx.rs.rounds.current[at.Shard].Filled = true
	if r.Home && !old.Home && !tx.rs.homes.Keeps(at.Slice) {
		tx.rs.strayed = true
	}
	var err error
	if r.Idle() {
		r.Item = version.Item{}
		err = tx.Delete(at.Record)
	} else {
		buf := tx.rs.scratch[:0]
		tx.rs.scratch = wire.AppendRecord(buf, wire.Record{Item: item, Mine: r.Mine, Home: r.Home, Hints: r.Hints})
		err = tx.Set(at.Record, tx.rs.scratch)
		if err == nil && tx.rs.watched {
			item, err = tx.shareItem(at, len(item))
		}
	}
	if err != nil {
		return err
	}
	tx.rs.changes = append(tx.rs.changes, change{at, old.Damaged, old.Home, old.Item, r.Item, item})
	return nil
}

// needsRoom tells whether to write a record in the place of old takes room for good: it
// brings a value, or writes those there are again although none has gone. Tombs, what lets
// go of records, and what a store notes make room, or will.
func needsRoom(old, r replicate.Record) bool {
	if r.Idle() {
		return false
	}
	carries := false
	for i := range r.Sibs {
		s := &r.Sibs[i]
		if len(s.Value) == 0 {
			continue
		}
		if was := old.Sibling(s.Dot); was == nil || len(was.Value) == 0 {
			return true
		}
		carries = true
	}
	return carries && r.Item.Equal(old.Item)
}

// saveGrave keeps the index of records of which nothing is alive, or will be
// from some time on: those that may lapse, and be purged, then.
func (tx Tx) saveGrave(at layout.Place, old, r replicate.Record) error {
	was, wasDue := purge.Due(old.Item)
	now, isDue := purge.Due(r.Item)
	wasDue, isDue = wasDue && !old.Idle(), isDue && !r.Idle()
	if wasDue && (!isDue || was != now) {
		if err := tx.Delete(wire.IndexKey(wire.IndexGrave, view.NodeID(was), at.Record)); err != nil {
			return err
		}
	}
	if isDue && (!wasDue || was != now || old.Home != r.Home) {
		return tx.setGrave(at, now, r.Home)
	}
	return nil
}

// setGrave writes an entry of the index of graves. What is kept for others alone is told
// from what may be purged by a value, so that it need not be read for that.
func (tx Tx) setGrave(at layout.Place, due version.HLC, home bool) error {
	var mark []byte
	if !home {
		mark = []byte{1}
	}
	return tx.Set(wire.IndexKey(wire.IndexGrave, view.NodeID(due), at.Record), mark)
}

// IsForOthers tells of an entry of the index of graves that the record is kept for others
// alone. Earlier releases have no such entries.
func IsForOthers(entry []byte) bool { return len(entry) > 0 }

// change is what an update did to a record, for the digests and for those who watch.
type change struct {
	at            layout.Place
	unknown       bool // what was there before cannot be known
	home          bool // it was there as at a home
	before, after version.Item
	raw           []byte // encoding of after, of no use if that is unknown; where somebody watches it does not change
}

// Update runs fn on the committing goroutine. What fn does to the writer and
// reports to the digests counts only if fn succeeds; what it wrote is then
// synced, or the store has failed for good.
func (rs *Records) Update(ctx context.Context, what string, fn func(tx Tx) error) error {
	var left updateEffects
	err := rs.disk.Update(ctx, func(tx *storage.Tx) error { return rs.runUpdate(tx, fn, &left) })
	return rs.finishUpdate(what, &left, err)
}

// updateEffects is what an update leaves to be done once it is synced.
type updateEffects struct {
	hinted  bool // a record is kept for another store that was not before
	strayed bool // a record has come here that this store is not to keep
	raised  []changedRound
}

// Starter is a way to queue an update.
type Starter func(fn func(tx *storage.Tx) error, then func(error)) (storage.Started, error)

// AtOnce is the starter that does not wait: it fails with storage.ErrBusy.
func (rs *Records) AtOnce() Starter { return rs.disk.TryStart }

// WhenRoom waits for a place among the updates.
func (rs *Records) WhenRoom(ctx context.Context) Starter {
	return func(fn func(tx *storage.Tx) error, then func(error)) (storage.Started, error) {
		return rs.disk.Start(ctx, fn, then)
	}
}

// startUpdate is Update without the wait; the committing goroutine calls then.
func (rs *Records) startUpdate(start Starter, what string, fn func(tx Tx) error, then func(error)) (storage.Started, error) {
	var left updateEffects
	started, err := start(func(tx *storage.Tx) error { return rs.runUpdate(tx, fn, &left) }, func(err error) {
		then(rs.finishUpdate(what, &left, err))
	})
	return started, rs.WrapError(what, err)
}

// runUpdate is the part of an update on the committing goroutine.
func (rs *Records) runUpdate(tx *storage.Tx, fn func(tx Tx) error, left *updateEffects) error {
	writer := rs.writer
	rs.changes, rs.hinted, rs.strayed = rs.changes[:0], false, false
	rs.watched = rs.opts.Watchers != nil && rs.opts.Watchers.Wanted()
	rs.rounds.beginUpdate()
	tx.UseReserve() // see Save
	if err := fn(Tx{tx, rs}); err != nil {
		rs.writer = writer
		rs.rounds.undoUpdate()
		return err
	}
	*left = updateEffects{hinted: rs.hinted, strayed: rs.strayed, raised: rs.rounds.changedRounds()}
	for i := range rs.changes {
		c := &rs.changes[i]
		if c.unknown {
			rs.digests.ForgetDigest(c.at.Slice)
		} else {
			rs.digests.applyChange(c.at.Slice, c.at.Key, c.before, c.after)
		}
	}
	if rs.watched {
		rs.stageChanges()
	}
	clear(rs.changes)
	rs.noteDate()
	return nil
}

// finishUpdate is the part after the sync.
func (rs *Records) finishUpdate(what string, left *updateEffects, err error) error {
	if left.hinted {
		rs.opts.Hinted()
	}
	if left.strayed {
		rs.opts.Strayed()
	}
	if err == nil {
		rs.rounds.showRounds(left.raised)
	}
	return rs.WrapError(what, err)
}

// GiveUp drops a damaged record of which enough homes know that there is
// nothing: it was deleted, and purged.
func (rs *Records) GiveUp(ctx context.Context, at layout.Place) error {
	return rs.Update(ctx, "drop a damaged record", func(tx Tx) error {
		old, err := tx.Load(at)
		if err != nil || !old.Damaged {
			return err
		}
		return tx.Save(at, old, replicate.Record{}, nil)
	})
}
