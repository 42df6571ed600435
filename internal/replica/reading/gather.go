package reading

import (
	"errors"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// getOp drives one read's core.
type getOp struct {
	r     *Reader
	b     *layout.Bucket
	at    layout.Place
	plan  replicate.Plan
	own   keep.Stored // this store's record
	stamp purge.Stamp // with which it was read
	known uint64      // hash of its item, 0: none
	done  chan struct{}

	questions QuestionSender

	mu      sync.Mutex
	core    *replicate.ReadOp
	awaited int         // replies awaited
	limit   *time.Timer // ends it; nil: nothing does yet
}

func (op *getOp) askStores(ids []view.NodeID) {
	for _, id := range ids {
		if id == op.r.opts.Self {
			if op.r.opts.Records == nil {
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
	r := replicate.Reply{From: op.r.opts.Self, Syncing: !op.b.ProvesAbsence(op.at.Shard), Stamp: op.stamp}
	switch {
	case op.stamp.Lagging():
		r.Syncing = true // what it holds may have been purged
	case rec.Damaged:
		r.Know = replicate.Corrupt
		op.r.opts.Repairs.EnqueueDamaged(op.at)
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
	ask, done := event(op.r.opts.Uptime())
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
		op.r.RepairHomes(op.at, merged, stamp, behind)
	}
}

// setEnd bounds the read once it is known when it is to end, until it has. It needs mu.
func (op *getOp) setEnd() {
	switch at, ok := op.core.Ends(); {
	case ok && op.limit == nil:
		op.limit = time.AfterFunc(at-op.r.opts.Uptime(), op.giveUp)
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
