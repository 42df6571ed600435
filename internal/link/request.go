package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
)

// request is a peer's request being handled here, and the context its
// handler gets. Most handlers never look at their context: channel and timer
// are made when somebody asks for them.
type request struct {
	c        *conn
	id       uint64
	method   string
	payload  []byte
	size     int
	deadline time.Time   // zero when there is none
	answered atomic.Bool // of one that is served promptly

	mu    sync.Mutex
	done  chan struct{}
	err   error
	timer *time.Timer
	after map[*func()]struct{}
}

var _ context.Context = (*request)(nil)

func (r *request) Deadline() (time.Time, bool) { return r.deadline, !r.deadline.IsZero() }

// replyLimitKey is the key of what ReplyLimit returns.
type replyLimitKey struct{}

func (r *request) Value(key any) any {
	if _, ok := key.(replyLimitKey); ok {
		return r.replyLimit()
	}
	return nil
}

// replyLimit is how many bytes of a reply the caller takes.
func (r *request) replyLimit() uint64 {
	return min(r.c.peerWindow.MaxPayload, uint64(r.c.link.cfg.Limits.MaxPayload))
}

// ReplyLimit returns how many bytes of a reply the caller takes, by the context of its
// request. It is false for a context of anything else.
func ReplyLimit(ctx context.Context) (limit uint64, ok bool) {
	limit, ok = ctx.Value(replyLimitKey{}).(uint64)
	return limit, ok
}

func (r *request) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = make(chan struct{})
		if r.err != nil {
			close(r.done)
		}
		r.watchLocked()
	}
	return r.done
}

func (r *request) Err() error {
	r.mu.Lock()
	err := r.err
	r.mu.Unlock()
	if err == nil && !r.deadline.IsZero() && !time.Now().Before(r.deadline) {
		r.endContext(context.DeadlineExceeded)
		return context.DeadlineExceeded
	}
	return err
}

// AfterFunc lets contexts derived from this one be cancelled without a
// goroutine of their own; package context looks for this method.
func (r *request) AfterFunc(f func()) (stop func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		f := f
		go f()
		return func() bool { return false }
	}
	key := &f
	if r.after == nil {
		r.after = map[*func()]struct{}{}
	}
	r.after[key] = struct{}{}
	r.watchLocked()
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, there := r.after[key]
		delete(r.after, key)
		return there
	}
}

// watchLocked makes the deadline end the context by itself, once somebody
// depends on it.
func (r *request) watchLocked() {
	if r.timer == nil && r.err == nil && !r.deadline.IsZero() {
		r.timer = time.AfterFunc(time.Until(r.deadline), func() { r.endContext(context.DeadlineExceeded) })
	}
}

// endContext ends the context; the first error stays.
func (r *request) endContext(err error) {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return
	}
	r.err = err
	if r.done != nil {
		close(r.done)
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	after := r.after
	r.after = nil
	r.mu.Unlock()
	for f := range after {
		(*f)()
	}
}

// errUnread: too many replies wait for peers that do not read them.
var errUnread = errors.New("link: too many replies wait to be sent")

// runHandler runs the handler and queues its answer.
func (r *request) runHandler() {
	c := r.c
	var reply []byte
	err := errUnread
	if r.mayAnswer() {
		handle := c.link.cfg.Handle
		if c.peer.Guest {
			handle = c.link.cfg.HandleGuest
		}
		reply, err = handle(r, c.peer.ID, r.method, r.payload)
	}
	r.sendReply(reply, err, true)
}

// servePrompt runs a handler that waits for nothing. The request counts as being
// handled until it is answered, which may be later.
func (r *request) servePrompt() {
	r.c.handlers.Add(1)
	answer := func(reply []byte, err error) {
		if r.answered.Swap(true) {
			return
		}
		if r.sendReply(reply, err, false) {
			r.c.handlers.Done()
		}
	}
	if !r.mayAnswer() {
		answer(nil, errUnread)
		return
	}
	r.c.link.cfg.HandlePrompt(r, r.c.peer.ID, r.method, r.payload, answer)
}

// mayAnswer tells whether there is room for a reply.
func (r *request) mayAnswer() bool {
	return !r.c.link.outbound.isTight() || r.c.unreadBytes() < smallReply
}

// sendReply queues the answer. When there is no room for it and the caller must
// not wait, it reports false and another goroutine waits and marks the handler
// done.
func (r *request) sendReply(reply []byte, err error, wait bool) bool {
	c := r.c
	if err == nil && uint64(len(reply)) > r.replyLimit() {
		err = &RemoteError{Code: CodeTooLarge, Text: fmt.Sprintf("reply of %d bytes", len(reply))}
	}
	if err == nil && !c.takeReplyBytes(len(reply)) {
		reply, err = nil, errUnread
	}
	kind, code, held := wire.FrameReply, "", len(reply)
	switch err {
	case nil:
	case errUnread:
		c.link.stats.overloaded.Add(1)
		kind, code, reply, held = wire.FrameFailure, CodeOverloaded, nil, 0
	default:
		var text string
		code, text = failureOf(r, c.link.cfg.Fault(err))
		kind, reply, held = wire.FrameFailure, []byte(text), 0
	}
	queued := c.queueAnswer(r, kind, code, reply, held, wait)
	if !queued {
		go func() {
			defer c.handlers.Done()
			c.queueAnswer(r, kind, code, reply, held, true)
			r.releaseBudgets()
		}()
		return false
	}
	r.releaseBudgets()
	return true
}

// releaseBudgets gives back what the request has taken.
func (r *request) releaseBudgets() {
	r.endContext(context.Canceled)
	r.c.link.handlers.giveBack(1)
	r.c.link.inbound.giveBack(r.size)
}

// smallReply bytes of replies may wait for each peer, whatever others do. One
// that reads does not come to that: it may ask again before the writer has been
// told that the answer to its last request is out.
const smallReply = 64 << 10

// takeReplyBytes takes the bytes of a reply from the link's budget.
func (c *conn) takeReplyBytes(n int) bool {
	if c.link.outbound.tryTake(n) {
		return true
	}
	if n+c.unreadBytes() > smallReply {
		return false
	}
	c.link.outbound.used.Add(int64(n))
	return true
}

// unreadBytes returns how many bytes of replies wait for this peer to read.
func (c *conn) unreadBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heldBytes + c.writingBytes
}

// queueAnswer queues a reply as soon as there is room for it; it reports false if
// there is none and it is not to wait. held bytes of it were taken from the
// link's budget; they go back when it has been written.
func (c *conn) queueAnswer(r *request, kind wire.FrameKind, code string, payload []byte, held int, wait bool) bool {
	c.mu.Lock()
	if c.queueFull() {
		if !wait && c.err == nil {
			c.mu.Unlock()
			return false
		}
		// Ends with the connection at the latest.
		_ = c.waitLocked(context.Background(), &c.answering, func() bool { return !c.queueFull() })
	}
	delete(c.serving, r.id)
	c.serveBytes -= r.size
	if c.err == nil {
		c.out = wire.AppendFrame(c.out, kind, r.id, 0, code, payload)
		c.heldBytes += held
		held = 0
	}
	c.mu.Unlock()
	c.link.outbound.giveBack(held)
	c.wakeWriter()
	return true
}

const (
	maxCode = 64
	maxText = 1 << 10
)

// failureOf puts a handler's error into words for the other side.
func failureOf(ctx context.Context, err error) (code, text string) {
	var remote *RemoteError
	switch {
	case errors.As(err, &remote):
		code, text = remote.Code, remote.Text
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		code, text = CodeDeadline, err.Error()
	default:
		code, text = CodeError, err.Error()
	}
	return code[:min(len(code), maxCode)], text[:min(len(text), maxText)]
}

// errorOf is the caller's view of a failure frame.
func errorOf(code, text string) error {
	code, text = printableText([]byte(code), maxCode), printableText([]byte(text), maxText)
	switch code {
	case CodeOverloaded:
		return fmt.Errorf("%w: %s", ErrOverloaded, text)
	case codeClosed:
		return fmt.Errorf("%w: %s", ErrUnreachable, text)
	}
	return &RemoteError{Code: code, Text: text}
}
