package purging

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	logPage  = 1024      // entries of a log in one answer
	logBytes = 256 << 10 // their bytes
	logKept  = 1024      // entries that a store remembers of a shard
)

// DamagedLog notes entries of the log of purges that do not read. All methods may be used
// concurrently.
type DamagedLog struct {
	mu   sync.Mutex
	keys map[int]map[string]bool // by shard
}

// AddKey notes one.
func (d *DamagedLog) AddKey(shard int, key []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil {
		d.keys = make(map[int]map[string]bool)
	}
	if d.keys[shard] == nil {
		d.keys[shard] = make(map[string]bool)
	}
	d.keys[shard][string(key)] = true
}

func (d *DamagedLog) keysOfShard(shard int) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.keys[shard]))
}

func (d *DamagedLog) forgetKeys(shard int, keys []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range keys {
		delete(d.keys[shard], key)
	}
}

// dropDamaged takes entries that do not read out of the log of a shard. They may
// have been of any round, so it is whole only after the last one.
func (pg *Purger) dropDamaged(ctx context.Context, shard int) error {
	keys := pg.opts.Damaged.keysOfShard(shard)
	if len(keys) == 0 {
		return nil
	}
	err := pg.records.Update(ctx, "drop a damaged log of purges", func(tx keep.Tx) error {
		for _, key := range keys {
			if _, ok, err := keep.BuriedAt(tx.Get([]byte(key))); err != nil {
				return err
			} else if !ok {
				if err := tx.Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		return tx.Move(shard, tx.Standing(shard).LoseAny())
	})
	if err == nil {
		pg.opts.Damaged.forgetKeys(shard, keys)
	}
	return err
}

// ServeLog tells what was purged of a shard since the asker last took part.
func (pg *Purger) ServeLog(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeLogRequest(req)
	if err != nil {
		return nil, err
	}
	if m.Shard >= pg.shards {
		return nil, fmt.Errorf("replica: shard %d of %d", m.Shard, pg.shards)
	}
	mine, theirs := pg.records.SyncedStanding(m.Shard), keep.StampOf(m.Stamp)
	if mine.Stamp.Behind(theirs) {
		pg.records.CatchUps.Behind(m.Shard, from)
	}
	reply := wire.LogReply{Stamp: keep.WireStamp(mine.Stamp), From: wire.Round(mine.From)}
	if !mine.Tells(theirs, purge.Round(m.From)) {
		return wire.AppendLogReply(nil, &reply), nil
	}
	lower, upper := wire.LogRange(m.Shard)
	if m.More {
		lower = append(wire.LogKey(wire.RecordKey(m.Shard, m.Bucket, m.Key)), 0)
	}
	size := 0
	err = pg.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		_, bucket, key, ok := wire.ParseLogKey(k)
		b, err := wire.DecodeBuried(slices.Clone(v))
		if !ok || err != nil {
			pg.opts.Damaged.AddKey(m.Shard, k)
			return nil
		}
		if len(reply.Entries) == logPage || size > logBytes {
			reply.More = true
			return keep.ErrStop
		}
		size += len(key) + len(v)
		reply.Entries = append(reply.Entries, wire.LogEntry{Bucket: bucket, Key: key, Buried: b})
		return nil
	})
	if err != nil && !errors.Is(err, keep.ErrStop) {
		return nil, err
	}
	if err := pg.dropDamaged(ctx, m.Shard); err != nil {
		return nil, err
	}
	if err := pg.wholeAfter(ctx, m.Shard, &reply); err != nil {
		return nil, err
	}
	return wire.AppendLogReply(make([]byte, 0, size+64), &reply), nil
}

// wholeAfter corrects from when on the page that was read of a log is whole:
// entries may have been forgotten while it was read. What the disk says is at
// least as new as what was read.
func (pg *Purger) wholeAfter(ctx context.Context, shard int, page *wire.LogReply) error {
	data, err := pg.disk.Get(ctx, keep.MetaRounds(shard))
	var now wire.RoundState
	if err == nil {
		now, err = wire.DecodeRoundState(data)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case errors.Is(err, storage.ErrCorrupt), errors.Is(err, wire.ErrMalformed):
		now.From = page.Stamp.Acked
	case err != nil:
		return err
	}
	if purge.Round(page.From).Before(purge.Round(now.From)) {
		page.From = now.From
	}
	return nil
}

// trimLog forgets the oldest entries of a shard's log beyond what is kept.
func (pg *Purger) trimLog(ctx context.Context, shard int) error {
	type entry struct {
		key   []byte
		round purge.Round
	}
	var all []entry
	var rounds []purge.Round
	lower, upper := wire.LogRange(shard)
	err := pg.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		if b, err := wire.DecodeBuried(v); err == nil {
			all = append(all, entry{slices.Clone(k), purge.Round(b.Round)})
			rounds = append(rounds, purge.Round(b.Round))
		}
		return nil
	})
	last, ok := purge.Trim(rounds, logKept)
	if err != nil || !ok {
		return err
	}
	return pg.records.Update(ctx, "trim the log of purges", func(tx keep.Tx) error {
		for _, e := range all {
			if last.Before(e.round) {
				continue
			}
			// One that was buried again meanwhile has a later round, and stays.
			if b, ok, err := keep.BuriedAt(tx.Get(e.key)); err != nil || !ok || b.Round != e.round {
				if err != nil {
					return err
				}
				continue
			}
			if err := tx.Delete(e.key); err != nil {
				return err
			}
		}
		return tx.Move(shard, tx.Standing(shard).Lose(last))
	})
}
