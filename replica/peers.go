package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
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
