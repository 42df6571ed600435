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
	net     *Net
	addr    netip.Addr
	process *Host // nil after Kill
	silent  bool
	stalled time.Time // the process is frozen until then
	tcp     map[uint16]*listener
	udp     map[uint16]*packetConn
	conns   map[*conn]bool
	dials   map[*dial]bool
	port    uint16 // next ephemeral port to try
}

func newMachine(n *Net, addr netip.Addr) *machine {
	return &machine{
		net: n, addr: addr, port: firstEphemeral,
		tcp: map[uint16]*listener{}, udp: map[uint16]*packetConn{}, conns: map[*conn]bool{},
		dials: map[*dial]bool{},
	}
}

func (m *machine) frozen() bool { return time.Now().Before(m.stalled) }

// departure is when something sent now leaves the machine.
func (m *machine) departure() time.Time {
	now := time.Now()
	if now.Before(m.stalled) {
		return m.stalled
	}
	return now
}

// wake lets every socket look again, after a stall.
func (m *machine) wake() {
	for _, l := range m.tcp {
		l.ready.raise()
	}
	for _, p := range m.udp {
		p.readable.raise()
	}
	for c := range m.conns {
		c.readable.raise()
	}
}

func (m *machine) kill() {
	if m.process != nil {
		m.process.dead = true
		m.process = nil
	}
	m.stalled = time.Time{}
	for d := range m.dials {
		d.answer.raise()
	}
	for _, l := range m.tcp {
		l.shut()
	}
	for _, p := range m.udp {
		p.shut()
	}
	for c := range m.conns {
		c.abort()
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
	at, err := h.bind("tcp", network, address)
	if err != nil {
		return nil, err
	}
	if h.machine.tcp[at.Port()] != nil {
		return nil, inUse(network, net.TCPAddrFromAddrPort(at))
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
	at, err := h.bind("udp", network, address)
	if err != nil {
		return nil, err
	}
	if h.machine.udp[at.Port()] != nil {
		return nil, inUse(network, net.UDPAddrFromAddrPort(at))
	}
	p := &packetConn{net: n, machine: h.machine, addr: net.UDPAddrFromAddrPort(at)}
	h.machine.udp[at.Port()] = p
	return p, nil
}

func (h *Host) bind(family, network, address string) (netip.AddrPort, error) {
	fail := func(err error) (netip.AddrPort, error) {
		return netip.AddrPort{}, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if strings.TrimRight(network, "46") != family {
		return fail(net.UnknownNetworkError(network))
	}
	if h.dead || h.net.closed {
		return fail(net.ErrClosed)
	}
	at, err := parse(address, h.machine.addr)
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

func inUse(network string, addr net.Addr) error {
	return &net.OpError{Op: "listen", Net: network, Addr: addr, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
}

// parse reads host:port, host being an address literal; an empty or
// unspecified host means self.
func parse(address string, self netip.Addr) (netip.AddrPort, error) {
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
	return netip.AddrPortFrom(plain(addr), uint16(number)), nil
}

// Dial connects a stream ("tcp", "tcp4", "tcp6") to an address literal. Over
// a blocked route it waits until the route heals or ctx ends.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &dial{ctx: ctx, host: h, network: network}
	if strings.TrimRight(network, "46") != "tcp" {
		return nil, d.fail(net.UnknownNetworkError(network))
	}
	if err := ctx.Err(); err != nil {
		return nil, d.fail(err)
	}
	to, err := parse(address, h.machine.addr)
	if err != nil {
		return nil, d.fail(err)
	}
	d.to = to
	return d.run()
}

// dial is one attempt to connect. err and conn are guarded by Net.mu.
type dial struct {
	ctx     context.Context
	host    *Host
	network string
	to      netip.AddrPort
	over    bool // the caller has gone
	answer  signal
	conn    *conn
	err     error
}

func (d *dial) fail(err error) error {
	e := &net.OpError{Op: "dial", Net: d.network, Err: err}
	if d.to.IsValid() {
		e.Addr = net.TCPAddrFromAddrPort(d.to)
	}
	return e
}

func (d *dial) run() (net.Conn, error) {
	n, m := d.host.net, d.host.machine
	n.mu.Lock()
	if d.host.dead || n.closed {
		n.mu.Unlock()
		return nil, d.fail(net.ErrClosed)
	}
	m.dials[d] = true
	local := netip.AddrPortFrom(m.addr, m.ephemeral())
	if target := n.machines[d.to.Addr()]; target == nil {
		n.at(time.Now().Add(noRoute), func() { d.settle(nil, syscall.EHOSTUNREACH) })
	} else {
		d.ask(local, target)
	}
	n.mu.Unlock()

	ok := n.await(d.ctx.Done(), &d.answer, func() bool {
		if d.host.dead && d.conn == nil && d.err == nil {
			d.err = net.ErrClosed
		}
		return d.conn != nil || d.err != nil
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	d.over = true
	delete(m.dials, d)
	if d.conn != nil && ok {
		return d.conn, nil
	}
	if d.conn != nil {
		d.conn.abort()
	}
	if d.err == nil || !ok {
		return nil, d.fail(d.ctx.Err())
	}
	if _, plain := d.err.(syscall.Errno); plain {
		d.err = os.NewSyscallError("connect", d.err)
	}
	return nil, d.fail(d.err)
}

// ask sends the request to connect on its way.
func (d *dial) ask(local netip.AddrPort, target *machine) {
	n, m := d.host.net, d.host.machine
	n.at(m.departure().Add(n.transit(n.path(m, target))), func() { d.arrive(local, target) })
}

// arrive is the request reaching the target, and the target's answer.
func (d *dial) arrive(local netip.AddrPort, target *machine) {
	n, m := d.host.net, d.host.machine
	if d.over || d.host.dead {
		return
	}
	l := target.tcp[d.to.Port()]
	if n.blocked(m, target) || n.blocked(target, m) || (l != nil && len(l.queue) >= backlog) {
		n.at(time.Now().Add(synRetry), func() { d.ask(local, target) })
		return
	}
	back := time.Now().Add(n.transit(n.path(target, m)))
	if l == nil {
		n.at(back, func() { d.settle(nil, syscall.ECONNREFUSED) })
		return
	}
	near, far := connect(n, m, target, local, d.to)
	l.queue = append(l.queue, far)
	l.ready.raise()
	n.at(back, func() { d.settle(near, nil) })
}

func (d *dial) settle(c *conn, err error) {
	if c != nil && (d.over || d.host.dead) {
		c.abort()
		c = nil
	}
	d.conn, d.err = c, err
	d.answer.raise()
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
	l.net.await(nil, &l.ready, func() bool {
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
	l.shut()
	return nil
}

func (l *listener) shut() {
	l.closed = true
	delete(l.host.machine.tcp, uint16(l.addr.Port))
	for _, c := range l.queue {
		c.abort()
	}
	l.queue = nil
	l.ready.raise()
}

func (l *listener) Addr() net.Addr { return l.addr }
