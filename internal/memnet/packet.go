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

func (p *packetConn) wrapError(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: p.addr, Addr: to, Err: err}
}

// ReadFrom takes the next packet; what b cannot hold of it is lost.
func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	var got packet
	var err error
	p.net.awaitTrue(nil, &p.readable, func() bool {
		if p.closed {
			err = net.ErrClosed
		} else {
			err = p.deadline.expiryError()
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
		return 0, nil, p.wrapError("read", nil, err)
	}
	return copy(b, got.payload), got.from, nil
}

// WriteTo sends one packet and never blocks.
func (p *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, p.wrapError("write", to, errors.New("not a UDP address"))
	}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.closed {
		return 0, p.wrapError("write", to, net.ErrClosed)
	}
	if len(b) > maxPacket {
		return 0, p.wrapError("write", to, os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	target := p.net.machines[plainAddr(addr.AddrPort().Addr())]
	if target == nil || !p.net.launchPacket(p, target, uint16(addr.Port), b) {
		p.net.stats.Dropped++
	}
	return len(b), nil
}

// launchPacket sends a packet over its path; false means that it is lost already.
func (n *Net) launchPacket(p *packetConn, target *machine, port uint16, b []byte) bool {
	path := n.pathBetween(p.machine, target)
	if n.blocked(p.machine, target) || n.drawChance(path.Loss) || (path.MTU > 0 && len(b) > path.MTU) {
		return false
	}
	sent := packet{from: p.addr, payload: append([]byte(nil), b...)}
	copies := 1
	if n.drawChance(path.Duplicate) {
		copies = 2
	}
	for range copies {
		late := n.drawTransit(path)
		if n.drawChance(path.Reorder) {
			late += max(2*(path.Delay+path.Jitter), 5*time.Millisecond)
		}
		leaves := p.machine.departure()
		if late == 0 && !p.machine.frozen() {
			n.deliverPacket(p.machine, target, port, sent)
			continue
		}
		n.scheduleAt(leaves.Add(late), func() { n.deliverPacket(p.machine, target, port, sent) })
	}
	return true
}

// deliverPacket puts a packet into the queue of the port it was sent to.
func (n *Net) deliverPacket(from, target *machine, port uint16, sent packet) {
	p := target.udp[port]
	if p == nil || n.blocked(from, target) || len(p.queue) >= queueLimit {
		n.stats.Dropped++
		return
	}
	n.stats.Packets++
	n.stats.PacketBytes += uint64(len(sent.payload))
	p.queue = append(p.queue, sent)
	p.readable.wakeAll()
}

func (p *packetConn) Close() error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.closed {
		return p.wrapError("close", nil, net.ErrClosed)
	}
	p.closeLocked()
	return nil
}

func (p *packetConn) closeLocked() {
	p.closed = true
	p.queue = nil
	delete(p.machine.udp, uint16(p.addr.Port))
	p.deadline.setTime(p.net, time.Time{}, &p.readable)
	p.readable.wakeAll()
}

func (p *packetConn) LocalAddr() net.Addr { return p.addr }

func (p *packetConn) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

func (p *packetConn) SetReadDeadline(t time.Time) error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.closed {
		return p.wrapError("set", nil, net.ErrClosed)
	}
	p.deadline.setTime(p.net, t, &p.readable)
	return nil
}

// SetWriteDeadline has nothing to do: WriteTo never blocks.
func (p *packetConn) SetWriteDeadline(time.Time) error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.closed {
		return p.wrapError("set", nil, net.ErrClosed)
	}
	return nil
}
