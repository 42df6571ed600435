package writing

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ServePut coordinates a write for another node, and does not wait for its end.
func (c *Coordinator) ServePut(_ context.Context, _ view.NodeID, req []byte, answer func([]byte, error)) {
	m, err := wire.DecodePutRequest(req)
	if err != nil {
		answer(nil, err)
		return
	}
	q := &Request{
		At:      c.opts.Homes.LocateKey(m.Bucket, m.Key),
		Bucket:  c.opts.Homes.Buckets.FindByID(m.Bucket),
		Write:   reconcile.Write{Value: m.Value, Tomb: m.Tomb, TTL: int64(m.TTL), Token: m.Token},
		Level:   replicate.Level(m.Level),
		Durable: int(m.MinDurable),
		Ends:    c.opts.Uptime() + c.opts.Patience.TakeForOther(),
	}
	if m.Informed {
		q.Write.Seen = &reconcile.Seen{Ctx: m.Ctx, HLC: m.HLC}
	}
	var tookIn func()
	if q.by, err = c.opts.Peers.Deadlines.Read(m.By); err == nil {
		tookIn, err = c.mayCoordinate(q, len(req))
	}
	if err != nil {
		answer(c.putReply(Outcome{}, err))
		return
	}
	leave := c.opts.Gate.Ops.Stay()
	c.coordinateLater(q, func(out Outcome, err error) {
		c.opts.Gate.Clients.ReleaseBytes(len(req))
		tookIn()
		answer(c.putReply(out, err))
		leave()
	})
}

// putReply is what another node is told of its write.
func (c *Coordinator) putReply(out Outcome, err error) ([]byte, error) {
	if err != nil && errors.Is(err, keep.ErrClosed) {
		return nil, err
	}
	reply := wire.PutReply{
		Code: c.opts.Faults.Code(err), Clock: c.opts.Peers.Deadlines.Reading(), Durable: uint64(out.Result.Durable), Homes: uint64(out.Result.Homes),
		Hinted: uint64(out.Result.Hinted), Dot: out.Dot, Covered: out.Covered, Ctx: out.Seen.Ctx, HLC: out.Seen.HLC, Fence: FencedBy(err),
	}
	if err != nil {
		reply.Text = wire.FaultText(err)
	}
	return wire.AppendPutReply(make([]byte, 0, 128+len(reply.Text)), &reply), nil
}

// ServeClock tells this store's clock.
func (c *Coordinator) ServeClock(context.Context, view.NodeID, []byte) ([]byte, error) {
	return wire.AppendPutReply(nil, &wire.PutReply{Clock: c.opts.Peers.Deadlines.Reading()}), nil
}

// mayCoordinate admits a write that this store is to coordinate for another
// node, or says why not. It never hands the write on: that is for the node that
// asked to decide. What was admitted is to be released, and is taken in until tookIn is
// called.
func (c *Coordinator) mayCoordinate(q *Request, size int) (tookIn func(), err error) {
	switch {
	case q.Bucket == nil:
		return nil, layout.ErrUnknownBucket
	}
	if q.Bucket.System {
		if err := c.opts.Homes.Buckets.CheckDefinition(&q.Write); err != nil {
			return nil, err
		}
	}
	tookIn, ok := c.opts.Gate.Taking.Enter()
	switch {
	case !ok:
		return nil, ErrLeaving
	case !c.opts.Gate.Clients.MakeRoom(size):
		tookIn()
		return nil, admission.Overload{After: admission.RetryAfter}
	case !c.opts.Intakes.AdmitPass(&q.pass, 0, q.PendingBytes(), c.opts.Uptime()):
		c.opts.Gate.Clients.ReleaseBytes(size)
		tookIn()
		return nil, admission.Overload{After: admission.RetryAfter}
	}
	return tookIn, nil
}

// waitAside has a goroutine of its own wait for what a prompt handler must not wait
// for. Requests that are not answered are bounded by the mesh, and so are these.
func (c *Coordinator) waitAside(wait func(ctx context.Context)) error {
	if !c.opts.Group.Go(wait) {
		return keep.ErrClosed
	}
	return nil
}
