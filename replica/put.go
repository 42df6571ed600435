package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// request is a write on its way to the store that will coordinate it.
type request struct {
	bucket  *layout.Bucket
	at      layout.Place
	write   reconcile.Write
	level   replicate.Level
	durable int // least number of stores
	// by is until when, by this store's boot clock, the write may be committed
	// here, zero for ever. Who forwards a write turns to another store when no
	// answer comes. Were the first one to commit it after that, say because
	// the request hung in a cut until it healed, the write would return from
	// the past and cover what was written or deleted since.
	by time.Duration
	// covers are the live dots of what others have that the write replaces,
	// where this store keeps no record of the key itself.
	covers []version.Dot
	pass   admission.Pass // among the writes that this store coordinates
	ends   time.Duration  // by uptime(), when the client is told how things stand
	until  time.Time      // when the stores that it is handed to must have answered
}

// outcome is what the coordinator says.
type outcome struct {
	seen    reconcile.Seen
	result  replicate.Result
	dot     version.Dot
	covered []version.Dot
}

// coordinateWrite commits the write here and sees to its copies.
func (s *Store) coordinateWrite(ctx context.Context, q *request) (out outcome, err error) {
	defer func() { s.releaseUnkept(q, err) }()
	if q.write.TTL > 0 {
		s.clocks.AskMissing(ctx)
	}
	lay := s.homes.Now()
	plan := s.homes.MakePlan(lay, lay.RouteOf(q.bucket, q.at.Shard))
	base := keep.Terms{Nothing: q.write.Seen != nil || q.bucket.ProvesAbsence(q.at.Shard), By: q.by}
	out, err = s.newPut(q, plan).commitAndWait(ctx, base)
	if errors.Is(err, keep.ErrUninformed) {
		if err = s.informWrite(ctx, q, plan); err != nil {
			return outcome{}, err
		}
		out, err = s.newPut(q, plan).commitAndWait(ctx, keep.Terms{Nothing: true, Damage: true, By: q.by})
	}
	return out, err
}

// releaseUnkept gives back the place of a write that nothing came of. One that is kept
// has it until its client is answered.
func (s *Store) releaseUnkept(q *request, err error) {
	if err != nil && !errors.Is(err, ErrDegraded) {
		s.intakes.VoidPass(&q.pass)
	}
}

// coordinateLater is coordinate without the wait: then is called by whoever has
// the last word, and must not hold it up. It is for writes of other nodes. Whether
// one of them still waits is not asked: none waits longer than until the end of the
// operation.
func (s *Store) coordinateLater(q *request, then func(outcome, error)) {
	lay := s.homes.Now()
	plan := s.homes.MakePlan(lay, lay.RouteOf(q.bucket, q.at.Shard))
	op := s.newPut(q, plan)
	op.onResult = func() {
		out, err := op.currentOutcome()
		if errors.Is(err, keep.ErrUninformed) {
			s.coordinateAside(q, then)
		} else {
			s.releaseUnkept(q, err)
			then(out, err)
		}
	}
	err := storage.ErrBusy
	if !q.bucket.System && (q.write.TTL == 0 || len(s.clocks.Missing()) == 0) {
		base := keep.Terms{Nothing: q.write.Seen != nil || q.bucket.ProvesAbsence(q.at.Shard), By: q.by}
		_, err = s.records.CommitWrite(s.disk.TryStart, q.at, q.write, op.core.LocalRoles(), base, op.sendCommitted)
	}
	if errors.Is(err, storage.ErrBusy) {
		s.coordinateAside(q, then)
	} else if err != nil {
		s.releaseUnkept(q, err)
		then(outcome{}, err)
	}
}

// coordinateAside is for writes that have to wait for something first.
func (s *Store) coordinateAside(q *request, then func(outcome, error)) {
	err := s.waitAside(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.AckTimeout)
		defer cancel()
		then(s.coordinateWrite(ctx, q))
	})
	if err != nil {
		s.releaseUnkept(q, err)
		then(outcome{}, err)
	}
}

// informWrite lets a write that is to be based on what this store knows of the key
// be based on what others know, where the store knows nothing. A delete of
// what nobody knows is written too: homes that came with a join may say that a
// key is not there before its former homes have handed it over.
func (s *Store) informWrite(ctx context.Context, q *request, plan replicate.Plan) error {
	core := replicate.NewRead(plan, replicate.One, q.write.Tomb, s.cfg.AckTimeout)
	core.EndBy(s.patience.InformUntil(q.ends))
	read, err := s.reader.GatherReplies(ctx, q.bucket, q.at, plan, core)
	if err != nil {
		return err
	}
	if !read.Found() {
		return nil
	}
	if plan.IsHome(s.id) {
		got, err := s.records.AcceptAll(ctx, []keep.Arrival{{At: q.at, Item: read.Item, Raw: wire.AppendItem(nil, &read.Item), Stamp: read.Stamp}})
		if err != nil || !got[0].Stale {
			return err
		}
	}
	if q.write.Seen == nil {
		// No reason to keep what others have, or no leave to, after a purge in
		// which this store has taken part; to have seen it is enough.
		seen := reconcile.SeenOf(read.Item)
		q.write.Seen = &seen
		for i := range read.Item.Sibs {
			q.covers = append(q.covers, read.Item.Sibs[i].Dot)
		}
	}
	return nil
}

// putOp drives one write's core. Events come from the committing goroutine and
// from the lanes; nothing blocks under the lock.
type putOp struct {
	s        *Store
	q        *request
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

func (s *Store) newPut(q *request, plan replicate.Plan) *putOp {
	op := &putOp{s: s, q: q, at: q.at, offers: s.offers.Lanes, core: replicate.NewWrite(plan, q.level, q.durable, s.cfg.AckTimeout)}
	op.core.EndBy(q.ends)
	for _, id := range plan.Order[:plan.Homes] {
		if id != s.id && !plan.Live(id) {
			op.away = append(op.away, id)
		}
	}
	return op
}

// commitAndWait commits the write and waits until it is on as many stores as it shall
// be, or the client has no more time.
func (op *putOp) commitAndWait(ctx context.Context, on keep.Terms) (outcome, error) {
	s, done := op.s, make(chan struct{})
	op.onResult = func() { close(done) }
	started, err := s.records.CommitWrite(s.records.WhenRoom(ctx), op.at, op.q.write, op.core.LocalRoles(), on, op.sendCommitted)
	if err != nil {
		return outcome{}, err
	}
	select {
	case <-done:
	case <-ctx.Done():
		if started.Abandon() {
			return outcome{}, s.records.WrapError("write", ctx.Err())
		}
		if !op.abandonWait() {
			return outcome{}, s.records.WrapError("write", fmt.Errorf("it may or may not be kept: %w", ctx.Err()))
		}
	case <-s.group.Context().Done():
		if started.Abandon() {
			return outcome{}, s.records.WrapError("write", context.Canceled)
		}
		op.abandonWait()
		<-done // the committer ends later than this
	}
	out, err := op.currentOutcome()
	if op.q.bucket.System && out.dot.N != 0 {
		s.buckets.LearnDefinitions(op.at.Key, op.wrote.Local.Item, s.clocks.Early())
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
		op.s.noteMissed(id)
	}
}

func (op *putOp) currentOutcome() (outcome, error) {
	op.mu.Lock()
	defer op.mu.Unlock()
	if op.err != nil {
		return outcome{}, op.err
	}
	result := op.core.Result()
	covered := op.wrote.Covered
	for _, d := range op.q.covers {
		if !slices.Contains(covered, d) {
			covered = append(covered, d)
		}
	}
	return outcome{seen: op.wrote.Seen, dot: op.wrote.Dot, covered: covered, result: result}, publicError(result.Err)
}

// feedCore feeds the core an event and does what it asks for.
func (op *putOp) feedCore(event func(now time.Duration) []replicate.Effect) {
	op.mu.Lock()
	now := op.s.uptime()
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
		op.s.intakes.FinishPass(&op.q.pass, now)
	}
	for _, e := range effects {
		op.performEffect(e)
	}
}

func (op *putOp) performEffect(e replicate.Effect) {
	switch e.Kind {
	case replicate.Send:
		op.sendItem(e, op.wrote.Raw, op.wrote.Stamp, op.q.write.Token, op.catchUpAndResend)
	case replicate.Keep:
		if !op.s.group.Go(func(ctx context.Context) {
			if err := op.s.records.KeepHint(ctx, op.at, e.For); err != nil {
				op.s.log.Warn("hint not kept; anti-entropy will find the difference", "home", e.For, "error", err)
				op.s.noteMissed(e.For)
				op.abandonWait()
				return
			}
			op.feedCore(func(time.Duration) []replicate.Effect { return op.core.Kept(e.For) })
		}) {
			op.abandonWait()
		}
	case replicate.Settle:
		op.s.group.Go(func(ctx context.Context) {
			// On failure the hint stays and is delivered once more.
			_, _ = op.s.records.SettleHints(ctx, []keep.Settled{{At: op.at, Target: e.For, Item: op.wrote.Local.Item}})
		})
	case replicate.Finish:
		op.s.intakes.ReleasePass(&op.q.pass)
		op.onResult()
	}
}

// noteMissed notes that a store has not got a write that is synced here, or has not said that
// it did: it lacks that until it is delivered, or found by a comparison. For one that is
// out of contact its return will tell.
func (s *Store) noteMissed(by view.NodeID) {
	if s.disk != nil && s.homes.IsPeer(by) {
		s.carrier.Hints.MarkOwed(by)
		s.entropy.Missed(by)
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
	s := op.s
	again := func(ctx context.Context) error {
		if err := s.purging.CatchUp(ctx, e.To, op.at.Shard); err != nil {
			return err
		}
		stamp := s.records.SyncedStamp(op.at.Shard)
		rec, err := s.records.Load(ctx, op.at)
		if err == nil && !rec.Item.Dominates(op.wrote.Local.Item) {
			err = keep.ErrStale // lost, or purged, in between
		}
		if err == nil {
			op.sendItem(e, rec.Raw, stamp, rec.Item.Fence(), func(e replicate.Effect) { op.noteAnswer(e.To, token.Token{}, keep.ErrStale) })
		}
		return err
	}
	if !s.group.Go(func(ctx context.Context) {
		if err := again(ctx); err != nil {
			op.noteAnswer(e.To, token.Token{}, err)
		}
	}) {
		op.noteAnswer(e.To, token.Token{}, ErrClosed)
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
		fenced := reconcile.CheckFence(op.q.write.Token, seen)
		op.feedCore(func(now time.Duration) []replicate.Effect {
			if fenced != nil {
				return op.core.Fenced(from, fenced, now)
			}
			return op.core.Acked(from, now)
		})
		return
	}
	op.s.intakes.MarkLate(&op.q.pass)
	op.s.noteMissed(from)
	op.feedCore(func(now time.Duration) []replicate.Effect { return op.core.Failed(from, now) })
}
