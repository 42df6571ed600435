package keep

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
)

const pageBytes = 256 << 10

// ListMarks lists the keys of a slice from after on, up to limit marks (0: all).
func (rs *Records) ListMarks(ctx context.Context, at layout.Slice, after string, from bool, upper []byte, limit int) (out []replicate.Mark, more bool, err error) {
	prefix := wire.RecordPrefix(at.Shard, at.Bucket, 0)
	lower := prefix
	if from {
		lower = append(wire.RecordKey(at.Shard, at.Bucket, after), 0)
	}
	if upper == nil {
		upper = wire.After(prefix)
	}
	size := 0
	err = rs.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		if limit > 0 && (len(out) == limit || size > pageBytes) {
			more = true
			return ErrStop
		}
		it, err := ItemOf(v)
		if err != nil {
			return nil // damaged: it is not there
		}
		_, _, key, _ := wire.ParseRecordKey(k)
		size += len(key) + 16
		out = append(out, replicate.Mark{Key: key, Hash: rs.digests.hashers[at.Shard].Version(it)})
		return nil
	})
	if errors.Is(err, ErrStop) {
		err = nil
	}
	return out, more, err
}

// ReadRecords reads records; those that are not there, or damaged, are left out. Beside
// ErrStale they are all but those of shards that lag behind a purge, of which some
// may have been purged.
func (rs *Records) ReadRecords(ctx context.Context, at layout.Slice, keys []string) ([]Stamped, error) {
	out := make([]Stamped, 0, len(keys))
	var stale error
	for _, key := range keys {
		p := rs.homes.LocateKey(at.Bucket, key)
		stamp := rs.SyncedStamp(p.Shard)
		if stamp.Lagging() {
			stale = ErrStale
			continue
		}
		rec, err := rs.Load(ctx, p)
		if err != nil {
			return nil, err
		}
		if !rec.Unknown() {
			out = append(out, Stamped{p, rec, stamp})
		}
	}
	return out, stale
}
