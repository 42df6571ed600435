package replica

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// askedClocks is how many peers are asked for their clocks at once.
const askedClocks = 8

// anyWall bounds what a clock may show, in milliseconds: far beyond every date.
const anyWall = 1 << 50

// clocks compares this node's wall clock with those of the stores, and says by
// what time things are dated here. What a peer shows is noted beside the boot
// clock: when the wall clock is set, that is known at once.
type clocks struct {
	clock   *clock.Clock
	maxSkew int64 // ms
	least   int   // stores whose clocks tell that this one is wrong
	peers   atomic.Pointer[reconcile.Peers]
	asking  chan struct{} // capacity 1: of those who wait for clocks one asks

	mu   sync.Mutex
	seen map[view.NodeID]peerWall
}

// peerWall is what a peer's clock showed when the boot clock here began.
type peerWall struct {
	wall int64
	away bool // the peer is not in contact
}

// newClocks returns the clocks of a node. One that stores nothing dates nothing:
// for it a single store knows better.
func newClocks(c *clock.Clock, maxSkew time.Duration, stores bool) *clocks {
	out := &clocks{clock: c, maxSkew: maxSkew.Milliseconds(), least: 1, asking: make(chan struct{}, 1), seen: make(map[view.NodeID]peerWall)}
	if stores {
		out.least = 2
	}
	out.peers.Store(&reconcile.Peers{})
	return out
}

// saw takes in a peer's clock, shown in a message that arrives now. Differences
// below what matters are not even noted.
func (c *clocks) saw(id view.NodeID, wall int64) {
	wall = min(max(wall, -anyWall), anyWall)
	at := peerWall{wall: wall - c.clock.Boot().Milliseconds()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.seen[id]; ok && !old.away && max(old.wall, at.wall)-min(old.wall, at.wall) < 1000 {
		return
	}
	c.seen[id] = at
	c.judge()
}

// follow takes in who belongs to the mesh, and who of them is in contact.
func (c *clocks) follow(inMesh map[view.NodeID]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, at := range c.seen {
		in, known := inMesh[id]
		at.away = !in
		if c.seen[id] = at; !known {
			delete(c.seen, id)
		}
	}
	c.judge()
}

func (c *clocks) judge() {
	p := reconcile.NewPeers(c.readings(), c.least > 1)
	c.peers.Store(&p)
}

// readings are the clocks of the peers in contact; where these are too few to
// tell, those of the others count as they went on: that they cannot be asked any
// more does not make a wrong clock here a right one.
func (c *clocks) readings() []int64 {
	in := make([]int64, 0, len(c.seen))
	var away []int64
	for _, at := range c.seen {
		if at.away {
			away = append(away, at.wall)
		} else {
			in = append(in, at.wall)
		}
	}
	if len(in) < c.least {
		in = append(in, away...)
	}
	return in
}

// look returns what this node's clock shows, and the peers'.
func (c *clocks) look() (own int64, peers reconcile.Peers) {
	return c.clock.Wall().UnixMilli(), c.peers.Load().Later(c.clock.Boot().Milliseconds())
}

// now is what things are dated by.
func (c *clocks) now() version.HLC {
	own, peers := c.look()
	return version.At(peers.Now(own, c.maxSkew))
}

// early is what readers judge by whether a value has ended.
func (c *clocks) early() version.HLC {
	own, peers := c.look()
	return version.At(peers.Early(own, c.maxSkew))
}

// write returns what a write is dated by, from when its TTL counts, and whether
// the peers have vouched for it.
func (c *clocks) write() (now, late version.HLC, vouched bool) {
	own, peers := c.look()
	return version.At(peers.Now(own, c.maxSkew)), version.At(peers.Late(own, c.maxSkew)), peers.Known
}

// trusted tells whether this node's clock agrees with those of its peers, so
// that it may say what has expired.
func (c *clocks) trusted() bool {
	own, boot := c.clock.Wall().UnixMilli(), c.clock.Boot().Milliseconds()
	c.mu.Lock()
	defer c.mu.Unlock()
	var peers []version.HLC
	for _, wall := range c.readings() {
		peers = append(peers, version.At(wall+boot))
	}
	return reconcile.Agrees(version.At(own), peers, c.maxSkew)
}

// problems tells of a clock that is off.
func (c *clocks) problems(say func(string, ...any)) {
	own, peers := c.look()
	off := time.Duration(peers.Off(own, c.maxSkew)) * time.Millisecond
	way := "ahead of"
	if off < 0 {
		off, way = -off, "behind"
	}
	switch off = off.Round(time.Second); {
	case off == 0:
	case peers.Known:
		say("the clock is %v %s those of the other nodes, which count here as long as that is so: set it right", off, way)
	default:
		say("the clock is %v %s that of the other node, and no third one tells which of them is wrong: set the wrong one right", off, way)
	}
}

// unread lists the peers in contact of whose clocks nothing is known. There are
// none where those that are known are enough.
func (c *clocks) unread(peers []view.NodeID) (out []view.NodeID) {
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

// knowTime asks the peers for their clocks unless enough of these are known, so
// that a write's end is not dated by a clock that is wrong since the node started.
func (s *Store) knowTime(ctx context.Context) {
	if len(s.unread()) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.group.Context(), cancel)()
	select {
	case s.clocks.asking <- struct{}{}:
		s.askClocks(ctx, s.unread())
		<-s.clocks.asking
	case <-ctx.Done():
	}
}

// unread lists peers that are to be asked for their clocks, and would answer.
func (s *Store) unread() []view.NodeID {
	return slices.DeleteFunc(s.clocks.unread(s.peers()), s.peering.Silence.Has)
}

// askClocks asks some of these peers for their clocks, all at the same time.
func (s *Store) askClocks(ctx context.Context, peers []view.NodeID) {
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	call, cancel := context.WithTimeout(ctx, s.cfg.AckTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, id := range peers[:min(len(peers), askedClocks)] {
		all.Go(func() {
			if _, err := s.sendRead(call, id, nil); err != nil && call.Err() != nil && ctx.Err() == nil {
				s.peering.Silence.Note(id, false)
			}
		})
	}
	all.Wait()
}

// readClock asks one peer for its clock, which may have been set.
func (s *Store) readClock(peers []view.NodeID) {
	if len(peers) == 0 {
		return
	}
	one := peers[rand.IntN(len(peers))]
	s.group.Go(func(ctx context.Context) { s.askClocks(ctx, []view.NodeID{one}) })
}
