package stage

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Network is the host's network with a knife: traffic from and to chosen
// addresses is discarded silently, both ways. As on a real cut, nobody is
// told: open TCP connections stall until the cut heals or a deadline passes,
// dials hang, datagrams vanish.
type Network struct {
	self netip.Addr // every socket is bound to it, so that peers know us by address

	mu      sync.Mutex
	blocked map[netip.Addr]bool
	changed chan struct{} // closed and replaced whenever blocked changes
}

func NewNetwork(self netip.Addr) *Network {
	return &Network{self: self, changed: make(chan struct{})}
}

// SetBlocked replaces the set of addresses that are out of reach; none heals all.
func (c *Network) SetBlocked(from []netip.Addr) {
	blocked := make(map[netip.Addr]bool, len(from))
	for _, a := range from {
		blocked[a] = true
	}
	c.mu.Lock()
	c.blocked = blocked
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
}

// watchBlocked tells whether peer is out of reach, and a channel that closes when
// that may have changed.
func (c *Network) watchBlocked(peer netip.Addr) (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocked[peer], c.changed
}

func (c *Network) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cutListener{Listener: l, net: c}, nil
}

func (c *Network) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	p, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cutPackets{PacketConn: p, net: c}, nil
}

func (c *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	for {
		blocked, changed := c.watchBlocked(to.Addr().Unmap())
		if !blocked {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: ctx.Err()}
		}
	}
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.self, 0))}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newCutConn(c, conn), nil
}

type cutListener struct {
	net.Listener
	net *Network
}

func (l *cutListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newCutConn(l.net, conn), nil
}

// cutPackets drops datagrams of peers out of reach, in and out.
type cutPackets struct {
	net.PacketConn
	net *Network
}

func (p *cutPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.PacketConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		if blocked, _ := p.net.watchBlocked(addrOf(from)); !blocked {
			return n, from, nil
		}
	}
}

func (p *cutPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	if blocked, _ := p.net.watchBlocked(addrOf(to)); blocked {
		return len(b), nil
	}
	return p.PacketConn.WriteTo(b, to)
}

// cutConn is a stream that stalls while its peer is out of reach: what
// arrives meanwhile, a close included, is held back until the cut heals.
type cutConn struct {
	net.Conn
	net  *Network
	peer netip.Addr

	mu          sync.Mutex
	read, write time.Time // deadlines
	closed      bool
	changed     chan struct{} // closed and replaced when the fields above change
}

func newCutConn(c *Network, conn net.Conn) *cutConn {
	return &cutConn{Conn: conn, net: c, peer: addrOf(conn.RemoteAddr()), changed: make(chan struct{})}
}

func (c *cutConn) Read(b []byte) (int, error) {
	if err := c.awaitReach(&c.read); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if held := c.awaitReach(&c.read); held != nil && n == 0 {
		return 0, held
	}
	return n, err
}

func (c *cutConn) Write(b []byte) (int, error) {
	if err := c.awaitReach(&c.write); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// awaitReach returns once the peer is within reach, the deadline has passed or the
// connection is closed.
func (c *cutConn) awaitReach(deadline *time.Time) error {
	for {
		blocked, changed := c.net.watchBlocked(c.peer)
		if !blocked {
			return nil
		}
		c.mu.Lock()
		at, closed, poke := *deadline, c.closed, c.changed
		c.mu.Unlock()
		if closed {
			return net.ErrClosed
		}
		var expired <-chan time.Time
		if !at.IsZero() {
			left := time.Until(at)
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			expired = time.After(left)
		}
		select {
		case <-changed:
		case <-poke:
		case <-expired:
		}
	}
}

func (c *cutConn) changeState(change func()) {
	c.mu.Lock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
}

func (c *cutConn) Close() error {
	c.changeState(func() { c.closed = true })
	return c.Conn.Close()
}

func (c *cutConn) SetDeadline(t time.Time) error {
	c.changeState(func() { c.read, c.write = t, t })
	return c.Conn.SetDeadline(t)
}

func (c *cutConn) SetReadDeadline(t time.Time) error {
	c.changeState(func() { c.read = t })
	return c.Conn.SetReadDeadline(t)
}

func (c *cutConn) SetWriteDeadline(t time.Time) error {
	c.changeState(func() { c.write = t })
	return c.Conn.SetWriteDeadline(t)
}

func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
