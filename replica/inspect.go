package replica

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Record is what a store holds of one key, as an audit sees it.
type Record struct {
	Bucket   string // name; empty for a bucket whose definition is not here
	BucketID uint64
	Shard    int
	Key      string
	Item     version.Item // all of it: context, values, deletes
	Live     [][]byte     // values that no write has replaced, deletes left out
	Home     bool         // kept as a home of the key
	Hints    int          // stores it is kept for
}

// Audit is what Inspect found.
type Audit struct {
	Node    view.NodeID // whose data it is
	Records int
	Damaged int // records that do not read; what they held is unknown
}

// Inspect goes through the items of a node that does not run, given its data
// directory, without changing anything. The definitions of buckets come
// first, under the empty bucket name. It stops at the first error of fn and
// returns it. A Record is fn's to keep.
func Inspect(ctx context.Context, dir string, fn func(Record) error) (Audit, error) {
	return inspect(ctx, vfs.Default, dir, fn)
}

func inspect(ctx context.Context, fsys vfs.FS, dir string, fn func(Record) error) (Audit, error) {
	var audit Audit
	owner, err := keep.ReadOwner(fsys, filepath.Join(dir, "store"))
	if err != nil {
		return audit, fmt.Errorf("replica: inspect: %w", err)
	}
	audit.Node = owner.Node
	disk, err := storage.Open(storage.Options{
		FS: fsys, Dir: filepath.Join(dir, "store"), ReadOnly: true,
		OnCorrupt: func([]byte, error) { audit.Damaged++ },
	})
	if err != nil {
		return audit, fmt.Errorf("replica: inspect: %w", err)
	}
	names := make(map[uint64]string)
	lower, upper := wire.RecordRange()
	err = disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		r, ok := auditRecord(k, slices.Clone(v))
		if !ok {
			audit.Damaged++
			return nil
		}
		audit.Records++
		if r.BucketID == layout.SystemBucket {
			for _, def := range r.Live {
				if d, err := wire.DecodeBucketDef(def); err == nil {
					names[layout.BucketID(def)] = d.Name
				}
			}
		}
		r.Bucket = names[r.BucketID]
		return fn(r)
	})
	if closeErr := disk.Close(); err == nil {
		err = closeErr
	}
	return audit, err
}

func auditRecord(k, v []byte) (r Record, ok bool) {
	rec, err := wire.DecodeRecord(v)
	if err != nil {
		return r, false
	}
	if r.Item, err = wire.DecodeItem(rec.Item); err != nil {
		return r, false
	}
	r.Shard, r.BucketID, r.Key, ok = wire.ParseRecordKey(k)
	r.Home, r.Hints = rec.Home, len(rec.Hints)
	for _, s := range reconcile.Live(r.Item, 0) {
		r.Live = append(r.Live, s.Value)
	}
	return r, ok
}
