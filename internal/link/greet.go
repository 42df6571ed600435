package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Greet connects to an address that the user gave, authenticates whoever is
// there and exchanges hellos. The connection is kept for requests. From then
// on memberlist may join at that address without a name, too.
func (l *Link) Greet(ctx context.Context, addr netip.AddrPort) (Peer, error) {
	peer, err := l.connectTo(ctx, addr, 0)
	if err != nil {
		return peer, fmt.Errorf("link: greeting %v: %w", addr, err)
	}
	l.gossip.allowAddr(addr, peer.ID)
	return peer, nil
}

// Find connects to a peer at another address than Resolve says. The error is
// ErrOther when another member answers there.
func (l *Link) Find(ctx context.Context, peer view.NodeID, addr netip.AddrPort) error {
	if _, err := l.connectTo(ctx, addr, peer); err != nil {
		return fmt.Errorf("link: looking for %v at %v: %w", peer, addr, err)
	}
	return nil
}

// connectTo makes a data connection to want, or to whoever is at addr when
// want is zero. Where another member answers than want it is greeted all the
// same: it has come to that address, and its hello says where it is now, as
// ours says to it. The error is ErrOther then.
func (l *Link) connectTo(ctx context.Context, addr netip.AddrPort, want view.NodeID) (Peer, error) {
	peer, err := l.connectAny(ctx, addr, want)
	if want == 0 || peer.ID == 0 || peer.ID == want {
		return peer, err
	}
	switch {
	case err == nil:
		l.cfg.OnFound(peer)
	case !errors.Is(err, ErrOther):
		l.tellRefused(peer, err)
		// Not as what the other said of us: that would count as a word of want.
		return peer, fmt.Errorf("%w: at %v is %v, not %v: %v", ErrOther, addr, peer.ID, want, err)
	}
	return peer, fmt.Errorf("%w: at %v is %v, not %v", ErrOther, addr, peer.ID, want)
}

// connectAny makes a data connection to whoever is at addr. One that is not
// want, and whose connection works, is left alone.
func (l *Link) connectAny(ctx context.Context, addr netip.AddrPort, want view.NodeID) (Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Limits.DialTimeout)
	defer cancel()
	// A caller's context does not know of Close.
	stop := context.AfterFunc(l.group.Context(), cancel)
	defer stop()
	tc, raw, id, err := l.dialSecure(ctx, addr.String(), forData, 0)
	if err != nil {
		return Peer{}, err
	}
	if want != 0 && id != want && l.peers.hasLiveConn(id) {
		raw.Close()
		return Peer{ID: id}, ErrOther
	}
	stopCut := cutWhen(ctx, raw)
	defer stopCut()
	clearDeadline(raw) // a bit before that of ctx, which cuts the hellos off
	c, err := l.exchangeHellos(tc, raw, Peer{ID: id, Remote: unmapAddr(addr), Dialed: true})
	if err != nil {
		raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return Peer{ID: id, Remote: unmapAddr(addr), Dialed: true}, err
	}
	if !stopCut() {
		raw.Close() // too late
		return c.peer, ctx.Err()
	}
	return c.peer, l.adoptConn(c)
}

// adoptConn puts a greeted connection to use.
func (l *Link) adoptConn(c *conn) error {
	clearDeadline(c.raw)
	if err := l.peers.addConn(c); err != nil {
		c.raw.Close()
		return err
	}
	l.log.Debug("data connection", "peer", c.peer.ID, "remote", c.peer.Remote, "dialed", c.peer.Dialed)
	if !l.group.Go(c.runUntilFailed) {
		c.failWith(ErrClosed)
		l.peers.removeConn(c)
		return ErrClosed
	}
	return nil
}

// exchangeHellos exchanges hellos on a new data connection:
//
//	dialler   greeting ->          ready or refusal ->
//	acceptor            <- greeting or refusal
//
// Each side uses the connection only after both accepted. Ready carries the
// place of the connection among all that the dialler made.
func (l *Link) exchangeHellos(tc, raw net.Conn, peer Peer) (*conn, error) {
	br := bufio.NewReaderSize(tc, readBuffer)
	asked := time.Now()
	if peer.Dialed {
		if err := l.sayHello(tc); err != nil {
			return nil, err
		}
	}
	window, err := hearHello(br, &peer)
	if err != nil {
		return nil, err
	}
	peer.Guest = !peer.Dialed && l.cfg.Guest(window.Payload)
	answered := time.Now()
	if err := l.judgeHello(peer, window.Payload); err != nil {
		var refused *RefusedError
		if errors.As(err, &refused) {
			sendRefusal(tc, refused)
		}
		// Not as a *RefusedError, which says that this node was refused.
		return nil, fmt.Errorf("%w: %v", ErrNotAccepted, err)
	}
	window.Payload = nil
	c := newConn(l, peer, raw, tc, br, window)
	if tc, ok := tc.(*tls.Conn); ok && !peer.Guest {
		if c.pair, err = newPairSealer(tc, peer.Dialed); err != nil {
			return nil, fmt.Errorf("link: keys of a connection: %w", err)
		}
	}
	if peer.Dialed {
		c.seq = l.dialed.Add(1)
		_, err = tc.Write(wire.AppendFrame(nil, wire.FrameReady, c.seq, 0, "", nil))
	} else if asked, err = time.Now(), l.sayHello(tc); err == nil {
		if c.seq, _, err = readHandshakeFrame(br, wire.FrameReady, 0); err != nil && !peer.Guest {
			l.tellRefused(peer, err)
		}
		answered = time.Now()
	}
	c.rtt = answered.Sub(asked)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (l *Link) sayHello(w io.Writer) error {
	payload := l.cfg.Hello()
	if len(payload) > wire.MaxGreetingPayload {
		return fmt.Errorf("%w: hello of %d bytes", ErrTooLarge, len(payload))
	}
	greeting := wire.AppendGreeting(nil, wire.Greeting{
		Node: l.cfg.Self, Boot: l.cfg.Boot, Instance: l.cfg.Instance,
		Requests:   uint64(l.cfg.Limits.WindowRequests),
		Bytes:      uint64(l.cfg.Limits.WindowBytes),
		MaxPayload: uint64(l.cfg.Limits.MaxPayload),
		Payload:    payload,
	})
	_, err := w.Write(wire.AppendFrame(nil, wire.FrameGreeting, 0, 0, "", greeting))
	return err
}

// hearHello reads the other side's greeting. Its payload is a fresh slice.
func hearHello(br *bufio.Reader, peer *Peer) (wire.Greeting, error) {
	_, payload, err := readHandshakeFrame(br, wire.FrameGreeting, wire.MaxGreeting)
	if err != nil {
		return wire.Greeting{}, err
	}
	g, err := wire.DecodeGreeting(payload)
	if err != nil {
		return wire.Greeting{}, err
	}
	if g.Node != peer.ID {
		return wire.Greeting{}, fmt.Errorf("%w: %v says that it is %v", ErrUntrusted, peer.ID, g.Node)
	}
	peer.Boot, peer.Instance = g.Boot, g.Instance
	return g, nil
}

// readHandshakeFrame reads one frame of the given kind, or a refusal.
func readHandshakeFrame(br *bufio.Reader, kind wire.FrameKind, limit int) (id uint64, payload []byte, err error) {
	h, size, err := nextFrame(br, max(limit, maxText))
	if err != nil {
		return 0, nil, err
	}
	refusal := h.Kind == wire.FrameRefusal && len(h.Text) <= maxCode && size <= maxText
	if !refusal && (h.Kind != kind || size > limit) {
		return 0, nil, fmt.Errorf("%w: frame of kind %d and %d bytes before hello", errProtocol, h.Kind, size)
	}
	code := printableText(h.Text, maxCode)
	payload = make([]byte, size)
	if _, err := io.ReadFull(br, payload); err != nil {
		return 0, nil, err
	}
	switch {
	case refusal && code == CodeSelf:
		return 0, nil, ErrSelf
	case refusal:
		return 0, nil, &RefusedError{Code: code, Text: printableText(payload, maxText)}
	}
	return h.ID, payload, nil
}

// judgeHello decides about a hello. A refusal comes as a *RefusedError.
func (l *Link) judgeHello(peer Peer, payload []byte) error {
	if peer.ID == l.cfg.Self && peer.Instance == l.cfg.Instance && peer.Boot == l.cfg.Boot {
		return &RefusedError{Code: CodeSelf, Text: "this is the very node that dials"}
	}
	if l.peers.isFull(peer.Guest) {
		return &RefusedError{Code: CodeBusy, Text: "too many connections"}
	}
	err := l.cfg.OnHello(peer, payload)
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return &RefusedError{
			Code: refused.Code[:min(len(refused.Code), maxCode)],
			Text: refused.Text[:min(len(refused.Text), maxText)],
		}
	case err != nil:
		text := err.Error()
		return &RefusedError{Code: CodeRefused, Text: text[:min(len(text), maxText)]}
	case peer.ID == l.cfg.Self:
		return &RefusedError{Code: CodeConflict, Text: "another process runs as this node"}
	}
	return nil
}

func sendRefusal(w io.Writer, r *RefusedError) {
	_, _ = w.Write(wire.AppendFrame(nil, wire.FrameRefusal, 0, 0, r.Code, []byte(r.Text)))
}

// tellRefused reports that a peer dialled us and then refused our hello.
func (l *Link) tellRefused(peer Peer, err error) {
	var refused *RefusedError
	if errors.As(err, &refused) {
		l.cfg.OnBroken(peer.ID, err)
	}
}
