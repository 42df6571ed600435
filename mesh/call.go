package mesh

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	maxMethod      = 64 // bytes
	reservedPrefix = "mesh/"
	adminPrefix    = "admin/"
	codePanic      = "panic" // of a RemoteError: the handler panicked
)

// handler answers a request of another node. ctx ends with the caller's
// deadline, when the caller gives up and when the node stops. req is the
// handler's to keep; the reply must not be changed after it was returned.
type handler = func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)

// promptHandler is a handler that never waits: see HandlePrompt.
type promptHandler = func(ctx context.Context, from view.NodeID, req []byte, answer func(reply []byte, err error))

// handlers is the table of methods.
type handlers struct {
	mu         sync.RWMutex
	byMethod   map[string]handler
	prompt     map[string]promptHandler
	idempotent map[string]bool // may be run more than once for a request
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

// Handle makes fn answer the requests of a method, at most 64 bytes, that
// does not begin with "mesh/". Methods that begin with "admin/" are answered
// only if Config.AllowAdmin is set. Each request runs in a goroutine of its
// own, which Close waits for. One in which fn panics fails with a *RemoteError of code
// "panic", and the log says where; methods that begin with "admin/", "replica." or
// "partition/" are Skein's own, and end the process. The error is ErrMethod, also when the method has a
// handler already, or ErrClosed.
func (n *Node) Handle(method string, fn func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	return n.registerHandler(method, fn, nil)
}

// HandlePrompt is Handle for a method that is called very often and whose fn
// waits for nothing: no I/O, no channel, no lock that is held long. It runs on
// the goroutine that reads from the caller, from whom nothing else is read
// until it returns. What takes time goes on in another goroutine: answer is to be
// called once, by any, and does not wait.
func (n *Node) HandlePrompt(method string, fn func(ctx context.Context, from view.NodeID, req []byte, answer func(reply []byte, err error))) error {
	if fn == nil {
		return n.registerHandler(method, nil, nil)
	}
	return n.registerHandler(method, waitFor(fn), func() { n.calls.prompt[method] = fn })
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

// HandleIdempotent is Handle for a method whose requests may be handled more than
// once, and also after later ones: see CallIdempotent. ctx may go on when the caller
// has gone, until its deadline.
func (n *Node) HandleIdempotent(method string, fn func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	return n.registerHandler(method, fn, func() { n.calls.idempotent[method] = true })
}

// registerHandler enters a handler, and lists it, under the lock of the table, by its kind if
// it has one.
func (n *Node) registerHandler(method string, fn handler, list func()) error {
	if method == "" || len(method) > maxMethod || strings.HasPrefix(method, reservedPrefix) || fn == nil {
		return fmt.Errorf("%w: %.80q", ErrMethod, method)
	}
	if n.hasStopped() {
		return n.closedError()
	}
	n.calls.mu.Lock()
	defer n.calls.mu.Unlock()
	if _, taken := n.calls.byMethod[method]; taken {
		return fmt.Errorf("%w: %q has a handler", ErrMethod, method)
	}
	n.calls.byMethod[method] = fn
	if list != nil {
		list()
	}
	return nil
}

// Call sends a request to another node, or to this one, and waits for the
// reply, which is the caller's to keep; req is not kept. ctx bounds the wait
// and travels along as the handler's deadline.
//
// The error is ErrUnreachable, ErrNoHandler, ErrOverloaded, ErrTooLarge,
// ErrAdminOff, ErrClosed, a *RemoteError from the handler, or that of ctx.
// After ErrUnreachable and the error of ctx the request may have been carried
// out, or may yet be.
func (n *Node) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	return n.callBy(ctx, to, method, req, n.link.Call)
}

// CallIdempotent is Call for a request of some hundred bytes that may be handled
// more than once, whose method the other node handles with HandleIdempotent. Where
// packets are lost it gets through sooner: it goes by UDP, too, again and again,
// and no earlier loss holds it up as on a stream. ctx should have a deadline.
func (n *Node) CallIdempotent(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	return n.callBy(ctx, to, method, req, n.link.CallIdempotent)
}

// callBy calls in one of the ways of the link.
func (n *Node) callBy(ctx context.Context, to view.NodeID, method string, req []byte, call func(context.Context, view.NodeID, string, []byte) ([]byte, error)) (reply []byte, err error) {
	if n.hasStopped() {
		return nil, n.closedError()
	}
	if to == n.id {
		reply, err = n.callSelf(ctx, method, append([]byte(nil), req...))
	} else {
		defer n.meters.countCall(time.Now(), &err)
		reply, err = call(ctx, to, method, req)
	}
	if err == nil {
		return reply, nil
	}
	if n.hasStopped() && errors.Is(err, link.ErrUnreachable) && ctx.Err() == nil {
		err = link.ErrClosed // it was the end of this node that broke off a dial
	}
	n.heedRefusal(to, err)
	if to != n.id && errors.Is(err, context.DeadlineExceeded) {
		n.tellWatcher(detect.Doubt, to)
	}
	return nil, fmt.Errorf("call %s on node %v: %w", method, to, callError(err))
}

// callSelf has this node's own handler answer, in a goroutine of its own as for others: the
// wait ends with ctx, and when the node stops, whatever caller and handler have locked.
func (n *Node) callSelf(ctx context.Context, method string, req []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answered := make(chan outcome, 1)
	if !n.work.Go(func(stop context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		reply, err := n.runHandler(ctx, n.id, method, req)
		answered <- outcome{reply, err}
	}) {
		return nil, link.ErrClosed
	}
	select {
	case o := <-answered:
		return o.reply, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.done:
		return nil, link.ErrClosed
	}
}

// callError turns errors of the link into those of this package.
func callError(err error) error {
	var remote *link.RemoteError
	var refused *link.RefusedError
	if errors.As(err, &remote) {
		if told := faults.FromWord(remote.Code, remote.Text); errors.Is(told, ErrNoHandler) || errors.Is(told, ErrAdminOff) {
			return told
		}
		return &RemoteError{Code: remote.Code, Text: remote.Text}
	}
	if errors.As(err, &refused) {
		if told := faults.FromWord(refused.Code, refused.Text); errors.Is(told, ErrAdminOff) {
			return told
		}
	}
	switch {
	case errors.Is(err, link.ErrOverloaded):
		return ErrOverloaded
	case errors.Is(err, link.ErrTooLarge):
		return ErrTooLarge
	case errors.Is(err, link.ErrClosed):
		return ErrClosed
	case errors.Is(err, link.ErrUnreachable):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

// handleRequest answers a request of another node.
func (n *Node) handleRequest(ctx context.Context, from view.NodeID, method string, req []byte) ([]byte, error) {
	if !n.isOpen() {
		return nil, ErrClosed
	}
	n.wasAdmitted.Store(true) // who asks has accepted our hello
	switch method {
	case methodSums:
		return n.exchanger.ServeSums(ctx, from, req)
	case methodSwap:
		return n.exchanger.ServeSwap(ctx, from, req)
	case methodTraitSums:
		return n.traits.exchanger.ServeSums(ctx, from, req)
	case methodTraits:
		return n.traits.exchanger.ServeSwap(ctx, from, req)
	case methodTraitBulk:
		return n.traits.exchanger.ServeBulk(ctx, from, req)
	case methodMessageSums:
		return n.topics.exchanger.ServeSums(ctx, from, req)
	case methodMessages:
		return n.topics.exchanger.ServeSwap(ctx, from, req)
	case methodRelics:
		return n.answerRelics(ctx, from, req)
	case methodGiveUp:
		return n.answerGiveUp(ctx, from, req)
	case methodReach:
		return n.answerReach(ctx, req)
	}
	return n.runHandler(ctx, from, method, req)
}

// runHandler runs the user's handler of a method.
func (n *Node) runHandler(ctx context.Context, from view.NodeID, method string, req []byte) (reply []byte, err error) {
	if err := n.mayServe(method); err != nil {
		return nil, err
	}
	fn := n.calls.handlerOf(method)
	if fn == nil {
		return nil, failCall(ErrNoHandler, method)
	}
	defer func() {
		if isOwnMethod(method) {
			return
		}
		if p := recover(); p != nil {
			reply, err = nil, n.reportPanic(from, method, p)
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
func (n *Node) reportPanic(from view.NodeID, method string, p any) error {
	n.log.Error("handler panicked", "method", method, "caller", from.String(), "error", fmt.Sprint(p), "stack", string(debug.Stack()))
	return &RemoteError{Code: codePanic, Text: method + " panicked, see the log of node " + n.id.String()}
}

func (n *Node) mayServe(method string) error {
	if strings.HasPrefix(method, adminPrefix) && !n.cfg.AllowAdmin {
		return failCall(ErrAdminOff, ErrAdminOff.Error())
	}
	return nil
}

// handlePrompt answers a request of another node whose handler never waits.
func (n *Node) handlePrompt(ctx context.Context, from view.NodeID, method string, req []byte, answer func([]byte, error)) {
	if !n.isOpen() {
		answer(nil, ErrClosed)
		return
	}
	n.wasAdmitted.Store(true) // who asks has accepted our hello
	if err := n.mayServe(method); err != nil {
		answer(nil, err)
		return
	}
	defer func() {
		if isOwnMethod(method) {
			return
		}
		if p := recover(); p != nil {
			answer(nil, n.reportPanic(from, method, p)) // has no effect if it was answered before
		}
	}()
	n.calls.getPrompt(method)(ctx, from, req, answer)
}

// faultOf is what of a handler's error travels.
func faultOf(err error) error {
	var own *RemoteError
	if errors.As(err, &own) {
		return &link.RemoteError{Code: own.Code, Text: own.Text}
	}
	return err
}

// answerView is what Client.View asks for. Where a client does not take so much it is
// told of the members alone.
func (n *Node) answerView(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	version, err := wire.DecodeViewQuery(req)
	if err != nil {
		return nil, err
	}
	v := n.View()
	if version >= wire.ViewTraits {
		told := wire.AppendView(nil, n.traits.withOwnTraits(v), version)
		if limit, ok := link.ReplyLimit(ctx); !ok || uint64(len(told)) <= limit {
			return told, nil
		}
	}
	return wire.AppendView(nil, v, wire.ViewBare), nil
}

func (n *Node) hasStopped() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}
