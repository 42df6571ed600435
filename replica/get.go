package replica

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// readKey reads a key at a level.
func (s *Store) readKey(ctx context.Context, b *layout.Bucket, at layout.Place, level replicate.Level) (replicate.ReadResult, error) {
	return s.beginRead(ctx, b, at, level, nil, s.reads).awaitReplies(ctx)
}

// beginRead begins to read a key at a level, and what its client has seen of it.
func (s *Store) beginRead(ctx context.Context, b *layout.Bucket, at layout.Place, level replicate.Level, seen version.Context, questions lookupSender) readUnderWay {
	lay := s.homes.Now()
	rt := lay.RouteOf(b, at.Shard)
	if level == replicate.One && s.disk != nil && rt.IsHome(s.id) && !s.records.SyncedStamp(at.Shard).Lagging() {
		// The commonest read needs nobody else: a record counts at once, unless
		// it may have been purged.
		rec, err := s.records.Load(ctx, at)
		if err != nil {
			return readUnderWay{err: s.records.WrapError("read", err)}
		}
		if !rec.Unknown() && rec.Item.Ctx.Includes(seen) {
			return readUnderWay{known: replicate.ReadResult{Item: rec.Item, Replies: 1}}
		}
	}
	plan := s.homes.MakePlan(lay, rt)
	if level == replicate.One {
		plan = plan.NearestFirst(func(id view.NodeID) replicate.Distance {
			return replicate.Distance{OtherZone: !lay.SameZone[id], RoundTrip: s.peering.RoundTrips.Of(id)}
		})
	}
	core := replicate.NewRead(plan, level, false, s.cfg.AckTimeout)
	core.Cover(seen)
	if level == replicate.One {
		core.AskOneFirst()
	}
	return s.beginGather(ctx, b, at, plan, core, questions)
}

// readByPlan gathers what the plan's stores know of a key. all asks every home.
func (s *Store) readByPlan(ctx context.Context, b *layout.Bucket, at layout.Place, plan replicate.Plan, level replicate.Level, all bool) (replicate.ReadResult, error) {
	return s.gatherReplies(ctx, b, at, plan, replicate.NewRead(plan, level, all, s.cfg.AckTimeout))
}

// gatherReplies has a core read.
func (s *Store) gatherReplies(ctx context.Context, b *layout.Bucket, at layout.Place, plan replicate.Plan, core *replicate.ReadOp) (replicate.ReadResult, error) {
	return s.beginGather(ctx, b, at, plan, core, s.reads).awaitReplies(ctx)
}

// lookupSender carries questions to stores.
type lookupSender = peering.Sender[wire.Lookup, wire.Lookedup]

// readUnderWay is a read that was begun: where op is nil it has ended.
type readUnderWay struct {
	op    *getOp
	known replicate.ReadResult
	err   error
}

// beginGather has a core begin to read.
func (s *Store) beginGather(ctx context.Context, b *layout.Bucket, at layout.Place, plan replicate.Plan, core *replicate.ReadOp, questions lookupSender) readUnderWay {
	op := &getOp{s: s, b: b, at: at, plan: plan, core: core, questions: questions, done: make(chan struct{})}
	if s.disk != nil {
		op.stamp = s.records.SyncedStamp(at.Shard)
		rec, err := s.records.Load(ctx, at)
		if err != nil {
			return readUnderWay{err: s.records.WrapError("read", err)}
		}
		op.own = rec
		if !rec.Unknown() {
			op.known = s.records.VersionOf(at.Shard, rec.Item)
		}
	}
	op.mu.Lock()
	ask := op.core.Start(s.uptime())
	if op.awaited += len(ask); op.awaited == 0 {
		op.core.Abandon() // nobody is there to ask
	}
	op.setEnd()
	op.mu.Unlock()
	if len(ask) == 0 {
		return readUnderWay{known: op.core.Result()}
	}
	op.askStores(ask)
	return readUnderWay{op: op}
}

// awaitReplies waits for the end of a read, or that of ctx.
func (r readUnderWay) awaitReplies(ctx context.Context) (replicate.ReadResult, error) {
	op := r.op
	if op == nil {
		return r.known, r.err
	}
	select {
	case <-op.done:
	case <-ctx.Done():
		op.mu.Lock()
		op.core.Abandon()
		op.setEnd()
		op.mu.Unlock()
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	return op.core.Result(), nil
}

// getOp drives one read's core.
type getOp struct {
	s     *Store
	b     *layout.Bucket
	at    layout.Place
	plan  replicate.Plan
	own   keep.Stored // this store's record
	stamp purge.Stamp // with which it was read
	known uint64      // hash of its item, 0: none
	done  chan struct{}

	questions lookupSender

	mu      sync.Mutex
	core    *replicate.ReadOp
	awaited int         // replies awaited
	limit   *time.Timer // ends it; nil: nothing does yet
}

func (op *getOp) askStores(ids []view.NodeID) {
	for _, id := range ids {
		if id == op.s.id {
			if op.s.disk == nil {
				op.noteFailed(id) // no key has a home just now, and this node has nothing
			} else {
				op.noteReply(op.ownReply(op.own))
			}
			continue
		}
		q := wire.Lookup{Bucket: op.at.Bucket, Key: op.at.Key, Known: op.known}
		ok := op.questions.Send(id, q, func(a wire.Lookedup, err error) {
			if r, err := op.decodeReply(id, a, err); err != nil {
				op.noteFailed(id)
			} else {
				op.noteReply(r)
			}
		})
		if !ok {
			op.noteFailed(id)
		}
	}
}

// ownReply is this store's own answer.
func (op *getOp) ownReply(rec keep.Stored) replicate.Reply {
	r := replicate.Reply{From: op.s.id, Syncing: !op.b.ProvesAbsence(op.at.Shard), Stamp: op.stamp}
	switch {
	case op.stamp.Lagging():
		r.Syncing = true // what it holds may have been purged
	case rec.Damaged:
		r.Know = replicate.Corrupt
		op.s.repairs.enqueueDamaged(op.at)
	case !rec.Unknown():
		r.Know, r.Item = replicate.Present, rec.Item
	}
	return r
}

// decodeReply reads another store's answer.
func (op *getOp) decodeReply(from view.NodeID, a wire.Lookedup, err error) (replicate.Reply, error) {
	r := replicate.Reply{From: from, Stamp: keep.StampOf(a.Stamp)}
	if err != nil {
		return r, err
	}
	switch a.Found {
	case wire.Present:
		r.Know = replicate.Present
		r.Item, err = wire.DecodeItem(a.Item)
	case wire.Same:
		r.Know, r.Item, r.Stamp = replicate.Present, op.own.Item, r.Stamp.Least(op.stamp)
		if op.own.Unknown() {
			err = errors.New("the same as nothing")
		}
	case wire.Nothing:
		r.Syncing = true
	}
	return r, err
}

func (op *getOp) noteReply(r replicate.Reply) {
	op.feedCore(func(now time.Duration) ([]view.NodeID, bool) { return op.core.Replied(r, now) })
}

func (op *getOp) noteFailed(id view.NodeID) {
	op.feedCore(func(now time.Duration) ([]view.NodeID, bool) { return op.core.Failed(id, now) })
}

func (op *getOp) feedCore(event func(now time.Duration) ([]view.NodeID, bool)) {
	op.mu.Lock()
	ask, done := event(op.s.uptime())
	op.awaited += len(ask) - 1
	last := op.awaited == 0
	var behind []view.NodeID
	if last {
		behind = op.core.Repairs()
	}
	merged, stamp := op.core.Merged()
	op.setEnd()
	op.mu.Unlock()
	op.askStores(ask)
	if done {
		close(op.done)
	}
	if len(behind) > 0 {
		op.s.repairs.repairHomes(op.at, merged, stamp, behind)
	}
}

// setEnd bounds the read once it is known when it is to end, until it has. It needs mu.
func (op *getOp) setEnd() {
	switch at, ok := op.core.Ends(); {
	case ok && op.limit == nil:
		op.limit = time.AfterFunc(at-op.s.uptime(), op.giveUp)
	case !ok && op.limit != nil:
		op.limit.Stop() // it has ended: nothing is to hold it any longer
	}
}

// giveUp ends the read with what there is.
func (op *getOp) giveUp() {
	op.mu.Lock()
	defer op.mu.Unlock()
	if op.core.Abandon() {
		close(op.done)
	}
}
