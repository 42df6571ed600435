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
	readBy        deadline
	writeBy       deadline
	writing       bool // a Write has its turn; others wait
	closed        bool
	refused       bool // a reset was sent
	reset         bool // a reset came: the peer refused to go on
	ended         bool // the peer will send no more
}

// pipe is one direction of a stream.
type pipe struct {
	net      *Net
	src, dst *conn
	pieces   []piece // in order; the first `arrived` of them can be read
	arrived  int
	unacked  int       // bytes written and not yet known to be read
	owed     int       // bytes read whose acknowledgement found the way back blocked
	last     time.Time // when the youngest piece is due; pieces never overtake
	armed    bool      // an event will pump
	stopped  time.Time // since when the route has been blocked, as the sender sees it; zero: it is not
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

// connect makes the two ends of a stream.
func connect(n *Net, from, to *machine, local, remote netip.AddrPort) (near, far *conn) {
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

func (c *conn) fail(op string, err error) error {
	if err == syscall.ECONNRESET {
		err = os.NewSyscallError(op, err)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func (c *conn) Read(b []byte) (int, error) {
	var n int
	var err error
	c.net.await(nil, &c.readable, func() bool {
		switch {
		case c.closed:
			err = net.ErrClosed
		case c.readBy.expired:
			err = c.readBy.err()
		case len(b) == 0:
		case c.machine.frozen():
			return false
		case c.in.arrived > 0:
			n = c.in.take(b)
		case c.ended:
			err = io.EOF
		case c.reset:
			err = syscall.ECONNRESET
		default:
			return false
		}
		return true
	})
	if err != nil && err != io.EOF {
		err = c.fail("read", err)
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	written, turn := 0, false
	var err error
	c.net.await(nil, &c.writable, func() bool {
		done := true
		switch {
		case c.closed:
			err = net.ErrClosed
		case c.reset:
			err = syscall.ECONNRESET
		case c.writeBy.expired:
			err = c.writeBy.err()
		case c.writing && !turn:
			return false
		default:
			c.writing, turn = true, true
			written += c.out.fill(b[written:])
			done = written == len(b)
		}
		if done && turn {
			c.writing = false
			c.writable.raise()
		}
		return done
	})
	if err != nil {
		err = c.fail("write", err)
	}
	return written, err
}

// Close ends both directions. What was written is still delivered.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	unread := c.in.arrived > 0
	c.shut()
	if !c.reset {
		c.out.send(fin, nil)
		if unread {
			c.refuse()
		}
	}
	return nil
}

// abort closes the stream at once, throws away what is under way and resets
// the peer.
func (c *conn) abort() {
	if c.closed {
		return
	}
	c.shut()
	c.out.pieces = c.out.pieces[:c.out.arrived]
	c.out.last = time.Time{}
	c.refuse()
}

// refuse tells the peer, once, that what it sends is not wanted.
func (c *conn) refuse() {
	if !c.refused {
		c.refused = true
		c.out.send(rst, nil)
	}
}

func (c *conn) shut() {
	c.closed = true
	delete(c.machine.conns, c)
	c.readBy.set(c.net, time.Time{}, &c.readable)
	c.writeBy.set(c.net, time.Time{}, &c.writable)
	c.in.drop()
	c.readable.raise()
	c.writable.raise()
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
		return c.fail("set", net.ErrClosed)
	}
	if read {
		c.readBy.set(c.net, t, &c.readable)
	}
	if write {
		c.writeBy.set(c.net, t, &c.writable)
	}
	return nil
}

// send puts a piece on its way, behind those sent before.
func (p *pipe) send(k kind, bytes []byte) {
	n := p.net
	path := n.path(p.src.machine, p.dst.machine)
	due := p.src.machine.departure().Add(n.transit(path))
	for i, again := 0, rto; i < maxRetries && n.chance(path.Loss); i, again = i+1, 2*again {
		due = due.Add(again)
	}
	if due.Before(p.last) {
		due = p.last
	}
	p.last = due
	p.pieces = append(p.pieces, piece{k, due, bytes})
	p.pump()
}

// fill sends as much of b as the window has room for.
func (p *pipe) fill(b []byte) int {
	n := min(window-p.unacked, len(b))
	if n > 0 {
		p.unacked += n
		p.send(data, append([]byte(nil), b[:n]...))
	}
	return n
}

// pump delivers the pieces that are due, or sees to it that they will be.
func (p *pipe) pump() {
	n := p.net
	for p.arrived < len(p.pieces) {
		if n.blocked(p.src.machine, p.dst.machine) {
			n.parked[p] = true
			if p.stopped.IsZero() {
				p.stopped = time.Now()
			}
			return
		}
		if again := p.again(); again.After(time.Now()) {
			p.arm(again)
			return
		}
		p.stopped = time.Time{}
		next := p.pieces[p.arrived]
		if next.due.After(time.Now()) {
			p.arm(next.due)
			return
		}
		p.deliver(next)
	}
}

// again returns when the sender tries the next time to get through, now or later.
func (p *pipe) again() time.Time {
	if p.stopped.IsZero() || !p.net.backoff {
		return time.Time{}
	}
	now, at := time.Now(), p.stopped
	for wait := rto; at.Before(now); wait = min(2*wait, maxRTO) {
		at = at.Add(wait)
	}
	return at
}

func (p *pipe) arm(due time.Time) {
	if p.armed {
		return
	}
	p.armed = true
	p.net.at(due, func() {
		p.armed = false
		p.pump()
	})
}

// deliver hands one piece, the first that has not arrived, to its end.
func (p *pipe) deliver(next piece) {
	dst := p.dst
	if next.kind == data && !dst.closed && !dst.reset {
		p.arrived++
		p.net.stats.StreamBytes += uint64(len(next.bytes))
		dst.readable.raise()
		return
	}
	p.pieces = append(p.pieces[:p.arrived], p.pieces[p.arrived+1:]...)
	switch next.kind {
	case data: // nobody will read it
		if dst.closed {
			dst.refuse()
		}
	case fin:
		dst.ended = true
	case rst:
		dst.reset = true
		dst.writable.raise()
	}
	dst.readable.raise()
}

// take moves arrived bytes to the reader and acknowledges them.
func (p *pipe) take(b []byte) int {
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
	p.owed += n
	if p.owed == 0 {
		return
	}
	if p.net.blocked(p.dst.machine, p.src.machine) {
		p.net.parked[p] = true
		return
	}
	p.unacked -= p.owed
	p.owed = 0
	p.src.writable.raise()
}

// drop forgets what has arrived; its reader is gone.
func (p *pipe) drop() {
	p.pieces = p.pieces[p.arrived:]
	p.arrived = 0
}
