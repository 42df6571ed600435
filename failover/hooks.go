package failover

import (
	"context"
	"errors"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
)

// errEarlierHangs: what was called before has not returned.
var errEarlierHangs = errors.New("failover: an earlier hook has not returned")

// hooks calls the hooks of one service, one at a time but for Stop. The runner's goroutine
// alone calls its methods; each hook has a goroutine of its own.
type hooks struct {
	group *lifecycle.Group
	post  func(step func()) // has the runner's goroutine take a step
	calls map[*hookCall]bool
	stop  *hookCall // the Stop under way; nil: none
}

// hookCall is a hook that has not returned.
type hookCall struct {
	cancel   context.CancelFunc
	returned chan struct{}
}

// beginHook calls a hook, once those that were begun before have returned: they are given up.
// The runner's goroutine runs ended with the result.
func (h *hooks) beginHook(hook Hook, run Run, limit time.Duration, ended func(err error)) {
	earlier := h.giveUpAll()
	h.startCall(limit, ended, func(ctx context.Context) error {
		if !awaitAll(ctx, earlier) || ctx.Err() != nil {
			return errEarlierHangs
		}
		return callHook(ctx, hook, run)
	})
}

// beginStop calls Stop at once, beside whatever hangs, and once more when that has returned, for
// it may have started something meanwhile:
//
//	0 s  Start is under way, and slow; the lead is lost; Stop finds nothing to stop
//	1 s  Start has run the service, though its context had ended: Stop must find that
//
// A Stop that has not returned is not called a second time.
func (h *hooks) beginStop(hook Hook, run Run, limit time.Duration, ended func(err error)) {
	if h.stop != nil {
		return
	}
	earlier := h.giveUpAll()
	h.stop = h.startCall(limit, func(err error) { h.stop = nil; ended(err) }, func(ctx context.Context) error {
		under := anyOpen(earlier)
		err := callHook(ctx, hook, run)
		if !awaitAll(ctx, earlier) {
			return errors.Join(err, errEarlierHangs)
		}
		if under {
			err = callHook(ctx, hook, run)
		}
		return err
	})
}

func (h *hooks) startCall(limit time.Duration, ended func(err error), do func(ctx context.Context) error) *hookCall {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	c := &hookCall{cancel: cancel, returned: make(chan struct{})}
	h.calls[c] = true
	h.group.Go(func(context.Context) {
		err := do(ctx)
		cancel()
		close(c.returned)
		h.post(func() {
			delete(h.calls, c)
			ended(err)
		})
	})
	return c
}

// giveUpAll ends the contexts of all hooks under way but Stop's, and returns what is closed
// when they have returned.
func (h *hooks) giveUpAll() (returned []chan struct{}) {
	for c := range h.calls {
		if c != h.stop {
			c.cancel()
		}
		returned = append(returned, c.returned)
	}
	return returned
}

// anyOpen tells whether one of them is not closed.
func anyOpen(all []chan struct{}) bool {
	for _, done := range all {
		select {
		case <-done:
		default:
			return true
		}
	}
	return false
}

// awaitAll waits until all are closed, and tells whether they were before ctx ended.
func awaitAll(ctx context.Context, all []chan struct{}) bool {
	for _, done := range all {
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
