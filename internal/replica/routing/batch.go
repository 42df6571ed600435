package routing

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Entry is a write of a batch.
type Entry struct {
	*writing.Request

	// Out and Err are what became of it.
	Out writing.Outcome
	Err error

	search
}

// RouteMany finds coordinators for writes of one bucket, and returns when all of them have
// ended.
func (r *Router) RouteMany(ctx context.Context, entries []*Entry) {
	begun := time.Now()
	ways := make(map[int]search) // by shard: writes of one key go the same way
	for _, e := range entries {
		way, ok := ways[e.At.Shard]
		if !ok {
			way = r.beginSearch(e.Request)
			ways[e.At.Shard] = way
		}
		e.search = way
		r.limitWrite(e.Request, begun)
	}
	r.handOn(ctx, entries)
}

// handOn hands writes to the next stores on their ways.
func (r *Router) handOn(ctx context.Context, entries []*Entry) {
	parts := make(map[view.NodeID][]*Entry)
	for _, e := range entries {
		if err := e.CheckSeen(); err != nil {
			e.Err = err
		} else if to, ok := e.nextStore(); ok {
			parts[to] = append(parts[to], e)
		} else {
			e.Err = r.failureOf(ctx, &e.search)
		}
	}
	var all sync.WaitGroup
	for to, part := range parts {
		if len(parts) == 1 {
			r.handPart(ctx, to, part)
		} else {
			all.Go(func() { r.handPart(ctx, to, part) })
		}
	}
	all.Wait()
}

// handPart has a store coordinate writes, and others those that it does not take.
func (r *Router) handPart(ctx context.Context, to view.NodeID, part []*Entry) {
	if to == r.opts.Self {
		r.coordinatePart(ctx, part)
	} else {
		r.forwardPart(ctx, to, part)
	}
	var again []*Entry
	rests := make(map[int][]view.NodeID) // by shard: writes of one key go on the same way
	for _, e := range part {
		switch {
		case !e.mayGoOn(e.Err):
			continue
		case ctx.Err() != nil:
			e.Err = r.failureOf(ctx, &e.search)
			continue
		case r.opts.Group.Context().Err() != nil:
			e.Err = keep.ErrClosed
			continue
		}
		rest, ok := rests[e.At.Shard]
		if !ok {
			rest = r.opts.Peers.Silence.Without(e.rest, e.begun)
			rests[e.At.Shard] = rest
		}
		e.rest = rest
		again = append(again, e)
	}
	if len(again) > 0 {
		r.handOn(ctx, again)
	}
}

// admitPart takes places in the intake of another store. It returns the writes
// that have one, with their places; the others are refused.
func (r *Router) admitPart(to view.NodeID, part []*Entry, passes []*admission.Pass) []*Entry {
	sizes := make([]int64, len(part))
	for i, e := range part {
		sizes[i] = int64(e.PendingBytes())
	}
	n := r.opts.Intakes.AdmitAll(passes, to, sizes, r.opts.Uptime())
	for _, e := range part[n:] {
		e.Err = admission.Overload{After: admission.RetryAfter}
	}
	return part[:n]
}

// coordinatePart coordinates writes here.
func (r *Router) coordinatePart(ctx context.Context, part []*Entry) {
	writes := make([]*writing.Request, len(part))
	for i, e := range part {
		writes[i] = e.Request
	}
	err := r.opts.Local.CoordinateMany(ctx, writes, func(i int, out writing.Outcome, err error) { part[i].Out, part[i].Err = out, err })
	if err != nil {
		endPart(part, fmt.Errorf("%w: %w", errElsewhere, err))
	}
}

func endPart(part []*Entry, err error) {
	for _, e := range part {
		e.Out, e.Err = writing.Outcome{}, err
	}
}

// forwardPart has another store coordinate writes.
func (r *Router) forwardPart(ctx context.Context, to view.NodeID, part []*Entry) {
	passes := make([]*admission.Pass, len(part))
	for i := range passes {
		passes[i] = &admission.Pass{}
	}
	if part = r.admitPart(to, part, passes); len(part) == 0 {
		return
	}
	if err := r.askForPart(ctx, to, part); err != nil {
		endPart(part, err)
	}
	for i, e := range part {
		r.endForwarding(passes[i], e.Err)
	}
}

// askForPart sends writes to another store, and takes in what it says of them. After an
// error it has taken none, or nobody knows.
func (r *Router) askForPart(ctx context.Context, to view.NodeID, part []*Entry) error {
	q := part[0].Request
	m := wire.PutManyRequest{Bucket: q.At.Bucket, Level: int64(q.Level), MinDurable: uint64(q.Durable), Token: q.Write.Token}
	size := 128
	var others []view.NodeID
	for _, e := range part {
		m.Puts = append(m.Puts, e.toWire())
		size += len(e.At.Key) + len(e.Write.Value) + 64
		for _, id := range e.rest {
			if len(others) < mostOthers && !slices.Contains(others, id) {
				others = append(others, id)
			}
		}
	}
	for attempt := 0; ; attempt++ {
		var err error
		if m.By, err = r.opts.Peers.Deadlines.Make(ctx, to, r.timeToBegin(ctx, q.Until), q.Until, others); err != nil {
			return fmt.Errorf("%w: %w", errElsewhere, err)
		}
		req := r.opts.Peers.Buffers.TakeBuffer(size)
		*req = wire.AppendPutManyRequest(*req, &m)
		// A node of an earlier release does not know the question, and is there.
		answer, err := r.opts.Peers.AskBulk(ctx, to, wire.MethodPutMany, *req, q.Until, others)
		r.opts.Peers.Buffers.ReturnBuffer(req)
		if err != nil {
			return fmt.Errorf("%w: %w", errElsewhere, err)
		}
		p, err := wire.DecodePutManyReply(answer)
		if err == nil && p.Code == wire.CodeOK && len(p.Done) != len(part) {
			err = fmt.Errorf("replica: %d results for %d writes", len(p.Done), len(part))
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errElsewhere, err)
		}
		if r.noteReply(to, p.Code, p.Clock); attempt == 0 && r.mendRefusal(ctx, to, q, p.Code) {
			continue
		}
		if p.Code != wire.CodeOK {
			return r.answeredError(q, p.Code, p.Text, token.Token{})
		}
		for i := range p.Done {
			r.takeDone(part[i], &p.Done[i])
		}
		return nil
	}
}

// mostOthers is of how many stores it is found out whether they are silent, too, where
// the first one is.
const mostOthers = 16

// toWire is the write as it travels.
func (e *Entry) toWire() wire.ManyPut {
	p := wire.ManyPut{Key: e.At.Key, Value: e.Write.Value, Tomb: e.Write.Tomb, TTL: uint64(e.Write.TTL)}
	if e.Write.Seen != nil {
		p.Informed, p.Ctx, p.HLC = true, e.Write.Seen.Ctx, e.Write.Seen.HLC
	}
	return p
}

// takeDone takes in what the coordinator says.
func (r *Router) takeDone(e *Entry, d *wire.ManyDone) {
	e.Err = r.answeredError(e.Request, d.Code, d.Text, d.Fence)
	e.Out = writing.Outcome{
		Seen:   reconcile.Seen{Ctx: d.Ctx, HLC: d.HLC, Fence: e.Write.Token},
		Result: replicate.Result{Durable: int(d.Durable), Homes: int(d.Homes), Hinted: int(d.Hinted)},
		Dot:    d.Dot, Covered: d.Covered,
	}
}
