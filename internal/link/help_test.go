package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	mrand "math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority issues certificates as the mesh authority does.
type authority struct {
	key  ed25519.PrivateKey
	pkey [32]byte
	door [32]byte // the key of knocks
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	_, _ = rand.Read(a.pkey[:])
	_, _ = rand.Read(a.door[:])
	return a
}

// knock is what a holder of the key offers as its protocol.
func (a *authority) knock(purpose string) []string {
	var nonce [knockNonce]byte
	_, _ = rand.Read(nonce[:])
	return []string{knockFor(&a.door, purpose, nonce[:])}
}

// issue makes a certificate that expired long ago: no check may care.
func (a *authority) issue(t testing.TB, id view.NodeID) tls.Certificate {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: id.String()},
		NotBefore:    time.Unix(0, 0), NotAfter: time.Unix(1, 0),
	}
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: "mesh"}}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, pub, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) verify(der []byte) (view.NodeID, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return 0, err
	}
	if !ed25519.Verify(a.key.Public().(ed25519.PublicKey), cert.RawTBSCertificate, cert.Signature) {
		return 0, errors.New("signed by somebody else")
	}
	return view.ParseNodeID(cert.Subject.CommonName)
}

// book is a roster's addresses.
type book struct {
	mu sync.Mutex
	m  map[view.NodeID]netip.AddrPort
}

func (b *book) resolve(id view.NodeID) (netip.AddrPort, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.m[id]
	return a, ok
}

func (b *book) set(id view.NodeID, a netip.AddrPort) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m[id] = a
}

// world is a mesh of links in one process.
type world struct {
	t    testing.TB
	auth *authority
	book *book
}

func newWorld(t testing.TB) *world {
	return &world{t: t, auth: newAuthority(t), book: &book{m: map[view.NodeID]netip.AddrPort{}}}
}

func echo(_ context.Context, _ view.NodeID, _ string, req []byte) ([]byte, error) { return req, nil }

func (w *world) config(id view.NodeID) Config {
	return Config{
		Self: id, Boot: 1, Instance: uint64(id)<<8 | 1,
		Listen:      "127.0.0.1:0",
		Certificate: w.auth.issue(w.t, id), Verify: w.auth.verify, PacketKey: w.auth.pkey, KnockKey: w.auth.door,
		Resolve: w.book.resolve, Handle: echo,
	}
}

// start opens a link and enters it into the book.
func (w *world) start(id view.NodeID, change ...func(*Config)) *Link {
	w.t.Helper()
	cfg := w.config(id)
	for _, f := range change {
		f(&cfg)
	}
	l, err := Open(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.book.set(id, l.Addr())
	w.t.Cleanup(func() { l.Close() })
	return l
}

func ctxFor(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func mustCall(t testing.TB, l *Link, to view.NodeID, req []byte) {
	t.Helper()
	got, err := l.Call(ctxFor(t, 5*time.Second), to, "echo", req)
	if err != nil {
		t.Fatalf("call to %v: %v", to, err)
	}
	if !bytes.Equal(got, req) {
		t.Fatalf("call to %v: %d bytes came back, %d sent", to, len(got), len(req))
	}
}

func address(id view.NodeID) memberlist.Address { return memberlist.Address{Name: id.String()} }

// syncBuffer collects logs of several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newRand prints its seed when the test fails.
func newRand(t testing.TB) *mrand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return mrand.New(mrand.NewPCG(seed, 0))
}

// pack encodes as memberlist does: message type, then go-msgpack.
func pack(kind byte, v any) []byte {
	b := bytes.NewBuffer([]byte{kind})
	if err := codec.NewEncoder(b, &codec.MsgpackHandle{}).Encode(v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

type dict = map[string]any

func pingOf(from, to view.NodeID) []byte {
	return pack(mlPing, struct {
		SeqNo      uint32
		Node       string
		SourceAddr []byte
		SourcePort uint16
		SourceNode string
	}{1, to.String(), []byte{127, 0, 0, 1}, 7, from.String()})
}

// holding is a handler that gives back what it got once it may.
func holding(release <-chan struct{}) func(context.Context, view.NodeID, string, []byte) ([]byte, error) {
	return func(ctx context.Context, _ view.NodeID, _ string, req []byte) ([]byte, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return req, nil
	}
}
