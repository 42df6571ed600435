package routing

import (
	"context"
	"errors"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// NewDefinition is the write that defines b. Who has seen nothing says so.
func (r *Router) NewDefinition(b *layout.Bucket, at layout.Place, seen *reconcile.Seen) *writing.Request {
	return &writing.Request{
		Bucket: r.opts.Homes.Buckets.System(), At: at, Level: replicate.DefaultLevel, Durable: 1,
		Write: reconcile.Write{Seen: seen, Value: wire.AppendBucketDef(nil, &b.Def)},
	}
}

// sendDefinition tells a store the definition of b, until a time.
func (r *Router) sendDefinition(ctx context.Context, to view.NodeID, b *layout.Bucket, until time.Time) error {
	if b.System {
		return layout.ErrUnknownBucket
	}
	at := r.opts.Homes.LocateKey(layout.SystemBucket, b.Def.Name)
	q := r.NewDefinition(b, at, &reconcile.Seen{})
	q.Until = until
	_, err := r.forwardWrite(ctx, to, q, nil)
	if errors.Is(err, writing.ErrDegraded) {
		return nil
	}
	return err
}
