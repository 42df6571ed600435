package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

func testSecret() []byte { return bytes.Repeat([]byte{7}, SecretSize) }

func derive(t testing.TB, secret []byte, name string, shards int) *Keys {
	t.Helper()
	k, err := Derive(secret, name, shards)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func nodeKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// Nodes of every release must derive the same keys: these values are for ever.
func TestDeriveGolden(t *testing.T) {
	k := derive(t, testSecret(), "plant", 271)
	for _, c := range []struct{ what, got, want string }{
		{"mesh id", k.Authority.Mesh.String(), goldenMesh},
		{"authority", hex.EncodeToString(k.Authority.Key), goldenAuthority},
		{"packet key", hex.EncodeToString(k.PacketKey[:]), goldenPacket},
		{"key of knocks", hex.EncodeToString(k.KnockKey[:]), goldenKnock},
	} {
		if c.got != c.want {
			t.Errorf("%s = %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestDeriveSeparatesMeshes(t *testing.T) {
	base := derive(t, testSecret(), "plant", 271)
	other := testSecret()
	other[31] ^= 1
	for what, k := range map[string]*Keys{
		"secret": derive(t, other, "plant", 271),
		"name":   derive(t, testSecret(), "plant2", 271),
		"shards": derive(t, testSecret(), "plant", 272),
	} {
		if k.Authority.Mesh == base.Authority.Mesh || k.PacketKey == base.PacketKey || k.KnockKey == base.KnockKey || k.Authority.Key.Equal(base.Authority.Key) {
			t.Errorf("another %s yields a key of the same mesh", what)
		}
	}
	again := derive(t, testSecret(), "plant", 271)
	if again.Authority.Mesh != base.Authority.Mesh || again.PacketKey != base.PacketKey {
		t.Error("the same secret, name and shard count yield another mesh")
	}
}

func TestDeriveRefusesOtherLengths(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := Derive(make([]byte, n), "", 271); !errors.Is(err, ErrSecret) {
			t.Errorf("%d bytes: %v, want ErrSecret", n, err)
		}
	}
}

func TestCertificate(t *testing.T) {
	k := derive(t, testSecret(), "plant", 271)
	const node = view.NodeID(0x123456789abcdef0)
	cert, err := k.Issue(node, nodeKey(1))
	if err != nil {
		t.Fatal(err)
	}
	leaf := cert.Certificate[0]
	if got, err := k.Authority.Verify(leaf); err != nil || got != node {
		t.Fatalf("Verify = %v, %v, want %v", got, err, node)
	}
	other := derive(t, testSecret(), "office", 271)
	if _, err := other.Authority.Verify(leaf); !errors.Is(err, ErrCertificate) {
		t.Errorf("another mesh accepts the certificate: %v", err)
	}
	for i := range leaf {
		bad := bytes.Clone(leaf)
		bad[i] ^= 0x20
		if got, err := k.Authority.Verify(bad); err == nil {
			t.Fatalf("accepted with byte %d changed, as node %v", i, got)
		}
	}
	if len(leaf) > maxCertificate/4 {
		t.Errorf("a certificate takes %d bytes", len(leaf))
	}
}

// The authority's signature alone is not enough: each row is signed by it,
// and wrong in one respect.
func TestVerifyChecksWhatIsSigned(t *testing.T) {
	k := derive(t, testSecret(), "plant", 271)
	good := nodeURI(k.Authority.Mesh, 1)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(public any, ca bool, uris ...string) []byte {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: notBefore, NotAfter: notAfter,
			BasicConstraintsValid: true, IsCA: ca,
		}
		for _, s := range uris {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
		}
		issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "x"}}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, k.private)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	public := nodeKey(1).Public()
	if _, err := k.Authority.Verify(sign(public, false, good)); err != nil {
		t.Fatalf("the good one is refused: %v", err)
	}
	for what, leaf := range map[string][]byte{
		"key of another type": sign(&ec.PublicKey, false, good),
		"an authority":        sign(public, true, good),
		"no URI":              sign(public, false),
		"two URIs":            sign(public, false, good, good),
		"another scheme":      sign(public, false, strings.Replace(good, "skein", "spiffe", 1)),
		"another mesh":        sign(public, false, nodeURI(view.MeshID{1}, 1)),
		"node zero":           sign(public, false, nodeURI(k.Authority.Mesh, 0)),
		"short node":          sign(public, false, good[:len(good)-1]),
		"capital letters":     sign(public, false, "skein://"+k.Authority.Mesh.String()+"/00000000000000AB"),
		"a query":             sign(public, false, good+"?x=1"),
		"no path":             sign(public, false, "skein://"+k.Authority.Mesh.String()),
	} {
		if node, err := k.Authority.Verify(leaf); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: accepted as node %v (%v)", what, node, err)
		}
	}
}

func TestSecretText(t *testing.T) {
	secret := NewSecret()
	if len(secret) != SecretSize || bytes.Equal(secret, NewSecret()) {
		t.Fatal("secrets are not 32 random bytes")
	}
	text := FormatSecret(secret)
	for _, s := range []string{text, strings.ToUpper(text), strings.ReplaceAll(text, "-", ""), " " + text + "\n"} {
		if got, err := ParseSecret(s); err != nil || !bytes.Equal(got, secret) {
			t.Errorf("ParseSecret(%q) = %x, %v", s, got, err)
		}
	}
	// A changed, a lost and two swapped letters.
	body := []byte(strings.ReplaceAll(FormatSecret(testSecret()), "-", ""))
	for i := len(secretPrefix); i < len(body); i++ {
		bad := bytes.Clone(body)
		bad[i] = 'a' + (bad[i]-'a'+1)%26
		if bad[i] != body[i] {
			wantTypo(t, string(bad))
		}
		wantTypo(t, string(body[:i])+string(body[i+1:]))
		if i+1 < len(body) && body[i] != body[i+1] {
			bad := bytes.Clone(body)
			bad[i], bad[i+1] = bad[i+1], bad[i]
			wantTypo(t, string(bad))
		}
	}
	for _, s := range []string{"", "skein1", "skein2" + text[6:], text + "aa"} {
		wantTypo(t, s)
	}
}

func wantTypo(t *testing.T, text string) {
	t.Helper()
	_, err := ParseSecret(text)
	if !errors.Is(err, ErrSecret) {
		t.Errorf("ParseSecret(%q): %v, want ErrSecret", text, err)
	} else if len(text) > 12 && strings.Contains(err.Error(), text[8:12]) {
		t.Errorf("the error shows the secret: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	k := derive(f, testSecret(), "plant", 271)
	cert, err := k.Issue(5, nodeKey(1))
	if err != nil {
		f.Fatal(err)
	}
	good := cert.Certificate[0]
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{})
	signed := good[:len(good)-ed25519.SignatureSize]
	f.Fuzz(func(t *testing.T, leaf []byte) {
		if node, err := k.Authority.Verify(leaf); err == nil && (node != 5 || !bytes.HasPrefix(leaf, signed)) {
			t.Fatalf("accepted forged certificate as node %v", node)
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add(FormatSecret(testSecret()))
	f.Add("skein1-")
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := ParseSecret(text)
		if err != nil {
			return
		}
		if again, err := ParseSecret(FormatSecret(secret)); err != nil || !bytes.Equal(again, secret) {
			t.Fatalf("%q does not survive printing: %v", text, err)
		}
	})
}

const (
	goldenMesh      = "b5999841e5cb84419ccf562776548961"
	goldenAuthority = "c3dfd7aaa0acb725ae0d2b7cde052a7165fc04e546944848dc30b5dc7a22a9f6"
	goldenPacket    = "f9be4e2640a51ac2c5ae6f2156ba3e619083f3f7a1c137ef8acc8982cfb9976c"
	goldenKnock     = "16af824bf88c962609630f7b0577691b03242cdab8241d8b25ca408628175d67"
)

func TestDeriveRefusesZeros(t *testing.T) {
	if _, err := Derive(make([]byte, SecretSize), "plant", 271); !errors.Is(err, ErrSecret) {
		t.Errorf("all zeros: %v, want ErrSecret", err)
	}
	one := make([]byte, SecretSize)
	one[31] = 1
	derive(t, one, "plant", 271)
}
