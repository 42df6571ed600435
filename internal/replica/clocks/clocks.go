// Package clocks compares a node's wall clock with those of the stores, and says by
// what time things are dated here. The rules are in reconcile.Peers. This package keeps
// what the peers' clocks have shown, and asks for it.
package clocks

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// askedClocks is how many peers are asked for their clocks at once.
const askedClocks = 8

// anyWall bounds what a clock may show, in milliseconds: far beyond every date.
const anyWall = 1 << 50

// Options describe the clocks of one node. All fields must be set but Votes.
type Options struct {
	Clock   *clock.Clock
	MaxSkew time.Duration // by which clocks may differ
	// Votes says that the node's own clock is one of those that the median is of.
	// A node that stores nothing dates nothing: for it a single store knows better.
	Votes    bool
	Group    *lifecycle.Group // of the questions that nobody waits for
	Silence  *peering.Silence
	Patience replicate.Patience
	// Peers lists the stores in contact.
	Peers func() []view.NodeID
	// Ask asks a store for its clock. It hands what comes to Learn before it
	// returns.
	Ask func(ctx context.Context, id view.NodeID) error
}

// Clocks are this node's wall clock and those of its peers. What a peer shows is noted
// beside the boot clock: when the wall clock is set, that is known at once. All methods
// may be used concurrently.
type Clocks struct {
	opts    Options
	maxSkew int64 // ms
	least   int   // peers whose clocks tell that this one is wrong
	peers   atomic.Pointer[reconcile.Peers]
	asking  chan struct{} // capacity 1: of those who wait for clocks one asks

	mu     sync.Mutex
	seen   map[view.NodeID]peerWall
	stores map[view.NodeID]bool // all there are, this node among them
	steady reconcile.Steady
}

// peerWall is what a peer's clock showed when the boot clock here began.
type peerWall struct {
	wall int64
	away bool // the peer is not in contact
}

// New returns the clocks of a node that knows of nobody's.
func New(opts Options) *Clocks {
	c := &Clocks{opts: opts, maxSkew: opts.MaxSkew.Milliseconds(), least: 1, asking: make(chan struct{}, 1), seen: make(map[view.NodeID]peerWall)}
	if opts.Votes {
		c.least = 2
	}
	own, boot := c.readOwn()
	c.steady = reconcile.NewSteady(own, boot)
	c.peers.Store(&reconcile.Peers{})
	return c
}

// Learn takes in a peer's clock, shown in a message that arrives now. Differences
// below what matters are not even noted.
func (c *Clocks) Learn(id view.NodeID, wall int64) {
	wall = min(max(wall, -anyWall), anyWall)
	at := peerWall{wall: wall - c.opts.Clock.Boot().Milliseconds()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.seen[id]; ok && !old.away && max(old.wall, at.wall)-min(old.wall, at.wall) < 1000 {
		return
	}
	c.seen[id] = at
	c.updateMedian()
}

// Follow takes in who belongs to the mesh, who of them is in contact, and which of them
// are stores.
func (c *Clocks) Follow(inMesh map[view.NodeID]bool, stores []view.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stores = make(map[view.NodeID]bool, len(stores))
	for _, id := range stores {
		c.stores[id] = true
	}
	for id, at := range c.seen {
		in, known := inMesh[id]
		at.away = !in
		if c.seen[id] = at; !known {
			delete(c.seen, id)
		}
	}
	c.updateMedian()
}

// updateMedian works out the median of the stores' clocks: time is kept by no others. It
// needs mu.
func (c *Clocks) updateMedian() {
	var near, away []int64
	for id, at := range c.seen {
		switch {
		case !c.stores[id]:
		case at.away:
			away = append(away, at.wall)
		default:
			near = append(near, at.wall)
		}
	}
	p := reconcile.NewPeers(near, away, c.opts.Votes)
	if p.Others = len(c.stores); c.opts.Votes {
		p.Others = max(p.Others-1, 0)
	}
	c.peers.Store(&p)
}

// readOwn returns what this node's wall clock and boot clock show.
func (c *Clocks) readOwn() (own, boot int64) {
	return c.opts.Clock.Wall().UnixMilli(), c.opts.Clock.Boot().Milliseconds()
}

// readAll returns what this node's clock shows, and the peers'.
func (c *Clocks) readAll() (own int64, peers reconcile.Peers) {
	own, boot := c.readOwn()
	return own, c.peers.Load().Later(boot)
}

// readSteady is readAll, and whether the clock has gone on without a step for so long
// that things may end for good by it.
func (c *Clocks) readSteady() (own int64, peers reconcile.Peers, steady bool) {
	own, boot := c.readOwn()
	return own, c.peers.Load().Later(boot), c.lookSteady(own, boot) >= reconcile.SteadyFor
}

// Now is what things are dated by.
func (c *Clocks) Now() version.HLC {
	own, peers := c.readAll()
	return version.At(peers.Now(own, c.maxSkew))
}

// Early is what readers judge by whether a value has ended.
func (c *Clocks) Early() version.HLC {
	own, peers := c.readAll()
	return version.At(peers.Early(own, c.maxSkew))
}

// ForWrite returns what a write is dated by, from when its TTL counts, and whether what
// was dated here before, ahead of that, is to be taken back.
func (c *Clocks) ForWrite() (now, late version.HLC, corrects bool) {
	own, peers, steady := c.readSteady()
	return version.At(peers.Now(own, c.maxSkew)), version.At(peers.Late(own, c.maxSkew)), peers.Corrects(own, c.maxSkew, steady)
}

// Ended returns the time by which this node may say for good what has ended, and whether
// it may; see reconcile.Peers.Ended.
func (c *Clocks) Ended() (by version.HLC, ok bool) {
	own, peers, steady := c.readSteady()
	ms, ok := peers.Ended(own, c.maxSkew, steady)
	return version.At(ms), ok
}

// lookSteady is for how many milliseconds the wall clock has gone on without a step. A
// step that is taken back between two looks is not seen, and has dated nothing.
func (c *Clocks) lookSteady(own, boot int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steady = c.steady.Look(own, boot, c.maxSkew)
	return c.steady.For(boot)
}

// RanAhead tells by how much what was dated here last is ahead of the time by which things
// are dated now, where the next write does not mend that; start is the ceiling of earlier
// runs. Zero: by nothing that matters.
func (c *Clocks) RanAhead(last, start version.HLC) time.Duration {
	own, peers, steady := c.readSteady()
	return clampMillis(peers.RanAhead(own, c.maxSkew, steady, last.Millis(), start.Millis()))
}

// Off tells by how much the own clock is off, ahead if positive, and whether enough
// peers agree on that so that their clocks count. Zero: by nothing that matters.
func (c *Clocks) Off() (off time.Duration, known bool) {
	own, peers := c.readAll()
	return clampMillis(peers.Off(own, c.maxSkew)), peers.Known
}

// clampMillis is so many milliseconds, or the most that there is room for.
func clampMillis(ms int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	return time.Duration(min(max(ms, -most), most)) * time.Millisecond
}

// Missing lists peers that are to be asked for their clocks, and would answer. There
// are none where those that are known are enough.
func (c *Clocks) Missing() []view.NodeID {
	return slices.DeleteFunc(c.listUnread(c.opts.Peers()), c.opts.Silence.Has)
}

// listUnread lists the peers of whose clocks nothing is known, if that matters.
func (c *Clocks) listUnread(peers []view.NodeID) (out []view.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range peers {
		if at, ok := c.seen[id]; !ok || at.away {
			out = append(out, id)
		}
	}
	if len(peers)-len(out) >= c.least {
		return nil
	}
	return out
}

// AskMissing asks the peers for their clocks unless enough of these are known, so
// that a write's end is not dated by a clock that is wrong since the node started.
func (c *Clocks) AskMissing(ctx context.Context) {
	if len(c.Missing()) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.opts.Group.Context(), cancel)()
	select {
	case c.asking <- struct{}{}:
		c.askAll(ctx, c.Missing())
		<-c.asking
	case <-ctx.Done():
	}
}

// askAll asks some of these peers for their clocks, all at the same time.
func (c *Clocks) askAll(ctx context.Context, peers []view.NodeID) {
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	call, cancel := context.WithTimeout(ctx, c.opts.Patience.Probe())
	defer cancel()
	var all sync.WaitGroup
	for _, id := range peers[:min(len(peers), askedClocks)] {
		all.Go(func() {
			if err := c.opts.Ask(call, id); err != nil && call.Err() != nil && ctx.Err() == nil {
				c.opts.Silence.Note(id, false)
			}
		})
	}
	all.Wait()
}

// AskOne looks at this node's clock and asks one peer for its own: either may have been
// set. It does not wait.
func (c *Clocks) AskOne() {
	c.lookSteady(c.readOwn())
	peers := c.opts.Peers()
	if len(peers) == 0 {
		return
	}
	one := peers[rand.IntN(len(peers))]
	c.opts.Group.Go(func(ctx context.Context) { c.askAll(ctx, []view.NodeID{one}) })
}
