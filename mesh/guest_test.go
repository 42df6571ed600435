package mesh

import (
	"bufio"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// rawClient is a data connection by hand, of one who keeps to no rule.
type rawClient struct {
	t  testing.TB
	tc *tls.Conn
	br *bufio.Reader
}

// dialRaw connects as a client; place is the place of the connection among all of
// its dialler.
func (w *world) dialRaw(from *box, to *Node, id view.NodeID, place uint64) *rawClient {
	w.t.Helper()
	check := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	keys, err := identity.Derive(testSecret, "test", defaultShards)
	check(err)
	cert, err := keys.Issue(id, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	check(err)
	raw, err := w.net.Host(from.addr).Dial(w.t.Context(), "tcp", to.Addr().String())
	check(err)
	check(raw.SetDeadline(time.Now().Add(time.Minute)))
	c := &rawClient{t: w.t, tc: tls.Client(raw, rawTLS(cert, keys))}
	c.br = bufio.NewReader(c.tc)
	check(c.tc.Handshake())
	c.write(wire.AppendFrame(nil, wire.FrameGreeting, 0, 0, "", wire.AppendGreeting(nil, wire.Greeting{
		Node: id, Boot: 1, Instance: 1, Requests: 10, Bytes: 1 << 20, MaxPayload: 1 << 20,
		Payload: wire.AppendHello(nil, &wire.Hello{Self: wire.Member{ID: id}, Client: true}),
	})))
	if h, _ := c.read(); h.Kind != wire.FrameGreeting {
		w.t.Fatalf("no greeting but a frame of kind %d", h.Kind)
	}
	c.write(wire.AppendFrame(nil, wire.FrameReady, place, 0, "", nil))
	return c
}

// rawTLS knocks by hand: purpose, dot, nonce and proof (link.knockFor).
func rawTLS(cert tls.Certificate, keys *identity.Keys) *tls.Config {
	purpose, nonce := "skein-data/2", make([]byte, 16)
	mac := hmac.New(sha256.New, keys.KnockKey[:])
	mac.Write(append([]byte(purpose), nonce...))
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true,
		NextProtos: []string{fmt.Sprintf("%s.%x%x", purpose, nonce, mac.Sum(nil)[:16])},
	}
}

func (c *rawClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.tc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) read() (wire.FrameHeader, []byte) {
	c.t.Helper()
	var prefix [wire.FramePrefix]byte
	if _, err := io.ReadFull(c.br, prefix[:]); err != nil {
		c.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(prefix[:]))
	if _, err := io.ReadFull(c.br, b); err != nil {
		c.t.Fatal(err)
	}
	h, n, err := wire.DecodeFrameHeader(b)
	if err != nil {
		c.t.Fatal(err)
	}
	return h, b[n:]
}

// call asks and returns what kind of answer came.
func (c *rawClient) call(id uint64, method string, req []byte) (wire.FrameKind, []byte) {
	c.t.Helper()
	c.write(wire.AppendFrame(nil, wire.FrameRequest, id, 0, method, req))
	for {
		if h, b := c.read(); h.ID == id && (h.Kind == wire.FrameReply || h.Kind == wire.FrameFailure) {
			return h.Kind, b
		}
	}
}

// A client stays one on each of its connections, whatever becomes of another.
func TestClientStaysClient(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.boxes[0].cfg.AllowAdmin = true
		w.form(10 * time.Second)
		n, id := w.boxes[0].node, view.NodeID(77)
		first := w.dialRaw(w.boxes[1], n, id, 1)
		second := w.dialRaw(w.boxes[1], n, id, 2)
		for i, c := range []*rawClient{first, second} {
			if kind, b := c.call(1, methodView, nil); kind != wire.FrameReply {
				t.Fatalf("connection %d: %d %q", i, kind, b)
			}
			if kind, _ := c.call(2, methodSums, wire.AppendRosterQuery(nil, wire.RosterSums{})); kind == wire.FrameReply {
				t.Fatalf("connection %d is served the roster", i)
			}
		}
		_ = second.tc.NetConn().Close()
		time.Sleep(time.Second)
		if kind, _ := first.call(3, methodSums, wire.AppendRosterQuery(nil, wire.RosterSums{})); kind == wire.FrameReply {
			t.Error("the first connection is a node's once the second is gone")
		}
		if kind, b := first.call(4, methodView, nil); kind != wire.FrameReply {
			t.Errorf("the first connection serves nothing more: %d %q", kind, b)
		}
		_ = first.tc.Close()
		time.Sleep(30 * time.Second)
		if !w.whole() || len(n.View().Members) != 2 || n.link.Stats().Conns != 1 {
			t.Errorf("the client became a member: %+v", n.View().Members)
		}
	})
}
