package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	maxMaxPayload  = 64 << 20
	maxGossipFrame = 4 << 20

	// GossipRoom is what memberlist may put into one packet
	// (Config.UDPBufferSize): what is left of 1200 bytes after header, seal
	// and the checksum that memberlist adds without counting it.
	GossipRoom = packetRoom - 5
)

// Link is a node's transport. All methods may be used concurrently.
type Link struct {
	cfg      Config
	log      *slog.Logger
	addr     netip.AddrPort
	listener net.Listener
	packets  net.PacketConn
	group    *lifecycle.Group
	closing  sync.Once

	sealer    *sealer
	gossip    *gossip
	peers     *peers
	probes    pendingAnswers[probeAck]
	datagrams *datagrams
	strangers *strangers               // not authenticated yet
	greeters  *keyLimiter[view.NodeID] // authenticated, exchanging hellos
	handlers  budget                   // requests being handled
	inbound   budget                   // their bytes
	resting   budget                   // goroutines kept for the next request
	outbound  budget                   // bytes of replies that have not been written
	calls     sync.Pool                // of *call
	dialed    atomic.Uint64            // data connections dialled so far
	stats     counters
}

type counters struct {
	packetsIn, packetsOut, packetBytesIn, packetBytesOut, packetsRefused atomic.Uint64
	packetsUnsent                                                        atomic.Uint64
	gossipRefused, gossipDropped, gossipIn, gossipOut, gossipStrange     atomic.Uint64
	dataIn, dataOut, callsIn, callsOut, overloaded, connsRefused         atomic.Uint64
}

// Stats counts since Open, except where a field says "now".
type Stats struct {
	PacketsIn, PacketsOut         uint64 // sealed packets: gossip, probes, small requests
	PacketBytesIn, PacketBytesOut uint64
	PacketsRefused                uint64 // not opened: strangers', replayed, damaged, shut out
	PacketsUnsent                 uint64 // gossip for which the system knew no way
	GossipRefused                 uint64 // opened, but turned away by the screen, packets and frames
	GossipDropped                 uint64 // memberlist was too slow to take them
	GossipStrange                 uint64 // packets and frames with something about nodes that the roster does not hold
	GossipBytesIn, GossipBytesOut uint64 // of gossip streams, before TLS
	DataBytesIn, DataBytesOut     uint64 // of data connections, before TLS
	CallsIn, CallsOut             uint64 // over data connections
	Overloaded                    uint64 // requests of others refused for want of room
	ConnsRefused                  uint64 // connections closed before they were of use
	Conns                         int    // data connections now
}

// maxResting goroutines, of some 8 KiB each, wait for requests of their
// connections.
const maxResting = 64

// Open listens and serves until Close. ctx bounds Open alone.
func Open(ctx context.Context, cfg Config) (*Link, error) {
	cfg, err := cfg.completeConfig()
	if err != nil {
		return nil, err
	}
	ln, pc, err := listenBoth(ctx, cfg.Network, cfg.Listen)
	if err != nil {
		return nil, err
	}
	l := &Link{
		cfg: cfg, log: cfg.Logger, listener: ln, packets: pc, addr: addrPort(ln.Addr()),
		group:     lifecycle.NewGroup(context.WithoutCancel(ctx)),
		sealer:    newSealer(&cfg),
		datagrams: newDatagrams(),
		strangers: newStrangers(cfg.Limits.Handshakes, cfg.Limits.HandshakesPerAddr, cfg.Limits.HandshakeTimeout/4),
		greeters:  newKeyLimiter[view.NodeID](cfg.Limits.Connections, 4),
		handlers:  budget{limit: int64(cfg.Limits.Handlers)},
		inbound:   budget{limit: int64(cfg.Limits.InboundBytes)},
		resting:   budget{limit: maxResting},
		outbound:  budget{limit: int64(cfg.Limits.OutboundBytes)},
	}
	l.gossip = newGossip(l)
	l.peers = newPeers(l)
	l.group.Go(l.readPackets)
	l.group.Go(l.acceptConns)
	l.group.Go(l.watchConns)
	return l, nil
}

const portTries = 32

// listenBoth opens TCP and UDP on one port. Port 0 picks one that is free for
// both.
func listenBoth(ctx context.Context, nw Network, address string) (net.Listener, net.PacketConn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: Listen: %w", ErrConfig, err)
	}
	for try := 1; ; try++ {
		ln, err := nw.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, nil, markPortTaken(err)
		}
		free := strconv.Itoa(int(addrPort(ln.Addr()).Port()))
		pc, err := nw.ListenPacket(ctx, "udp", net.JoinHostPort(host, free))
		if err == nil {
			return ln, pc, nil
		}
		ln.Close()
		if err = markPortTaken(err); (port != "0" && port != "") || try == portTries || !errors.Is(err, ErrPortTaken) {
			return nil, nil, err
		}
	}
}

// markPortTaken marks the errors that say that somebody else has the port.
func markPortTaken(err error) error {
	const wsaAddrInUse = syscall.Errno(10048) // what Windows says
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaAddrInUse) {
		return fmt.Errorf("%w: %w", ErrPortTaken, err)
	}
	return fmt.Errorf("link: listening: %w", err)
}

// watchConns drives what connections do by time.
func (l *Link) watchConns(ctx context.Context) {
	step := max(l.cfg.Limits.Keepalive/4, time.Millisecond)
	t := time.NewTicker(step)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		for _, c := range l.peers.allConns() {
			c.checkLiveness(step)
		}
		l.gossip.endSlowStreams(step)
	}
}

// Addr returns where the link listens; the address may be unspecified.
func (l *Link) Addr() netip.AddrPort { return l.addr }

// Gossip returns the transport for memberlist. A memberlist name is the
// String of a NodeID. Shut memberlist down before closing the link.
func (l *Link) Gossip() memberlist.NodeAwareTransport { return l.gossip }

// Drop breaks the data connection to a peer, if there is one: requests under
// way fail with ErrUnreachable. OnBroken is not called.
func (l *Link) Drop(id view.NodeID) { l.peers.dropPeer(id) }

// Renew replaces the data connection to a peer that is reached again, if there is
// one: it may stand still for as long as the outage has lasted, since TCP tries
// again ever more rarely. Requests under way on it may yet be answered. The end with
// the lower NodeID dials, the other asks it to.
func (l *Link) Renew(id view.NodeID) {
	if id > l.cfg.Self {
		l.peers.renewConn(id)
	} else if c := l.peers.connInUse(id); c != nil && time.Since(c.since) >= stillNew {
		_ = l.sendFrame(c, wire.FrameDrain, 0, 0, "", nil)
	}
}

// Meet is to be called when the roster has come to hold a node: gossip gets what it
// heard of it before that.
func (l *Link) Meet(id view.NodeID) {
	if alive := l.gossip.sift.releaseAlive(id); alive != nil && !l.gossip.isShutDown() {
		l.gossip.deliverPacket(l.addr, alive)
	}
}

// isInRoster tells whether a node is one of the roster.
func (l *Link) isInRoster(id view.NodeID) bool { return id == l.cfg.Self || l.cfg.Member(id) }

// Inbound returns the peers whose connection was dialled by them from another host
// than the roster names: behind NAT, they cannot be dialled.
func (l *Link) Inbound() []view.NodeID { return l.peers.inboundPeers() }

// RoundTrip returns how long a peer took to answer our hello on the connection that
// is in use, 0 where there is none.
func (l *Link) RoundTrip(id view.NodeID) time.Duration { return l.peers.roundTrip(id) }

// Connected returns the peers with a data connection, sorted.
func (l *Link) Connected() []view.NodeID { return l.peers.connectedPeers() }

// Stats returns counters.
func (l *Link) Stats() Stats {
	s := &l.stats
	return Stats{
		PacketsIn: s.packetsIn.Load(), PacketsOut: s.packetsOut.Load(),
		PacketBytesIn: s.packetBytesIn.Load(), PacketBytesOut: s.packetBytesOut.Load(),
		PacketsRefused: s.packetsRefused.Load(),
		PacketsUnsent:  s.packetsUnsent.Load(),
		GossipRefused:  s.gossipRefused.Load(), GossipDropped: s.gossipDropped.Load(),
		GossipStrange: s.gossipStrange.Load(),
		GossipBytesIn: s.gossipIn.Load(), GossipBytesOut: s.gossipOut.Load(),
		DataBytesIn: s.dataIn.Load(), DataBytesOut: s.dataOut.Load(),
		CallsIn: s.callsIn.Load(), CallsOut: s.callsOut.Load(),
		Overloaded: s.overloaded.Load(), ConnsRefused: s.connsRefused.Load(),
		Conns: len(l.peers.connectedPeers()),
	}
}

// Close breaks all connections, ends the contexts of all handlers and waits
// for them and for every other goroutine. A handler must not call it.
func (l *Link) Close() error {
	l.closing.Do(func() {
		l.group.Cancel()
		l.listener.Close()
		l.packets.Close()
		_ = l.gossip.Shutdown()
		l.peers.closeAll()
	})
	l.group.Close()
	return nil
}
