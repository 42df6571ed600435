package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
)

// Drilled tells what came of a drill. Of Restored, Brought is how many keys were found, and nothing is
// refused: that is for the mesh to decide.
type Drilled struct {
	Restored
	Buckets []DrilledBucket // in the order of their names
	// Unreadable says which records do not decode, though their objects are as they were put. The
	// first thousand are listed.
	Unreadable      []error
	UnreadableInAll int
}

// DrilledBucket is what a restore would bring of one bucket, deletes among it.
type DrilledBucket struct {
	Bucket string
	Keys   int
	Bytes  int64
}

// Drill is a restore without a mesh: it reads at the tiers what Restore would, goes by the same choice
// of backups, tiers and fallbacks, opens and decodes each record, and forgets it. It shows that the
// identities open what is there, that nothing is missing, and how much it is and how long it takes; not
// that what is there is what the mesh holds, nor that a mesh would take all of it. Files of sources
// are not part of it, see Verify.
//
// Whoever may hold an identity runs it now and then: a timer of the machine on which the identity is,
// and not a node. It takes a Restore's configuration without Target, holds 8 bytes for each key in
// memory beside what Restore does, and returns its errors.
func Drill(ctx context.Context, cfg RestoreConfig) (Drilled, error) {
	d := drill{keys: make(map[string]*drilledKeys)}
	cfg.Target, cfg.Resume = &d, nil
	out, err := Restore(ctx, cfg)
	d.out.Restored = out
	for _, b := range d.keys {
		d.out.Buckets = append(d.out.Buckets, DrilledBucket{b.name, len(b.seen), b.bytes})
	}
	slices.SortFunc(d.out.Buckets, func(a, b DrilledBucket) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Keys, b.Keys))
	})
	return d.out, err
}

// drill is the Target of a drill.
type drill struct {
	keys map[string]*drilledKeys // by definition of the bucket
	out  Drilled
}

type drilledKeys struct {
	name  string
	seen  map[uint64]struct{} // hashes of keys: several backups may have one
	bytes int64
}

// Import decodes records as a store does, and counts them.
func (d *drill) Import(_ context.Context, def []byte, in []slice.Old) (slice.Imported, error) {
	b := d.keys[string(def)]
	if b == nil {
		bucket, err := wire.DecodeBucketDef(def)
		if err != nil {
			return slice.Imported{}, err
		}
		b = &drilledKeys{name: bucket.Name, seen: make(map[uint64]struct{})}
		d.keys[string(def)] = b
	}
	var got slice.Imported
	for i := range in {
		if err := checkOld(&in[i]); err != nil {
			if d.out.UnreadableInAll++; len(d.out.Unreadable) < mostFaults {
				d.out.Unreadable = append(d.out.Unreadable, fmt.Errorf("bucket %q, key %.200q: %w", b.name, in[i].Key, err))
			}
			continue
		}
		hash := xxhash.Sum64String(in[i].Key)
		if _, ok := b.seen[hash]; !ok {
			b.seen[hash] = struct{}{}
			b.bytes += int64(len(in[i].Key) + len(in[i].Item))
			got.Brought++
		}
	}
	return got, nil
}

// checkOld decodes a record, what is known to be purged of it, and where it is from.
func checkOld(r *slice.Old) error {
	_, err := wire.DecodeItem(r.Item)
	for _, gone := range r.Gone {
		_, err2 := wire.DecodeItem(gone)
		err = errors.Join(err, err2)
	}
	if len(r.Origin) > 0 {
		_, err2 := wire.DecodeOrigin(r.Origin)
		err = errors.Join(err, err2)
	}
	return err
}
