// Package identity turns the secret of a mesh into what its nodes prove
// themselves with: the MeshID, the authority that vouches for nodes, the key
// of sealed packets, and that of knocks.
//
// Whoever holds the secret can issue a certificate for any node, so the
// secret is as precious as a private key. Verification needs the public
// Authority only: the seam for certificates issued off the devices, by an
// authority whose private key no device holds.
package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// ErrCertificate says that a certificate does not prove that its holder is a
// node of the mesh.
var ErrCertificate = errors.New("not a certificate of this mesh")

// Clocks at the edge are wrong: certificates are valid for ever, and no
// check consults the wall clock.
var (
	notBefore = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// maxCertificate is the longest certificate that Verify parses, in bytes;
// ours have about 450.
const maxCertificate = 4096

// Authority is the public half of what vouches for the nodes of one mesh.
type Authority struct {
	Mesh view.MeshID
	Key  ed25519.PublicKey
}

// Keys is what the secret of a mesh yields. It is immutable.
type Keys struct {
	Authority Authority
	PacketKey [32]byte // root of the keys that seal packets
	KnockKey  [32]byte // proves that a dialler may see the certificate of a node
	subkeys   [32]byte // root of what Subkey returns
	private   ed25519.PrivateKey
}

// Derive computes the keys of the mesh with the given secret, name and shard
// count by HKDF-SHA256. Nodes that agree in all three are in one mesh and
// merge when they meet; others never do. The error is ErrSecret when secret
// does not have SecretSize bytes, or all of them are zero: nobody meant that.
func Derive(secret []byte, meshName string, shards int) (*Keys, error) {
	if len(secret) != SecretSize {
		return nil, fmt.Errorf("identity: secret of %d bytes, want %d: %w", len(secret), SecretSize, ErrSecret)
	}
	if bytes.Count(secret, []byte{0}) == len(secret) {
		return nil, fmt.Errorf("identity: a secret of zeros only: %w", ErrSecret)
	}
	root, err := hkdf.Extract(sha256.New, secret, []byte("skein mesh 1"))
	if err != nil {
		return nil, fmt.Errorf("identity: derive keys: %w", err)
	}
	scope := string(binary.BigEndian.AppendUint64(nil, uint64(shards))) + meshName
	seed := make([]byte, ed25519.SeedSize)
	k := &Keys{}
	for _, key := range []struct {
		purpose string
		out     []byte
	}{
		{"mesh id", k.Authority.Mesh[:]},
		{"authority", seed},
		{"packets", k.PacketKey[:]},
		{"knock", k.KnockKey[:]},
		{"subkeys", k.subkeys[:]},
	} {
		b, err := hkdf.Expand(sha256.New, root, key.purpose+"\x00"+scope, len(key.out))
		if err != nil {
			return nil, fmt.Errorf("identity: derive keys: %w", err)
		}
		copy(key.out, b)
	}
	k.private = ed25519.NewKeyFromSeed(seed)
	k.Authority.Key = k.private.Public().(ed25519.PublicKey)
	return k, nil
}

// Subkey returns the key for one purpose, equal on all nodes of the mesh. Who holds
// it learns neither the secret nor the key for another purpose.
func (k *Keys) Subkey(purpose string) [32]byte {
	b, err := hkdf.Expand(sha256.New, k.subkeys[:], purpose, 32)
	if err != nil {
		panic(err) // only of more than 8 160 bytes
	}
	return [32]byte(b)
}

// Issue vouches that the holder of key is the given node.
func (k *Keys) Issue(node view.NodeID, key ed25519.PrivateKey) (tls.Certificate, error) {
	uri, err := url.Parse(nodeURI(k.Authority.Mesh, node))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("identity: issue certificate: %w", err)
	}
	public := key.Public().(ed25519.PublicKey)
	serial := sha256.Sum256(append([]byte(uri.String()), public...))
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial[:16]),
		Subject:               pkix.Name{CommonName: node.String()},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{uri},
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "skein " + k.Authority.Mesh.String()}}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, k.private)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("identity: issue certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Verify returns the node that the certificate leaf (DER) names, once it has
// checked that the authority signed it for this mesh. It looks at no clock
// and follows no chain. The error is ErrCertificate.
func (a Authority) Verify(leaf []byte) (view.NodeID, error) {
	node, err := a.verifyLeaf(leaf)
	if err != nil {
		return 0, fmt.Errorf("identity: %w: %w", ErrCertificate, err)
	}
	return node, nil
}

func (a Authority) verifyLeaf(leaf []byte) (view.NodeID, error) {
	if len(leaf) > maxCertificate {
		return 0, fmt.Errorf("%d bytes are too long", len(leaf))
	}
	cert, err := x509.ParseCertificate(leaf)
	if err != nil {
		return 0, err
	}
	if cert.SignatureAlgorithm != x509.PureEd25519 {
		return 0, fmt.Errorf("signed by %v, want Ed25519", cert.SignatureAlgorithm)
	}
	if !ed25519.Verify(a.Key, cert.RawTBSCertificate, cert.Signature) {
		return 0, errors.New("signed by another authority")
	}
	if _, ok := cert.PublicKey.(ed25519.PublicKey); !ok {
		return 0, fmt.Errorf("for a key of type %T, want Ed25519", cert.PublicKey)
	}
	if cert.IsCA || len(cert.UnhandledCriticalExtensions) > 0 {
		return 0, errors.New("not the certificate of a node")
	}
	if len(cert.URIs) != 1 {
		return 0, fmt.Errorf("names %d URIs, want 1", len(cert.URIs))
	}
	return a.nodeOf(cert.URIs[0])
}

func nodeURI(mesh view.MeshID, node view.NodeID) string {
	return "skein://" + mesh.String() + "/" + node.String()
}

func (a Authority) nodeOf(uri *url.URL) (view.NodeID, error) {
	node, err := view.ParseNodeID(strings.TrimPrefix(uri.Path, "/"))
	if err != nil {
		return 0, err
	}
	if got, want := uri.String(), nodeURI(a.Mesh, node); got != want {
		return 0, fmt.Errorf("for %.100q, want %q", got, want)
	}
	return node, nil
}
