package replica

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

// servePutMany coordinates writes for another node. What it has no room for is refused; the
// answer is given when all has ended.
func (s *Store) servePutMany(_ context.Context, _ view.NodeID, req []byte, answer func([]byte, error)) {
	m, err := wire.DecodePutManyRequest(req)
	if err != nil {
		answer(nil, err)
		return
	}
	by, err := s.peering.Deadlines.Read(m.By)
	bucket := s.buckets.FindByID(m.Bucket)
	switch {
	case err != nil:
	case bucket == nil:
		err = errUnknownBucket
	case bucket.System:
		answer(nil, errors.New("replica: definitions do not come in batches"))
		return
	}
	tookIn, ok := s.gate.Taking.Enter()
	if err == nil && !ok {
		err = errLeaving
	}
	if err != nil {
		if ok {
			tookIn()
		}
		answer(s.refusePutMany(err))
		return
	}
	leave := s.gate.Ops.Stay()
	reply := wire.PutManyReply{Done: make([]wire.ManyDone, len(m.Puts))}
	writes := s.admitMany(&m, bucket, by, &reply)
	finish := func() {
		for _, q := range writes {
			s.gate.Clients.ReleaseBytes(q.pendingBytes())
		}
		tookIn()
		reply.Clock = s.peering.Deadlines.Reading()
		answer(wire.AppendPutManyReply(make([]byte, 0, 64+128*len(reply.Done)), &reply), nil)
		leave()
	}
	if len(writes) == 0 {
		finish()
		return
	}
	var left atomic.Int64
	left.Store(int64(len(writes)))
	newManyPuts(s, writes, func(i int, out outcome, err error) {
		reply.Done[i] = doneOf(out, err)
		if left.Add(-1) == 0 {
			finish()
		}
	}).startOrWait()
}

// admitMany makes requests of the writes for which there is room. Of the others, which are
// the last ones, the reply says that there is none.
func (s *Store) admitMany(m *wire.PutManyRequest, bucket *layout.Bucket, by time.Duration, reply *wire.PutManyReply) []*request {
	writes := make([]*request, 0, len(m.Puts))
	passes := make([]*admission.Pass, 0, len(m.Puts))
	sizes := make([]int64, 0, len(m.Puts))
	ends := s.uptime() + s.patience.TakeForOther()
	for i := range m.Puts {
		p := &m.Puts[i]
		q := &request{
			at: s.homes.LocateKey(m.Bucket, p.Key), bucket: bucket, by: by, ends: ends,
			write: reconcile.Write{Value: p.Value, Tomb: p.Tomb, TTL: int64(p.TTL), Token: m.Token},
			level: replicate.Level(m.Level), durable: int(m.MinDurable),
		}
		if p.Informed {
			q.write.Seen = &reconcile.Seen{Ctx: p.Ctx, HLC: p.HLC}
		}
		if !s.gate.Clients.MakeRoom(q.pendingBytes()) {
			break
		}
		writes, passes, sizes = append(writes, q), append(passes, &q.pass), append(sizes, int64(q.pendingBytes()))
	}
	n := s.intakes.AdmitAll(passes, 0, sizes, s.uptime())
	for _, q := range writes[n:] {
		s.gate.Clients.ReleaseBytes(q.pendingBytes())
	}
	for i := n; i < len(m.Puts); i++ {
		reply.Done[i] = doneOf(outcome{}, admission.Overload{After: admission.RetryAfter})
	}
	return writes[:n]
}

// refusePutMany says why none of the writes was begun.
func (s *Store) refusePutMany(err error) ([]byte, error) {
	return wire.AppendPutManyReply(nil, &wire.PutManyReply{
		Code: faults.Code(err), Text: wire.FaultText(err), Clock: s.peering.Deadlines.Reading(),
	}), nil
}

// doneOf is what is said of a write.
func doneOf(out outcome, err error) wire.ManyDone {
	d := wire.ManyDone{
		Code: faults.Code(err), Durable: uint64(out.result.Durable), Homes: uint64(out.result.Homes), Hinted: uint64(out.result.Hinted),
		Dot: out.dot, Covered: out.covered, Ctx: out.seen.Ctx, HLC: out.seen.HLC, Fence: FencedBy(err),
	}
	if err != nil {
		d.Text = wire.FaultText(err)
	}
	return d
}
