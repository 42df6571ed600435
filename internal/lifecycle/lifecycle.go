// Package lifecycle gives goroutines an owner that waits for them.
package lifecycle

import (
	"context"
	"sync"
)

// Group owns goroutines: none outlives its Close. Make one with NewGroup.
// All methods may be used concurrently.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool // no goroutine starts any more
}

// NewGroup returns a group whose context descends from parent. When parent
// ends the group's context ends, but Close must still be called.
func NewGroup(parent context.Context) *Group {
	g := &Group{}
	g.ctx, g.cancel = context.WithCancel(parent)
	return g
}

// Context returns the context that ends when the group is cancelled or
// closed.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs fn in a goroutine of the group; fn must return soon after ctx has
// ended. It reports false, and does not run fn, when the group is closed.
func (g *Group) Go(fn func(ctx context.Context)) bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	g.wg.Add(1)
	g.mu.Unlock()
	go func() {
		defer g.wg.Done()
		fn(g.ctx)
	}()
	return true
}

// Cancel ends the group's context and lets no goroutine start any more. It
// does not wait, so goroutines of the group may call it.
func (g *Group) Cancel() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
}

// Close cancels and waits until every goroutine has returned. Calling it
// again waits again. A goroutine of the group that calls it never returns.
func (g *Group) Close() {
	g.Cancel()
	g.wg.Wait()
}
