package memnet

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	maxPacket  = 65507 // longest UDP payload
	queueLimit = 1024  // packets a socket keeps for ReadFrom; more are dropped
)

// packetConn is an open packet port. Its fields are guarded by Net.mu.
type packetConn struct {
	net      *Net
	machine  *machine
	addr     *net.UDPAddr
	queue    []packet
	readable signal
	deadline deadline
	closed   bool
}

type packet struct {
	from    *net.UDPAddr
	payload []byte
}

func (p *packetConn) fail(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: p.addr, Addr: to, Err: err}
}

// ReadFrom takes the next packet; what b cannot hold of it is lost.
func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	var got packet
	var err error
	p.net.await(nil, &p.readable, func() bool {
		if p.closed {
			err = net.ErrClosed
		} else {
			err = p.deadline.err()
		}
		if err != nil {
			return true
		}
		if len(p.queue) == 0 || p.machine.frozen() {
			return false
		}
		got, p.queue = p.queue[0], p.queue[1:]
		return true
	})
	if err != nil {
		return 0, nil, p.fail("read", nil, err)
	}
	return copy(b, got.payload), got.from, nil
}

// WriteTo sends one packet and never blocks.
func (p *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, p.fail("write", to, errors.New("not a UDP address"))
	}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.closed {
		return 0, p.fail("write", to, net.ErrClosed)
	}
	if len(b) > maxPacket {
		return 0, p.fail("write", to, os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	target := p.net.machines[plain(addr.AddrPort().Addr())]
	if target == nil || !p.net.launch(p, target, uint16(addr.Port), b) {
		p.net.stats.Dropped++
	}
	return len(b), nil
}

// launch sends a packet over its path; false means that it is lost already.
func (n *Net) launch(p *packetConn, target *machine, port uint16, b []byte) bool {
	path := n.path(p.machine, target)
	if n.blocked(p.machine, target) || n.chance(path.Loss) || (path.MTU > 0 && len(b) > path.MTU) {
		return false
	}
	sent := packet{from: p.addr, payload: append([]byte(nil), b...)}
	copies := 1
	if n.chance(path.Duplicate) {
		copies = 2
	}
	for range copies {
		late := n.transit(path)
		if n.chance(path.Reorder) {
			late += max(2*(path.Delay+path.Jitter), 5*time.Millisecond)
		}
		leaves := p.machine.departure()
		if late == 0 && !p.machine.frozen() {
			n.land(p.machine, target, port, sent)
			continue
		}
		n.at(leaves.Add(late), func() { n.land(p.machine, target, port, sent) })
	}
	return true
}

// land puts a packet into the queue of the port it was sent to.
func (n *Net) land(from, target *machine, port uint16, sent packet) {
	p := target.udp[port]
	if p == nil || n.blocked(from, target) || len(p.queue) >= queueLimit {
		n.stats.Dropped++
		return
	}
	n.stats.Packets++
	n.stats.PacketBytes += uint64(len(sent.payload))
	p.queue = append(p.queue, sent)
	p.readable.raise()
}

func (p *packetConn) Close() error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.closed {
		return p.fail("close", nil, net.ErrClosed)
	}
	p.shut()
	return nil
}

func (p *packetConn) shut() {
	p.closed = true
	p.queue = nil
	delete(p.machine.udp, uint16(p.addr.Port))
	p.deadline.set(p.net, time.Time{}, &p.readable)
	p.readable.raise()
}

func (p *packetConn) LocalAddr() net.Addr { return p.addr }

func (p *packetConn) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

func (p *packetConn) SetReadDeadline(t time.Time) error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.closed {
		return p.fail("set", nil, net.ErrClosed)
	}
	p.deadline.set(p.net, t, &p.readable)
	return nil
}

// SetWriteDeadline has nothing to do: WriteTo never blocks.
func (p *packetConn) SetWriteDeadline(time.Time) error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.closed {
		return p.fail("set", nil, net.ErrClosed)
	}
	return nil
}
