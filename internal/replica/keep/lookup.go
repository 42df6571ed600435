package keep

import (
	"context"

	"github.com/skeinmesh/skein/internal/wire"
)

// ReplyBytes is after what size a reply with records stops early.
const ReplyBytes = 1 << 20

// AnswerLookups answers questions in their order, as many as a reply holds, and returns how
// many bytes the items of the answers take.
func (rs *Records) AnswerLookups(ctx context.Context, asked []wire.Lookup) (out []wire.Lookedup, size int, err error) {
	out = make([]wire.Lookedup, 0, len(asked))
	for _, q := range asked {
		a, err := rs.AnswerLookup(ctx, q)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, a)
		if size += len(a.Item); size > ReplyBytes {
			break
		}
	}
	return out, size, nil
}

// AnswerLookup answers another store's question for a record. Nothing is said of one that
// may have been purged, that does not read, or that is not here where this store cannot
// tell whether the key exists.
func (rs *Records) AnswerLookup(ctx context.Context, q wire.Lookup) (wire.Lookedup, error) {
	at := rs.homes.LocateKey(q.Bucket, q.Key)
	stamp := rs.SyncedStamp(at.Shard)
	if stamp.Lagging() {
		return wire.Lookedup{Found: wire.Nothing}, nil
	}
	rec, err := rs.Load(ctx, at)
	switch {
	case err != nil:
		return wire.Lookedup{}, err
	case rec.Damaged:
		rs.opts.Damaged(at)
		return wire.Lookedup{Found: wire.Nothing}, nil
	case !rec.Unknown():
		if q.Known != 0 && q.Known == rs.VersionOf(at.Shard, rec.Item) {
			return wire.Lookedup{Found: wire.Same, Stamp: WireStamp(stamp)}, nil
		}
		return wire.Lookedup{Found: wire.Present, Item: rec.Raw, Stamp: WireStamp(stamp)}, nil
	}
	if b := rs.buckets.FindByID(q.Bucket); b != nil && b.ProvesAbsence(at.Shard) {
		return wire.Lookedup{Found: wire.Absent}, nil
	}
	return wire.Lookedup{Found: wire.Nothing}, nil
}
