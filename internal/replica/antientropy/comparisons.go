// Package antientropy decides when a store is compared with which peer, and when what
// belongs elsewhere is brought there: at once after an event that raises a doubt,
// again until it is settled, and with a random peer now and then. How two stores are
// compared is not known here.
package antientropy

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// After a comparison or a hand-over that failed, growing from the first to the last:
// what cannot be read here or there is not there a second later.
const (
	firstRetry = time.Second
	lastRetry  = 2 * time.Minute

	silentRetry = 5 * time.Second  // of a peer that does not answer at all: to ask costs little
	missedRetry = 15 * time.Second // of one that misses writes all the time
)

// seldomLook is after how many periods a store without strays looks for some: a
// look reads the first record of each shard.
const seldomLook = 16

// Work is what there is to do, and with whom. Its methods may be called concurrently.
type Work interface {
	// Peers lists the stores in contact that this one can be compared with.
	Peers() []view.NodeID
	// IsPeer tells whether a node is one of these. It must not block.
	IsPeer(id view.NodeID) bool
	// Answers tells whether a peer answers a short question soon.
	Answers(ctx context.Context, peer view.NodeID) bool
	// Compare makes this store and a peer equal. An error says that they may not be.
	Compare(ctx context.Context, peer view.NodeID) error
	// HandOver brings what belongs elsewhere there. An error says that some may
	// still be here.
	HandOver(ctx context.Context) error
}

// Options describe the comparisons of one store. All fields must be set.
type Options struct {
	Work  Work
	Every time.Duration        // between comparisons by chance; negative: never
	Now   func() time.Duration // a clock that only goes on
	Log   *slog.Logger
}

// Comparisons keep this store equal with the other homes of what it holds: with
// every peer about which something has raised a doubt, until it is equal with it,
// and with a random one now and then. All methods may be used concurrently.
type Comparisons struct {
	opts     Options
	kick     notify.Bell
	noStrays atomic.Bool // nothing was here, at the last look, that belongs elsewhere

	mu              sync.Mutex
	doubts          replicate.Doubts
	move            bool               // see to what belongs elsewhere,
	moveAt          time.Duration      // but not before
	moveWait        time.Duration      // after the next time that it fails
	peer            view.NodeID        // with whom this store is being compared
	cancelComparing context.CancelFunc // of that; nil: it is not
}

// New returns comparisons that nothing has raised a doubt for.
func New(opts Options) *Comparisons {
	return &Comparisons{opts: opts, kick: notify.NewBell(), doubts: replicate.Doubts{First: firstRetry, Last: lastRetry}}
}

// Doubt has peers compared with at once, and until they are equal with this store.
func (c *Comparisons) Doubt(peers ...view.NodeID) {
	c.mu.Lock()
	for _, id := range peers {
		if c.opts.Work.IsPeer(id) {
			c.doubts.Raise(id, c.opts.Now())
		}
	}
	c.moveWait = firstRetry
	c.mu.Unlock()
	c.kick.Ring()
}

// DoubtAll is doubt about every peer.
func (c *Comparisons) DoubtAll() { c.Doubt(c.opts.Work.Peers()...) }

// Missed notes that a peer has not got a write. What is kept for it may be delivered
// before it is compared with.
func (c *Comparisons) Missed(peer view.NodeID) {
	c.mu.Lock()
	known := c.doubts.Has(peer)
	c.doubts.Miss(peer, c.opts.Now())
	c.mu.Unlock()
	if !known {
		c.kick.Ring()
	}
}

// EndWith ends the comparison with a peer that is out of contact: it might be waited for
// for long, and others with it.
func (c *Comparisons) EndWith(peers []view.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancelComparing != nil && slices.Contains(peers, c.peer) {
		c.cancelComparing()
	}
}

// Forget drops the doubts about those who do not belong to the mesh any more.
func (c *Comparisons) Forget(belongs func(view.NodeID) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubts.Forget(belongs)
}

// Doubted lists those of the peers in contact with which this store may not be equal.
func (c *Comparisons) Doubted(inContact func(view.NodeID) bool) (out []view.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.doubts.Events() {
		if inContact(id) {
			out = append(out, id)
		}
	}
	return out
}

// Moved has what belongs elsewhere by a new roster brought there.
func (c *Comparisons) Moved() {
	c.LookForStrays()
	c.DoubtAll()
}

// LookForStrays has what belongs elsewhere looked for, should there be any, with the next
// comparison.
func (c *Comparisons) LookForStrays() { c.moveStraysBy(c.opts.Now()) }

// LookLater has it looked for in a while: a write that was routed by an older roster
// has left something here.
func (c *Comparisons) LookLater() {
	c.moveStraysBy(c.opts.Now() + firstRetry)
	c.kick.Ring()
}

func (c *Comparisons) moveStraysBy(at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.move || at < c.moveAt {
		c.move, c.moveAt = true, at
	}
}

// NoteStrays takes note of whether a look has found something that belongs elsewhere.
func (c *Comparisons) NoteStrays(any bool) { c.noStrays.Store(!any) }

// MayHoldStrays tells whether something may be here that belongs elsewhere and was not yet
// seen to.
func (c *Comparisons) MayHoldStrays() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.move
}

// KeepEqual compares and hands over until ctx ends.
func (c *Comparisons) KeepEqual(ctx context.Context) {
	every := c.opts.Every
	tick := time.NewTimer(clock.Jitter(every))
	defer tick.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	ticks := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		case <-due.C:
		case <-tick.C:
			tick.Reset(clock.Jitter(every))
			// What comes here that is to go elsewhere is told of; a look now and
			// then finds what was not.
			if ticks++; !c.noStrays.Load() || ticks%seldomLook == 0 {
				c.LookForStrays()
			}
			if peers := c.opts.Work.Peers(); len(peers) > 0 && every > 0 {
				c.compareByChance(ctx, peers[rand.IntN(len(peers))])
			}
		}
		c.compareDoubted(ctx)
		c.handOver(ctx)
		due.Reset(c.idleTime())
	}
}

// compareByChance finds what nothing has raised a doubt about.
func (c *Comparisons) compareByChance(ctx context.Context, id view.NodeID) {
	if err := c.compareWith(ctx, id); err != nil && ctx.Err() == nil {
		c.Missed(id)
	}
}

// compareDoubted compares with the peers that are due, with each once: one that does
// not answer must not hold up what the others are to get.
func (c *Comparisons) compareDoubted(ctx context.Context) {
	for range c.opts.Work.Peers() {
		c.mu.Lock()
		id, event, ok := c.doubts.Try(c.opts.Now(), c.opts.Work.IsPeer)
		c.mu.Unlock()
		if !ok || ctx.Err() != nil {
			return
		}
		// A short question first: a comparison waits long for its answers.
		there := c.opts.Work.Answers(ctx, id)
		var err error
		if there {
			err = c.compareWith(ctx, id)
		}
		c.mu.Lock()
		switch now := c.opts.Now(); {
		case !there:
			c.doubts.TryBy(id, now+silentRetry)
		case err == nil && !c.doubts.Settle(id, event):
			c.doubts.TryBy(id, now+missedRetry)
		}
		c.mu.Unlock()
	}
}

// compareWith is Work.Compare until the peer is out of contact.
func (c *Comparisons) compareWith(ctx context.Context, id view.NodeID) error {
	inContact, end := context.WithCancel(ctx)
	defer end()
	c.mu.Lock()
	c.peer, c.cancelComparing = id, end
	c.mu.Unlock()
	err := c.opts.Work.Compare(inContact, id)
	c.mu.Lock()
	c.cancelComparing = nil
	c.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		c.opts.Log.Debug("comparison broke off", "peer", id, "error", err)
	}
	return err
}

// handOver brings what belongs elsewhere there, if it is time to.
func (c *Comparisons) handOver(ctx context.Context) {
	c.mu.Lock()
	due := c.move && c.moveAt <= c.opts.Now()
	c.move = c.move && !due
	c.mu.Unlock()
	if !due {
		return
	}
	err := c.opts.Work.HandOver(ctx)
	c.mu.Lock()
	wait := max(c.moveWait, firstRetry)
	if c.moveWait = firstRetry; err != nil {
		c.moveWait = min(2*wait, lastRetry)
	}
	c.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		c.opts.Log.Debug("not all that belongs elsewhere is there", "error", err)
		c.moveStraysBy(c.opts.Now() + wait)
	}
}

// idleTime is for how long there is nothing to do.
func (c *Comparisons) idleTime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.doubts.Due(c.opts.Work.IsPeer)
	if c.move && (!ok || c.moveAt < at) {
		at, ok = c.moveAt, true
	}
	if !ok {
		return 1 << 62
	}
	return max(at-c.opts.Now(), 0)
}
