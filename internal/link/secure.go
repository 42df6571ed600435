package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// strangerBytes is how much is read from a peer that has not proved who it
// is. A hello, a certificate and the signature take about 3 KiB.
const strangerBytes = 16 << 10

var errTalkative = errors.New("link: too many bytes before authentication")

// meteredConn cuts a connection off that sends too much before it is trusted. Only
// the goroutine of the handshake uses it before then, and only readers after.
type meteredConn struct {
	net.Conn
	left    int
	trusted bool
	heard   atomic.Bool // bytes came since somebody last asked
}

func (m *meteredConn) Read(b []byte) (int, error) {
	if m.trusted {
		n, err := m.Conn.Read(b)
		if n > 0 && !m.heard.Load() {
			m.heard.Store(true)
		}
		return n, err
	}
	if m.left == 0 {
		return 0, errTalkative
	}
	n, err := m.Conn.Read(b[:min(len(b), m.left)])
	m.left -= n
	return n, err
}

// secureConn runs the TLS handshake. It returns what the stream is for, too: at the
// dialling end that is given. The acceptor shows nothing before it has heard a
// right knock. Then both ends show a certificate that Verify maps to a NodeID;
// want, when not zero, is whose it must be. Neither side looks at names, times or
// chains: the certificate is bound to mesh and node and nothing else counts. On
// error raw is closed.
func (l *Link) secureConn(ctx context.Context, raw net.Conn, dialed bool, purpose string, want view.NodeID) (*tls.Conn, string, view.NodeID, error) {
	var id view.NodeID
	remote := addrPort(raw.RemoteAddr())
	m := &meteredConn{Conn: raw, left: strangerBytes}
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{l.cfg.Certificate},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // VerifyConnection does what matters here
		SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			var err error
			id, err = l.verifyPeer(cs, purpose, want)
			return err
		},
		DynamicRecordSizingDisabled: true,
	}
	var tc *tls.Conn
	if dialed {
		cfg.NextProtos = []string{l.makeKnock(purpose)}
		tc = tls.Client(m, cfg)
	} else {
		tc = tls.Server(m, &tls.Config{
			MinVersion: tls.VersionTLS13,
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				heard, err := checkKnock(&l.cfg.KnockKey, hello.SupportedProtos)
				if err != nil {
					return nil, err // an alert is all that is sent
				}
				purpose, cfg.NextProtos = heard, hello.SupportedProtos
				return cfg, nil
			},
		})
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline.Add(-min(timeToAsk, time.Until(deadline)/8)))
	}
	if err := tc.HandshakeContext(ctx); err != nil {
		err = markDistrust(err)
		if purpose != "" && isNarrow(raw) {
			err = fmt.Errorf("%w: %w", ErrNarrow, err)
			l.cfg.OnNarrow(remote.Addr(), true)
		}
		raw.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err) // that of ctx, a bit early
		}
		if !dialed && id == 0 && isOfAnotherMesh(err, purpose) {
			l.cfg.OnStranger(remote)
		}
		return nil, "", 0, fmt.Errorf("link: handshake with %v: %w", remote, err)
	}
	m.trusted = true
	l.cfg.OnNarrow(remote.Addr(), false) // what each end says first is large
	return tc, purpose, id, nil
}

// isOfAnotherMesh tells whether the handshake with one that dialled us failed because
// it is a node of another mesh. What it is here for, the purpose, is known once it has
// knocked rightly. The knock proves the secret alone; that the rest is the same, only
// certificates show. Where data is dialled they are judged by nothing else. A stream of
// gossip fails among members, too: one is not whom the other wants, or is shut out.
func isOfAnotherMesh(err error, purpose string) bool {
	return errors.Is(err, errWrongKnock) || purpose == forData && errors.Is(err, ErrUntrusted)
}

func (l *Link) verifyPeer(cs tls.ConnectionState, purpose string, want view.NodeID) (view.NodeID, error) {
	if len(cs.PeerCertificates) != 1 {
		return 0, fmt.Errorf("%w: it shows %d certificates", ErrUntrusted, len(cs.PeerCertificates))
	}
	if cs.NegotiatedProtocol == "" {
		return 0, fmt.Errorf("%w: it does not answer to the knock", ErrUntrusted)
	}
	id, err := l.cfg.Verify(cs.PeerCertificates[0].Raw)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrUntrusted, err)
	case id == 0:
		return 0, fmt.Errorf("%w: it is nobody", ErrUntrusted)
	case want != 0 && id != want:
		return 0, fmt.Errorf("%w: it is %v, not %v", ErrUntrusted, id, want)
	case purpose == forGossip && !l.cfg.Admit(id):
		return 0, fmt.Errorf("%w: %v is shut out", ErrUntrusted, id)
	}
	return id, nil
}

// markDistrust marks the alert by which the other end says that it does not
// trust us; in TLS 1.3 it may come after our side of the handshake is done.
func markDistrust(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && !errors.Is(err, ErrUntrusted) {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// dialSecure connects to addr and authenticates who is there.
func (l *Link) dialSecure(ctx context.Context, addr, purpose string, want view.NodeID) (*tls.Conn, net.Conn, view.NodeID, error) {
	raw, err := l.cfg.Network.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, 0, err
	}
	tc, _, id, err := l.secureConn(ctx, raw, true, purpose, want)
	return tc, raw, id, err
}

// cutWhen closes raw when ctx ends before stop is called.
func cutWhen(ctx context.Context, raw net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { raw.Close() })
}

// clearDeadline undoes the deadline of the handshake.
func clearDeadline(raw net.Conn) { _ = raw.SetDeadline(time.Time{}) }
