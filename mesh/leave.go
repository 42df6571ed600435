package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// leaving is what a node knows of its own going.
type leaving struct {
	turn  chan struct{} // capacity 1: held by the Leave under way
	mu    sync.Mutex
	began bool
	hooks []func(context.Context) error
}

func (l *leaving) beginLeave() []func(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began = true
	return slices.Clone(l.hooks)
}

func (l *leaving) hasBegun() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began
}

// OnLeave adds a hook that Leave runs before the node goes: to hand over what
// it holds. Hooks run one after the other, the last added first. One that
// fails keeps the node here.
func (n *Node) OnLeave(hook func(ctx context.Context) error) {
	n.leave.mu.Lock()
	defer n.leave.mu.Unlock()
	n.leave.hooks = append(n.leave.hooks, hook)
}

// Leave makes the node go for good: others are told that it is leaving, the
// hooks hand over what it holds, then it has left, and is closed. A node that
// left never comes back: the next Start on its directory sets the data aside
// and takes a new NodeID.
//
// Leave takes as long as it takes to copy what the node holds, so give ctx
// minutes, not seconds; the store's Health tells how far it is. When a hook
// fails, or ctx ends before all of them have run, the error says what could not
// be handed over, and the node stays, in status leaving, also when it is started
// again: it gets no new data and goes on to hand over what it has, but only
// another Leave ends it. A node that nobody can reach at the time leaves all the
// same if it holds nothing for others, but they do not hear of it. One that
// cannot run any more cannot leave: see Evict.
func (n *Node) Leave(ctx context.Context) error {
	select {
	case n.leave.turn <- struct{}{}:
		defer func() { <-n.leave.turn }()
	case <-n.done:
		return n.stopError()
	case <-ctx.Done():
		return ctx.Err()
	}
	hooks := n.leave.beginLeave()
	if err := n.moveTo(ctx, view.Leaving); err != nil {
		return err
	}
	for _, hook := range slices.Backward(hooks) {
		if err := hook(ctx); err != nil {
			return fmt.Errorf("mesh: leave: hand over: %w", err)
		}
	}
	if err := n.moveTo(ctx, view.Left); err != nil {
		return err
	}
	n.warnOnError("leave was not gossiped", n.gossip.leaveSerf(n.done))
	n.beginStop(nil, wire.EndLeft)
	<-n.stopped
	return nil
}

// moveTo moves our own status forward and tells the others at once.
func (n *Node) moveTo(ctx context.Context, s view.Status) error {
	err := n.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) { return r.Move(n.id, s) })
	if err != nil {
		if errors.Is(err, ErrClosed) {
			return n.stopError()
		}
		return fmt.Errorf("mesh: leave: %w", err)
	}
	n.spreading.tellAll(ctx)
	return nil
}
