package writing

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// putOp drives one write's core. Events come from the committing goroutine and
// from the lanes; nothing blocks under the lock.
type putOp struct {
	opts     *Options
	q        *Request
	at       layout.Place
	onResult func()        // called when the result is known, by whoever has the last word
	away     []view.NodeID // homes that were not there when it began
	offers   peering.Sender[wire.Offer, merging.Answer]

	mu         sync.Mutex
	core       *replicate.WriteOp
	clientGone bool         // the client has gone: whatever the result is by then
	limit      *time.Timer  // ends it; nil: nothing does yet
	wrote      keep.Written // once synced here
	err        error        // it was not committed
}

// newPut returns a write that is not committed yet.
func (c *Coordinator) newPut(q *Request, plan replicate.Plan) *putOp {
	op := &putOp{opts: &c.opts, q: q, at: q.At, offers: c.opts.Offers.Lanes, core: replicate.NewWrite(plan, q.Level, q.Durable, c.opts.AckTimeout)}
	op.core.EndBy(q.Ends)
	for _, id := range plan.Order[:plan.Homes] {
		if id != c.opts.Self && !plan.Live(id) {
			op.away = append(op.away, id)
		}
	}
	return op
}

// commitAndWait commits the write and waits until it is on as many stores as it shall
// be, or the client has no more time.
func (op *putOp) commitAndWait(ctx context.Context, on keep.Terms) (Outcome, error) {
	o, done := op.opts, make(chan struct{})
	op.onResult = func() { close(done) }
	started, err := o.Records.CommitWrite(o.Records.WhenRoom(ctx), op.at, op.q.Write, op.core.LocalRoles(), on, op.sendCommitted)
	if err != nil {
		return Outcome{}, err
	}
	select {
	case <-done:
	case <-ctx.Done():
		if started.Abandon() {
			return Outcome{}, o.Records.WrapError("write", ctx.Err())
		}
		if !op.abandonWait() {
			return Outcome{}, o.Records.WrapError("write", fmt.Errorf("it may or may not be kept: %w", ctx.Err()))
		}
	case <-o.Group.Context().Done():
		if started.Abandon() {
			return Outcome{}, o.Records.WrapError("write", context.Canceled)
		}
		op.abandonWait()
		<-done // the committer ends later than this
	}
	out, err := op.currentOutcome()
	if op.q.Bucket.System && out.Dot.N != 0 {
		o.Homes.Buckets.LearnDefinitions(op.at.Key, op.wrote.Local.Item, o.Clocks.Early())
	}
	return out, err
}

// sendCommitted sends the write on its way. It is called on the committing
// goroutine, so that the writes of one sync leave together.
func (op *putOp) sendCommitted(wrote keep.Written, err error) {
	if err != nil {
		op.mu.Lock()
		op.err = err
		op.mu.Unlock()
		op.onResult()
		return
	}
	op.feedCore(func(now time.Duration) []replicate.Effect {
		op.wrote = wrote
		effects := op.core.Committed(now)
		if op.clientGone {
			effects = append(effects, op.core.Abandon()...)
		}
		return effects
	})
	for _, id := range op.away {
		op.opts.Missed(id)
	}
}

func (op *putOp) currentOutcome() (Outcome, error) {
	op.mu.Lock()
	defer op.mu.Unlock()
	if op.err != nil {
		return Outcome{}, op.err
	}
	result := op.core.Result()
	covered := op.wrote.Covered
	for _, d := range op.q.covers {
		if !slices.Contains(covered, d) {
			covered = append(covered, d)
		}
	}
	return Outcome{Seen: op.wrote.Seen, Dot: op.wrote.Dot, Covered: covered, Result: result}, PublicError(result.Err)
}

// feedCore feeds the core an event and does what it asks for.
func (op *putOp) feedCore(event func(now time.Duration) []replicate.Effect) {
	op.mu.Lock()
	now := op.opts.Uptime()
	effects := event(now)
	done := op.wrote.Dot.N != 0 && !op.core.Awaits()
	switch at, ok := op.core.Ends(); {
	case ok && op.limit == nil:
		op.limit = time.AfterFunc(at-now, func() { op.abandonWait() })
	case !ok && op.limit != nil:
		op.limit.Stop() // it has ended: nothing is to hold it any longer
	}
	op.mu.Unlock()
	if done {
		op.opts.Intakes.FinishPass(&op.q.pass, now)
	}
	for _, e := range effects {
		op.performEffect(e)
	}
}

func (op *putOp) performEffect(e replicate.Effect) {
	switch e.Kind {
	case replicate.Send:
		op.sendItem(e, op.wrote.Raw, op.wrote.Stamp, op.q.Write.Token, op.catchUpAndResend)
	case replicate.Keep:
		if !op.opts.Group.Go(func(ctx context.Context) {
			if err := op.opts.Records.KeepHint(ctx, op.at, e.For); err != nil {
				op.opts.Log.Warn("hint not kept; anti-entropy will find the difference", "home", e.For, "error", err)
				op.opts.Missed(e.For)
				op.abandonWait()
				return
			}
			op.feedCore(func(time.Duration) []replicate.Effect { return op.core.Kept(e.For) })
		}) {
			op.abandonWait()
		}
	case replicate.Settle:
		op.opts.Group.Go(func(ctx context.Context) {
			// On failure the hint stays and is delivered once more.
			_, _ = op.opts.Records.SettleHints(ctx, []keep.Settled{{At: op.at, Target: e.For, Item: op.wrote.Local.Item}})
		})
	case replicate.Finish:
		op.opts.Intakes.ReleasePass(&op.q.pass)
		op.onResult()
	}
}

// sendItem sends an item whose highest token is fence; stale is called if its stamp is too
// old for the receiver.
func (op *putOp) sendItem(e replicate.Effect, item []byte, stamp purge.Stamp, fence token.Token, stale func(replicate.Effect)) {
	offer := wire.Offer{Bucket: op.at.Bucket, Key: op.at.Key, For: e.For, Item: item, Stamp: keep.WireStamp(stamp)}
	ok := op.offers.Send(e.To, offer, func(a merging.Answer, err error) {
		if err == nil && a.Stale {
			stale(e)
			return
		}
		seen := fence // set here it would cost each put an allocation
		if !a.Fence.IsZero() {
			seen = a.Fence // which is higher
		}
		op.noteAnswer(e.To, seen, err)
	})
	if !ok {
		op.noteAnswer(e.To, fence, peering.ErrLaneFull)
	}
}

// catchUpAndResend catches up with the purge that a receiver has taken part in and this
// store has not, and sends what the record says then.
func (op *putOp) catchUpAndResend(e replicate.Effect) {
	o := op.opts
	again := func(ctx context.Context) error {
		if err := o.Purging.CatchUp(ctx, e.To, op.at.Shard); err != nil {
			return err
		}
		stamp := o.Records.SyncedStamp(op.at.Shard)
		rec, err := o.Records.Load(ctx, op.at)
		if err == nil && !rec.Item.Dominates(op.wrote.Local.Item) {
			err = keep.ErrStale // lost, or purged, in between
		}
		if err == nil {
			op.sendItem(e, rec.Raw, stamp, rec.Item.Fence(), func(e replicate.Effect) { op.noteAnswer(e.To, token.Token{}, keep.ErrStale) })
		}
		return err
	}
	if !o.Group.Go(func(ctx context.Context) {
		if err := again(ctx); err != nil {
			op.noteAnswer(e.To, token.Token{}, err)
		}
	}) {
		op.noteAnswer(e.To, token.Token{}, keep.ErrClosed)
	}
}

// abandonWait ends the client's wait for what will not come any more. It reports
// false when the write is not even known to be kept.
func (op *putOp) abandonWait() (known bool) {
	op.feedCore(func(time.Duration) []replicate.Effect {
		op.clientGone, known = true, op.wrote.Dot.N != 0 || op.err != nil
		return op.core.Abandon()
	})
	return known
}

// noteAnswer takes note of what a store has made of the item; seen is the highest token that
// it knows of, if it has taken it.
func (op *putOp) noteAnswer(from view.NodeID, seen token.Token, err error) {
	if err == nil {
		fenced := reconcile.CheckFence(op.q.Write.Token, seen)
		op.feedCore(func(now time.Duration) []replicate.Effect {
			if fenced != nil {
				return op.core.Fenced(from, fenced, now)
			}
			return op.core.Acked(from, now)
		})
		return
	}
	op.opts.Intakes.MarkLate(&op.q.pass)
	op.opts.Missed(from)
	op.feedCore(func(now time.Duration) []replicate.Effect { return op.core.Failed(from, now) })
}
