package link

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
)

const maxMethods = 64 // names remembered per connection

// readFrames takes frames off the connection until it fails.
func (c *conn) readFrames(ctx context.Context) error {
	for {
		h, size, err := nextFrame(c.br, c.link.cfg.Limits.MaxPayload)
		if err == nil {
			c.link.stats.dataIn.Add(uint64(size + wire.FramePrefix))
			err = c.handleFrame(ctx, h, size)
		}
		switch {
		case err != nil && c.isDrained():
			return errDrained
		case err != nil:
			return err
		}
	}
}

// nextFrame reads length and header of a frame; size bytes of payload follow.
// Text lends from the buffer and holds until the next read.
func nextFrame(br *bufio.Reader, maxPayload int) (h wire.FrameHeader, size int, err error) {
	prefix, err := br.Peek(wire.FramePrefix)
	if err != nil {
		return h, 0, markDistrust(err)
	}
	length := binary.BigEndian.Uint32(prefix)
	if uint64(length) > uint64(maxPayload+wire.MaxFrameHeader) {
		return h, 0, fmt.Errorf("%w: a frame of %d bytes", errProtocol, length)
	}
	_, _ = br.Discard(wire.FramePrefix)
	head, err := br.Peek(min(int(length), wire.MaxFrameHeader))
	if err != nil {
		return h, 0, err
	}
	h, n, err := wire.DecodeFrameHeader(head)
	if err != nil {
		return h, 0, fmt.Errorf("%w: %w", errProtocol, err)
	}
	if int(length)-n > maxPayload {
		return h, 0, fmt.Errorf("%w: a payload of %d bytes", errProtocol, int(length)-n)
	}
	_, _ = br.Discard(n)
	return h, int(length) - n, nil
}

func (c *conn) handleFrame(ctx context.Context, h wire.FrameHeader, size int) error {
	switch h.Kind {
	case wire.FrameRequest:
		return c.onRequest(h, size)
	case wire.FrameReply, wire.FrameFailure, wire.FramePong:
		return c.onAnswer(h, size)
	}
	if size > 0 {
		return fmt.Errorf("%w: frame of kind %d carries %d bytes", errProtocol, h.Kind, size)
	}
	switch h.Kind {
	case wire.FrameCancel:
		c.mu.Lock()
		r := c.serving[h.ID]
		c.mu.Unlock()
		if r != nil {
			r.endContext(context.Canceled)
		}
	case wire.FramePing:
		return c.onPing(h.ID)
	case wire.FrameDrain:
		c.mu.Lock()
		c.drainGot = true
		c.mu.Unlock()
		c.link.peers.retireConn(c)
		c.startDraining()
	default:
		return fmt.Errorf("%w: frame of kind %d in mid-connection", errProtocol, h.Kind)
	}
	return nil
}

// onPing answers unless the peer asks faster than it takes answers.
func (c *conn) onPing(id uint64) error {
	c.mu.Lock()
	full := c.queueFull()
	if !full {
		c.out = wire.AppendFrame(c.out, wire.FramePong, id, 0, "", nil)
	}
	c.mu.Unlock()
	c.wakeWriter()
	if full {
		return fmt.Errorf("%w: pings while it does not read", errProtocol)
	}
	return nil
}

// onAnswer delivers an answer. Nothing is kept of one that nobody waits for.
func (c *conn) onAnswer(h wire.FrameHeader, size int) error {
	if h.Kind != wire.FrameReply && size > maxText {
		return fmt.Errorf("%w: frame of kind %d carries %d bytes", errProtocol, h.Kind, size)
	}
	code := ""
	if h.Kind == wire.FrameFailure {
		code = string(h.Text)
	}
	c.mu.Lock()
	cl := c.calls[h.ID]
	waiting := cl != nil && !cl.abandoned && cl.ping == (h.Kind == wire.FramePong)
	c.mu.Unlock()
	if !waiting {
		if _, err := c.br.Discard(size); err != nil {
			return err
		}
		if cl != nil && cl.ping == (h.Kind == wire.FramePong) {
			c.settleCall(h.ID)
		}
		return nil
	}
	payload, _, err := receivePayload(c.br, size, nil, func(int) bool { return true })
	if err != nil {
		return err
	}
	if cl = c.settleCall(h.ID); cl == nil {
		return nil
	}
	if h.Kind == wire.FrameFailure {
		cl.completeCall(nil, errorOf(code, string(payload)))
	} else {
		cl.completeCall(payload, nil)
	}
	return nil
}

// onRequest starts the handler of a request, or refuses it.
func (c *conn) onRequest(h wire.FrameHeader, size int) error {
	limits := &c.link.cfg.Limits
	r := &request{c: c, id: h.ID, method: c.methodName(h.Text), size: size}
	if h.Aux > 0 {
		r.deadline = time.Now().Add(time.Duration(min(h.Aux, 1<<40)) * time.Millisecond)
	}
	c.mu.Lock()
	twice := c.serving[h.ID] != nil
	others := c.serveBytes
	within := len(c.serving) < limits.WindowRequests && others+size <= limits.WindowBytes
	c.mu.Unlock()
	if twice || !within {
		return fmt.Errorf("%w: more requests than it was told to make", errProtocol)
	}
	c.link.stats.callsIn.Add(1)
	if !c.link.handlers.tryTake(1) {
		return c.refuseOverloaded(h.ID, size)
	}
	payload, rest, err := c.readRequest(size, others)
	if payload == nil || err != nil {
		c.link.handlers.giveBack(1)
		if err == nil {
			err = c.refuseOverloaded(h.ID, rest)
		}
		return err
	}
	r.payload = payload

	c.mu.Lock()
	failed := c.err != nil
	if !failed {
		c.serving[h.ID] = r
		c.serveBytes += size
		c.used = true
	}
	c.mu.Unlock()
	if failed {
		c.link.handlers.giveBack(1)
		c.link.inbound.giveBack(size)
		return nil
	}
	if !c.peer.Guest && c.link.cfg.Prompt(r.method) {
		r.servePrompt()
		return nil
	}
	select {
	case c.work <- r:
	default:
		c.handlers.Add(1)
		go c.runHandlers(r)
	}
	return nil
}

// runHandlers runs handlers, first that of r. A goroutine whose stack has grown in
// one is kept for the next: to grow it anew costs more than many a handler.
func (c *conn) runHandlers(r *request) {
	defer c.handlers.Done()
	for r != nil {
		r.runHandler()
		if r = nil; !c.link.resting.tryTake(1) {
			return
		}
		select {
		case r = <-c.work:
		case <-c.done:
		}
		c.link.resting.giveBack(1)
	}
}

// refuseOverloaded refuses a request whose last size bytes are still to come.
func (c *conn) refuseOverloaded(id uint64, size int) error {
	c.link.stats.overloaded.Add(1)
	if _, err := c.br.Discard(size); err != nil {
		return err
	}
	c.mu.Lock()
	full := c.queueFull()
	if !full {
		c.out = wire.AppendFrame(c.out, wire.FrameFailure, id, 0, CodeOverloaded, nil)
	}
	c.mu.Unlock()
	c.wakeWriter()
	if full {
		return fmt.Errorf("%w: requests while it does not read", errProtocol)
	}
	return nil
}

// readRequest reads the payload of a request, which counts against the link's budget
// while the request lasts, from a peer that has so many bytes of others here. It
// returns nil without error when that does not allow it; rest bytes are still to
// come then.
func (c *conn) readRequest(size, others int) (payload []byte, rest int, err error) {
	b, held := &c.link.inbound, 0
	take := func(n int) bool {
		if !b.takeForPayload(n, size, others) {
			return false
		}
		held += n
		return true
	}
	if size <= firstPart {
		payload, rest, err = receivePayload(c.br, size, nil, take)
	} else {
		c.incoming.beginPayload(size)
		payload, rest, err = receivePayload(c.br, size, &c.incoming, take)
		if c.incoming.endPayload() {
			if again := c.raw.SetReadDeadline(time.Time{}); errors.Is(err, os.ErrDeadlineExceeded) {
				err = again // it was woken to give up
			}
		}
	}
	if payload == nil {
		b.giveBack(held)
	}
	return payload, rest, err
}

// methodName makes a string of a method without a new one for each request.
func (c *conn) methodName(b []byte) string {
	if s, ok := c.methods[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(c.methods) < maxMethods {
		c.methods[s] = s
	}
	return s
}
