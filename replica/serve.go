package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// registerHandlers registers the handlers. A node that stores nothing serves nothing.
func (s *Store) registerHandlers() error {
	for method, serve := range map[string]func(context.Context, view.NodeID, []byte) ([]byte, error){
		wire.MethodRead:    s.serveRead,
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
		wire.MethodMerge:   s.serveMerge,
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
	leave, ok := s.gate.ops.Enter()
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

func (s *Store) serveMerge(ctx context.Context, from view.NodeID, req []byte, answer func([]byte, error)) {
	m, err := wire.DecodeMergeRequest(req)
	if err != nil {
		answer(nil, err)
		return
	}
	wall := s.wallMillis()
	s.clocks.Learn(from, m.Wall)
	reply := func(code wire.Code, stale []int, fenced []wire.FencedOffer) []byte {
		return wire.AppendMergeReply(make([]byte, 0, 16), wire.MergeReply{Code: code, Wall: wall, Stale: stale, Fenced: fenced})
	}
	tookIn, ok := s.gate.taking.Enter()
	if !ok {
		answer(reply(wire.CodeNotStored, nil, nil), nil)
		return
	}
	if !s.makeRoom(&s.gate.peers, len(req)) {
		tookIn()
		answer(reply(wire.CodeOverloaded, nil, nil), nil)
		return
	}
	in, definitions, err := s.decodeOffers(from, m.Offers)
	if err != nil {
		s.gate.peers.releaseBytes(len(req))
		tookIn()
		answer(nil, err)
		return
	}
	// The acknowledgements of one sync leave together, as the writes do.
	leave := s.gate.ops.Stay()
	done := func(stale []int, fenced []wire.FencedOffer, err error) {
		s.gate.peers.releaseBytes(len(req))
		tookIn()
		switch {
		case err == nil:
			answer(reply(wire.CodeOK, stale, fenced), nil)
		case ctx.Err() != nil:
			answer(nil, err)
		default:
			answer(reply(wire.CodeStorage, nil, nil), nil)
		}
		leave()
	}
	err = storage.ErrBusy
	if !definitions {
		err = s.records.AcceptLater(in, done)
	}
	if errors.Is(err, storage.ErrBusy) {
		err = s.waitAside(func(context.Context) {
			out, err := s.records.AcceptAll(ctx, in)
			stale, fenced := oddOf(out)
			done(stale, fenced, err)
		})
	}
	if err != nil {
		done(nil, nil, err)
	}
}

// oddOf lists the arrivals, by their place, that were too old, and those of keys that a later
// leader has written here.
func oddOf(out []keep.Merged) (stale []int, fenced []wire.FencedOffer) {
	for i := range out {
		if out[i].Stale {
			stale = append(stale, i)
		}
		if f := out[i].Fence; !f.IsZero() {
			fenced = append(fenced, wire.FencedOffer{Place: i, Token: f})
		}
	}
	return stale, fenced
}

// waitAside has a goroutine of its own wait for what a prompt handler must not wait
// for. Requests that are not answered are bounded by the mesh, and so are these.
func (s *Store) waitAside(wait func(ctx context.Context)) error {
	if !s.group.Go(wait) {
		return ErrClosed
	}
	return nil
}

// decodeOffers decodes what a peer offers; definitions tells whether buckets'
// definitions are among it.
func (s *Store) decodeOffers(from view.NodeID, offers []wire.Offer) (in []keep.Arrival, definitions bool, err error) {
	in = make([]keep.Arrival, len(offers))
	for i := range offers {
		o := &offers[i]
		in[i] = keep.Arrival{At: s.homes.LocateKey(o.Bucket, o.Key), Raw: o.Item, Stamp: keep.StampOf(o.Stamp), From: from}
		if o.For != s.id {
			in[i].Role = replicate.Role{For: o.For}
		}
		if in[i].Item, err = wire.DecodeItem(o.Item); err != nil {
			return nil, false, err
		}
		definitions = definitions || o.Bucket == layout.SystemBucket
	}
	return in, definitions, nil
}

func (s *Store) serveRead(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeReadRequest(req)
	if err != nil {
		return nil, err
	}
	reply := wire.ReadReply{Wall: s.wallMillis()}
	size := 0
	if reply.Items, size, err = s.records.AnswerLookups(ctx, m.Keys); err != nil {
		return nil, err
	}
	return wire.AppendReadReply(make([]byte, 0, size+32+8*len(reply.Items)), &reply), nil
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
	leave := s.gate.ops.Stay()
	s.coordinateLater(q, func(out outcome, err error) {
		s.gate.clients.releaseBytes(len(req))
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
	tookIn, ok := s.gate.taking.Enter()
	switch {
	case !ok:
		return nil, errLeaving
	case !s.makeRoom(&s.gate.clients, size):
		tookIn()
		return nil, overload{retryAfter}
	case !s.intakes.admitPass(&q.pass, 0, q.pendingBytes(), s.uptime()):
		s.gate.clients.releaseBytes(size)
		tookIn()
		return nil, overload{retryAfter}
	}
	return tookIn, nil
}

const retryAfter = 50 * time.Millisecond

func clipText(s string, n int) string { return s[:min(len(s), n)] }

// mergeAnswer is what a store says to an item that is offered.
type mergeAnswer struct {
	stale bool        // it has taken part in a purge that the item's store had not
	fence token.Token // of a later leader than the item knows, who has written the key there
}

// sendMerge is the lane that carries items.
func (s *Store) sendMerge(ctx context.Context, to view.NodeID, offers []wire.Offer) ([]mergeAnswer, error) {
	size := 32
	for i := range offers {
		size += len(offers[i].Item) + len(offers[i].Key) + 32
	}
	buf := s.buffers.takeBuffer(size)
	*buf = wire.AppendMergeRequest(*buf, &wire.MergeRequest{Wall: s.wallMillis(), Offers: offers})
	answer, err := s.mesh.Call(ctx, to, wire.MethodMerge, *buf)
	s.buffers.returnBuffer(buf)
	if err != nil {
		return nil, err
	}
	m, err := wire.DecodeMergeReply(answer)
	if err != nil {
		return nil, err
	}
	s.clocks.Learn(to, m.Wall)
	if m.Code != wire.CodeOK {
		return nil, fmt.Errorf("replica: %v did not store: %w: %w", to, peering.ErrRefused, faults.FromCode(m.Code, ""))
	}
	out := make([]mergeAnswer, len(offers))
	for _, i := range m.Stale {
		if i < len(out) {
			out[i].stale = true
		}
	}
	for _, f := range m.Fenced {
		if f.Place < len(out) {
			out[f.Place].fence = f.Token
		}
	}
	return out, nil
}

// offerItems is sendMerge for items in the background. It returns those, by their place,
// that were too old.
func (s *Store) offerItems(ctx context.Context, to view.NodeID, offers []wire.Offer) (stale []int, err error) {
	got, err := s.sendMerge(ctx, to, offers)
	for i := range got {
		if got[i].stale {
			stale = append(stale, i)
		}
	}
	return stale, err
}

// sendRead is the lane that carries questions.
func (s *Store) sendRead(ctx context.Context, to view.NodeID, keys []wire.Lookup) ([]wire.Lookedup, error) {
	answer, err := s.mesh.Call(ctx, to, wire.MethodRead, wire.AppendReadRequest(nil, &wire.ReadRequest{Keys: keys}))
	if err != nil {
		return nil, err
	}
	m, err := wire.DecodeReadReply(answer)
	if err != nil {
		return nil, err
	}
	s.clocks.Learn(to, m.Wall)
	return m.Items, nil
}
