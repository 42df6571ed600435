package writing

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ServePutMany coordinates writes for another node. What it has no room for is refused; the
// answer is given when all has ended.
func (c *Coordinator) ServePutMany(_ context.Context, _ view.NodeID, req []byte, answer func([]byte, error)) {
	m, err := wire.DecodePutManyRequest(req)
	if err != nil {
		answer(nil, err)
		return
	}
	by, err := c.opts.Peers.Deadlines.Read(m.By)
	bucket := c.opts.Homes.Buckets.FindByID(m.Bucket)
	switch {
	case err != nil:
	case bucket == nil:
		err = layout.ErrUnknownBucket
	case bucket.System:
		answer(nil, errors.New("replica: definitions do not come in batches"))
		return
	}
	tookIn, ok := c.opts.Gate.Taking.Enter()
	if err == nil && !ok {
		err = ErrLeaving
	}
	if err != nil {
		if ok {
			tookIn()
		}
		answer(c.refusePutMany(err))
		return
	}
	leave := c.opts.Gate.Ops.Stay()
	reply := wire.PutManyReply{Done: make([]wire.ManyDone, len(m.Puts))}
	writes := c.admitMany(&m, bucket, by, &reply)
	finish := func() {
		for _, q := range writes {
			c.opts.Gate.Clients.ReleaseBytes(q.PendingBytes())
		}
		tookIn()
		reply.Clock = c.opts.Peers.Deadlines.Reading()
		answer(wire.AppendPutManyReply(make([]byte, 0, 64+128*len(reply.Done)), &reply), nil)
		leave()
	}
	if len(writes) == 0 {
		finish()
		return
	}
	var left atomic.Int64
	left.Store(int64(len(writes)))
	newManyPuts(c, writes, func(i int, out Outcome, err error) {
		reply.Done[i] = c.doneOf(out, err)
		if left.Add(-1) == 0 {
			finish()
		}
	}).startOrWait()
}

// admitMany makes requests of the writes for which there is room. Of the others, which are
// the last ones, the reply says that there is none.
func (c *Coordinator) admitMany(m *wire.PutManyRequest, bucket *layout.Bucket, by time.Duration, reply *wire.PutManyReply) []*Request {
	writes := make([]*Request, 0, len(m.Puts))
	ends := c.opts.Uptime() + c.opts.Patience.TakeForOther()
	for i := range m.Puts {
		p := &m.Puts[i]
		q := &Request{
			At: c.opts.Homes.LocateKey(m.Bucket, p.Key), Bucket: bucket, by: by, Ends: ends,
			Write: reconcile.Write{Value: p.Value, Tomb: p.Tomb, TTL: int64(p.TTL), Token: m.Token},
			Level: replicate.Level(m.Level), Durable: int(m.MinDurable),
		}
		if p.Informed {
			q.Write.Seen = &reconcile.Seen{Ctx: p.Ctx, HLC: p.HLC}
		}
		if !c.opts.Gate.Clients.MakeRoom(q.PendingBytes()) {
			break
		}
		writes = append(writes, q)
	}
	n := c.admitAll(writes)
	for _, q := range writes[n:] {
		c.opts.Gate.Clients.ReleaseBytes(q.PendingBytes())
	}
	for i := n; i < len(m.Puts); i++ {
		reply.Done[i] = c.doneOf(Outcome{}, admission.Overload{After: admission.RetryAfter})
	}
	return writes[:n]
}

// refusePutMany says why none of the writes was begun.
func (c *Coordinator) refusePutMany(err error) ([]byte, error) {
	return wire.AppendPutManyReply(nil, &wire.PutManyReply{
		Code: c.opts.Faults.Code(err), Text: wire.FaultText(err), Clock: c.opts.Peers.Deadlines.Reading(),
	}), nil
}

// doneOf is what is said of a write.
func (c *Coordinator) doneOf(out Outcome, err error) wire.ManyDone {
	d := wire.ManyDone{
		Code: c.opts.Faults.Code(err), Durable: uint64(out.Result.Durable), Homes: uint64(out.Result.Homes), Hinted: uint64(out.Result.Hinted),
		Dot: out.Dot, Covered: out.Covered, Ctx: out.Seen.Ctx, HLC: out.Seen.HLC, Fence: FencedBy(err),
	}
	if err != nil {
		d.Text = wire.FaultText(err)
	}
	return d
}
