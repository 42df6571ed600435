package writing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// manyPuts coordinates the writes of a batch at this store. They are committed with one
// sync, those of a key in their order, and leave for each home in one message.
//
// The order of a key holds because its writes are run one after the other on the
// committing goroutine. One whose predecessor was not run to its end, and may yet be, here
// or at another store, is not run before it.
type manyPuts struct {
	c      *Coordinator
	writes []*Request
	then   func(i int, out Outcome, err error) // called once for each; it must not be held up
	before []int                               // the write of the same key before each; -1: none
	failed []error                             // why each was not committed: of the committing goroutine

	mu      sync.Mutex
	ops     []*putOp // the last attempt at each
	ended   []bool
	started storage.Started
	begun   bool // started counts
}

// startAll is a way to queue updates together.
type startAll func(parts []storage.Part) (storage.Started, error)

func newManyPuts(c *Coordinator, writes []*Request, then func(i int, out Outcome, err error)) *manyPuts {
	m := &manyPuts{
		c: c, writes: writes, then: then, before: make([]int, len(writes)), failed: make([]error, len(writes)),
		ops: make([]*putOp, len(writes)), ended: make([]bool, len(writes)),
	}
	last := make(map[string]int, len(writes))
	for i, q := range writes {
		m.before[i] = -1
		if p, ok := last[q.At.Key]; ok {
			m.before[i] = p
		}
		last[q.At.Key] = i
	}
	return m
}

// listAll lists the places of all writes.
func (m *manyPuts) listAll() []int {
	all := make([]int, len(m.writes))
	for i := range all {
		all[i] = i
	}
	return all
}

// startOrWait is for those who must not wait: what has to wait does so aside.
func (m *manyPuts) startOrWait() {
	err := storage.ErrBusy
	if !m.needsClocks() {
		err = m.commitTogether(m.listAll(), false, m.c.opts.Disk.TryStartAll)
	}
	if errors.Is(err, storage.ErrBusy) {
		m.goAside(m.listAll(), m.startAndWait)
	} else if err != nil {
		m.endAll(m.listAll(), m.c.opts.Records.WrapError("write", err))
	}
}

// needsClocks tells whether a write can be dated only when clocks of peers are known.
func (m *manyPuts) needsClocks() bool {
	ends := func(q *Request) bool { return q.Write.TTL > 0 }
	return slices.ContainsFunc(m.writes, ends) && len(m.c.opts.Clocks.Missing()) > 0
}

// startAndWait begins all writes, as soon as there is room for them.
func (m *manyPuts) startAndWait(ctx context.Context) error {
	if m.needsClocks() {
		m.c.opts.Clocks.AskMissing(ctx)
	}
	return m.commitTogether(m.listAll(), false, m.whenRoom(ctx))
}

func (m *manyPuts) whenRoom(ctx context.Context) startAll {
	return func(parts []storage.Part) (storage.Started, error) { return m.c.opts.Disk.StartAll(ctx, parts) }
}

// goAside has a goroutine of its own wait for what some writes need first.
func (m *manyPuts) goAside(list []int, wait func(ctx context.Context) error) {
	err := m.c.waitAside(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 2*m.c.opts.AckTimeout)
		defer cancel()
		if err := wait(ctx); err != nil {
			m.endAll(list, m.c.opts.Records.WrapError("write", err))
		}
	})
	if err != nil {
		m.endAll(list, err)
	}
}

// attempt is one attempt to commit some of the writes.
type attempt struct {
	m        *manyPuts
	shipment *peering.Shipment[wire.Offer, merging.Answer]

	mu         sync.Mutex
	left       int   // whose commit is not known yet
	uninformed []int // that must know first what others know
}

// commitTogether queues writes to be committed together. informed tells that what others know of
// their keys has been asked.
func (m *manyPuts) commitTogether(list []int, informed bool, start startAll) error {
	c := m.c
	a := &attempt{m: m, shipment: c.opts.Offers.Lanes.NewShipment(), left: len(list)}
	parts := make([]storage.Part, 0, len(list))
	lay := c.opts.Homes.Now()
	for _, i := range list {
		q := m.writes[i]
		op := c.newPut(q, c.opts.Homes.MakePlan(lay, lay.RouteOf(q.Bucket, q.At.Shard)))
		op.offers = a.shipment
		op.onResult = func() { a.noteResult(i, op) }
		m.mu.Lock()
		m.ops[i] = op
		m.mu.Unlock()
		terms := keep.Terms{Nothing: informed || q.Write.Seen != nil || q.Bucket.ProvesAbsence(q.At.Shard), Damage: informed, By: q.by}
		gather := func(run func(tx *storage.Tx) error, then func(error)) (storage.Started, error) {
			parts = append(parts, storage.Part{Run: m.runInOrder(i, run), Then: func(err error) { then(err); a.noteCommitted() }})
			return storage.Started{}, nil
		}
		if _, err := c.opts.Records.CommitWrite(gather, q.At, q.Write, op.core.LocalRoles(), terms, op.sendCommitted); err != nil {
			return err
		}
	}
	started, err := start(parts)
	if err == nil {
		m.mu.Lock()
		m.started, m.begun = started, true
		m.mu.Unlock()
	}
	return err
}

// runInOrder runs the update of a write, unless an earlier one of its key must be
// committed first.
func (m *manyPuts) runInOrder(i int, run func(tx *storage.Tx) error) func(tx *storage.Tx) error {
	return func(tx *storage.Tx) error {
		if p := m.before[i]; p >= 0 && m.failed[p] != nil && !EndsSearch(m.failed[p]) {
			m.failed[i] = m.failed[p]
		} else {
			m.failed[i] = run(tx)
		}
		return m.failed[i]
	}
}

// noteResult is told that the result of a write is known.
func (a *attempt) noteResult(i int, op *putOp) {
	out, err := op.currentOutcome()
	if errors.Is(err, keep.ErrUninformed) {
		a.mu.Lock()
		a.uninformed = append(a.uninformed, i)
		a.mu.Unlock()
		return
	}
	a.m.endWrite(i, out, err)
}

// noteCommitted is told that one more write is committed, or will not be. After the last
// one all leave for the homes.
func (a *attempt) noteCommitted() {
	a.mu.Lock()
	a.left--
	last, uninformed := a.left == 0, a.uninformed
	a.mu.Unlock()
	if !last {
		return
	}
	a.shipment.Leave()
	if len(uninformed) > 0 {
		a.m.goAside(uninformed, func(ctx context.Context) error { return a.m.informAll(ctx, uninformed) })
	}
}

// informAll asks what others know of the keys of some writes, and commits these then.
func (m *manyPuts) informAll(ctx context.Context, list []int) error {
	errs := make([]error, len(m.writes))
	var all sync.WaitGroup
	lay := m.c.opts.Homes.Now()
	for _, i := range list {
		if m.before[i] >= 0 && slices.Contains(list, m.before[i]) {
			continue // what the earlier one of the key learns is known to this one
		}
		q := m.writes[i]
		plan := m.c.opts.Homes.MakePlan(lay, lay.RouteOf(q.Bucket, q.At.Shard))
		all.Go(func() { errs[i] = m.c.informWrite(ctx, q, plan) })
	}
	all.Wait()
	ready := make([]int, 0, len(list))
	for _, i := range list {
		if p := m.before[i]; p >= 0 && errs[i] == nil {
			errs[i] = errs[p]
		}
		if errs[i] != nil {
			m.endWrite(i, Outcome{}, errs[i])
		} else {
			ready = append(ready, i)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	return m.commitTogether(ready, true, m.whenRoom(ctx))
}

// endWrite ends one write, if it has not ended.
func (m *manyPuts) endWrite(i int, out Outcome, err error) {
	m.mu.Lock()
	ended := m.ended[i]
	m.ended[i] = true
	m.mu.Unlock()
	if !ended {
		m.c.releaseUnkept(m.writes[i], err)
		m.then(i, out, err)
	}
}

func (m *manyPuts) endAll(list []int, err error) {
	for _, i := range list {
		m.endWrite(i, Outcome{}, err)
	}
}

// abandon ends the wait for what has not ended, because of why.
func (m *manyPuts) abandon(why error) {
	m.mu.Lock()
	unbegun := m.begun && m.started.Abandon()
	ops := slices.Clone(m.ops)
	m.mu.Unlock()
	if !unbegun {
		for _, op := range ops {
			op.abandonWait()
		}
		why = fmt.Errorf("it may or may not be kept: %w", why)
	}
	m.endAll(m.listAll(), m.c.opts.Records.WrapError("write", why))
}

// CoordinateMany coordinates writes of this node's clients, and returns when all have
// ended. then is told of each once, and must not be held up. ErrLeaving: none was begun.
func (c *Coordinator) CoordinateMany(ctx context.Context, writes []*Request, then func(i int, out Outcome, err error)) error {
	tookIn, ok := c.opts.Gate.Taking.Enter()
	if !ok {
		return ErrLeaving
	}
	defer tookIn()
	n := c.admitAll(writes)
	for i := n; i < len(writes); i++ {
		then(i, Outcome{}, admission.Overload{After: admission.RetryAfter})
	}
	if n > 0 {
		c.coordinateMany(ctx, writes[:n], then)
	}
	return nil
}

// admitAll takes places in the intake. It returns how many writes, from the first on, have
// one.
func (c *Coordinator) admitAll(writes []*Request) int {
	passes, sizes := make([]*admission.Pass, len(writes)), make([]int64, len(writes))
	for i, q := range writes {
		passes[i], sizes[i] = &q.pass, int64(q.PendingBytes())
	}
	return c.opts.Intakes.AdmitAll(passes, 0, sizes, c.opts.Uptime())
}

// coordinateMany coordinates writes that are admitted.
func (c *Coordinator) coordinateMany(ctx context.Context, writes []*Request, then func(i int, out Outcome, err error)) {
	var left atomic.Int64
	left.Store(int64(len(writes)))
	done := make(chan struct{})
	m := newManyPuts(c, writes, func(i int, out Outcome, err error) {
		then(i, out, err)
		if left.Add(-1) == 0 {
			close(done)
		}
	})
	if err := m.startAndWait(ctx); err != nil {
		m.endAll(m.listAll(), c.opts.Records.WrapError("write", err))
	}
	select {
	case <-done:
	case <-ctx.Done():
		m.abandon(ctx.Err())
	case <-c.opts.Group.Context().Done():
		m.abandon(context.Canceled)
	}
	<-done
}
