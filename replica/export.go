package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/internal/replica/exporting"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
)

// Export reads what this node is to back up: the slices of which it is the first home in contact,
// so that each is read by one node of those that can reach each other. On the sides of a cut
// each side reads. It returns nil at once on a node that stores nothing.
//
// begin is called for each such slice. It returns what is to be called for each of its records,
// in the order of their keys, or nil to leave the slice out. After the last record it is called
// with nil, or not at all when the records could not all be read: then Export goes on with the
// next slice and returns an error that wraps ErrDamaged or ErrStorage, and names the slices, in
// the end. A record is valid during the call only. An error of begin or of what it returned ends Export with that error.
//
// Reading is held back to Config.TransferRate, and to less while clients are being served.
func (s *Store) Export(ctx context.Context, begin func(slice.Slice) (each func(*slice.Record) error, err error)) error {
	if s.exporter == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.group.Context(), cancel)()
	var failed []error
	var page exporting.Page // its room serves all slices
	for _, led := range s.exporter.ListLed() {
		x := exportOfSlice{s: s, led: led, page: &page}
		err := ctx.Err()
		if err == nil {
			err = x.readSlice(ctx, begin)
		}
		switch {
		case s.group.Context().Err() != nil:
			return ErrClosed
		case err != nil:
			return err
		}
		if x.failed != nil {
			failed = append(failed, fmt.Errorf("bucket %q, shard %d: %w", led.Bucket.Def.Name, led.At.Shard, s.records.WrapError("export", x.failed)))
		}
	}
	return errors.Join(failed...)
}

// exportOfSlice is the reading of one slice.
type exportOfSlice struct {
	s      *Store
	led    exporting.Led
	page   *exporting.Page
	failed error // why it could not all be read
}

// readSlice returns the errors of the caller's functions, and of ctx.
func (x *exportOfSlice) readSlice(ctx context.Context, begin func(slice.Slice) (func(*slice.Record) error, error)) error {
	out := slice.Slice{Bucket: x.led.Bucket.Def.Name, Shard: x.led.At.Shard, Def: wire.AppendBucketDef(nil, &x.led.Bucket.Def)}
	state, err := x.s.exporter.ReadState(ctx, x.led)
	switch {
	case errors.Is(err, ErrNotReady):
		out.Err = ErrNotReady
	case err != nil:
		x.failed = err
		return ctx.Err()
	default:
		out.Origin = wire.AppendOrigin(nil, state.Origin)
		binary.BigEndian.PutUint64(out.Digest[:], state.Digest.Key)
		binary.BigEndian.PutUint64(out.Digest[8:], state.Digest.Version)
	}
	each, err := begin(out)
	if err != nil || each == nil || out.Err != nil {
		return err
	}
	for x.page.Next = nil; ; {
		if err := x.s.exporter.ReadPage(ctx, x.led.At, x.page); err != nil {
			x.failed = err
			return ctx.Err()
		}
		for i := range x.page.Records {
			r := slice.Record(x.page.Records[i])
			if err := each(&r); err != nil {
				return err
			}
		}
		if x.page.Next == nil {
			// What it has let go of meanwhile, as a home that is none any more, or as one that has
			// lost records, is not gone; and a log of purges that was cut has holes.
			after, err := x.s.exporter.ReadState(ctx, x.led)
			if err == nil && after.Origin.From != state.Origin.From {
				err = ErrNotReady
			}
			if err != nil {
				x.failed = err
				return ctx.Err()
			}
			return each(nil)
		}
	}
}

// DefineBucket opens the bucket of a slice.Slice by its Def, and defines it where the mesh does not know it. A
// bucket that this node has opened has the configuration that it was opened with, another one the
// defaults. The errors are those of Store.Bucket.
func (s *Store) DefineBucket(ctx context.Context, def []byte) (*Bucket, error) {
	d, err := wire.DecodeBucketDef(def)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadBucket, err)
	}
	if b := s.buckets.FindByID(layout.BucketID(def)); b != nil && !b.System {
		return &Bucket{s: s, b: b, cfg: s.opened.configOf(b.ID)}, nil
	}
	cfg := BucketConfig{Copies: d.Copies, Zones: d.Zones}
	if d.Siblings {
		cfg.Policy = Siblings
	}
	return s.Bucket(ctx, d.Name, cfg)
}
