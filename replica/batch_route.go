package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// manyEntry is a write of a batch on its way.
type manyEntry struct {
	*request
	search
	after  uint64 // see Context
	out    outcome
	err    error
	result Result // instead of out, if it was queued or went its own way
	queued bool
}

// routeMany finds coordinators for writes, and returns when all of them have ended. The
// writes of one key have the same way.
func (s *Store) routeMany(ctx context.Context, entries []*manyEntry) {
	begun := time.Now()
	for _, e := range entries {
		e.limitBy(s, begun)
	}
	s.handOn(ctx, entries)
}

// handOn hands writes to the next stores on their ways.
func (s *Store) handOn(ctx context.Context, entries []*manyEntry) {
	parts := make(map[view.NodeID][]*manyEntry)
	for _, e := range entries {
		if err := e.checkSeen(); err != nil {
			e.err = err
		} else if to, ok := e.nextStore(); ok {
			parts[to] = append(parts[to], e)
		} else {
			e.err = e.failure(ctx, s)
		}
	}
	var all sync.WaitGroup
	for to, part := range parts {
		if len(parts) == 1 {
			s.handPart(ctx, to, part)
		} else {
			all.Go(func() { s.handPart(ctx, to, part) })
		}
	}
	all.Wait()
}

// handPart has a store coordinate writes, and others those that it does not take.
func (s *Store) handPart(ctx context.Context, to view.NodeID, part []*manyEntry) {
	if to == s.id {
		s.coordinatePart(ctx, part)
	} else {
		s.forwardPart(ctx, to, part)
	}
	var again []*manyEntry
	rests := make(map[int][]view.NodeID) // by shard: writes of one key go on the same way
	for _, e := range part {
		switch {
		case !e.mayGoOn(e.err):
			continue
		case ctx.Err() != nil:
			e.err = e.failure(ctx, s)
			continue
		case s.group.Context().Err() != nil:
			e.err = ErrClosed
			continue
		}
		rest, ok := rests[e.at.Shard]
		if !ok {
			rest = s.peering.Silence.Without(e.rest, e.begun)
			rests[e.at.Shard] = rest
		}
		e.rest = rest
		again = append(again, e)
	}
	if len(again) > 0 {
		s.handOn(ctx, again)
	}
}

// admitPart takes places in the intake of a store, 0: of this one. It returns the writes
// that have one, with their places; the others are refused.
func (s *Store) admitPart(to view.NodeID, part []*manyEntry, passes []*admission.Pass) []*manyEntry {
	sizes := make([]int64, len(part))
	for i, e := range part {
		sizes[i] = int64(e.pendingBytes())
	}
	n := s.intakes.AdmitAll(passes, to, sizes, s.uptime())
	for _, e := range part[n:] {
		e.err = admission.Overload{After: admission.RetryAfter}
	}
	return part[:n]
}

// coordinatePart coordinates writes here.
func (s *Store) coordinatePart(ctx context.Context, part []*manyEntry) {
	tookIn, ok := s.gate.Taking.Enter()
	if !ok {
		endPart(part, fmt.Errorf("%w: %w", errElsewhere, errLeaving))
		return
	}
	defer tookIn()
	passes := make([]*admission.Pass, len(part))
	writes := make([]*request, len(part))
	for i, e := range part {
		passes[i], writes[i] = &e.pass, e.request
	}
	if part = s.admitPart(0, part, passes); len(part) > 0 {
		s.coordinateMany(ctx, writes[:len(part)], func(i int, out outcome, err error) { part[i].out, part[i].err = out, err })
	}
}

func endPart(part []*manyEntry, err error) {
	for _, e := range part {
		e.out, e.err = outcome{}, err
	}
}

// forwardPart has another store coordinate writes.
func (s *Store) forwardPart(ctx context.Context, to view.NodeID, part []*manyEntry) {
	passes := make([]*admission.Pass, len(part))
	for i := range passes {
		passes[i] = &admission.Pass{}
	}
	if part = s.admitPart(to, part, passes); len(part) == 0 {
		return
	}
	if err := s.askForPart(ctx, to, part); err != nil {
		endPart(part, err)
	}
	for i, e := range part {
		s.endForwarding(passes[i], e.err)
	}
}

// askForPart sends writes to another store, and takes in what it says of them. After an
// error it has taken none, or nobody knows.
func (s *Store) askForPart(ctx context.Context, to view.NodeID, part []*manyEntry) error {
	q := part[0].request
	m := wire.PutManyRequest{Bucket: q.at.Bucket, Level: int64(q.level), MinDurable: uint64(q.durable), Token: q.write.Token}
	size := 128
	var others []view.NodeID
	for _, e := range part {
		m.Puts = append(m.Puts, e.toWire())
		size += len(e.at.Key) + len(e.write.Value) + 64
		for _, id := range e.rest {
			if len(others) < mostOthers && !slices.Contains(others, id) {
				others = append(others, id)
			}
		}
	}
	for attempt := 0; ; attempt++ {
		var err error
		if m.By, err = s.peering.Deadlines.Make(ctx, to, s.timeToBegin(ctx, q.until), q.until, others); err != nil {
			return fmt.Errorf("%w: %w", errElsewhere, err)
		}
		req := s.peering.Buffers.TakeBuffer(size)
		*req = wire.AppendPutManyRequest(*req, &m)
		// A node of an earlier release does not know the question, and is there.
		answer, err := s.peering.AskBulk(ctx, to, wire.MethodPutMany, *req, q.until, others)
		s.peering.Buffers.ReturnBuffer(req)
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
		if s.noteReply(to, p.Code, p.Clock); attempt == 0 && s.mendRefusal(ctx, to, q, p.Code) {
			continue
		}
		if p.Code != wire.CodeOK {
			return q.answeredError(p.Code, p.Text, token.Token{})
		}
		for i := range p.Done {
			part[i].takeDone(&p.Done[i])
		}
		return nil
	}
}

// mostOthers is of how many stores it is found out whether they are silent, too, where
// the first one is.
const mostOthers = 16

// toWire is the write as it travels.
func (e *manyEntry) toWire() wire.ManyPut {
	p := wire.ManyPut{Key: e.at.Key, Value: e.write.Value, Tomb: e.write.Tomb, TTL: uint64(e.write.TTL)}
	if e.write.Seen != nil {
		p.Informed, p.Ctx, p.HLC = true, e.write.Seen.Ctx, e.write.Seen.HLC
	}
	return p
}

// takeDone takes in what the coordinator says.
func (e *manyEntry) takeDone(d *wire.ManyDone) {
	e.err = e.answeredError(d.Code, d.Text, d.Fence)
	e.out = outcome{
		seen:   reconcile.Seen{Ctx: d.Ctx, HLC: d.HLC, Fence: e.write.Token},
		result: replicate.Result{Durable: int(d.Durable), Homes: int(d.Homes), Hinted: int(d.Hinted)},
		dot:    d.Dot, covered: d.Covered,
	}
}

// writeOrQueueMany hands writes to stores, or else keeps them in the outbox. What it has
// kept, or what waits behind what it keeps, has its result.
func (b *Bucket) writeOrQueueMany(ctx context.Context, entries []*manyEntry, o *PutOptions) {
	box := b.s.outbox
	routed := make([]*manyEntry, 0, len(entries))
	waiting := make(map[string][]*manyEntry) // by key, in order
	waits := make(map[string]bool)
	for _, e := range entries {
		key := outbox.Key{Bucket: e.at.Bucket, Key: e.at.Key}
		if _, known := waits[key.Key]; !known {
			waits[key.Key] = box.Concerns(key)
		}
		if waits[key.Key] {
			waiting[key.Key] = append(waiting[key.Key], e)
		} else {
			b.joinSeen(key, e.request, e.after)
			routed = append(routed, e)
		}
	}
	b.s.routeMany(ctx, routed)
	for _, e := range routed {
		switch {
		case errors.Is(e.err, ErrUnavailable):
			waiting[e.at.Key] = append(waiting[e.at.Key], e)
		case e.err == nil, errors.Is(e.err, ErrDegraded):
			box.NoteReached(outbox.Key{Bucket: e.at.Bucket, Key: e.at.Key}, e.out.seen)
		}
	}
	var all sync.WaitGroup
	for _, list := range waiting {
		all.Go(func() {
			for _, e := range list {
				b.queueEntry(ctx, e, writeWish{after: e.after, level: o.Level, durable: o.MinDurable})
			}
		})
	}
	all.Wait()
}

// queueEntry keeps a write of a batch in the outbox, or hands it to a store behind what
// waits there.
func (b *Bucket) queueEntry(ctx context.Context, e *manyEntry, a writeWish) {
	e.queued = true
	if e.err != nil {
		e.result, e.err = b.queueWrite(ctx, e.request, a, e.err)
	} else {
		e.result, e.err = b.writeOrQueue(ctx, e.request, a)
	}
}
