package purging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
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
func (pg *Purger) acknowledgeRounds(ctx context.Context, members [16]byte, proposals []purge.Proposal) (acked, behind []int, err error) {
	gone := 0
	err = pg.records.Update(ctx, "acknowledge a purge", func(tx keep.Tx) error {
		acked, behind, gone = acked[:0], behind[:0], 0
		// Not before: whoever belongs to the mesh by now must be asked, too.
		lay := pg.homes.Now()
		ended, vouched := pg.clocks.Ended()
		for i := range proposals {
			p := &proposals[i]
			p.Members = members
			next, refused := tx.Standing(p.Shard).Acknowledge(p, lay.Storing, ended, vouched)
			if refused != nil {
				pg.log.Debug("purge not acknowledged", "shard", p.Shard, "error", refused)
				if errors.Is(refused, purge.ErrLagging) {
					behind = append(behind, p.Shard)
				}
				continue
			}
			// The note of the round before is about to go.
			n, err := pg.finishBatch(tx, p.Shard, next.Stamp)
			if err != nil {
				return err
			}
			gone += max(n, 0)
			lost, err := pg.takePart(tx, lay, p, ended)
			if err != nil {
				return err
			}
			if err := tx.Move(p.Shard, next.Lose(lost)); err != nil {
				return err
			}
			acked = append(acked, i)
		}
		return nil
	})
	if err == nil {
		pg.purged.Add(uint64(gone))
	}
	return acked, behind, err
}

// takePart is the part of acknowledgeRounds for one shard; see keep.Tx.LogPurged for lost.
func (pg *Purger) takePart(tx keep.Tx, lay *layout.Layout, p *purge.Proposal, ended version.HLC) (lost purge.Round, err error) {
	batch := wire.RoundBatch{Round: wire.Round(p.Round)}
	for i := range p.Batch {
		t := &p.Batch[i]
		tomb, _ := purge.Lapse(t.Item, ended) // see purge.Stamp.Acknowledge
		at := pg.homes.LocateKey(t.Bucket, t.Key)
		if at.Shard != p.Shard {
			return lost, fmt.Errorf("replica: key of shard %d in a purge of shard %d", at.Shard, p.Shard)
		}
		b := pg.homes.Buckets.FindByID(t.Bucket)
		if err := pg.mergeTomb(tx, at, tomb, b == nil || lay.RouteOf(b, at.Shard).IsHome(pg.id)); err != nil {
			return lost, err
		}
		upTo, err := tx.LogPurged(at, purge.Buried{}.Bury(p.Round, tomb))
		if err != nil {
			return lost, err
		}
		if lost.Before(upTo) {
			lost = upTo
		}
		batch.Keys = append(batch.Keys, wire.RoundKey{Bucket: t.Bucket, Key: t.Key})
	}
	return lost, tx.Set(keep.MetaBatch(p.Shard), wire.AppendRoundBatch(nil, &batch))
}

// mergeTomb merges a tomb into what is here of its key, see purge.Buried.Takes.
func (pg *Purger) mergeTomb(tx keep.Tx, at layout.Place, tomb version.Item, home bool) error {
	old, err := tx.Load(at)
	if err != nil {
		return err
	}
	var b purge.Buried
	if old.Unknown() {
		if b, _, err = tx.Buried(at); err != nil {
			return err
		}
	}
	if !b.Takes(tomb, !old.Unknown(), old.Damaged, home) {
		return nil
	}
	r, got, err := old.Accept(tx.Writer(), tomb, old.TombRole(), pg.clocks.Now())
	if err != nil {
		return err
	}
	// What has ended may not be written down here yet: no dot tells.
	raw := wire.AppendItem(nil, &r.Item)
	if !got.Changed && !old.Damaged && bytes.Equal(raw, old.Raw) {
		return nil
	}
	return tx.Save(at, old, r, raw)
}

// finishPurge lets go of what was purged in the round of a shard that this store has
// acknowledged last, if that is known to be committed.
func (pg *Purger) finishPurge(ctx context.Context, shard int) error {
	gone, over := 0, false
	err := pg.records.Update(ctx, "finish a purge", func(tx keep.Tx) error {
		gone, over = 0, false
		n, err := pg.finishBatch(tx, shard, tx.Standing(shard).Stamp)
		gone, over = n, n >= 0
		return err
	})
	if err == nil && over {
		pg.purged.Add(uint64(gone))
		err = pg.trimLog(ctx, shard)
	}
	return err
}

// finishBatch is the part of finishPurge for an update. n is how many records went,
// -1 if there is nothing to finish.
func (pg *Purger) finishBatch(tx keep.Tx, shard int, stamp purge.Stamp) (n int, err error) {
	data, err := tx.Get(keep.MetaBatch(shard))
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
		gone, err := pg.forgetPurged(tx, pg.homes.LocateKey(k.Bucket, k.Key), stamp)
		if err != nil {
			return n, err
		}
		n += gone
	}
	return n, tx.Delete(keep.MetaBatch(shard))
}

// forgetPurged is the part of finishPurge for one key.
func (pg *Purger) forgetPurged(tx keep.Tx, at layout.Place, stamp purge.Stamp) (int, error) {
	b, ok, err := tx.Buried(at)
	if err != nil || !ok {
		return 0, err
	}
	b = b.Hear(stamp)
	if err := tx.SetBuried(at, b); err != nil {
		return 0, err
	}
	old, err := tx.Load(at)
	if err != nil || old.Unknown() || !b.Drop(old.Item) {
		return 0, err
	}
	return 1, tx.Save(at, old, replicate.Record{}, nil)
}

// commitRounds takes in which rounds all members have acknowledged.
func (pg *Purger) commitRounds(ctx context.Context, over []wire.ShardRound) error {
	over = slices.DeleteFunc(slices.Clone(over), func(r wire.ShardRound) bool { return r.Shard >= pg.shards })
	err := pg.records.Update(ctx, "commit a purge", func(tx keep.Tx) error {
		for _, r := range over {
			next := tx.Standing(r.Shard).Hear(purge.Stamp{Committed: purge.Round(r.Round)})
			if err := tx.Move(r.Shard, next); err != nil {
				return err
			}
		}
		return nil
	})
	for _, r := range over {
		if err == nil {
			err = pg.finishPurge(ctx, r.Shard)
		}
	}
	return err
}
