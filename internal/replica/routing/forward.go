package routing

import (
	"context"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// forwardWrite has another store coordinate the write. Others may be turned to after it.
func (r *Router) forwardWrite(ctx context.Context, to view.NodeID, q *writing.Request, others []view.NodeID) (writing.Outcome, error) {
	m := wire.PutRequest{
		Bucket: q.At.Bucket, Key: q.At.Key, Value: q.Write.Value, Tomb: q.Write.Tomb,
		Level: int64(q.Level), MinDurable: uint64(q.Durable), TTL: uint64(q.Write.TTL),
		Token: q.Write.Token,
	}
	if q.Write.Seen != nil {
		m.Informed, m.Ctx, m.HLC = true, q.Write.Seen.Ctx, q.Write.Seen.HLC
	}
	for attempt := 0; ; attempt++ {
		var err error
		if m.By, err = r.opts.Peers.Deadlines.Make(ctx, to, r.timeToBegin(ctx, q.Until), q.Until, others); err != nil {
			return writing.Outcome{}, fmt.Errorf("%w: %w", errElsewhere, err)
		}
		req := r.opts.Peers.Buffers.TakeBuffer(len(m.Value) + len(m.Key) + 96 + 32*len(m.Ctx))
		*req = wire.AppendPutRequest(*req, &m)
		answer, err := r.opts.Peers.Ask(ctx, to, wire.MethodPut, *req, q.Until, others)
		r.opts.Peers.Buffers.ReturnBuffer(req)
		if err != nil {
			return writing.Outcome{}, fmt.Errorf("%w: %w", errElsewhere, err)
		}
		p, err := wire.DecodePutReply(answer)
		if err != nil {
			return writing.Outcome{}, fmt.Errorf("%w: %w", errElsewhere, err)
		}
		if r.noteReply(to, p.Code, p.Clock); attempt == 0 && r.mendRefusal(ctx, to, q, p.Code) {
			continue
		}
		out := writing.Outcome{
			Seen:    reconcile.Seen{Ctx: p.Ctx, HLC: p.HLC, Fence: q.Write.Token},
			Result:  replicate.Result{Durable: int(p.Durable), Homes: int(p.Homes), Hinted: int(p.Hinted)},
			Dot:     p.Dot,
			Covered: p.Covered,
		}
		return out, r.answeredError(q, p.Code, p.Text, p.Fence)
	}
}

// noteReply takes note of the clock of a store that has answered.
func (r *Router) noteReply(from view.NodeID, code wire.Code, clock wire.Clock) {
	if code == wire.CodeLate {
		r.opts.Peers.Deadlines.Forget(from)
	}
	r.opts.Peers.Deadlines.Learn(from, clock)
}

// mendRefusal sees to the reason for which a store has refused a write, and tells whether
// it may be asked again.
func (r *Router) mendRefusal(ctx context.Context, to view.NodeID, q *writing.Request, code wire.Code) bool {
	return code == wire.CodeLate || code == wire.CodeUnknownBucket && r.sendDefinition(ctx, to, q.Bucket, q.Until) == nil
}

// answeredError is what a store says of a write; seen comes with CodeFenced.
func (r *Router) answeredError(q *writing.Request, code wire.Code, text string, seen token.Token) error {
	err := r.opts.Faults.FromCode(code, text)
	if code == wire.CodeFenced {
		err = writing.PublicError(&reconcile.Fenced{Shown: q.Write.Token, Seen: seen})
	}
	if !writing.EndsSearch(err) {
		return fmt.Errorf("%w: %w", errElsewhere, err)
	}
	return err
}

// timeToBegin is how long another store has to commit a write. It must not begin after
// another one may have been turned to, nor after the caller has gone.
func (r *Router) timeToBegin(ctx context.Context, until time.Time) time.Duration {
	limit := min(r.opts.Patience.Begin(), time.Until(until))
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	return limit
}
