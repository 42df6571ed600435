package mesh

import (
	"context"
	"errors"
	"fmt"
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

// Handle makes fn answer the requests of a method, at most 64 bytes, that
// does not begin with "mesh/". Methods that begin with "admin/" are answered
// only if Config.AllowAdmin is set. Each request runs in a goroutine of its
// own, which Close waits for. One in which fn panics fails with a *RemoteError of code
// "panic", and the log says where; methods that begin with "admin/", "replica." or
// "partition/" are Skein's own, and end the process. The error is ErrMethod, also when the method has a
// handler already, or ErrClosed.
func (n *Node) Handle(method string, fn func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	return n.calls.registerHandler(method, fn, nil)
}

// HandlePrompt is Handle for a method that is called very often and whose fn
// waits for nothing: no I/O, no channel, no lock that is held long. It runs on
// the goroutine that reads from the caller, from whom nothing else is read
// until it returns. What takes time goes on in another goroutine: answer is to be
// called once, by any, and does not wait.
func (n *Node) HandlePrompt(method string, fn func(ctx context.Context, from view.NodeID, req []byte, answer func(reply []byte, err error))) error {
	if fn == nil {
		return n.calls.registerHandler(method, nil, nil)
	}
	return n.calls.registerHandler(method, waitFor(fn), func() { n.calls.prompt[method] = fn })
}

// HandleIdempotent is Handle for a method whose requests may be handled more than
// once, and also after later ones: see CallIdempotent. ctx may go on when the caller
// has gone, until its deadline.
func (n *Node) HandleIdempotent(method string, fn func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	return n.calls.registerHandler(method, fn, func() { n.calls.idempotent[method] = true })
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
	return n.caller.callNode(ctx, to, method, req)
}

// CallIdempotent is Call for a request of some hundred bytes that may be handled
// more than once, whose method the other node handles with HandleIdempotent. Where
// packets are lost it gets through sooner: it goes by UDP, too, again and again,
// and no earlier loss holds it up as on a stream. ctx should have a deadline.
func (n *Node) CallIdempotent(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	return n.caller.callBy(ctx, to, method, req, n.link.CallIdempotent)
}

// caller sends requests.
type caller struct {
	*ground
	handlers *handlers
	refusals *refusals
	inbox    *inbox
	meters   *meters
}

// callNode is Node.Call.
func (c *caller) callNode(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	return c.callBy(ctx, to, method, req, c.link.Call)
}

// callBy calls in one of the ways of the link.
func (c *caller) callBy(ctx context.Context, to view.NodeID, method string, req []byte, call func(context.Context, view.NodeID, string, []byte) ([]byte, error)) (reply []byte, err error) {
	if c.hasStopped() {
		return nil, c.closedError()
	}
	if to == c.id {
		reply, err = c.handlers.callSelf(ctx, method, append([]byte(nil), req...))
	} else {
		defer c.meters.countCall(time.Now(), &err)
		reply, err = call(ctx, to, method, req)
	}
	if err == nil {
		return reply, nil
	}
	if c.hasStopped() && errors.Is(err, link.ErrUnreachable) && ctx.Err() == nil {
		err = link.ErrClosed // it was the end of this node that broke off a dial
	}
	c.refusals.heedRefusal(to, err)
	if to != c.id && errors.Is(err, context.DeadlineExceeded) {
		c.inbox.tellWatcher(detect.Doubt, to)
	}
	return nil, fmt.Errorf("call %s on node %v: %w", method, to, callError(err))
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
