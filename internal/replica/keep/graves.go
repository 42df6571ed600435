package keep

import (
	"context"
	"errors"
	"slices"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// CountDead counts the records of which nothing is alive, up to a limit (0: all),
// and their bytes. What is kept for others besides waits for the purge as well.
func (rs *Records) CountDead(ctx context.Context, limit int) (n int, bytes int64, err error) {
	now := rs.clocks.Now()
	lower, _ := wire.IndexRange(wire.IndexGrave, 0)
	_, upper := wire.IndexRange(wire.IndexGrave, view.NodeID(max(now, 1)))
	err = rs.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		_, record, _ := wire.ParseIndexKey(k)
		at, ok := layout.PlaceOf(slices.Clone(record))
		if !ok || IsForOthers(v) {
			return nil
		}
		rec, err := rs.Load(ctx, at)
		if err != nil {
			return err
		}
		if dead, _ := purge.Grave(rec.Item, now); dead && rec.Home {
			n++
			bytes += int64(len(record) + len(rec.Raw))
		}
		if n == limit && limit > 0 {
			return ErrStop
		}
		return nil
	})
	if errors.Is(err, ErrStop) {
		err = nil
	}
	return n, bytes, err
}
