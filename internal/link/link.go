package link

import (
	"context"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	maxMaxPayload  = 64 << 20
	maxGossipFrame = 4 << 20

	// GossipRoom is what memberlist may put into one packet
	// (Config.UDPBufferSize): 1200 bytes on the wire less header, seal and
	// the checksum that memberlist adds without counting it.
	GossipRoom = 1200 - 34 - 16 - 5
)

// Link is a node's transport. All methods may be used concurrently.
type Link struct{ cfg Config }

// ProbeResult is a sign of life that the peer itself gave.
type ProbeResult struct {
	Boot, Instance uint64
	RTT            time.Duration
	Stream         bool // UDP did not answer, the data connection did
}

// Stats counts since Open, except where a field says "now".
type Stats struct {
	PacketsIn, PacketsOut         uint64 // sealed packets, gossip and probes
	PacketBytesIn, PacketBytesOut uint64
	PacketsRefused                uint64 // not opened: strangers', replayed, damaged, shut out
	GossipRefused                 uint64 // opened, but turned away by the screen, packets and frames
	GossipDropped                 uint64 // memberlist was too slow to take them
	GossipBytesIn, GossipBytesOut uint64 // of gossip streams, before TLS
	DataBytesIn, DataBytesOut     uint64 // of data connections, before TLS
	CallsIn, CallsOut             uint64
	Overloaded                    uint64 // requests of others refused for want of room
	ConnsRefused                  uint64 // connections closed before they were authenticated
	Conns                         int    // data connections now
}

// Open listens and serves until Close. ctx bounds Open alone.
func Open(ctx context.Context, cfg Config) (*Link, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	return &Link{cfg: cfg}, nil
}

// Addr returns where the link listens; the address may be unspecified.
func (l *Link) Addr() netip.AddrPort { return netip.AddrPort{} }

// Gossip returns the transport for memberlist. A memberlist name is the
// String of a NodeID.
func (l *Link) Gossip() memberlist.NodeAwareTransport { return nil }

// Call sends a request and waits for the reply, which is the caller's to
// keep. req is not kept after Call returned. ctx bounds the wait and travels
// along as the handler's deadline.
func (l *Link) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	return nil, ErrClosed
}

// Greet connects to an address that the user gave, authenticates whoever is
// there and exchanges hellos.
func (l *Link) Greet(ctx context.Context, addr netip.AddrPort) (Peer, error) {
	return Peer{}, ErrClosed
}

// Probe asks a peer for a sign of life, by packet and, when a third of the
// time that ctx allows has passed without an answer, by data connection.
// Without a deadline it takes at most 3 s.
func (l *Link) Probe(ctx context.Context, to view.NodeID) (ProbeResult, error) {
	return ProbeResult{}, ErrClosed
}

// Drop breaks the data connection to a peer, if there is one: requests under
// way fail with ErrUnreachable. OnBroken is not called.
func (l *Link) Drop(id view.NodeID) {}

// Connected returns the peers with a data connection, sorted.
func (l *Link) Connected() []view.NodeID { return nil }

// Stats returns counters.
func (l *Link) Stats() Stats { return Stats{} }

// Close breaks all connections, ends the contexts of all handlers and waits
// for them and for every other goroutine. A handler must not call it.
func (l *Link) Close() error { return nil }
