package memnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	window     = 128 << 10              // bytes a stream holds between Write and Read
	rto        = 200 * time.Millisecond // what one lost piece costs a stream; doubles with each loss in a row
	maxRetries = 6
	maxRTO     = 2 * time.Minute
)

// conn is one end of a stream. Its fields are guarded by Net.mu.
type conn struct {
	net           *Net
	machine       *machine
	local, remote *net.TCPAddr
	in, out       *pipe
	readable      signal
	writable      signal
	readDeadline  deadline
	writeDeadline deadline
	writing       bool // a Write has its turn; others wait
	closed        bool
	refused       bool // a reset was sent
	reset         bool // a reset came: the peer refused to go on
	peerEnded     bool // the peer will send no more
}

// pipe is one direction of a stream.
type pipe struct {
	net          *Net
	src, dst     *conn
	pieces       []piece // in order; the first `arrived` of them can be read
	arrived      int
	unacked      int       // bytes written and not yet known to be read
	owedBytes    int       // bytes read whose acknowledgement found the way back blocked
	lastDue      time.Time // when the youngest piece is due; pieces never overtake
	armed        bool      // an event will pump
	blockedSince time.Time // since when the route has been blocked, as the sender sees it; zero: it is not
}

type kind uint8

const (
	data kind = iota
	fin
	rst
)

type piece struct {
	kind  kind
	due   time.Time
	bytes []byte
}

// connectPair makes the two ends of a stream.
func connectPair(n *Net, from, to *machine, local, remote netip.AddrPort) (near, far *conn) {
	a, b := net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(remote)
	near = &conn{net: n, machine: from, local: a, remote: b}
	far = &conn{net: n, machine: to, local: b, remote: a}
	near.out = &pipe{net: n, src: near, dst: far}
	far.out = &pipe{net: n, src: far, dst: near}
	near.in, far.in = far.out, near.out
	from.conns[near] = true
	to.conns[far] = true
	return near, far
}

func (c *conn) wrapError(op string, err error) error {
	if err == syscall.ECONNRESET {
		err = os.NewSyscallError(op, err)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func (c *conn) Read(b []byte) (int, error) {
	var n int
	var err error
	c.net.awaitTrue(nil, &c.readable, func() bool {
		switch {
		case c.closed:
			err = net.ErrClosed
		case c.readDeadline.expired:
			err = c.readDeadline.expiryError()
		case len(b) == 0:
		case c.machine.frozen():
			return false
		case c.in.arrived > 0:
			n = c.in.takeBytes(b)
		case c.peerEnded:
			err = io.EOF
		case c.reset:
			err = syscall.ECONNRESET
		default:
			return false
		}
		return true
	})
	if err != nil && err != io.EOF {
		err = c.wrapError("read", err)
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	written, turn := 0, false
	var err error
	c.net.awaitTrue(nil, &c.writable, func() bool {
		done := true
		switch {
		case c.closed:
			err = net.ErrClosed
		case c.reset:
			err = syscall.ECONNRESET
		case c.writeDeadline.expired:
			err = c.writeDeadline.expiryError()
		case c.writing && !turn:
			return false
		default:
			c.writing, turn = true, true
			written += c.out.fillWindow(b[written:])
			done = written == len(b)
		}
		if done && turn {
			c.writing = false
			c.writable.wakeAll()
		}
		return done
	})
	if err != nil {
		err = c.wrapError("write", err)
	}
	return written, err
}

// Close ends both directions. What was written is still delivered.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.wrapError("close", net.ErrClosed)
	}
	unread := c.in.arrived > 0
	c.closeLocked()
	if !c.reset {
		c.out.sendPiece(fin, nil)
		if unread {
			c.resetPeer()
		}
	}
	return nil
}

// abortStream closes the stream at once, throws away what is under way and resets
// the peer.
func (c *conn) abortStream() {
	if c.closed {
		return
	}
	c.closeLocked()
	c.out.pieces = c.out.pieces[:c.out.arrived]
	c.out.lastDue = time.Time{}
	c.resetPeer()
}

// resetPeer tells the peer, once, that what it sends is not wanted.
func (c *conn) resetPeer() {
	if !c.refused {
		c.refused = true
		c.out.sendPiece(rst, nil)
	}
}

func (c *conn) closeLocked() {
	c.closed = true
	delete(c.machine.conns, c)
	c.readDeadline.setTime(c.net, time.Time{}, &c.readable)
	c.writeDeadline.setTime(c.net, time.Time{}, &c.writable)
	c.in.dropArrived()
	c.readable.wakeAll()
	c.writable.wakeAll()
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error      { return c.setDeadlines(t, true, true) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadlines(t, true, false) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *conn) setDeadlines(t time.Time, read, write bool) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.wrapError("set", net.ErrClosed)
	}
	if read {
		c.readDeadline.setTime(c.net, t, &c.readable)
	}
	if write {
		c.writeDeadline.setTime(c.net, t, &c.writable)
	}
	return nil
}

// sendPiece puts a piece on its way, behind those sent before.
func (p *pipe) sendPiece(k kind, bytes []byte) {
	n := p.net
	path := n.pathBetween(p.src.machine, p.dst.machine)
	due := p.src.machine.departure().Add(n.drawTransit(path))
	for i, again := 0, rto; i < maxRetries && n.drawChance(path.Loss); i, again = i+1, 2*again {
		due = due.Add(again)
	}
	if due.Before(p.lastDue) {
		due = p.lastDue
	}
	p.lastDue = due
	p.pieces = append(p.pieces, piece{k, due, bytes})
	p.pumpPieces()
}

// fillWindow sends as much of b as the window has room for.
func (p *pipe) fillWindow(b []byte) int {
	n := min(window-p.unacked, len(b))
	if n > 0 {
		p.unacked += n
		p.sendPiece(data, append([]byte(nil), b[:n]...))
	}
	return n
}

// pumpPieces delivers the pieces that are due, or sees to it that they will be.
func (p *pipe) pumpPieces() {
	n := p.net
	for p.arrived < len(p.pieces) {
		if n.blocked(p.src.machine, p.dst.machine) {
			n.parked[p] = true
			if p.blockedSince.IsZero() {
				p.blockedSince = time.Now()
			}
			return
		}
		if again := p.nextTryAt(); again.After(time.Now()) {
			p.armPump(again)
			return
		}
		p.blockedSince = time.Time{}
		next := p.pieces[p.arrived]
		if next.due.After(time.Now()) {
			p.armPump(next.due)
			return
		}
		p.deliverPiece(next)
	}
}

// nextTryAt returns when the sender tries the next time to get through, now or later.
func (p *pipe) nextTryAt() time.Time {
	if p.blockedSince.IsZero() || !p.net.backoff {
		return time.Time{}
	}
	now, at := time.Now(), p.blockedSince
	for wait := rto; at.Before(now); wait = min(2*wait, maxRTO) {
		at = at.Add(wait)
	}
	return at
}

func (p *pipe) armPump(due time.Time) {
	if p.armed {
		return
	}
	p.armed = true
	p.net.scheduleAt(due, func() {
		p.armed = false
		p.pumpPieces()
	})
}

// deliverPiece hands one piece, the first that has not arrived, to its end.
func (p *pipe) deliverPiece(next piece) {
	dst := p.dst
	if next.kind == data && !dst.closed && !dst.reset {
		p.arrived++
		p.net.stats.StreamBytes += uint64(len(next.bytes))
		dst.readable.wakeAll()
		return
	}
	p.pieces = append(p.pieces[:p.arrived], p.pieces[p.arrived+1:]...)
	switch next.kind {
	case data: // nobody will read it
		if dst.closed {
			dst.resetPeer()
		}
	case fin:
		dst.peerEnded = true
	case rst:
		dst.reset = true
		dst.writable.wakeAll()
	}
	dst.readable.wakeAll()
}

// takeBytes moves arrived bytes to the reader and acknowledges them.
func (p *pipe) takeBytes(b []byte) int {
	total := 0
	for p.arrived > 0 && total < len(b) {
		head := &p.pieces[0]
		n := copy(b[total:], head.bytes)
		total += n
		if head.bytes = head.bytes[n:]; len(head.bytes) == 0 {
			head.bytes = nil
			p.pieces = p.pieces[1:]
			p.arrived--
		}
	}
	p.acknowledge(total)
	return total
}

// acknowledge opens the writer's window by n bytes, or by what is owed so far
// once the way back is open.
func (p *pipe) acknowledge(n int) {
	p.owedBytes += n
	if p.owedBytes == 0 {
		return
	}
	if p.net.blocked(p.dst.machine, p.src.machine) {
		p.net.parked[p] = true
		return
	}
	p.unacked -= p.owedBytes
	p.owedBytes = 0
	p.src.writable.wakeAll()
}

// dropArrived forgets what has arrived; its reader is gone.
func (p *pipe) dropArrived() {
	p.pieces = p.pieces[p.arrived:]
	p.arrived = 0
}
