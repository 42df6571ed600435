// Package reading asks the homes of a key for what they know of it, and brings those up to date
// that turn out to be behind.
package reading

import (
	"context"
	"log/slog"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Options describe what a Reader reads. All fields must be set, Records and Repairs on a node
// that stores nothing excepted.
type Options struct {
	Self       view.NodeID
	Homes      *layout.Homes
	Records    *keep.Records // nil on a node that stores nothing
	Peers      *peering.Peers
	Questions  *Questions
	Offers     *merging.Offers
	Repairs    *Repairs
	Clock      *clock.Clock  // which those that ask are told
	AckTimeout time.Duration // see replica.Config
	Uptime     func() time.Duration
	Log        *slog.Logger
}

// Reader reads keys at the stores that know them, answers those of others, and brings up to date what is
// behind. All methods may be used concurrently.
type Reader struct{ opts Options }

// New returns a reader to which nothing has happened.
func New(opts Options) *Reader { return &Reader{opts} }

// ReadKey reads a key at a level.
func (r *Reader) ReadKey(ctx context.Context, b *layout.Bucket, at layout.Place, level replicate.Level) (replicate.ReadResult, error) {
	return r.BeginRead(ctx, b, at, level, nil, r.opts.Questions.Lanes).AwaitReplies(ctx)
}

// BeginRead begins to read a key at a level, and what its client has seen of it.
func (r *Reader) BeginRead(ctx context.Context, b *layout.Bucket, at layout.Place, level replicate.Level, seen version.Context, questions QuestionSender) UnderWay {
	lay := r.opts.Homes.Now()
	rt := lay.RouteOf(b, at.Shard)
	if level == replicate.One && r.opts.Records != nil && rt.IsHome(r.opts.Self) && !r.opts.Records.SyncedStamp(at.Shard).Lagging() {
		// The commonest read needs nobody else: a record counts at once, unless
		// it may have been purged.
		rec, err := r.opts.Records.Load(ctx, at)
		if err != nil {
			return UnderWay{err: r.opts.Records.WrapError("read", err)}
		}
		if !rec.Unknown() && rec.Item.Ctx.Includes(seen) {
			return UnderWay{known: replicate.ReadResult{Item: rec.Item, Replies: 1}}
		}
	}
	plan := r.opts.Homes.MakePlan(lay, rt)
	if level == replicate.One {
		plan = plan.NearestFirst(func(id view.NodeID) replicate.Distance {
			return replicate.Distance{OtherZone: !lay.SameZone[id], RoundTrip: r.opts.Peers.RoundTrips.Of(id)}
		})
	}
	core := replicate.NewRead(plan, level, false, r.opts.AckTimeout)
	core.Cover(seen)
	if level == replicate.One {
		core.AskOneFirst()
	}
	return r.beginGather(ctx, b, at, plan, core, questions)
}

// ReadByPlan gathers what the plan's stores know of a key. all asks every home.
func (r *Reader) ReadByPlan(ctx context.Context, b *layout.Bucket, at layout.Place, plan replicate.Plan, level replicate.Level, all bool) (replicate.ReadResult, error) {
	return r.GatherReplies(ctx, b, at, plan, replicate.NewRead(plan, level, all, r.opts.AckTimeout))
}

// GatherReplies has a core read.
func (r *Reader) GatherReplies(ctx context.Context, b *layout.Bucket, at layout.Place, plan replicate.Plan, core *replicate.ReadOp) (replicate.ReadResult, error) {
	return r.beginGather(ctx, b, at, plan, core, r.opts.Questions.Lanes).AwaitReplies(ctx)
}

// UnderWay is a read that was begun: where op is nil it has ended.
type UnderWay struct {
	op    *getOp
	known replicate.ReadResult
	err   error
}

// beginGather has a core begin to read.
func (r *Reader) beginGather(ctx context.Context, b *layout.Bucket, at layout.Place, plan replicate.Plan, core *replicate.ReadOp, questions QuestionSender) UnderWay {
	op := &getOp{r: r, b: b, at: at, plan: plan, core: core, questions: questions, done: make(chan struct{})}
	if r.opts.Records != nil {
		op.stamp = r.opts.Records.SyncedStamp(at.Shard)
		rec, err := r.opts.Records.Load(ctx, at)
		if err != nil {
			return UnderWay{err: r.opts.Records.WrapError("read", err)}
		}
		op.own = rec
		if !rec.Unknown() {
			op.known = r.opts.Records.VersionOf(at.Shard, rec.Item)
		}
	}
	op.mu.Lock()
	ask := op.core.Start(r.opts.Uptime())
	if op.awaited += len(ask); op.awaited == 0 {
		op.core.Abandon() // nobody is there to ask
	}
	op.setEnd()
	op.mu.Unlock()
	if len(ask) == 0 {
		return UnderWay{known: op.core.Result()}
	}
	op.askStores(ask)
	return UnderWay{op: op}
}

// AwaitReplies waits for the end of a read, or that of ctx.
func (u UnderWay) AwaitReplies(ctx context.Context) (replicate.ReadResult, error) {
	op := u.op
	if op == nil {
		return u.known, u.err
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

// ServeRead answers questions for records of this store.
func (r *Reader) ServeRead(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeReadRequest(req)
	if err != nil {
		return nil, err
	}
	reply := wire.ReadReply{Wall: r.opts.Clock.Wall().UnixMilli()}
	size := 0
	if reply.Items, size, err = r.opts.Records.AnswerLookups(ctx, m.Keys); err != nil {
		return nil, err
	}
	return wire.AppendReadReply(make([]byte, 0, size+32+8*len(reply.Items)), &reply), nil
}
