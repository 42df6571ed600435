package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// call is a request of ours, or a ping, that waits for its answer.
type call struct {
	done      chan struct{} // capacity 1
	size      int           // bytes of the peer's window it takes
	ping      bool
	abandoned bool // the caller has gone; guarded by conn.mu
	reply     []byte
	err       error
}

// newCall reuses a call of this link. A pool for all links of a process would
// carry channels from one synctest bubble into another.
func (l *Link) newCall(size int, ping bool) *call {
	cl, ok := l.calls.Get().(*call)
	if !ok {
		cl = &call{done: make(chan struct{}, 1)}
	}
	cl.size, cl.ping, cl.abandoned, cl.reply, cl.err = size, ping, false, nil, nil
	return cl
}

func (cl *call) completeCall(reply []byte, err error) {
	cl.reply, cl.err = reply, err
	cl.done <- struct{}{}
}

// Call sends a request and waits for the reply, which is the caller's to
// keep. req is not kept after Call returned. ctx bounds the wait and travels
// along as the handler's deadline.
func (l *Link) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	if len(req) > l.cfg.Limits.MaxPayload {
		return nil, fmt.Errorf("%w: request of %d bytes, limit %d", ErrTooLarge, len(req), l.cfg.Limits.MaxPayload)
	}
	if len(method) > wire.MaxFrameText {
		return nil, fmt.Errorf("%w: method of %d bytes", ErrTooLarge, len(method))
	}
	for {
		c, err := l.peers.getConn(ctx, to)
		if err != nil {
			return nil, err
		}
		reply, err := c.callPeer(ctx, method, req)
		if errors.Is(err, errMoved) {
			continue // get returns another one or fails
		}
		return reply, err
	}
}

func (c *conn) callPeer(ctx context.Context, method string, req []byte) ([]byte, error) {
	if uint64(len(req)) > c.peerWindow.MaxPayload {
		return nil, fmt.Errorf("%w: request of %d bytes, %v takes %d", ErrTooLarge, len(req), c.peer.ID, c.peerWindow.MaxPayload)
	}
	cl := c.link.newCall(len(req), false)
	id, err := c.queueCall(ctx, cl, method, req)
	if err != nil {
		c.link.calls.Put(cl)
		return nil, err
	}
	c.link.stats.callsOut.Add(1)
	return c.awaitReply(ctx, id, cl)
}

// pingPeer asks for a sign of life of this very connection.
func (c *conn) pingPeer(ctx context.Context) error {
	cl := c.link.newCall(0, true)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return errMoved
	}
	c.nextID++
	id := c.nextID
	c.calls[id] = cl
	c.out = wire.AppendFrame(c.out, wire.FramePing, id, 0, "", nil)
	c.mu.Unlock()
	c.wakeWriter()
	_, err := c.awaitReply(ctx, id, cl)
	return err
}

// noteUse keeps the connection from being closed as idle.
func (c *conn) noteUse() {
	c.mu.Lock()
	c.used = true
	c.mu.Unlock()
}

// queueCall queues a request as soon as the peer's window and our own queue have
// room for it.
func (c *conn) queueCall(ctx context.Context, cl *call, method string, req []byte) (uint64, error) {
	c.mu.Lock()
	id, err := c.queueCallLocked(ctx, cl, method, req)
	c.mu.Unlock()
	c.wakeWriter()
	return id, err
}

func (c *conn) queueCallLocked(ctx context.Context, cl *call, method string, req []byte) (uint64, error) {
	if !c.asking.isEmpty() || !c.hasRoomLocked(cl.size) {
		if err := c.waitLocked(ctx, &c.asking, func() bool { return c.draining || c.hasRoomLocked(cl.size) }); err != nil {
			return 0, fmt.Errorf("link: %s: no room on the connection to %v: %w", method, c.peer.ID, err)
		}
	}
	if c.err != nil || c.draining {
		return 0, errMoved
	}
	ttl, err := timeLeft(ctx) // known only now
	if err != nil {
		return 0, err
	}
	c.nextID++
	c.calls[c.nextID] = cl
	c.callBytes += cl.size
	c.used = true
	c.out = wire.AppendFrame(c.out, wire.FrameRequest, c.nextID, ttl, method, req)
	return c.nextID, nil
}

func (c *conn) hasRoomLocked(size int) bool {
	return uint64(len(c.calls)) < c.peerWindow.Requests &&
		uint64(c.callBytes+size) <= c.peerWindow.Bytes &&
		!c.queueFull()
}

// timeLeft returns the milliseconds that ctx allows, rounded up, or zero.
func timeLeft(ctx context.Context) (uint64, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, nil
	}
	left := time.Until(deadline)
	if left <= 0 {
		return 0, context.DeadlineExceeded
	}
	return uint64((left + time.Millisecond - 1) / time.Millisecond), nil
}

// awaitReply waits for the answer to a call. When the caller gives up, the call
// keeps its place in the peer's window until the peer answers: until then the
// peer may still be at it.
func (c *conn) awaitReply(ctx context.Context, id uint64, cl *call) ([]byte, error) {
	select {
	case <-cl.done:
	case <-ctx.Done():
		c.mu.Lock()
		if _, waiting := c.calls[id]; waiting {
			cl.abandoned = true
			if !cl.ping {
				c.out = wire.AppendFrame(c.out, wire.FrameCancel, id, 0, "", nil)
			}
			c.mu.Unlock()
			c.wakeWriter()
			return nil, ctx.Err()
		}
		c.mu.Unlock()
		<-cl.done // it is being delivered
	}
	reply, err := cl.reply, cl.err
	cl.reply = nil
	c.link.calls.Put(cl)
	return reply, err
}

// settleCall takes a call off the list. It returns nil when nobody waits for it.
func (c *conn) settleCall(id uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.calls[id]
	if cl == nil {
		return nil
	}
	delete(c.calls, id)
	c.callBytes -= cl.size
	c.asking.wakeFront()
	if c.draining {
		c.queueDrainLocked()
		c.wakeWriter()
	}
	if cl.abandoned {
		return nil
	}
	return cl
}
