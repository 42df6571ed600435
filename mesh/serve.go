package mesh

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/mesh/view"
)

// promptHandler is a handler that never waits: see HandlePrompt.
type promptHandler = func(ctx context.Context, from view.NodeID, req []byte, answer func(reply []byte, err error))

// handlers answer requests: those of other nodes, of clients, and of this node itself.
type handlers struct {
	*ground
	admin bool               // methods of admins are served
	inner map[string]handler // of the node itself, for other nodes; fixed once it is open

	mu         sync.RWMutex
	byMethod   map[string]handler
	prompt     map[string]promptHandler
	idempotent map[string]bool // may be run more than once for a request
}

func newHandlers(g *ground, admin bool) *handlers {
	return &handlers{ground: g, admin: admin, byMethod: map[string]handler{}, prompt: map[string]promptHandler{}, idempotent: map[string]bool{}}
}

func (h *handlers) handlerOf(method string) handler {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byMethod[method]
}

func (h *handlers) getPrompt(method string) promptHandler {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.prompt[method]
}

func (h *handlers) isPrompt(method string) bool { return h.getPrompt(method) != nil }

func (h *handlers) isIdempotent(method string) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.idempotent[method]
}

// registerHandler enters a handler, and lists it, under the lock of the table, by its kind if
// it has one.
func (h *handlers) registerHandler(method string, fn handler, list func()) error {
	if method == "" || len(method) > maxMethod || strings.HasPrefix(method, reservedPrefix) || fn == nil {
		return fmt.Errorf("%w: %.80q", ErrMethod, method)
	}
	if h.hasStopped() {
		return h.closedError()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, taken := h.byMethod[method]; taken {
		return fmt.Errorf("%w: %q has a handler", ErrMethod, method)
	}
	h.byMethod[method] = fn
	if list != nil {
		list()
	}
	return nil
}

// outcome is what a handler has answered.
type outcome struct {
	reply []byte
	err   error
}

// waitFor makes a handler that waits for the answer of a prompt one: for calls that
// nothing is read behind, as those of a node to itself.
func waitFor(fn promptHandler) handler {
	return func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
		answered := make(chan outcome, 1)
		fn(ctx, from, req, func(reply []byte, err error) {
			select {
			case answered <- outcome{reply, err}:
			default: // the first answer counts
			}
		})
		select {
		case o := <-answered:
			return o.reply, o.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// handleRequest answers a request of another node.
func (h *handlers) handleRequest(ctx context.Context, from view.NodeID, method string, req []byte) ([]byte, error) {
	if !h.isOpen() {
		return nil, ErrClosed
	}
	h.wasAdmitted.Store(true) // who asks has accepted our hello
	if fn := h.inner[method]; fn != nil {
		return fn(ctx, from, req)
	}
	return h.runHandler(ctx, from, method, req)
}

// runHandler runs the user's handler of a method.
func (h *handlers) runHandler(ctx context.Context, from view.NodeID, method string, req []byte) (reply []byte, err error) {
	if err := h.mayServe(method); err != nil {
		return nil, err
	}
	fn := h.handlerOf(method)
	if fn == nil {
		return nil, failCall(ErrNoHandler, method)
	}
	defer func() {
		if isOwnMethod(method) {
			return
		}
		if p := recover(); p != nil {
			reply, err = nil, h.reportPanic(from, method, p)
		}
	}()
	return fn(ctx, from, req)
}

// isOwnMethod tells whether a method is served by a package of Skein. What panics there
// is a fault of Skein: it may have left a lock held, or data half counted, and a process
// that ends and starts anew is better than one that hangs.
func isOwnMethod(method string) bool {
	for _, prefix := range []string{reservedPrefix, adminPrefix, "replica.", "partition/"} {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return false
}

// reportPanic logs where a handler panicked, and returns what its caller is told. One
// request that a handler does not stand must not end the process and all its parts.
func (h *handlers) reportPanic(from view.NodeID, method string, p any) error {
	h.log.Error("handler panicked", "method", method, "caller", from.String(), "error", fmt.Sprint(p), "stack", string(debug.Stack()))
	return &RemoteError{Code: codePanic, Text: method + " panicked, see the log of node " + h.id.String()}
}

func (h *handlers) mayServe(method string) error {
	if strings.HasPrefix(method, adminPrefix) && !h.admin {
		return failCall(ErrAdminOff, ErrAdminOff.Error())
	}
	return nil
}

// handlePrompt answers a request of another node whose handler never waits.
func (h *handlers) handlePrompt(ctx context.Context, from view.NodeID, method string, req []byte, answer func([]byte, error)) {
	if !h.isOpen() {
		answer(nil, ErrClosed)
		return
	}
	h.wasAdmitted.Store(true) // who asks has accepted our hello
	if err := h.mayServe(method); err != nil {
		answer(nil, err)
		return
	}
	defer func() {
		if isOwnMethod(method) {
			return
		}
		if p := recover(); p != nil {
			answer(nil, h.reportPanic(from, method, p)) // has no effect if it was answered before
		}
	}()
	h.getPrompt(method)(ctx, from, req, answer)
}

// handleClient answers a request of one who is no node.
func (h *handlers) handleClient(ctx context.Context, from view.NodeID, method string, req []byte) ([]byte, error) {
	if !h.isOpen() {
		return nil, ErrClosed
	}
	if !strings.HasPrefix(method, adminPrefix) {
		return nil, failCall(ErrNoHandler, "clients may call admin methods only")
	}
	return h.runHandler(ctx, from, method, req)
}

// callSelf has this node's own handler answer, in a goroutine of its own as for others: the
// wait ends with ctx, and when the node stops, whatever caller and handler have locked.
func (h *handlers) callSelf(ctx context.Context, method string, req []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answered := make(chan outcome, 1)
	if !h.work.Go(func(stop context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		reply, err := h.runHandler(ctx, h.id, method, req)
		answered <- outcome{reply, err}
	}) {
		return nil, link.ErrClosed
	}
	select {
	case o := <-answered:
		return o.reply, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.done:
		return nil, link.ErrClosed
	}
}
