package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// registerHandlers registers the handlers. A node that stores nothing serves nothing.
func (s *Store) registerHandlers() error {
	for method, serve := range map[string]func(context.Context, view.NodeID, []byte) ([]byte, error){
		wire.MethodRead:    s.reader.ServeRead,
		wire.MethodClock:   s.serveClock,
		wire.MethodDigest:  s.comparer.ServeDigest,
		wire.MethodList:    s.comparer.ServeList,
		wire.MethodSums:    s.comparer.ServeSums,
		wire.MethodSketch:  s.comparer.ServeSketch,
		wire.MethodFetch:   s.comparer.ServeFetch,
		wire.MethodStamps:  s.purging.ServeStamps,
		wire.MethodLog:     s.purging.ServeLog,
		wire.MethodPropose: s.purging.ServePropose,
		wire.MethodCommit:  s.purging.ServeCommit,
		wire.MethodCover:   s.carrier.ServeCover,
		wire.MethodHeld:    s.carrier.ServeHeld,
		wire.MethodPage:    s.servePage,
		wire.MethodWatch:   s.serveWatch,
	} {
		err := s.mesh.Handle(method, func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
			leave, err := s.admitPeer(method, from)
			if err != nil {
				return nil, err
			}
			defer leave()
			return serve(ctx, from, req)
		})
		if err != nil {
			return fmt.Errorf("replica: serve %s: %w", method, err)
		}
	}
	for method, serve := range map[string]func(context.Context, view.NodeID, []byte, func([]byte, error)){
		wire.MethodMerge:   s.merger.ServeMerge,
		wire.MethodPut:     s.servePut,
		wire.MethodPutMany: s.servePutMany,
	} {
		err := s.mesh.HandlePrompt(method, func(ctx context.Context, from view.NodeID, req []byte, answer func([]byte, error)) {
			leave, err := s.admitPeer(method, from)
			if err != nil {
				answer(nil, err)
				return
			}
			defer leave()
			serve(ctx, from, req, answer)
		})
		if err != nil {
			return fmt.Errorf("replica: serve %s: %w", method, err)
		}
	}
	return nil
}

// admitPeer lets a request of another node in, until leave is called.
func (s *Store) admitPeer(method string, from view.NodeID) (leave func(), err error) {
	if s.disk == nil {
		return nil, errors.New("replica: this node stores nothing")
	}
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	// What a client's node may ask for, and what only stores have to say to each
	// other: a merge can cover all that there is.
	open := method == wire.MethodPut || method == wire.MethodPutMany || method == wire.MethodRead || method == wire.MethodPage || method == wire.MethodWatch || method == wire.MethodClock
	lay := s.homes.Now()
	if _, member := lay.InMesh[from]; !member && !(open && s.isNewClient(from)) {
		leave()
		return nil, errStranger // it must not get anything before it counts in a purge
	}
	if _, stores := slices.BinarySearch(lay.Members, from); !stores && !open {
		leave()
		return nil, fmt.Errorf("%w: %s", errNoStore, method)
	}
	s.peering.Silence.Note(from, true)
	return leave, nil
}

// isNewClient tells whether a node that stores nothing has come to the mesh since
// the layout was made. It does not count in a purge, so it need not be waited for:
// its first write comes as soon as it has joined.
func (s *Store) isNewClient(id view.NodeID) bool {
	m, ok := s.mesh.View().Member(id)
	return ok && !m.Storing
}

// errStranger: the roster here does not know who asks.
var errStranger = errors.New("replica: not known to belong to the mesh yet")

// errNoStore: the roster says that who asks stores nothing.
var errNoStore = errors.New("replica: only a storing node may ask for this")

// waitAside has a goroutine of its own wait for what a prompt handler must not wait
// for. Requests that are not answered are bounded by the mesh, and so are these.
func (s *Store) waitAside(wait func(ctx context.Context)) error {
	if !s.group.Go(wait) {
		return ErrClosed
	}
	return nil
}

func (s *Store) servePut(_ context.Context, _ view.NodeID, req []byte, answer func([]byte, error)) {
	m, err := wire.DecodePutRequest(req)
	if err != nil {
		answer(nil, err)
		return
	}
	q := &request{
		at:      s.homes.LocateKey(m.Bucket, m.Key),
		bucket:  s.buckets.FindByID(m.Bucket),
		write:   reconcile.Write{Value: m.Value, Tomb: m.Tomb, TTL: int64(m.TTL), Token: m.Token},
		level:   replicate.Level(m.Level),
		durable: int(m.MinDurable),
		ends:    s.uptime() + s.patience.TakeForOther(),
	}
	if m.Informed {
		q.write.Seen = &reconcile.Seen{Ctx: m.Ctx, HLC: m.HLC}
	}
	var tookIn func()
	if q.by, err = s.peering.Deadlines.Read(m.By); err == nil {
		tookIn, err = s.mayCoordinate(q, len(req))
	}
	if err != nil {
		answer(s.putReply(outcome{}, err))
		return
	}
	leave := s.gate.Ops.Stay()
	s.coordinateLater(q, func(out outcome, err error) {
		s.gate.Clients.ReleaseBytes(len(req))
		tookIn()
		answer(s.putReply(out, err))
		leave()
	})
}

func (s *Store) putReply(out outcome, err error) ([]byte, error) {
	if err != nil && errors.Is(err, ErrClosed) {
		return nil, err
	}
	reply := wire.PutReply{
		Code: faults.Code(err), Clock: s.peering.Deadlines.Reading(), Durable: uint64(out.result.Durable), Homes: uint64(out.result.Homes),
		Hinted: uint64(out.result.Hinted), Dot: out.dot, Covered: out.covered, Ctx: out.seen.Ctx, HLC: out.seen.HLC, Fence: FencedBy(err),
	}
	if err != nil {
		reply.Text = wire.FaultText(err)
	}
	return wire.AppendPutReply(make([]byte, 0, 128+len(reply.Text)), &reply), nil
}

// serveClock tells this store's clock.
func (s *Store) serveClock(context.Context, view.NodeID, []byte) ([]byte, error) {
	return wire.AppendPutReply(nil, &wire.PutReply{Clock: s.peering.Deadlines.Reading()}), nil
}

// errUnknownBucket: a write of a bucket whose definition has not come here.
var errUnknownBucket = layout.ErrUnknownBucket

// errLeaving: this store is about to leave and takes nothing more in.
var errLeaving = errors.New("replica: leaving")

// mayCoordinate admits a write that this store is to coordinate for another
// node, or says why not. It never hands the write on: that is for the node that
// asked to decide. What was admitted is to be released, and is taken in until tookIn is
// called.
func (s *Store) mayCoordinate(q *request, size int) (tookIn func(), err error) {
	switch {
	case q.bucket == nil:
		return nil, errUnknownBucket
	}
	if q.bucket.System {
		if err := s.buckets.CheckDefinition(&q.write); err != nil {
			return nil, err
		}
	}
	tookIn, ok := s.gate.Taking.Enter()
	switch {
	case !ok:
		return nil, errLeaving
	case !s.gate.Clients.MakeRoom(size):
		tookIn()
		return nil, admission.Overload{After: admission.RetryAfter}
	case !s.intakes.AdmitPass(&q.pass, 0, q.pendingBytes(), s.uptime()):
		s.gate.Clients.ReleaseBytes(size)
		tookIn()
		return nil, admission.Overload{After: admission.RetryAfter}
	}
	return tookIn, nil
}

func clipText(s string, n int) string { return s[:min(len(s), n)] }
