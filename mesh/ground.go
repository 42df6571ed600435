package mesh

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ground is what all conversations of a node stand on: who the node is in this run, what
// it knows of the mesh, and how it reaches others. It knows none of them.
type ground struct {
	*life
	id       view.NodeID
	boot     uint64
	instance uint64 // of this run
	pace     pace
	clock    *clock.Clock
	started  time.Time

	book        *book
	views       *notify.Value[view.View]
	link        *link.Link // nil until it is open
	work        *lifecycle.Group
	wasAdmitted atomic.Bool // another node has admitted this run
}

// uptime is the time since the start of the node, by a clock that never goes
// back.
func (g *ground) uptime() time.Duration { return time.Since(g.started) }

// isAlive tells whether this node has, or may have, contact with another.
func (g *ground) isAlive(id view.NodeID) bool {
	m, ok := g.views.Get().Member(id)
	return ok && (id == g.id || m.State == view.Alive || m.State == view.Suspect)
}

// life is how far a node has come: it is opened, then ready, and stops once.
type life struct {
	log       *slog.Logger
	opened    chan struct{} // closed when all parts are there
	readyOnce sync.Once
	ready     chan struct{} // closed by markReady
	stopOnce  sync.Once
	done      chan struct{} // closed when the node begins to stop
	stopped   chan struct{} // closed when everything has ended
	err       error         // why it stopped; valid once done is closed

	mark func(wire.End) error // marks the directory with how its node ended
	shut func()               // ends all parts
}

func newLife(log *slog.Logger, mark func(wire.End) error) *life {
	return &life{
		log: log, mark: mark, shut: func() {},
		opened: make(chan struct{}), ready: make(chan struct{}), done: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// isOpen waits until all parts of the node are there and tells whether they
// are. The link is at work earlier than that.
func (l *life) isOpen() bool {
	select {
	case <-l.opened:
		return true
	case <-l.done:
		return false
	}
}

func (l *life) markReady() { l.readyOnce.Do(func() { close(l.ready) }) }

func (l *life) hasStopped() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *life) stopError() error {
	if l.err != nil {
		return l.err
	}
	return ErrClosed
}

// closedError is ErrClosed, with the reason if the node stopped by itself.
func (l *life) closedError() error {
	if l.err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, l.err)
	}
	return ErrClosed
}

// stopWithError stops the node because it must not go on. Unless end is Running the
// directory is marked, so that the next Start takes a new NodeID.
func (l *life) stopWithError(err error, end wire.End) {
	l.log.Error("node must not go on", "error", err)
	l.beginStop(err, end)
}

// beginStop begins to stop the node and does not wait for that. That its identity may
// not be used again is on disk before anybody hears that the node has stopped: the
// program may end at once.
func (l *life) beginStop(err error, end wire.End) {
	l.stopOnce.Do(func() {
		l.err = err
		if end != wire.Running {
			l.warnOnError("data directory could not be marked as "+end.String(), l.mark(end))
		}
		close(l.done)
		go func() {
			defer close(l.stopped)
			l.shut()
		}()
	})
}

func (l *life) warnOnError(what string, err error) {
	if err != nil {
		l.log.Warn(what, "error", err)
	}
}
