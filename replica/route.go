package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// search is the way of a write from one store that may coordinate it to the next: the
// lead of the shard, then other homes, then this store.
type search struct {
	begun time.Time
	rest  []view.NodeID // who was not turned to yet
	last  error         // why another store did not take it, the last one that was turned to
	full  error         // this store has no room for it
}

// beginSearch begins the way of a write.
func (s *Store) beginSearch(q *request) search {
	lay := s.homes.Now()
	rt := lay.RouteOf(q.bucket, q.at.Shard)
	return search{begun: time.Now(), rest: s.homes.OrderCoordinators(s.homes.MakePlan(lay, rt), rt)}
}

// limitBy bounds how long the write may take.
func (q *request) limitBy(s *Store, begun time.Time) {
	q.ends = s.uptime() + s.patience.Take()
	q.until = begun.Add(s.patience.Forward())
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
	case errors.Is(err, ErrStorageFull):
		f.full = err // nothing was written: another home may have room
	default:
		return false
	}
	return true
}

// failure says that nobody has taken the write.
func (f *search) failure(ctx context.Context, s *Store) error {
	switch {
	case errors.Is(f.last, ErrClockSkew):
		return f.last
	case f.full != nil && f.last == nil: // nobody else was asked, who might keep it all the same
		return f.full
	}
	return errors.Join(s.unavailable(), f.full, f.last, ctx.Err())
}

// routeWrite finds a coordinator for the write.
func (s *Store) routeWrite(ctx context.Context, q *request) (outcome, error) {
	if err := q.checkSeen(); err != nil {
		return outcome{}, err
	}
	way := s.beginSearch(q)
	q.limitBy(s, way.begun)
	for {
		to, ok := way.nextStore()
		if !ok {
			return outcome{}, way.failure(ctx, s)
		}
		out, err := s.handWrite(ctx, to, q, way.rest)
		switch {
		case !way.mayGoOn(err):
			return out, err
		case ctx.Err() != nil:
			return outcome{}, way.failure(ctx, s)
		case s.group.Context().Err() != nil:
			return outcome{}, ErrClosed
		}
		way.rest = s.peering.Silence.Without(way.rest, way.begun)
	}
}

// handWrite has one store coordinate the write; others may be turned to after it.
func (s *Store) handWrite(ctx context.Context, to view.NodeID, q *request, others []view.NodeID) (outcome, error) {
	if to != s.id {
		var under admission.Pass
		if !s.intakes.AdmitPass(&under, to, q.pendingBytes(), s.uptime()) {
			return outcome{}, admission.Overload{After: admission.RetryAfter}
		}
		out, err := s.forwardWrite(ctx, to, q, others)
		s.endForwarding(&under, err)
		return out, err
	}
	tookIn, ok := s.gate.Taking.Enter()
	if !ok {
		return outcome{}, fmt.Errorf("%w: %w", errElsewhere, errLeaving)
	}
	defer tookIn()
	if !s.intakes.AdmitPass(&q.pass, 0, q.pendingBytes(), s.uptime()) {
		return outcome{}, admission.Overload{After: admission.RetryAfter}
	}
	return s.coordinateWrite(ctx, q)
}

// endForwarding takes note of what a store has made of a write.
func (s *Store) endForwarding(under *admission.Pass, err error) {
	if errors.Is(err, errElsewhere) && !errors.Is(err, context.DeadlineExceeded) {
		s.intakes.VoidPass(under)
		return
	}
	if errors.Is(err, ErrOverloaded) {
		s.intakes.MarkLate(under)
	}
	s.intakes.FinishPass(under, s.uptime())
}

// unavailable is ErrUnavailable, and says what is wrong where nobody can ever answer.
func (s *Store) unavailable() error {
	if len(s.homes.Now().Placed) == 0 {
		return fmt.Errorf("%w: no member of the mesh stores; set Storing for those nodes that are to", ErrUnavailable)
	}
	return ErrUnavailable
}

// checkSeen refuses a write that shows a lower token than its client has seen. Who coordinates
// it may know nothing of that one, and is not told of it.
func (q *request) checkSeen() error {
	if q.write.Seen == nil {
		return nil
	}
	return publicError(reconcile.CheckFence(q.write.Token, q.write.Seen.Fence))
}

// pendingBytes is what a write counts as of what is under way.
func (q *request) pendingBytes() int { return len(q.at.Key) + len(q.write.Value) }

// errElsewhere wraps failures after which another store may be asked.
var errElsewhere = errors.New("not coordinated there")

// forwardWrite has another store coordinate the write. Others may be turned to after it.
func (s *Store) forwardWrite(ctx context.Context, to view.NodeID, q *request, others []view.NodeID) (outcome, error) {
	m := wire.PutRequest{
		Bucket: q.at.Bucket, Key: q.at.Key, Value: q.write.Value, Tomb: q.write.Tomb,
		Level: int64(q.level), MinDurable: uint64(q.durable), TTL: uint64(q.write.TTL),
		Token: q.write.Token,
	}
	if q.write.Seen != nil {
		m.Informed, m.Ctx, m.HLC = true, q.write.Seen.Ctx, q.write.Seen.HLC
	}
	for attempt := 0; ; attempt++ {
		var err error
		if m.By, err = s.peering.Deadlines.Make(ctx, to, s.timeToBegin(ctx, q.until), q.until, others); err != nil {
			return outcome{}, fmt.Errorf("%w: %w", errElsewhere, err)
		}
		req := s.peering.Buffers.TakeBuffer(len(m.Value) + len(m.Key) + 96 + 32*len(m.Ctx))
		*req = wire.AppendPutRequest(*req, &m)
		answer, err := s.peering.Ask(ctx, to, wire.MethodPut, *req, q.until, others)
		s.peering.Buffers.ReturnBuffer(req)
		if err != nil {
			return outcome{}, fmt.Errorf("%w: %w", errElsewhere, err)
		}
		p, err := wire.DecodePutReply(answer)
		if err != nil {
			return outcome{}, fmt.Errorf("%w: %w", errElsewhere, err)
		}
		if s.noteReply(to, p.Code, p.Clock); attempt == 0 && s.mendRefusal(ctx, to, q, p.Code) {
			continue
		}
		out := outcome{
			seen:    reconcile.Seen{Ctx: p.Ctx, HLC: p.HLC, Fence: q.write.Token},
			result:  replicate.Result{Durable: int(p.Durable), Homes: int(p.Homes), Hinted: int(p.Hinted)},
			dot:     p.Dot,
			covered: p.Covered,
		}
		return out, q.answeredError(p.Code, p.Text, p.Fence)
	}
}

// noteReply takes note of the clock of a store that has answered.
func (s *Store) noteReply(from view.NodeID, code wire.Code, clock wire.Clock) {
	if code == wire.CodeLate {
		s.peering.Deadlines.Forget(from)
	}
	s.peering.Deadlines.Learn(from, clock)
}

// mendRefusal sees to the reason for which a store has refused a write, and tells whether
// it may be asked again.
func (s *Store) mendRefusal(ctx context.Context, to view.NodeID, q *request, code wire.Code) bool {
	return code == wire.CodeLate || code == wire.CodeUnknownBucket && s.sendDefinition(ctx, to, q.bucket, q.until) == nil
}

// answeredError is what a store says of a write; seen comes with CodeFenced.
func (q *request) answeredError(code wire.Code, text string, seen token.Token) error {
	err := faults.FromCode(code, text)
	if code == wire.CodeFenced {
		err = publicError(&reconcile.Fenced{Shown: q.write.Token, Seen: seen})
	}
	if !endsSearch(err) {
		return fmt.Errorf("%w: %w", errElsewhere, err)
	}
	return err
}

// timeToBegin is how long another store has to commit a write. It must not begin after
// another one may have been turned to, nor after the caller has gone.
func (s *Store) timeToBegin(ctx context.Context, until time.Time) time.Duration {
	limit := min(s.patience.Begin(), time.Until(until))
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	return limit
}
