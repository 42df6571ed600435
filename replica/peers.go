package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// silence remembers which peers did not answer lately. They count as dead
// for a while, until the mesh has made up its mind.
type silence struct {
	hold time.Duration
	any  atomic.Bool // spares those who look at a mesh without trouble the lock

	mu    sync.Mutex
	since map[view.NodeID]time.Time
}

func newSilence(hold time.Duration) *silence {
	return &silence{hold: hold, since: make(map[view.NodeID]time.Time)}
}

// note records whether a peer answered.
func (s *silence) note(id view.NodeID, answered bool) {
	if answered && !s.any.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answered {
		delete(s.since, id)
	} else {
		s.since[id] = time.Now()
	}
	s.any.Store(len(s.since) > 0)
}

// has tells whether a peer is silent.
func (s *silence) has(id view.NodeID) bool {
	if !s.any.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.since[id]
	return ok && time.Since(at) < s.hold
}

// clocks compares this node's wall clock with those of its peers.
type clocks struct {
	maxSkew int64       // ms
	ahead   atomic.Bool // this node is too far ahead of its peers

	mu   sync.Mutex
	diff map[view.NodeID]int64 // ms by which a peer's clock is ahead of ours
}

func newClocks(maxSkew time.Duration) *clocks {
	return &clocks{maxSkew: maxSkew.Milliseconds(), diff: make(map[view.NodeID]int64)}
}

// saw takes in a peer's clock, shown in a message that arrived when our own
// was at own. Differences below what matters are not even noted.
func (c *clocks) saw(id view.NodeID, wall, own int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.diff[id]; ok && max(old, wall-own)-min(old, wall-own) < 1000 {
		return
	}
	c.diff[id] = wall - own
	c.judge(own)
}

// forget drops peers that are not in contact: a node cut off from those that
// know better goes on by its own clock.
func (c *clocks) forget(alive func(view.NodeID) bool, own int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.diff {
		if !alive(id) {
			delete(c.diff, id)
		}
	}
	c.judge(own)
}

func (c *clocks) judge(own int64) {
	c.ahead.Store(reconcile.Ahead(version.At(own), c.readings(own), c.maxSkew))
}

// readings are the peers' clocks when our own is at own.
func (c *clocks) readings(own int64) []version.HLC {
	peers := make([]version.HLC, 0, len(c.diff))
	for _, d := range c.diff {
		peers = append(peers, version.At(own+d))
	}
	return peers
}

// trusted tells whether this node's clock agrees with those of its peers, so
// that it may say what has expired.
func (c *clocks) trusted(own int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return reconcile.Agrees(version.At(own), c.readings(own), c.maxSkew)
}

// buffers lends memory for requests, which a call does not keep.
type buffers struct{ pool sync.Pool }

// keptBuffer is the largest that is lent again.
const keptBuffer = 64 << 10

// get returns an empty slice with room for n bytes.
func (b *buffers) get(n int) *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok && cap(*p) >= n {
		return p
	}
	s := make([]byte, 0, n)
	return &s
}

func (b *buffers) put(p *[]byte) {
	if cap(*p) <= keptBuffer {
		*p = (*p)[:0]
		b.pool.Put(p)
	}
}
