package keep

import (
	"context"
	"slices"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// LoadDefinitions reads all definitions that are stored here.
func (rs *Records) LoadDefinitions(ctx context.Context) error {
	items := make(map[string]version.Item)
	lower := wire.RecordPrefix(0, layout.SystemBucket, 0)
	err := rs.disk.Scan(ctx, lower, wire.After(lower), func(k, v []byte) error {
		_, _, name, _ := wire.ParseRecordKey(k)
		if it, err := ItemOf(slices.Clone(v)); err == nil {
			items[name] = it
		}
		return nil
	})
	for name, it := range items {
		rs.buckets.LearnDefinitions(name, it, rs.clocks.Early())
	}
	return rs.WrapError("read the buckets", err)
}
