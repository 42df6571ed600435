// Package routing finds a store that coordinates a write: this one, or another one that it is
// forwarded to.
package routing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Options describe the node whose writes are routed. All fields must be set, Local on a node
// that stores nothing excepted.
type Options struct {
	Self     view.NodeID
	Group    *lifecycle.Group
	Intakes  *admission.Intakes
	Homes    *layout.Homes
	Peers    *peering.Peers
	Local    *writing.Coordinator // nil on a node that stores nothing
	Faults   wire.Faults          // with which other stores answer
	Patience replicate.Patience
	Uptime   func() time.Duration
}

// Router hands writes to coordinators. All methods may be used concurrently.
type Router struct{ opts Options }

// New returns a router that waits to be asked.
func New(opts Options) *Router { return &Router{opts} }

// ErrClockSkew: no home with a clock near that of its peers is in reach, in the words of
// package replica.
var ErrClockSkew = errors.New("replica: clock too far from that of the peers")

// search is the way of a write from one store that may coordinate it to the next: the
// lead of the shard, then other homes, then this store.
type search struct {
	begun time.Time
	rest  []view.NodeID // who was not turned to yet
	last  error         // why another store did not take it, the last one that was turned to
	full  error         // this store has no room for it
}

// beginSearch begins the way of a write.
func (r *Router) beginSearch(q *writing.Request) search {
	lay := r.opts.Homes.Now()
	rt := lay.RouteOf(q.Bucket, q.At.Shard)
	return search{begun: time.Now(), rest: r.opts.Homes.OrderCoordinators(r.opts.Homes.MakePlan(lay, rt), rt)}
}

// limitWrite bounds how long the write may take.
func (r *Router) limitWrite(q *writing.Request, begun time.Time) {
	q.Ends = r.opts.Uptime() + r.opts.Patience.Take()
	q.Until = begun.Add(r.opts.Patience.Forward())
}

// nextStore returns the store to turn to.
func (f *search) nextStore() (to view.NodeID, ok bool) {
	if len(f.rest) == 0 {
		return 0, false
	}
	to, f.rest = f.rest[0], f.rest[1:]
	return to, true
}

// mayGoOn tells whether another store may be turned to after what one has said.
func (f *search) mayGoOn(err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, errElsewhere):
		f.last = err
	case errors.Is(err, keep.ErrStorageFull):
		f.full = err // nothing was written: another home may have room
	default:
		return false
	}
	return true
}

// failureOf says that nobody has taken a write.
func (r *Router) failureOf(ctx context.Context, f *search) error {
	switch {
	case errors.Is(f.last, ErrClockSkew):
		return f.last
	case f.full != nil && f.last == nil: // nobody else was asked, who might keep it all the same
		return f.full
	}
	return errors.Join(r.Unavailable(), f.full, f.last, ctx.Err())
}

// RouteWrite finds a coordinator for the write.
func (r *Router) RouteWrite(ctx context.Context, q *writing.Request) (writing.Outcome, error) {
	if err := q.CheckSeen(); err != nil {
		return writing.Outcome{}, err
	}
	way := r.beginSearch(q)
	r.limitWrite(q, way.begun)
	for {
		to, ok := way.nextStore()
		if !ok {
			return writing.Outcome{}, r.failureOf(ctx, &way)
		}
		out, err := r.handWrite(ctx, to, q, way.rest)
		switch {
		case !way.mayGoOn(err):
			return out, err
		case ctx.Err() != nil:
			return writing.Outcome{}, r.failureOf(ctx, &way)
		case r.opts.Group.Context().Err() != nil:
			return writing.Outcome{}, keep.ErrClosed
		}
		way.rest = r.opts.Peers.Silence.Without(way.rest, way.begun)
	}
}

// handWrite has one store coordinate the write; others may be turned to after it.
func (r *Router) handWrite(ctx context.Context, to view.NodeID, q *writing.Request, others []view.NodeID) (writing.Outcome, error) {
	if to != r.opts.Self {
		var under admission.Pass
		if !r.opts.Intakes.AdmitPass(&under, to, q.PendingBytes(), r.opts.Uptime()) {
			return writing.Outcome{}, admission.Overload{After: admission.RetryAfter}
		}
		out, err := r.forwardWrite(ctx, to, q, others)
		r.endForwarding(&under, err)
		return out, err
	}
	out, err := r.opts.Local.CoordinateWrite(ctx, q)
	if errors.Is(err, writing.ErrLeaving) {
		err = fmt.Errorf("%w: %w", errElsewhere, err)
	}
	return out, err
}

// endForwarding takes note of what a store has made of a write.
func (r *Router) endForwarding(under *admission.Pass, err error) {
	if errors.Is(err, errElsewhere) && !errors.Is(err, context.DeadlineExceeded) {
		r.opts.Intakes.VoidPass(under)
		return
	}
	if errors.Is(err, admission.ErrOverloaded) {
		r.opts.Intakes.MarkLate(under)
	}
	r.opts.Intakes.FinishPass(under, r.opts.Uptime())
}

// Unavailable is peering.ErrUnavailable, and says what is wrong where nobody can ever answer.
func (r *Router) Unavailable() error {
	if len(r.opts.Homes.Now().Placed) == 0 {
		return fmt.Errorf("%w: no member of the mesh stores; set Storing for those nodes that are to", peering.ErrUnavailable)
	}
	return peering.ErrUnavailable
}

// errElsewhere wraps failures after which another store may be asked.
var errElsewhere = errors.New("not coordinated there")
