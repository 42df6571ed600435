package writing

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// CoordinateWrite coordinates a write of this node's client. ErrLeaving: it was not begun.
func (c *Coordinator) CoordinateWrite(ctx context.Context, q *Request) (Outcome, error) {
	tookIn, ok := c.opts.Gate.Taking.Enter()
	if !ok {
		return Outcome{}, ErrLeaving
	}
	defer tookIn()
	if !c.opts.Intakes.AdmitPass(&q.pass, 0, q.PendingBytes(), c.opts.Uptime()) {
		return Outcome{}, admission.Overload{After: admission.RetryAfter}
	}
	return c.coordinateWrite(ctx, q)
}

// coordinateWrite commits the write here and sees to its copies.
func (c *Coordinator) coordinateWrite(ctx context.Context, q *Request) (out Outcome, err error) {
	defer func() { c.releaseUnkept(q, err) }()
	if q.Write.TTL > 0 {
		c.opts.Clocks.AskMissing(ctx)
	}
	lay := c.opts.Homes.Now()
	plan := c.opts.Homes.MakePlan(lay, lay.RouteOf(q.Bucket, q.At.Shard))
	base := keep.Terms{Nothing: q.Write.Seen != nil || q.Bucket.ProvesAbsence(q.At.Shard), By: q.by}
	out, err = c.newPut(q, plan).commitAndWait(ctx, base)
	if errors.Is(err, keep.ErrUninformed) {
		if err = c.informWrite(ctx, q, plan); err != nil {
			return Outcome{}, err
		}
		out, err = c.newPut(q, plan).commitAndWait(ctx, keep.Terms{Nothing: true, Damage: true, By: q.by})
	}
	return out, err
}

// releaseUnkept gives back the place of a write that nothing came of. One that is kept
// has it until its client is answered.
func (c *Coordinator) releaseUnkept(q *Request, err error) {
	if err != nil && !errors.Is(err, ErrDegraded) {
		c.opts.Intakes.VoidPass(&q.pass)
	}
}

// coordinateLater is coordinateWrite without the wait: then is called by whoever has
// the last word, and must not hold it up. It is for writes of other nodes. Whether
// one of them still waits is not asked: none waits longer than until the end of the
// operation.
func (c *Coordinator) coordinateLater(q *Request, then func(Outcome, error)) {
	lay := c.opts.Homes.Now()
	plan := c.opts.Homes.MakePlan(lay, lay.RouteOf(q.Bucket, q.At.Shard))
	op := c.newPut(q, plan)
	op.onResult = func() {
		out, err := op.currentOutcome()
		if errors.Is(err, keep.ErrUninformed) {
			c.coordinateAside(q, then)
		} else {
			c.releaseUnkept(q, err)
			then(out, err)
		}
	}
	err := storage.ErrBusy
	if !q.Bucket.System && (q.Write.TTL == 0 || len(c.opts.Clocks.Missing()) == 0) {
		base := keep.Terms{Nothing: q.Write.Seen != nil || q.Bucket.ProvesAbsence(q.At.Shard), By: q.by}
		_, err = c.opts.Records.CommitWrite(c.opts.Disk.TryStart, q.At, q.Write, op.core.LocalRoles(), base, op.sendCommitted)
	}
	if errors.Is(err, storage.ErrBusy) {
		c.coordinateAside(q, then)
	} else if err != nil {
		c.releaseUnkept(q, err)
		then(Outcome{}, err)
	}
}

// coordinateAside is for writes that have to wait for something first.
func (c *Coordinator) coordinateAside(q *Request, then func(Outcome, error)) {
	err := c.waitAside(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 2*c.opts.AckTimeout)
		defer cancel()
		then(c.coordinateWrite(ctx, q))
	})
	if err != nil {
		c.releaseUnkept(q, err)
		then(Outcome{}, err)
	}
}

// informWrite lets a write that is to be based on what this store knows of the key
// be based on what others know, where the store knows nothing. A delete of
// what nobody knows is written too: homes that came with a join may say that a
// key is not there before its former homes have handed it over.
func (c *Coordinator) informWrite(ctx context.Context, q *Request, plan replicate.Plan) error {
	core := replicate.NewRead(plan, replicate.One, q.Write.Tomb, c.opts.AckTimeout)
	core.EndBy(c.opts.Patience.InformUntil(q.Ends))
	read, err := c.opts.Reader.GatherReplies(ctx, q.Bucket, q.At, plan, core)
	if err != nil {
		return err
	}
	if !read.Found() {
		return nil
	}
	if plan.IsHome(c.opts.Self) {
		got, err := c.opts.Records.AcceptAll(ctx, []keep.Arrival{{At: q.At, Item: read.Item, Raw: wire.AppendItem(nil, &read.Item), Stamp: read.Stamp}})
		if err != nil || !got[0].Stale {
			return err
		}
	}
	if q.Write.Seen == nil {
		// No reason to keep what others have, or no leave to, after a purge in
		// which this store has taken part; to have seen it is enough.
		seen := reconcile.SeenOf(read.Item)
		q.Write.Seen = &seen
		for i := range read.Item.Sibs {
			q.covers = append(q.covers, read.Item.Sibs[i].Dot)
		}
	}
	return nil
}
