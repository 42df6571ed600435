package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// acknowledgeRounds decides on rounds that are proposed, and takes part in those that
// nothing speaks against: from then on nothing older than their tombs is here,
// or is taken in. It returns their numbers once that is synced, and the shards
// in which this store has missed rounds.
func (s *Store) acknowledgeRounds(ctx context.Context, members [16]byte, proposals []purge.Proposal) (acked, behind []int, err error) {
	gone := 0
	err = s.updateDisk(ctx, "acknowledge a purge", func(tx *storage.Tx) error {
		acked, behind, gone = acked[:0], behind[:0], 0
		// Not before: whoever belongs to the mesh by now must be asked, too.
		lay := s.homes.Now()
		for i := range proposals {
			p := &proposals[i]
			p.Members = members
			next, refused := s.rounds.current[p.Shard].Acknowledge(p, lay.Storing, s.currentDate(), s.clocks.Trusted())
			if refused != nil {
				s.log.Debug("purge not acknowledged", "shard", p.Shard, "error", refused)
				if errors.Is(refused, purge.ErrLagging) {
					behind = append(behind, p.Shard)
				}
				continue
			}
			// The note of the round before is about to go.
			n, err := s.finishBatch(tx, p.Shard, next.Stamp)
			if err != nil {
				return err
			}
			gone += max(n, 0)
			lost, err := s.takePart(tx, lay, p)
			if err != nil {
				return err
			}
			if err := s.moveStanding(tx, p.Shard, next.Lose(lost)); err != nil {
				return err
			}
			acked = append(acked, i)
		}
		return nil
	})
	if err == nil {
		s.stats.purged.Add(uint64(gone))
	}
	return acked, behind, err
}

// takePart is the part of acknowledge for one shard; see logPurged for lost.
func (s *Store) takePart(tx *storage.Tx, lay *layout.Layout, p *purge.Proposal) (lost purge.Round, err error) {
	batch := wire.RoundBatch{Round: wire.Round(p.Round)}
	for i := range p.Batch {
		t := &p.Batch[i]
		at := s.homes.LocateKey(t.Bucket, t.Key)
		if at.Shard != p.Shard {
			return lost, fmt.Errorf("replica: key of shard %d in a purge of shard %d", at.Shard, p.Shard)
		}
		b := s.buckets.FindByID(t.Bucket)
		if err := s.mergeTomb(tx, at, t.Item, b == nil || lay.RouteOf(b, at.Shard).IsHome(s.id)); err != nil {
			return lost, err
		}
		upTo, err := s.logPurged(tx, at, purge.Buried{}.Bury(p.Round, t.Item))
		if err != nil {
			return lost, err
		}
		if lost.Before(upTo) {
			lost = upTo
		}
		batch.Keys = append(batch.Keys, wire.RoundKey{Bucket: t.Bucket, Key: t.Key})
	}
	return lost, tx.Set(metaBatch(p.Shard), wire.AppendRoundBatch(nil, &batch))
}

// mergeTomb merges a tomb into what is here of its key, see purge.Buried.Takes.
func (s *Store) mergeTomb(tx *storage.Tx, at layout.Place, tomb version.Item, home bool) error {
	old, err := decodeStored(tx.Get(at.Record))
	if err != nil {
		return err
	}
	var b purge.Buried
	if old.Unknown() {
		if b, _, err = buriedAt(tx.Get(wire.LogKey(at.Record))); err != nil {
			return err
		}
	}
	if !b.Takes(tomb, !old.Unknown(), old.unknown, home) {
		return nil
	}
	r, got, err := old.Accept(&s.writer, tomb, old.TombRole(), s.currentDate())
	if err != nil || !got.Changed && !old.unknown {
		return err
	}
	return s.saveRecord(tx, at, old, r, wire.AppendItem(nil, &r.Item))
}

// finishPurge lets go of what was purged in the round of a shard that this store has
// acknowledged last, if that is known to be committed.
func (s *Store) finishPurge(ctx context.Context, shard int) error {
	gone, over := 0, false
	err := s.updateDisk(ctx, "finish a purge", func(tx *storage.Tx) error {
		gone, over = 0, false
		n, err := s.finishBatch(tx, shard, s.rounds.current[shard].Stamp)
		gone, over = n, n >= 0
		return err
	})
	if err == nil && over {
		s.stats.purged.Add(uint64(gone))
		err = s.trimLog(ctx, shard)
	}
	return err
}

// finishBatch is the part of finish for an update. n is how many records went,
// -1 if there is nothing to finish.
func (s *Store) finishBatch(tx *storage.Tx, shard int, stamp purge.Stamp) (n int, err error) {
	data, err := tx.Get(metaBatch(shard))
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	batch, err := wire.DecodeRoundBatch(data)
	if err != nil || !stamp.Over(purge.Round(batch.Round)) {
		return -1, nil
	}
	for _, k := range batch.Keys {
		gone, err := s.forgetPurged(tx, s.homes.LocateKey(k.Bucket, k.Key), stamp)
		if err != nil {
			return n, err
		}
		n += gone
	}
	return n, tx.Delete(metaBatch(shard))
}

// forgetPurged is the part of finish for one key.
func (s *Store) forgetPurged(tx *storage.Tx, at layout.Place, stamp purge.Stamp) (int, error) {
	key := wire.LogKey(at.Record)
	b, ok, err := buriedAt(tx.Get(key))
	if err != nil || !ok {
		return 0, err
	}
	b = b.Hear(stamp)
	m := encodeBuried(b)
	if err := tx.Set(key, wire.AppendBuried(nil, &m)); err != nil {
		return 0, err
	}
	old, err := decodeStored(tx.Get(at.Record))
	if err != nil || old.Unknown() || !b.Drop(old.Item) {
		return 0, err
	}
	return 1, s.saveRecord(tx, at, old, replicate.Record{Local: reconcile.Local{}}, nil)
}

// commitRounds takes in which rounds all members have acknowledged.
func (s *Store) commitRounds(ctx context.Context, over []wire.ShardRound) error {
	over = slices.DeleteFunc(slices.Clone(over), func(r wire.ShardRound) bool { return r.Shard >= s.shards })
	err := s.updateDisk(ctx, "commit a purge", func(tx *storage.Tx) error {
		for _, r := range over {
			next := s.rounds.current[r.Shard].Hear(purge.Stamp{Committed: purge.Round(r.Round)})
			if err := s.moveStanding(tx, r.Shard, next); err != nil {
				return err
			}
		}
		return nil
	})
	for _, r := range over {
		if err == nil {
			err = s.finishPurge(ctx, r.Shard)
		}
	}
	return err
}
