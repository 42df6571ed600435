package replica

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
	"github.com/skeinmesh/skein/mesh/view"
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

// handleLoss is storage.OnLost.
func (s *Store) handleLoss(tx *storage.Tx, lower, upper []byte) (then func(), err error) {
	g := gap{bytes.Clone(lower), bytes.Clone(upper)}
	var left updateEffects
	err = s.runUpdate(tx, func(tx *storage.Tx) error { return s.voidClaims(tx, g) }, &left)
	if err != nil {
		return nil, err
	}
	return func() {
		_ = s.finishUpdate("note a loss", &left, nil)
		s.group.Go(func(ctx context.Context) { s.afterLoss(ctx, g) })
		s.entropy.Moved()
	}, nil
}

// voidClaims takes back, in an update, what this store could say about what it
// will not have any more.
func (s *Store) voidClaims(tx *storage.Tx, g gap) error {
	if lower, upper := wire.RecordRange(); g.overlapsRange(lower, upper) {
		if err := s.voidShards(tx, g); err != nil {
			return err
		}
	}
	meta := g.overlapsRange(wire.MetaKey(""), wire.After(wire.MetaKey("")))
	for shard := range s.shards {
		next := s.rounds.current[shard].Standing
		lost := g.overlapsRange(wire.LogRange(shard))
		if lost {
			next = next.LoseAny()
		}
		// In a gap of such notes, those of memory are written down again.
		if lost || meta && (next.Stamp != purge.Stamp{} || next.From != purge.Round{} || next.Logged != purge.Round{}) {
			if err := s.writeStanding(tx, shard, next); err != nil {
				return err
			}
		}
	}
	if lower, upper := wire.IndexBounds(); g.overlapsRange(lower, upper) {
		s.stats.indexGaps.Add(1)
		return tx.Set(metaReindex(), nil)
	}
	return nil
}

// voidShards has the shards in a gap begin anew, in memory and on disk.
func (s *Store) voidShards(tx *storage.Tx, g gap) error {
	lay := s.homes.NoteLoss(func(at layout.Slice) bool {
		lower := wire.RecordPrefix(at.Shard, at.Bucket, 0)
		lost := g.overlapsRange(lower, wire.After(lower))
		if lost {
			s.digests.forgetSum(at)
		}
		return lost
	})
	for _, b := range s.buckets.ListAll() {
		if err := tx.Set(metaSettled(b), b.SettledNote(lay)); err != nil {
			return err
		}
	}
	return nil
}

// afterLoss sees to what a gap has left behind.
func (s *Store) afterLoss(ctx context.Context, g gap) {
	for _, b := range s.buckets.ListAll() {
		s.followBucket(b) // where there is nobody to ask, nothing more will be known
	}
	hints := 0
	lower, upper := wire.IndexRange(wire.IndexHint, 0)
	err := s.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
		_, record, ok := wire.ParseIndexKey(k)
		if !ok || bytes.Compare(record, g.lower) < 0 || bytes.Compare(record, g.upper) >= 0 {
			return nil
		}
		if _, err := s.disk.Get(ctx, record); errors.Is(err, storage.ErrNotFound) {
			hints++
		}
		return nil
	})
	s.stats.lostHints.Add(uint64(hints))
	if hints > 0 {
		s.log.Error("copies kept for nodes that were down are lost here: their other homes bring them", "copies", hints)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("copies kept for others not counted", "error", err)
	}
	s.restoreIndex(ctx)
}

// restoreIndex makes the index whole again, if it may lack entries. It is tried until
// it succeeds, after a restart, too: a hint without an entry is never delivered.
func (s *Store) restoreIndex(ctx context.Context) {
	again := clock.Backoff{First: time.Second, Last: time.Minute}
	for ctx.Err() == nil {
		_, err := s.disk.Get(ctx, metaReindex())
		if errors.Is(err, storage.ErrNotFound) {
			return
		}
		if err == nil || errors.Is(err, storage.ErrCorrupt) {
			err = s.reindexAll(ctx)
		}
		if err == nil {
			s.hints.wakeDelivery()
			return
		}
		s.log.Warn("index not whole yet", "error", err)
		clock.Sleep(ctx, again.Next())
	}
}

func (s *Store) reindexAll(ctx context.Context) error {
	before := s.stats.indexGaps.Load()
	lower, upper := wire.RecordRange()
	for lower != nil {
		var page []layout.Place
		next := []byte(nil)
		err := s.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
			if len(page) == transferKeys {
				next = bytes.Clone(k)
				return errStop
			}
			rec, err := decodeStored(v, nil)
			if err != nil {
				return err
			}
			_, due := purge.Due(rec.Item)
			if at, ok := layout.PlaceOf(bytes.Clone(k)); ok && (len(rec.Hints) > 0 || due) {
				page = append(page, at)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			return err
		}
		if err := s.updateDisk(ctx, "make the index whole", func(tx *storage.Tx) error { return s.writeIndex(tx, page) }); err != nil {
			return err
		}
		lower = next
	}
	return s.updateDisk(ctx, "make the index whole", func(tx *storage.Tx) error {
		if s.stats.indexGaps.Load() != before {
			return errors.New("another part of it is lost meanwhile")
		}
		return tx.Delete(metaReindex())
	})
}

// writeIndex writes the index entries of records, in an update.
func (s *Store) writeIndex(tx *storage.Tx, page []layout.Place) error {
	for _, at := range page {
		rec, err := decodeStored(tx.Get(at.Record))
		if err != nil {
			return err
		}
		for _, id := range rec.Hints {
			if err := tx.Set(wire.IndexKey(wire.IndexHint, id, at.Record), nil); err != nil {
				return err
			}
		}
		if due, ok := purge.Due(rec.Item); ok && rec.Home {
			if err := tx.Set(wire.IndexKey(wire.IndexGrave, view.NodeID(due), at.Record), nil); err != nil {
				return err
			}
		}
	}
	return nil
}
