package peering

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Silence remembers which peers did not answer lately. They count as dead
// for a while, until the mesh has made up its mind.
type Silence struct {
	hold time.Duration
	any  atomic.Bool // spares those who look at a mesh without trouble the lock

	mu     sync.Mutex
	since  map[view.NodeID]time.Time
	awaits map[view.NodeID]*listening
}

// listening is for a sign of life of one peer, by so many.
type listening struct {
	heard     chan struct{} // closed when there was one
	listeners int
}

// NewSilence returns a memory in which a peer stays for hold.
func NewSilence(hold time.Duration) *Silence {
	return &Silence{hold: hold, since: make(map[view.NodeID]time.Time), awaits: make(map[view.NodeID]*listening)}
}

// Note records whether a peer answered.
func (s *Silence) Note(id view.NodeID, answered bool) {
	if answered && !s.any.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answered {
		delete(s.since, id)
		if l := s.awaits[id]; l != nil {
			close(l.heard)
			delete(s.awaits, id)
		}
	} else {
		s.since[id] = time.Now()
	}
	s.updateAny()
}

// Any tells whether a peer may be silent. It costs those nothing who look at a mesh
// without trouble.
func (s *Silence) Any() bool { return s.any.Load() }

func (s *Silence) updateAny() { s.any.Store(len(s.since)+len(s.awaits) > 0) }

// beginListen returns what is closed when a peer is heard. first tells that nobody else
// listens for it. Each listen needs an endListen.
func (s *Silence) beginListen(id view.NodeID) (heard chan struct{}, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.awaits[id]
	if first = l == nil; first {
		l = &listening{heard: make(chan struct{})}
		s.awaits[id] = l
	}
	l.listeners++
	s.updateAny()
	return l.heard, first
}

func (s *Silence) endListen(id view.NodeID, heard chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.awaits[id]; l != nil && l.heard == heard {
		if l.listeners--; l.listeners == 0 {
			delete(s.awaits, id)
		}
	}
	s.updateAny()
}

// Without returns peers but for those that were found silent since a moment.
func (s *Silence) Without(peers []view.NodeID, from time.Time) []view.NodeID {
	if !s.any.Load() {
		return peers
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]view.NodeID, 0, len(peers))
	for _, id := range peers {
		if at, silent := s.since[id]; !silent || at.Before(from) {
			out = append(out, id)
		}
	}
	return out
}

// Has tells whether a peer is silent.
func (s *Silence) Has(id view.NodeID) bool {
	if !s.any.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.since[id]
	return ok && time.Since(at) < s.hold
}
