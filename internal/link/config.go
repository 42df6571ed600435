package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Network is what a Link stands on. Connections and packet connections must
// honour deadlines. Network names are "tcp" and "udp".
type Network interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Peer is the other end of a data connection.
type Peer struct {
	ID             view.NodeID
	Boot, Instance uint64
	Remote         netip.AddrPort
	Dialed         bool // this end dialled
	Guest          bool // see Config.Guest
}

// Config of a Link. It is copied by Open. The functions may be called from
// several goroutines at once and from the moment Open is called.
type Config struct {
	Self     view.NodeID // required
	Boot     uint64      // durable boot counter; packets of a lower one than seen are refused
	Instance uint64      // random per process start, so that keys never repeat

	Listen  string  // host:port for UDP and TCP; port 0 picks one free for both; empty means ":0"
	Network Network // nil means the host's

	Certificate tls.Certificate // required; shown to every peer
	// Verify says whose certificate it is, or that it is nobody's of this
	// mesh. Required. It must not consult the wall clock.
	Verify func(leafDER []byte) (view.NodeID, error)
	// PacketKey is shared by the mesh; the key of one sender is derived from
	// it with NodeID, Boot and Instance. Required (not all zero).
	PacketKey [32]byte
	// KnockKey is shared by the mesh: who dials without it gets nothing of this
	// node, not its certificate either. Required (not all zero).
	KnockKey [32]byte

	// Resolve is the roster's look-up: the only source of addresses that are
	// dialled or sent to. Required. It must not block.
	Resolve func(view.NodeID) (netip.AddrPort, bool)
	// Floor is the Boot of a node that was admitted last, 0 if none was: packets
	// of earlier boots are refused. Nil refuses none. It must not block.
	Floor func(view.NodeID) uint64
	// Admit is asked for every packet and stream of gossip of an authenticated
	// peer; false shuts it out. OnHello decides about data connections: by its
	// refusal the peer is told why. Nil admits all. It must not block.
	Admit func(view.NodeID) bool

	// Member tells whether the roster holds a node, gone or not. Gossip about
	// others does not get through. Nil: whom Resolve knows. It must not block.
	Member func(view.NodeID) bool
	// OnStrange is told that a peer gossiped about a node, or is one, that Member
	// does not know: the roster may have to be compared. See Meet. It must not
	// block. Nil is fine.
	OnStrange func(from view.NodeID)

	// Hello is the payload of our hello on a data connection, at most 64 KiB.
	// Nil means none.
	Hello func() []byte
	// OnHello is called at both ends before a data connection is used. An
	// error refuses it; see RefusedError. The payload is the callee's to
	// keep. Nil accepts all.
	OnHello func(peer Peer, payload []byte) error
	// Guest tells by the hello of one that dialled us whether it is no node and only
	// asks. That holds for its connection as long as that lasts, whatever else comes
	// from whoever has its id: its requests go to HandleGuest, it is never asked
	// anything, nor reported by OnBroken, and gets no packets. Nil: nobody is.
	Guest       func(hello []byte) bool
	HandleGuest func(ctx context.Context, from view.NodeID, method string, req []byte) ([]byte, error)
	// Handle answers requests. Each call has its own goroutine, which Close
	// waits for; ctx ends with the caller's deadline, when the caller cancels,
	// when the connection breaks and when the link closes. req is the
	// handler's to keep; the reply is not changed and may be used again after
	// the handler returned only for reading. Nil refuses all.
	Handle func(ctx context.Context, from view.NodeID, method string, req []byte) ([]byte, error)
	// Prompt tells whether requests of a method go to HandlePrompt. Nil: none do.
	Prompt func(method string) bool
	// HandlePrompt is Handle for handlers that never wait: answer is to be called
	// once, before the handler returns or later, by any goroutine, and waits for
	// nothing. It runs on the goroutine that reads the connection: to be handed to
	// another one may take a busy machine longer than the handler takes. Until it
	// returns nothing else is read from the peer.
	HandlePrompt func(ctx context.Context, from view.NodeID, method string, req []byte, answer func(reply []byte, err error))
	// Fault returns what of a handler's error travels, as a *RemoteError. Nil: the
	// error's text.
	Fault func(error) error
	// Idempotent tells whether requests of a method may be handled more than
	// once, also late: see CallIdempotent. Nil: none may.
	Idempotent func(method string) bool
	// OnBroken is told when the data connection to a peer broke and no other
	// took its place, with a *RefusedError when the peer refused our hello on
	// a connection that it had dialled. Drained, idle and locally closed
	// connections are not reported. It must not block. Nil is fine.
	OnBroken func(view.NodeID, error)
	// OnFound is told of a peer that answered at the address of another one,
	// which was dialled, and was greeted. It must not block. Nil is fine.
	OnFound func(Peer)
	// OnStranger is told of one that dials us and speaks our protocol, but does not
	// belong to this mesh, as it says or we do. It must not block. Nil is fine.
	OnStranger func(netip.AddrPort)
	// OnNarrow is told of a host that large packets do not get there while small ones
	// do (ErrNarrow), which only Linux lets a program know; and at each handshake
	// that they do. It must not block. Nil is fine.
	OnNarrow func(host netip.Addr, narrow bool)

	Logger *slog.Logger // nil is silent
	Limits Limits       // zero fields take their defaults
}

// Limits bound what others may cost. Zero means the default.
type Limits struct {
	MaxPayload int // bytes of one request or reply; default 4 MiB, at most 64 MiB

	// Window of one data connection: what the other side may have in flight
	// towards us. Callers wait for room.
	WindowRequests int // default 1024
	WindowBytes    int // default 8 MiB, at least MaxPayload

	// Of the whole link. Beyond, requests are refused as overloaded.
	Handlers int // requests being handled at once; default 4096
	// Bytes of requests held at once; default 32 MiB. They count as they come. One
	// connection may hold a quarter, or one request; an eighth is for requests of
	// up to 64 KiB. While some are refused, one that comes slower than 16 kB/s is
	// refused, too.
	InboundBytes  int
	OutboundBytes int // bytes of replies that wait to be sent; default 32 MiB
	GossipBytes   int // bytes of gossip frames held at once, in the same way; default 8 MiB
	Connections   int // data connections; default 4096
	Guests        int // of them those of guests; default 256

	Handshakes        int           // not yet authenticated connections in all; default 256
	HandshakesPerAddr int           // of one address (IPv6: one /64); default 64
	HandshakeTimeout  time.Duration // to authenticate; default 2 s
	DialTimeout       time.Duration // to connect, authenticate and greet; default 5 s

	Keepalive time.Duration // silence after which a peer is asked for a sign of life; default 10 s
	Silence   time.Duration // silence or blocked writing after which a connection is broken; default 3 x Keepalive
	Idle      time.Duration // data connections without requests are closed after it; default never
}

func defaulted[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func (l Limits) withDefaults() Limits {
	defaulted(&l.MaxPayload, 4<<20)
	defaulted(&l.WindowRequests, 1024)
	defaulted(&l.WindowBytes, max(8<<20, l.MaxPayload))
	defaulted(&l.Handlers, 4096)
	defaulted(&l.InboundBytes, max(32<<20, l.MaxPayload/7*8+8))
	defaulted(&l.OutboundBytes, max(32<<20, l.MaxPayload))
	defaulted(&l.GossipBytes, 2*maxGossipFrame)
	defaulted(&l.Connections, 4096)
	defaulted(&l.Guests, 256)
	defaulted(&l.Handshakes, 256)
	defaulted(&l.HandshakesPerAddr, 64)
	defaulted(&l.HandshakeTimeout, 2*time.Second)
	defaulted(&l.DialTimeout, 5*time.Second)
	defaulted(&l.Keepalive, 10*time.Second)
	defaulted(&l.Silence, 3*l.Keepalive)
	return l
}

func (l Limits) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(l.MaxPayload > 0 && l.MaxPayload <= maxMaxPayload, "MaxPayload %d is not within 1 and %d", l.MaxPayload, maxMaxPayload)
	check(l.WindowRequests > 0, "WindowRequests %d is not positive", l.WindowRequests)
	check(l.WindowBytes >= l.MaxPayload, "WindowBytes %d is less than MaxPayload", l.WindowBytes)
	check(l.Handlers > 0, "Handlers %d is not positive", l.Handlers)
	check(l.InboundBytes >= l.MaxPayload, "InboundBytes %d is less than MaxPayload", l.InboundBytes)
	check(l.OutboundBytes >= l.MaxPayload, "OutboundBytes %d is less than MaxPayload", l.OutboundBytes)
	check(l.GossipBytes >= maxGossipFrame, "GossipBytes %d is less than one frame of %d", l.GossipBytes, maxGossipFrame)
	check(l.Connections > 0, "Connections %d is not positive", l.Connections)
	check(l.Guests > 0, "Guests %d is not positive", l.Guests)
	check(l.Handshakes > 0, "Handshakes %d is not positive", l.Handshakes)
	check(l.HandshakesPerAddr > 0, "HandshakesPerAddr %d is not positive", l.HandshakesPerAddr)
	check(l.HandshakeTimeout > 0, "HandshakeTimeout %v is not positive", l.HandshakeTimeout)
	check(l.DialTimeout > 0, "DialTimeout %v is not positive", l.DialTimeout)
	check(l.Keepalive > 0, "Keepalive %v is not positive", l.Keepalive)
	check(l.Silence > l.Keepalive, "Silence %v is not longer than Keepalive", l.Silence)
	check(l.Idle >= 0, "Idle %v is negative", l.Idle)
	return errors.Join(errs...)
}

// withDefaults fills in what may be left out.
func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = ":0"
	}
	if c.Network == nil {
		c.Network = hostNetwork{}
	}
	if c.Floor == nil {
		c.Floor = func(view.NodeID) uint64 { return 0 }
	}
	if c.Admit == nil {
		c.Admit = func(view.NodeID) bool { return true }
	}
	if c.Member == nil {
		resolve := c.Resolve
		c.Member = func(id view.NodeID) bool { _, ok := resolve(id); return ok }
	}
	if c.OnStrange == nil {
		c.OnStrange = func(view.NodeID) {}
	}
	if c.Hello == nil {
		c.Hello = func() []byte { return nil }
	}
	if c.OnHello == nil {
		c.OnHello = func(Peer, []byte) error { return nil }
	}
	if c.Prompt == nil {
		c.Prompt = func(string) bool { return false }
	}
	if c.Fault == nil {
		c.Fault = func(err error) error { return err }
	}
	if c.Idempotent == nil {
		c.Idempotent = func(string) bool { return false }
	}
	if c.Handle == nil {
		c.Handle = func(context.Context, view.NodeID, string, []byte) ([]byte, error) {
			return nil, &RemoteError{Code: CodeError, Text: "requests are not handled here"}
		}
	}
	if c.Guest == nil {
		c.Guest = func([]byte) bool { return false }
	}
	if c.HandleGuest == nil {
		c.HandleGuest = func(context.Context, view.NodeID, string, []byte) ([]byte, error) {
			return nil, &RemoteError{Code: CodeError, Text: "requests of guests are not handled here"}
		}
	}
	if c.OnBroken == nil {
		c.OnBroken = func(view.NodeID, error) {}
	}
	if c.OnFound == nil {
		c.OnFound = func(Peer) {}
	}
	if c.OnStranger == nil {
		c.OnStranger = func(netip.AddrPort) {}
	}
	if c.OnNarrow == nil {
		c.OnNarrow = func(netip.Addr, bool) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	return c
}

// completeConfig fills in defaults and reports every fault at once.
func (c Config) completeConfig() (Config, error) {
	c = c.withDefaults()
	var errs []error
	if c.Self == 0 {
		errs = append(errs, errors.New("no Self"))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("Listen %q: %w", c.Listen, err))
	}
	if len(c.Certificate.Certificate) == 0 || c.Certificate.PrivateKey == nil {
		errs = append(errs, errors.New("no Certificate"))
	}
	if c.Verify == nil {
		errs = append(errs, errors.New("no Verify"))
	}
	if c.PacketKey == ([32]byte{}) {
		errs = append(errs, errors.New("no PacketKey"))
	}
	if c.KnockKey == ([32]byte{}) {
		errs = append(errs, errors.New("no KnockKey"))
	}
	if c.Resolve == nil {
		errs = append(errs, errors.New("no Resolve"))
	}
	errs = append(errs, c.Limits.validate())
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c, nil
}

// hostNetwork is the network of the machine.
type hostNetwork struct{}

func (hostNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	// Connections have their own sign of life.
	lc := net.ListenConfig{KeepAlive: -1, Control: boundSegments}
	return lc.Listen(ctx, network, address)
}

func (hostNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return (&net.ListenConfig{}).ListenPacket(ctx, network, address)
}

func (hostNetwork) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{KeepAlive: -1, Control: boundSegments}).DialContext(ctx, network, address)
}
