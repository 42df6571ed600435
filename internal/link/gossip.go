package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	packetQueue      = 512 // packets waiting for memberlist; it drops beyond 1024 itself
	gossipStreams    = 256 // streams of others at once; memberlist takes 128 exchanges
	gossipPerPeer    = 8
	maxAllowed       = 256 // user-given addresses remembered
	fictitiousPort   = 7946
	fictitiousPrefix = "\xfd\x73\x6b\x65\x69\x6e\x00\x00" // fd73:6b65:696e::/64
)

var errNoName = errors.New("link: address without a node's name")

// gossip is memberlist's transport. Addresses that memberlist knows mean
// nothing here: a name is a NodeID, and Config.Resolve knows where it is.
type gossip struct {
	link    *Link
	packets chan *memberlist.Packet
	streams chan net.Conn
	open    *keyLimiter[view.NodeID] // accepted streams
	bytes   budget                   // of frames being read or parsed
	sift    *sift
	stop    chan struct{} // closed by Shutdown
	stopped sync.Once

	mu      sync.Mutex
	conns   map[*gossipConn]struct{}
	allowed map[string]view.NodeID // addresses that were greeted
}

var _ memberlist.NodeAwareTransport = (*gossip)(nil)

func newGossip(l *Link) *gossip {
	return &gossip{
		link:    l,
		packets: make(chan *memberlist.Packet, packetQueue),
		streams: make(chan net.Conn),
		open:    newKeyLimiter[view.NodeID](gossipStreams, gossipPerPeer),
		bytes:   budget{limit: int64(l.cfg.Limits.GossipBytes)},
		sift:    newSift(l.isInRoster),
		stop:    make(chan struct{}),
		conns:   map[*gossipConn]struct{}{},
		allowed: map[string]view.NodeID{},
	}
}

// FinalAdvertiseAddr gives each node a fictitious address made of its NodeID,
// unless ip is set. memberlist refuses a live name at a new address, and
// spreads what it knows by hearsay; with an address that never changes, a
// node that moves is a matter of the roster alone.
func (g *gossip) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return net.IP(binary.BigEndian.AppendUint64([]byte(fictitiousPrefix), uint64(g.link.cfg.Self))), fictitiousPort, nil
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("link: advertise address: %w", err)
	}
	return net.IP(addr.Unmap().AsSlice()), port, nil
}

// allowAddr lets memberlist use a user-given address without a name.
func (g *gossip) allowAddr(addr netip.AddrPort, id view.NodeID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.allowed) >= maxAllowed {
		clear(g.allowed)
	}
	g.allowed[addr.String()] = id
}

// resolveAddr tells who is meant and where that is. Its errors are deliberately no
// *net.OpError: memberlist takes those for a sign of death.
func (g *gossip) resolveAddr(a memberlist.Address) (view.NodeID, netip.AddrPort, error) {
	if a.Name == "" {
		g.mu.Lock()
		id, ok := g.allowed[a.Addr]
		g.mu.Unlock()
		addr, err := netip.ParseAddrPort(a.Addr)
		if !ok || err != nil {
			return 0, addr, fmt.Errorf("%w: %q", errNoName, a.Addr)
		}
		return id, addr, nil
	}
	id, err := view.ParseNodeID(a.Name)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	addr, ok := g.link.cfg.Resolve(id)
	if !ok {
		return id, addr, fmt.Errorf("%w: %v", ErrUnknownPeer, id)
	}
	return id, addr, nil
}

func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	return g.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (g *gossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	id, addr, err := g.resolveAddr(a)
	if err != nil {
		return time.Now(), err
	}
	err = g.link.sendPacket(wire.PacketGossip, id, g.link.peers.packetAddr(id, addr), b)
	var system *net.OpError
	if errors.As(err, &system) && !g.isShutDown() {
		// As good as lost on the way, as packets are. To memberlist it would be
		// worth a line in the log each time, where there is no way at all.
		g.link.stats.packetsUnsent.Add(1)
		err = nil
	}
	return time.Now(), err
}

func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

func (g *gossip) StreamCh() <-chan net.Conn { return g.streams }

func (g *gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (g *gossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	id, addr, err := g.resolveAddr(a)
	if err != nil {
		return nil, err
	}
	if g.isShutDown() {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithTimeout(g.link.group.Context(), timeout)
	defer cancel()
	tc, raw, _, err := g.link.dialSecure(ctx, addr.String(), forGossip, id)
	if err != nil {
		return nil, err
	}
	clearDeadline(raw)
	c := &gossipConn{Conn: tc, raw: raw, gossip: g, peer: id}
	if !g.trackConn(c) {
		raw.Close()
		return nil, ErrClosed
	}
	return c, nil
}

// Shutdown is memberlist's way to say that it has gone. The link stays.
func (g *gossip) Shutdown() error {
	g.stopped.Do(func() { close(g.stop) })
	g.mu.Lock()
	conns := g.conns
	g.conns = nil
	g.mu.Unlock()
	for c := range conns {
		c.raw.Close()
	}
	return nil
}

func (g *gossip) isShutDown() bool {
	select {
	case <-g.stop:
		return true
	default:
		return false
	}
}

// receivePacket screens a packet and passes on what is about nodes of the roster.
func (g *gossip) receivePacket(from view.NodeID, remote netip.AddrPort, b []byte) {
	if g.isShutDown() {
		return
	}
	kept, strange, err := g.sift.siftPacket(from, b)
	if err != nil {
		g.link.stats.gossipRefused.Add(1)
		g.link.log.Debug("gossip packet turned away", "peer", from, "error", err)
		return
	}
	if strange {
		g.link.stats.gossipStrange.Add(1)
	}
	if strange || !g.link.isInRoster(from) {
		g.link.cfg.OnStrange(from)
	}
	if kept != nil {
		g.deliverPacket(remote, kept)
	}
}

// deliverPacket hands a packet to memberlist.
func (g *gossip) deliverPacket(remote netip.AddrPort, b []byte) {
	p := &memberlist.Packet{Buf: b, From: net.UDPAddrFromAddrPort(remote), Timestamp: time.Now()}
	select {
	case g.packets <- p:
	default:
		g.link.stats.gossipDropped.Add(1)
	}
}

// acceptStream passes a stream of an authenticated peer on to memberlist, if it is a
// node of the roster: one that said hello, here or elsewhere.
func (g *gossip) acceptStream(ctx context.Context, tc, raw net.Conn, from view.NodeID) {
	if !g.link.isInRoster(from) {
		g.link.stats.connsRefused.Add(1)
		g.link.cfg.OnStrange(from)
		raw.Close()
		return
	}
	c := &gossipConn{Conn: tc, raw: raw, gossip: g, peer: from, accepted: true}
	if g.isShutDown() || !g.open.acquireSlot(from) {
		g.link.stats.connsRefused.Add(1)
		raw.Close()
		return
	}
	if !g.trackConn(c) {
		g.open.releaseSlot(from)
		raw.Close()
		return
	}
	t := time.NewTimer(g.link.cfg.Limits.HandshakeTimeout)
	defer t.Stop()
	select {
	case g.streams <- c:
		return
	case <-t.C:
		g.link.stats.gossipDropped.Add(1)
	case <-g.stop:
	case <-ctx.Done():
	}
	c.Close()
}

func (g *gossip) trackConn(c *gossipConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		return false
	}
	g.conns[c] = struct{}{}
	return true
}

func (g *gossip) untrackConn(c *gossipConn) {
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	if c.accepted {
		g.open.releaseSlot(c.peer)
	}
}

// heldBy returns how many bytes of the budget the streams of a peer hold.
func (g *gossip) heldBy(peer view.NodeID) (held int) {
	for _, c := range g.openStreams() {
		if c.peer == peer {
			c.mu.Lock()
			held += c.held
			c.mu.Unlock()
		}
	}
	return held
}

func (g *gossip) openStreams() []*gossipConn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.conns))
}

// endSlowStreams ends streams that come too slowly while others are refused.
func (g *gossip) endSlowStreams(step time.Duration) {
	for _, c := range g.openStreams() {
		slow := false
		c.incoming.giveUpIfSlow(&g.bytes, step, func() { slow = true })
		if slow {
			c.Close()
		}
	}
}
