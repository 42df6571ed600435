package keep

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// What the disk cannot read the storage gives up, after it has told here. From
// then on these records are absent, but that must prove nothing: the shards begin
// anew, like those of a home that has just become one, and are compared with all
// who are there. Purges lose nothing by it: who holds nothing of a key holds
// nothing older than its tomb.

// metaReindex is there while index entries may be missing of records that are not.
func metaReindex() []byte { return wire.MetaKey("reindex") }

// gap is a range of keys that the storage gives up.
type gap struct{ lower, upper []byte }

func (g gap) overlapsRange(lower, upper []byte) bool {
	return bytes.Compare(g.lower, upper) < 0 && bytes.Compare(lower, g.upper) < 0
}

// NoteLoss takes back what is said of a range of keys that the storage gives up: see
// storage.OnLost. Once that is synced then is to be called, and SeeToLoss after it.
func (rs *Records) NoteLoss(tx *storage.Tx, lower, upper []byte) (then func(), err error) {
	g := gap{lower, upper}
	var left updateEffects
	err = rs.runUpdate(tx, func(tx Tx) error { return tx.voidClaims(g) }, &left)
	if err != nil {
		return nil, err
	}
	return func() { _ = rs.finishUpdate("note a loss", &left, nil) }, nil
}

// voidClaims takes back, in an update, what this store could say about what it
// will not have any more.
func (tx Tx) voidClaims(g gap) error {
	if lower, upper := wire.RecordRange(); g.overlapsRange(lower, upper) {
		if err := tx.voidShards(g); err != nil {
			return err
		}
	}
	meta := g.overlapsRange(wire.MetaKey(""), wire.After(wire.MetaKey("")))
	for shard := range tx.rs.shards {
		next := tx.Standing(shard)
		lost := g.overlapsRange(wire.LogRange(shard))
		if lost {
			next = next.LoseAny()
		}
		// In a gap of such notes, those of memory are written down again.
		if lost || meta && (next.Stamp != purge.Stamp{} || next.From != purge.Round{} || next.Logged != purge.Round{}) {
			if err := tx.writeStanding(shard, next); err != nil {
				return err
			}
		}
	}
	if lower, upper := wire.IndexBounds(); g.overlapsRange(lower, upper) {
		tx.rs.indexGaps.Add(1)
		return tx.Set(metaReindex(), nil)
	}
	return nil
}

// voidShards has the shards in a gap begin anew, in memory and on disk.
func (tx Tx) voidShards(g gap) error {
	lay := tx.rs.homes.NoteLoss(func(at layout.Slice) bool {
		lower := wire.RecordPrefix(at.Shard, at.Bucket, 0)
		lost := g.overlapsRange(lower, wire.After(lower))
		if lost {
			tx.rs.digests.ForgetDigest(at)
		}
		return lost
	})
	for _, b := range tx.rs.buckets.ListAll() {
		if err := tx.Set(metaSettled(b), b.SettledNote(lay)); err != nil {
			return err
		}
	}
	return nil
}

// SeeToLoss sees to what a loss has left behind. It returns what RestoreIndex does.
func (rs *Records) SeeToLoss(ctx context.Context, lower, upper []byte) (restored bool) {
	lost := gap{lower, upper}
	for _, b := range rs.buckets.ListAll() {
		rs.FollowBucket(b) // where there is nobody to ask, nothing more will be known
	}
	hints := 0
	lower, upper = wire.IndexRange(wire.IndexHint, 0)
	err := rs.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
		_, record, ok := wire.ParseIndexKey(k)
		if !ok || bytes.Compare(record, lost.lower) < 0 || bytes.Compare(record, lost.upper) >= 0 {
			return nil
		}
		if _, err := rs.disk.Get(ctx, record); errors.Is(err, storage.ErrNotFound) {
			hints++
		}
		return nil
	})
	rs.lostHints.Add(uint64(hints))
	if hints > 0 {
		rs.log.Error("copies kept for nodes that were down are lost here: their other homes bring them", "copies", hints)
	}
	if err != nil && ctx.Err() == nil {
		rs.log.Warn("copies kept for others not counted", "error", err)
	}
	return rs.RestoreIndex(ctx)
}

// RestoreIndex makes the index whole again, if it may lack entries. It is tried until
// it succeeds, after a restart, too: a hint without an entry is never delivered. restored
// tells that entries were missing.
func (rs *Records) RestoreIndex(ctx context.Context) (restored bool) {
	again := clock.Backoff{First: time.Second, Last: time.Minute}
	for ctx.Err() == nil {
		_, err := rs.disk.Get(ctx, metaReindex())
		if errors.Is(err, storage.ErrNotFound) {
			return false
		}
		if err == nil || errors.Is(err, storage.ErrCorrupt) {
			err = rs.reindexAll(ctx)
		}
		if err == nil {
			return true
		}
		rs.log.Warn("index not whole yet", "error", err)
		clock.Sleep(ctx, again.Next())
	}
	return false
}

// reindexAll goes through all records, page by page.
func (rs *Records) reindexAll(ctx context.Context) error {
	before := rs.indexGaps.Load()
	lower, upper := wire.RecordRange()
	for lower != nil {
		var page []layout.Place
		next := []byte(nil)
		err := rs.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
			if len(page) == PageKeys {
				next = bytes.Clone(k)
				return ErrStop
			}
			rec, err := DecodeStored(v, nil)
			if err != nil {
				return err
			}
			_, due := purge.Due(rec.Item)
			if at, ok := layout.PlaceOf(bytes.Clone(k)); ok && (len(rec.Hints) > 0 || due) {
				page = append(page, at)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrStop) {
			return err
		}
		if err := rs.Update(ctx, "make the index whole", func(tx Tx) error { return tx.writeIndex(page) }); err != nil {
			return err
		}
		lower = next
	}
	return rs.Update(ctx, "make the index whole", func(tx Tx) error {
		if rs.indexGaps.Load() != before {
			return errors.New("another part of it is lost meanwhile")
		}
		return tx.Delete(metaReindex())
	})
}

// writeIndex writes the index entries of records, in an update.
func (tx Tx) writeIndex(page []layout.Place) error {
	for _, at := range page {
		rec, err := tx.Load(at)
		if err != nil {
			return err
		}
		for _, id := range rec.Hints {
			if err := tx.Set(wire.IndexKey(wire.IndexHint, id, at.Record), nil); err != nil {
				return err
			}
		}
		if due, ok := purge.Due(rec.Item); ok && !rec.Idle() {
			if err := tx.setGrave(at, due, rec.Home); err != nil {
				return err
			}
		}
	}
	return nil
}
