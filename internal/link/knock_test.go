package link

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// visit is what one gets of a link who dials it with a plain TLS client.
type visit struct {
	net.Conn
	got int
}

func (v *visit) Read(b []byte) (int, error) {
	n, err := v.Conn.Read(b)
	v.got += n
	return n, err
}

// visitAs offers protocols to a link, and tells how many bytes came and whether a
// certificate was shown.
func visitAs(t *testing.T, to *Link, offered []string) (got int, shown bool) {
	t.Helper()
	raw, err := net.Dial("tcp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	v := &visit{Conn: raw}
	c := tls.Client(v, &tls.Config{
		InsecureSkipVerify: true, NextProtos: offered,
		VerifyPeerCertificate: func(certs [][]byte, _ [][]*x509.Certificate) error {
			shown = len(certs) > 0
			return nil
		},
	})
	if c.Handshake() == nil {
		_, _ = c.Read(make([]byte, 1)) // TLS 1.3: the refusal comes behind
	}
	return v.got, shown
}

// Who does not knock rightly gets an alert, whatever else he offers. The node is
// told of those that must be nodes.
func TestStrangersAreShownNothing(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	var told atomic.Int32
	a := w.start(1, func(c *Config) { c.OnStranger = func(netip.AddrPort) { told.Add(1) } })
	right := w.auth.knock(forData)[0]
	changed := func(at int) string {
		b := []byte(right)
		if b[at]++; right[at] == '9' || right[at] == 'f' {
			b[at] = '0'
		}
		return string(b)
	}
	proof := len(right) - 2*knockProof
	for what, c := range map[string]struct {
		offered []string
		node    bool // it must be one, of another mesh
	}{
		"nothing":                  {nil, false},
		"a browser":                {[]string{"h2", "http/1.1"}, false},
		"no proof":                 {[]string{forData}, false},
		"a version before":         {[]string{"skein-data/1"}, false},
		"a proof cut short":        {[]string{right[:len(right)-2]}, false},
		"the nonce alone":          {[]string{right[:proof]}, false},
		"more than a proof":        {[]string{right + "00"}, false},
		"a proof among others":     {[]string{right, "h2"}, false},
		"two proofs":               {[]string{right, right + "x"}, false},
		"no digits":                {[]string{right[:len(forData)+1] + strings.Repeat("z", len(right)-len(forData)-1)}, false},
		"for nothing that we do":   {[]string{strings.Replace(right, forData, "skein-stuff/2", 1)}, false},
		"of another mesh":          {other.auth.knock(forData), true},
		"gossip of another mesh":   {other.auth.knock(forGossip), true},
		"for something else":       {[]string{strings.Replace(right, forData, forGossip, 1)}, true},
		"another nonce":            {[]string{changed(len(forData) + 1)}, true},
		"another end of the nonce": {[]string{changed(proof - 1)}, true},
		"first digit of the proof": {[]string{changed(proof)}, true},
		"last digit of the proof":  {[]string{changed(len(right) - 1)}, true},
		"in capital letters":       {[]string{forData + strings.ToUpper(right[len(forData):])}, true},
	} {
		told.Store(0)
		before := a.Stats().ConnsRefused
		got, shown := visitAs(t, a, c.offered)
		if shown || got > 16 {
			t.Errorf("%s: a certificate is shown: %v, %d bytes came", what, shown, got)
		}
		eventually(t, what+": it is turned away", func() bool { return a.Stats().ConnsRefused > before })
		if got := told.Load() != 0; got != c.node {
			t.Errorf("%s: taken for a node: %v", what, got)
		}
	}
	told.Store(0)
	before := a.Stats().ConnsRefused
	raw, err := net.Dial("tcp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Write([]byte{21, 3, 3, 0, 2, 2, 80}); err != nil { // an alert
		t.Fatal(err)
	}
	eventually(t, "one that begins with an alert is turned away", func() bool { return a.Stats().ConnsRefused > before })
	if told.Load() != 0 {
		t.Error("one that begins with an alert is taken for a node")
	}
	// One that was overheard gets the certificate, and no further.
	if got, shown := visitAs(t, a, []string{right}); !shown || got < 500 {
		t.Errorf("a right knock: a certificate is shown: %v, %d bytes came", shown, got)
	}
	b := w.start(2)
	mustCall(t, b, 1, []byte("in"))
	mustCall(t, a, 2, []byte("in"))
}

// A member that looks for another one here, or that is shut out, is told to be neither of
// another mesh nor anything else; nor is one that shuts us out.
func TestMembersAreNoStrangers(t *testing.T) {
	w := newWorld(t)
	var told atomic.Int32
	var out atomic.Uint64
	count := func(c *Config) {
		c.OnStranger = func(netip.AddrPort) { told.Add(1) }
		c.Admit = func(id view.NodeID) bool { return uint64(id) != out.Load() }
	}
	a, b := w.start(1, count), w.start(2, count)
	dial := func(what string, from *Link, to view.NodeID, at *Link) {
		t.Helper()
		before := at.Stats().ConnsRefused
		if c, err := from.Gossip().DialAddressTimeout(address(to), 5*time.Second); err == nil {
			_, _ = c.Read(make([]byte, 1)) // TLS 1.3: the refusal comes behind
			c.Close()
		}
		eventually(t, what+": it is turned away", func() bool { return at.Stats().ConnsRefused > before })
		if n := told.Load(); n != 0 {
			t.Errorf("%s: told %d times of a stranger", what, n)
		}
		told.Store(0)
	}
	w.book.set(3, a.Addr())
	dial("it looks for another one", b, 3, a)
	out.Store(2)
	dial("one that is shut out", b, 1, a)
	dial("one that shuts us out", a, 2, b)
}

// Who overhears knocks cannot tell which are of one mesh.
func TestKnocksDiffer(t *testing.T) {
	l := newWorld(t).start(1)
	first, second := l.makeKnock(forData), l.makeKnock(forData)
	at := len(forData) + 1
	if first[at:at+2*knockNonce] == second[at:at+2*knockNonce] || first == second {
		t.Errorf("two knocks are alike: %s, %s", first, second)
	}
}

func FuzzKnock(f *testing.F) {
	key := [32]byte{1}
	right := knockFor(&key, forGossip, bytes.Repeat([]byte{7}, knockNonce))
	f.Add(right)
	f.Add(right[:len(right)-1])
	f.Add(forData + "." + strings.Repeat("0", 2*(knockNonce+knockProof)))
	f.Add(forData)
	f.Add("")
	f.Fuzz(func(t *testing.T, knock string) {
		purpose, nonce, err := parseKnock(knock)
		if err == nil && !strings.HasPrefix(strings.ToLower(knock), knockFor(&key, purpose, nonce)[:len(purpose)+1+2*knockNonce]) {
			t.Fatalf("%q is taken apart as %q, %x", knock, purpose, nonce)
		}
		heard, err := checkKnock(&key, []string{knock})
		if err == nil && (heard != purpose || knock != knockFor(&key, purpose, nonce)) {
			t.Fatalf("%q is heard as %q", knock, heard)
		}
		if err != nil && heard != "" {
			t.Fatalf("%q is refused and heard as %q", knock, heard)
		}
	})
}
