package keep

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
)

// ListHeld lists the slices of which there are records here.
func (rs *Records) ListHeld(ctx context.Context) ([]layout.Slice, error) {
	var out []layout.Slice
	lower, upper := wire.RecordRange()
	for lower != nil {
		var at layout.Slice
		err := rs.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
			at.Shard, at.Bucket, _, _ = wire.ParseRecordKey(k)
			return ErrStop
		})
		if !errors.Is(err, ErrStop) {
			return out, err
		}
		out = append(out, at)
		lower = wire.After(wire.RecordPrefix(at.Shard, at.Bucket, 0))
	}
	return out, nil
}

// ListStrays lists the slices of which there are records here that this store is
// not to keep, by the layout given. unknown counts those of buckets whose
// definitions have not come here: nobody can tell where they belong.
func (rs *Records) ListStrays(ctx context.Context, lay *layout.Layout) (out []layout.Slice, unknown int, err error) {
	all, err := rs.ListHeld(ctx)
	for _, at := range all {
		switch b := rs.buckets.FindByID(at.Bucket); {
		case b == nil:
			unknown++
		case !lay.IsKeeper(b, at.Shard, rs.id):
			out = append(out, at)
		}
	}
	return out, unknown, err
}

// ListFormerMarks lists the records that this store keeps as the home that it was.
// Those that it keeps for one store only go there as hints.
func (rs *Records) ListFormerMarks(ctx context.Context, at layout.Slice, after string, first bool) (out []replicate.Mark, last bool, err error) {
	prefix := wire.RecordPrefix(at.Shard, at.Bucket, 0)
	lower := prefix
	if !first {
		lower = append(wire.RecordKey(at.Shard, at.Bucket, after), 0)
	}
	last = true
	err = rs.disk.Scan(ctx, lower, wire.After(prefix), func(k, v []byte) error {
		rec, err := DecodeStored(v, nil)
		if err != nil || rec.Damaged || !rec.Home {
			return nil
		}
		if len(out) == PageKeys {
			last = false
			return ErrStop
		}
		_, _, key, _ := wire.ParseRecordKey(k)
		out = append(out, replicate.Mark{Key: key, Hash: rs.digests.hashers[at.Shard].Version(rec.Item)})
		return nil
	})
	if errors.Is(err, ErrStop) {
		err = nil
	}
	return out, last, err
}

// DropHomeRoles takes the role of a home from records that all homes hold, and returns
// how many.
func (rs *Records) DropHomeRoles(ctx context.Context, then *layout.Layout, at layout.Slice, marks []replicate.Mark) (n int, err error) {
	b := rs.buckets.FindByID(at.Bucket)
	err = rs.Update(ctx, "let go of what others keep", func(tx Tx) error {
		n = 0
		now := rs.homes.Now()
		keeper := now.IsKeeper(b, at.Shard, rs.id)
		for _, m := range marks {
			p := rs.homes.LocateKey(at.Bucket, m.Key)
			old, err := tx.Load(p)
			if err != nil {
				return err
			}
			if old.Unknown() || !replicate.MayDrop(then.Roster, now.Roster, keeper, m.Hash, rs.digests.hashers[at.Shard].Version(old.Item)) {
				continue
			}
			r := old.Record
			r.Home = false
			if err := tx.Save(p, old, r, old.Raw); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
