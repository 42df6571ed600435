package memnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	firstEphemeral = 49152
	backlog        = 1024            // connections a listener keeps for Accept
	synRetry       = time.Second     // a dial that got no answer asks again
	noRoute        = 3 * time.Second // until a dial to a machine that never was is given up
)

// machine is one address of the network. Its fields are guarded by Net.mu.
type machine struct {
	net          *Net
	addr         netip.Addr
	process      *Host // nil after Kill
	silent       bool
	stalledUntil time.Time // the process is frozen until then
	tcp          map[uint16]*listener
	udp          map[uint16]*packetConn
	conns        map[*conn]bool
	dials        map[*dial]bool
	port         uint16 // next ephemeral port to try
}

func newMachine(n *Net, addr netip.Addr) *machine {
	return &machine{
		net: n, addr: addr, port: firstEphemeral,
		tcp: map[uint16]*listener{}, udp: map[uint16]*packetConn{}, conns: map[*conn]bool{},
		dials: map[*dial]bool{},
	}
}

func (m *machine) frozen() bool { return time.Now().Before(m.stalledUntil) }

// departure is when something sent now leaves the machine.
func (m *machine) departure() time.Time {
	now := time.Now()
	if now.Before(m.stalledUntil) {
		return m.stalledUntil
	}
	return now
}

// wakeSockets lets every socket look again, after a stall.
func (m *machine) wakeSockets() {
	for _, l := range m.tcp {
		l.ready.wakeAll()
	}
	for _, p := range m.udp {
		p.readable.wakeAll()
	}
	for c := range m.conns {
		c.readable.wakeAll()
	}
}

func (m *machine) killProcess() {
	if m.process != nil {
		m.process.dead = true
		m.process = nil
	}
	m.stalledUntil = time.Time{}
	for d := range m.dials {
		d.answer.wakeAll()
	}
	for _, l := range m.tcp {
		l.closeLocked()
	}
	for _, p := range m.udp {
		p.closeLocked()
	}
	for c := range m.conns {
		c.abortStream()
	}
}

// ephemeral returns a port free for both streams and packets.
func (m *machine) ephemeral() uint16 {
	for {
		p := m.port
		if m.port++; m.port == 0 {
			m.port = firstEphemeral
		}
		if m.tcp[p] == nil && m.udp[p] == nil {
			return p
		}
	}
}

// Host is the network of one process on one machine. It offers what the host
// network of package net offers, and is safe for concurrent use.
type Host struct {
	net     *Net
	machine *machine
	dead    bool // killed; guarded by net.mu
}

// Addr returns the address of the machine.
func (h *Host) Addr() netip.Addr { return h.machine.addr }

// Listen opens a stream listener ("tcp", "tcp4", "tcp6"). The address is
// host:port or :port; the host must be this machine's address or unspecified,
// and port 0 picks a free one. Addr always names the machine's address.
func (h *Host) Listen(_ context.Context, network, address string) (net.Listener, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	at, err := h.bindAddr("tcp", network, address)
	if err != nil {
		return nil, err
	}
	if h.machine.tcp[at.Port()] != nil {
		return nil, inUseError(network, net.TCPAddrFromAddrPort(at))
	}
	l := &listener{net: n, host: h, addr: net.TCPAddrFromAddrPort(at)}
	h.machine.tcp[at.Port()] = l
	return l, nil
}

// ListenPacket opens a packet socket ("udp", "udp4", "udp6"); the address is
// as in Listen.
func (h *Host) ListenPacket(_ context.Context, network, address string) (net.PacketConn, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	at, err := h.bindAddr("udp", network, address)
	if err != nil {
		return nil, err
	}
	if h.machine.udp[at.Port()] != nil {
		return nil, inUseError(network, net.UDPAddrFromAddrPort(at))
	}
	p := &packetConn{net: n, machine: h.machine, addr: net.UDPAddrFromAddrPort(at)}
	h.machine.udp[at.Port()] = p
	return p, nil
}

func (h *Host) bindAddr(family, network, address string) (netip.AddrPort, error) {
	fail := func(err error) (netip.AddrPort, error) {
		return netip.AddrPort{}, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if strings.TrimRight(network, "46") != family {
		return fail(net.UnknownNetworkError(network))
	}
	if h.dead || h.net.closed {
		return fail(net.ErrClosed)
	}
	at, err := parseAddr(address, h.machine.addr)
	if err != nil {
		return fail(err)
	}
	if at.Addr() != h.machine.addr {
		return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	if at.Port() == 0 {
		at = netip.AddrPortFrom(at.Addr(), h.machine.ephemeral())
	}
	return at, nil
}

func inUseError(network string, addr net.Addr) error {
	return &net.OpError{Op: "listen", Net: network, Addr: addr, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
}

// parseAddr reads host:port, host being an address literal; an empty or
// unspecified host means self.
func parseAddr(address string, self netip.Addr) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, &net.AddrError{Err: "invalid port", Addr: address}
	}
	addr := self
	if host != "" {
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		if addr.IsUnspecified() {
			addr = self
		}
	}
	return netip.AddrPortFrom(plainAddr(addr), uint16(number)), nil
}

// Dial connects a stream ("tcp", "tcp4", "tcp6") to an address literal. Over
// a blocked route it waits until the route heals or ctx ends.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &dial{ctx: ctx, host: h, network: network}
	if strings.TrimRight(network, "46") != "tcp" {
		return nil, d.wrapError(net.UnknownNetworkError(network))
	}
	if err := ctx.Err(); err != nil {
		return nil, d.wrapError(err)
	}
	to, err := parseAddr(address, h.machine.addr)
	if err != nil {
		return nil, d.wrapError(err)
	}
	d.to = to
	return d.awaitConn()
}

// dial is one attempt to connect. err and conn are guarded by Net.mu.
type dial struct {
	ctx        context.Context
	host       *Host
	network    string
	to         netip.AddrPort
	callerGone bool // the caller has gone
	answer     signal
	conn       *conn
	err        error
}

func (d *dial) wrapError(err error) error {
	e := &net.OpError{Op: "dial", Net: d.network, Err: err}
	if d.to.IsValid() {
		e.Addr = net.TCPAddrFromAddrPort(d.to)
	}
	return e
}

func (d *dial) awaitConn() (net.Conn, error) {
	n, m := d.host.net, d.host.machine
	n.mu.Lock()
	if d.host.dead || n.closed {
		n.mu.Unlock()
		return nil, d.wrapError(net.ErrClosed)
	}
	m.dials[d] = true
	local := netip.AddrPortFrom(m.addr, m.ephemeral())
	if target := n.machines[d.to.Addr()]; target == nil {
		n.scheduleAt(time.Now().Add(noRoute), func() { d.finishDial(nil, syscall.EHOSTUNREACH) })
	} else {
		d.sendRequest(local, target)
	}
	n.mu.Unlock()

	ok := n.awaitTrue(d.ctx.Done(), &d.answer, func() bool {
		if d.host.dead && d.conn == nil && d.err == nil {
			d.err = net.ErrClosed
		}
		return d.conn != nil || d.err != nil
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	d.callerGone = true
	delete(m.dials, d)
	if d.conn != nil && ok {
		return d.conn, nil
	}
	if d.conn != nil {
		d.conn.abortStream()
	}
	if d.err == nil || !ok {
		return nil, d.wrapError(d.ctx.Err())
	}
	if _, plain := d.err.(syscall.Errno); plain {
		d.err = os.NewSyscallError("connect", d.err)
	}
	return nil, d.wrapError(d.err)
}

// sendRequest sends the request to connect on its way.
func (d *dial) sendRequest(local netip.AddrPort, target *machine) {
	n, m := d.host.net, d.host.machine
	n.scheduleAt(m.departure().Add(n.drawTransit(n.pathBetween(m, target))), func() { d.receiveRequest(local, target) })
}

// receiveRequest is the request reaching the target, and the target's answer.
func (d *dial) receiveRequest(local netip.AddrPort, target *machine) {
	n, m := d.host.net, d.host.machine
	if d.callerGone || d.host.dead {
		return
	}
	l := target.tcp[d.to.Port()]
	if n.blocked(m, target) || n.blocked(target, m) || (l != nil && len(l.queue) >= backlog) {
		n.scheduleAt(time.Now().Add(synRetry), func() { d.sendRequest(local, target) })
		return
	}
	back := time.Now().Add(n.drawTransit(n.pathBetween(target, m)))
	if l == nil {
		n.scheduleAt(back, func() { d.finishDial(nil, syscall.ECONNREFUSED) })
		return
	}
	near, far := connectPair(n, m, target, local, d.to)
	l.queue = append(l.queue, far)
	l.ready.wakeAll()
	n.scheduleAt(back, func() { d.finishDial(near, nil) })
}

func (d *dial) finishDial(c *conn, err error) {
	if c != nil && (d.callerGone || d.host.dead) {
		c.abortStream()
		c = nil
	}
	d.conn, d.err = c, err
	d.answer.wakeAll()
}

// listener is an open stream port. Its fields are guarded by Net.mu.
type listener struct {
	net    *Net
	host   *Host
	addr   *net.TCPAddr
	queue  []*conn
	ready  signal
	closed bool
}

func (l *listener) Accept() (net.Conn, error) {
	var c *conn
	var err error
	l.net.awaitTrue(nil, &l.ready, func() bool {
		if l.closed {
			err = &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
			return true
		}
		if len(l.queue) == 0 || l.host.machine.frozen() {
			return false
		}
		c, l.queue = l.queue[0], l.queue[1:]
		return true
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (l *listener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.closeLocked()
	return nil
}

func (l *listener) closeLocked() {
	l.closed = true
	delete(l.host.machine.tcp, uint16(l.addr.Port))
	for _, c := range l.queue {
		c.abortStream()
	}
	l.queue = nil
	l.ready.wakeAll()
}

func (l *listener) Addr() net.Addr { return l.addr }
