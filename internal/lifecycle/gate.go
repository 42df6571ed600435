package lifecycle

import (
	"sync"
	"sync/atomic"
)

// Gate counts who is within, lets nobody in while it is shut, and tells when all have
// left. Make one with NewGate. All methods may be used concurrently; Enter and what it
// returns take no lock while the gate is open.
type Gate struct {
	inside atomic.Int64
	shut   atomic.Bool
	leave  func() // one for all, so that Enter allocates nothing

	mu    sync.Mutex
	empty chan struct{} // closed when all have left; made anew by Open
	quiet bool          // empty is closed
}

// NewGate returns a gate that is open.
func NewGate() *Gate {
	g := &Gate{empty: make(chan struct{})}
	g.leave = g.countOut
	return g
}

// Enter lets in unless the gate is shut. Who was let in must call leave, once.
func (g *Gate) Enter() (leave func(), ok bool) {
	// The order keeps who enters from being missed: it counts before it looks, and Shut
	// counts after it has shut.
	g.inside.Add(1)
	if g.shut.Load() {
		g.countOut()
		return nil, false
	}
	return g.leave, true
}

// Stay is Enter for one more by somebody who is within, also when the gate is shut: what
// goes on in another goroutine.
func (g *Gate) Stay() (leave func()) {
	g.inside.Add(1)
	return g.leave
}

func (g *Gate) countOut() {
	if g.inside.Add(-1) == 0 && g.shut.Load() {
		g.closeIfEmpty()
	}
}

// closeIfEmpty closes empty if nobody is within.
func (g *Gate) closeIfEmpty() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut.Load() && !g.quiet && g.inside.Load() == 0 {
		g.quiet = true
		close(g.empty)
	}
}

// Shut lets nobody in any more. It returns a channel that is closed when all have left,
// and does not wait.
func (g *Gate) Shut() (empty <-chan struct{}) {
	g.shut.Store(true)
	g.closeIfEmpty()
	return g.Empty()
}

// Open lets in again.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut.Store(false)
	if g.quiet {
		g.quiet, g.empty = false, make(chan struct{})
	}
}

// IsShut tells whether the gate is shut.
func (g *Gate) IsShut() bool { return g.shut.Load() }

// Empty returns what Shut returns.
func (g *Gate) Empty() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.empty
}
