package replica

import (
	"context"
	"fmt"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/exporting"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
	"github.com/skeinmesh/skein/replica/version"
)

// MaxImport is how many records Import takes at once.
const MaxImport = 4096

// Import takes in records of a backup, all of one bucket, which is defined where the mesh does not
// know it. Causality decides: nothing becomes older than it is, and
// what was deleted stays deleted, also where the mesh has long forgotten the delete. To bring
// such a value back write it anew, with the Context of a read: see Values.
//
// Of a record that the mesh does not know all that was purged since it was read has to be known:
// by the logs of purges of the stores, or, in another mesh, by Gone and Whole. Else it is refused.
// Tokens of leaders of another mesh are left out: terms are others there. After an error
// some records may have been taken in; to import them again does no harm. The error is
// ErrNotStoring on a node that stores nothing, and tells who is missing when too few homes, or
// too few of those that may remember deletes, are in contact: try again later.
func (s *Store) Import(ctx context.Context, def []byte, in []slice.Old) (slice.Imported, error) {
	if len(in) > MaxImport {
		return slice.Imported{}, fmt.Errorf("%w: %d records at once, at most %d", ErrTooLarge, len(in), MaxImport)
	}
	b, err := s.DefineBucket(ctx, def)
	if b == nil {
		return slice.Imported{}, err
	}
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return slice.Imported{}, ErrClosed
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.group.Context(), cancel)()
	records := make([]former.OldRecord, len(in))
	for i := range in {
		var err error
		if records[i], err = b.decodeOld(&in[i]); err != nil {
			return slice.Imported{}, fmt.Errorf("import %q: %w", in[i].Key, err)
		}
	}
	got, err := s.former.TakeRecords(ctx, b.b, records)
	return slice.Imported{Brought: got.Brought, Refused: got.Refused}, err
}

func (b *Bucket) decodeOld(r *slice.Old) (out former.OldRecord, err error) {
	out.Key, out.Whole = r.Key, r.Whole
	if out.Item, err = wire.DecodeItem(r.Item); err != nil {
		return out, err
	}
	for _, gone := range r.Gone {
		it, err := wire.DecodeItem(gone)
		if err != nil {
			return out, err
		}
		out.Gone = version.Merge(out.Gone, it)
	}
	out.Stamp, err = b.stampHere(r)
	return out, err
}

// stampHere is where a record's store stood in the rounds of this mesh; zero for that of another
// mesh.
func (b *Bucket) stampHere(r *slice.Old) (purge.Stamp, error) {
	if len(r.Origin) == 0 {
		return purge.Stamp{}, nil
	}
	o, err := wire.DecodeOrigin(r.Origin)
	if err != nil || o.Mesh != b.s.mesh.View().Mesh || o.Shard != b.s.homes.ShardOf(b.b.ID, r.Key) {
		return purge.Stamp{}, err
	}
	return exporting.OriginStamp(o), nil
}
