package replica

import (
	"context"
	"fmt"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/exporting"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// MaxImport is how many records Import takes at once.
const MaxImport = 4096

// OldRecord is a record that was read by Export, here or in another mesh.
type OldRecord struct {
	Key  string
	Item []byte
	// Origin is that of the slice in which it was read; empty: nobody knows.
	Origin []byte
	// Gone are the items of that key that Export has told to be purged, in this slice or by a
	// later one of the same shard. Whole says that nothing else was purged of the key
	// between its reading and Origin.
	Gone  [][]byte
	Whole bool
}

// Imported tells what became of records.
type Imported struct {
	// Brought is how many of them had something that the mesh lacked. It is synced on more
	// than half of the homes of each.
	Brought int
	// Refused are the places of those that may have been deleted since, so that to bring
	// them back could revive what was deleted, and of those that do not fit to what the mesh
	// has: they were not taken in, at least not whole.
	Refused []int
}

// Import takes in records of a backup. Causality decides: nothing becomes older than it is, and
// what was deleted stays deleted, also where the mesh has long forgotten the delete. To bring
// such a value back write it anew, with the Context of a read.
//
// Of a record that the mesh does not know all that was purged since it was read has to be known:
// by the logs of purges of the stores, or by Gone and Whole. Else it is refused. After an error
// some records may have been taken in; to import them again does no harm. The error is
// ErrNotStoring on a node that stores nothing, and tells who is missing when too few homes, or
// too few of those that may remember deletes, are in contact: try again later.
func (b *Bucket) Import(ctx context.Context, in []OldRecord) (Imported, error) {
	if len(in) > MaxImport {
		return Imported{}, fmt.Errorf("%w: %d records at once, at most %d", ErrTooLarge, len(in), MaxImport)
	}
	leave, ok := b.s.gate.Ops.Enter()
	if !ok {
		return Imported{}, ErrClosed
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.s.group.Context(), cancel)()
	records := make([]former.OldRecord, len(in))
	for i := range in {
		var err error
		if records[i], err = b.decodeOld(&in[i]); err != nil {
			return Imported{}, fmt.Errorf("import %q: %w", in[i].Key, err)
		}
	}
	got, err := b.s.former.TakeRecords(ctx, b.b, records)
	return Imported{Brought: got.Brought, Refused: got.Refused}, err
}

func (b *Bucket) decodeOld(r *OldRecord) (out former.OldRecord, err error) {
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
func (b *Bucket) stampHere(r *OldRecord) (purge.Stamp, error) {
	if len(r.Origin) == 0 {
		return purge.Stamp{}, nil
	}
	o, err := wire.DecodeOrigin(r.Origin)
	if err != nil || o.Mesh != b.s.mesh.View().Mesh || o.Shard != b.s.homes.ShardOf(b.b.ID, r.Key) {
		return purge.Stamp{}, err
	}
	return exporting.OriginStamp(o), nil
}
