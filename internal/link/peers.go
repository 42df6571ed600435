package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxOld is how many connections to one peer may be finishing their requests
// beside the one in use.
const maxOld = 3

// stillNew is how long ago a connection was made that needs no other in its place.
const stillNew = 2 * time.Second

// peers is the table of data connections. One connection per pair of nodes
// is in use, both ways. When both dial at once, both keep the one that the
// node with the lower id dialled; what loses is drained, not cut.
type peers struct {
	link *Link

	mu        sync.Mutex
	closed    bool
	slots     map[view.NodeID]*slot
	guests    map[*conn]struct{}
	connCount int // connections, old ones and guests' included
}

// slot is what there is of one peer.
type slot struct {
	conn     *conn   // in use
	draining []*conn // draining
	dial     *dialing
	packets  netip.AddrPort // where its last packet came from, see packetAddr
	renewed  time.Time      // when it was last dialled for another connection in place of this one
}

// dialing is an attempt to connect that any number of callers wait for.
type dialing struct {
	done chan struct{}
	err  error // set before done is closed
}

func newPeers(l *Link) *peers {
	return &peers{link: l, slots: map[view.NodeID]*slot{}, guests: map[*conn]struct{}{}}
}

// getConn returns the connection to a peer, dialling when there is none.
func (p *peers) getConn(ctx context.Context, id view.NodeID) (*conn, error) {
	if id == p.link.cfg.Self {
		return nil, ErrSelf
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, d, err := p.lookUpConn(id)
		if c != nil || err != nil {
			return c, err
		}
		select {
		case <-d.done:
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: still connecting to %v: %w", ErrUnreachable, id, ctx.Err())
		}
	}
}

// connInUse returns the connection to a peer that is in use, if packets can go beside
// it, and counts that as such.
func (p *peers) connInUse(id view.NodeID) *conn {
	p.mu.Lock()
	var c *conn
	if s := p.slots[id]; s != nil {
		c = s.conn
	}
	p.mu.Unlock()
	if c == nil || c.pair == nil || c.failure() != nil {
		return nil
	}
	c.noteUse()
	return c
}

// hasLiveConn tells whether there is a connection to a peer that was heard of late.
func (p *peers) hasLiveConn(id view.NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[id]
	return s != nil && s.conn != nil && !s.conn.silent.Load()
}

// notePacketAddr notes where an authenticated packet of a peer came from.
func (p *peers) notePacketAddr(id view.NodeID, remote netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.slots[id]; s != nil {
		s.packets = remote
	}
}

// packetAddr returns where packets to a peer go, given what Resolve says: to where
// its own come from, if that is not the host that Resolve says, and it is the host
// at the other end of its connection. So a peer behind NAT hears us, and nobody can
// have packets sent to a host that did not ask for them.
func (p *peers) packetAddr(id view.NodeID, addr netip.AddrPort) netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[id]
	if s == nil || s.conn == nil || !s.packets.IsValid() || s.packets.Addr() == addr.Addr() {
		return addr
	}
	if s.conn.peer.Dialed || s.conn.peer.Remote.Addr() != s.packets.Addr() {
		return addr
	}
	return s.packets
}

func (p *peers) inboundPeers() []view.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []view.NodeID
	for id, s := range p.slots {
		if s.conn == nil || s.conn.peer.Dialed {
			continue
		}
		if addr, ok := p.link.cfg.Resolve(id); ok && addr.Addr() != s.conn.peer.Remote.Addr() {
			out = append(out, id)
		}
	}
	return out
}

func (p *peers) roundTrip(id view.NodeID) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.slots[id]; s != nil && s.conn != nil {
		return s.conn.rtt
	}
	return 0
}

// openPacket opens what the other end of a connection to a peer has sealed, also of one
// that is not in use any more. One goroutine at a time may call it.
func (p *peers) openPacket(packet []byte) (*conn, []byte, error) {
	h, err := wire.DecodeFramePacketHeader(packet)
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	var all []*conn
	if s := p.slots[h.From]; s != nil {
		all = append(append(all, s.draining...), s.conn)
	}
	p.mu.Unlock()
	err = errNoPair
	for _, c := range slices.Backward(all) {
		if c == nil || c.pair == nil || c.failure() != nil {
			continue
		}
		var frame []byte
		if frame, err = c.pair.openFrame(h, packet); err == nil {
			c.noteUse()
			return c, frame, nil
		}
	}
	return nil, nil, err
}

func (p *peers) lookUpConn(id view.NodeID) (*conn, *dialing, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, ErrClosed
	}
	s := p.slots[id]
	if s != nil && s.conn != nil {
		return s.conn, nil, nil
	}
	if s != nil && s.dial != nil {
		return nil, s.dial, nil
	}
	d := &dialing{done: make(chan struct{})}
	if !p.link.group.Go(func(ctx context.Context) { p.dialPeer(ctx, id, d) }) {
		return nil, nil, ErrClosed
	}
	p.slotLocked(id).dial = d
	return nil, d, nil
}

// renewConn dials a peer anew beside the connection that there is, unless that was made
// just now. Only the end with the lower id may: what it dials wins at both ends,
// see addConn.
func (p *peers) renewConn(id view.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[id]
	if p.closed || s == nil || s.conn == nil || s.dial != nil || id < p.link.cfg.Self {
		return
	}
	if time.Since(s.conn.since) < stillNew || time.Since(s.renewed) < stillNew {
		return
	}
	d := &dialing{done: make(chan struct{})}
	if p.link.group.Go(func(ctx context.Context) { p.dialPeer(ctx, id, d) }) {
		s.dial, s.renewed = d, time.Now()
	}
}

// dialPeer connects to a peer at the address of the roster.
func (p *peers) dialPeer(ctx context.Context, id view.NodeID, d *dialing) {
	addr, ok := p.link.cfg.Resolve(id)
	err := fmt.Errorf("%w: %w: %v", ErrUnreachable, ErrUnknownPeer, id)
	if ok {
		_, err = p.link.connectTo(ctx, addr, id)
	}
	if err != nil && !errors.Is(err, ErrUnreachable) {
		err = fmt.Errorf("%w: connecting to %v: %w", ErrUnreachable, id, err)
	}
	p.mu.Lock()
	s := p.slotLocked(id)
	s.dial = nil
	if s.conn != nil {
		err = nil // the peer dialled us meanwhile
	}
	p.dropEmptyLocked(id, s)
	p.mu.Unlock()
	d.err = err
	close(d.done)
}

func (p *peers) slotLocked(id view.NodeID) *slot {
	s := p.slots[id]
	if s == nil {
		s = &slot{}
		p.slots[id] = s
	}
	return s
}

func (p *peers) dropEmptyLocked(id view.NodeID, s *slot) {
	if s.conn == nil && s.dial == nil && len(s.draining) == 0 {
		delete(p.slots, id)
	}
}

// isFull tells whether there is no room for a further connection.
func (p *peers) isFull(guest bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connCount >= p.link.cfg.Limits.Connections || guest && len(p.guests) >= p.link.cfg.Limits.Guests
}

// addConn takes a new connection in and settles which one is in use.
func (p *peers) addConn(c *conn) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.connCount++
	if c.peer.Guest {
		// Apart from those of nodes: none of them takes the place of another.
		p.guests[c] = struct{}{}
		p.mu.Unlock()
		return nil
	}
	s := p.slotLocked(c.peer.ID)
	var drain, cut *conn
	cutWith := errReplaced
	switch old := s.conn; {
	case old == nil:
		s.conn = c
	case old.peer.Boot != c.peer.Boot || old.peer.Instance != c.peer.Instance:
		// Another process of the same node; Config.OnHello agreed that it is
		// the one that counts.
		s.conn, cut = c, old
		s.draining = append(s.draining, old)
	case c.winsOver(old, p.link.cfg.Self < c.peer.ID):
		s.conn, drain = c, old
		s.draining = append(s.draining, old)
	default:
		drain = c
		s.draining = append(s.draining, c)
	}
	if cut == nil && len(s.draining) > maxOld {
		cut, cutWith = s.draining[0], errDrained
	}
	p.mu.Unlock()
	if drain != nil {
		drain.startDraining()
	}
	if cut != nil {
		cut.failWith(cutWith)
	}
	return nil
}

// winsOver settles which of two connections between the same two processes is
// used: both ends must come to the same answer. lower tells whether our
// NodeID is the lower one.
func (c *conn) winsOver(old *conn, lower bool) bool {
	if c.peer.Dialed == old.peer.Dialed {
		return c.seq > old.seq
	}
	return c.peer.Dialed == lower
}

// retireConn takes a connection that the peer drains out of use.
func (p *peers) retireConn(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.slots[c.peer.ID]; s != nil && s.conn == c {
		s.conn = nil
		s.draining = append(s.draining, c)
	}
}

// removeConn forgets a failed connection and reports it when it was in use.
func (p *peers) removeConn(c *conn) {
	err := c.failure()
	p.mu.Lock()
	p.connCount--
	report := false
	delete(p.guests, c)
	if s := p.slots[c.peer.ID]; s != nil {
		if s.conn == c {
			s.conn = nil
			report = !p.closed && !errors.Is(err, errDrained) && !errors.Is(err, errDropped)
		}
		s.draining = slices.DeleteFunc(s.draining, func(o *conn) bool { return o == c })
		p.dropEmptyLocked(c.peer.ID, s)
	}
	p.mu.Unlock()
	if report {
		p.link.log.Info("data connection broke", "peer", c.peer.ID, "remote", c.peer.Remote, "error", err)
		p.link.cfg.OnBroken(c.peer.ID, err)
	}
}

// allConns returns every connection, old ones included.
func (p *peers) allConns() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	cs := make([]*conn, 0, p.connCount)
	for _, s := range p.slots {
		if s.conn != nil {
			cs = append(cs, s.conn)
		}
		cs = append(cs, s.draining...)
	}
	for c := range p.guests {
		cs = append(cs, c)
	}
	return cs
}

func (p *peers) connectedPeers() []view.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]view.NodeID, 0, len(p.slots))
	for id, s := range p.slots {
		if s.conn != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// dropPeer cuts every connection to a peer.
func (p *peers) dropPeer(id view.NodeID) {
	for _, c := range p.allConns() {
		if c.peer.ID == id {
			c.failWith(errDropped)
		}
	}
}

// closeAll cuts all connections and lets none in any more.
func (p *peers) closeAll() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for _, c := range p.allConns() {
		c.failWith(ErrClosed)
	}
}
