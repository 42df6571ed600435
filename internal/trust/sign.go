package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
	"github.com/skeinmesh/skein/mesh/view"
)

// What is signed is bound to what it is and to the mesh: a signature for one mesh, or under
// one kind of words, says nothing in another.
const (
	charterKind   = "skein/charter/1\x00"
	passportKind  = "skein/passport/1\x00"
	statementKind = "skein/statement/1\x00"
	entryKind     = "skein/entry/1\x00"
)

// beginSigned returns what a signature is made over, up to the body.
func beginSigned(kind string, mesh view.MeshID) []byte {
	return append([]byte(kind), mesh[:]...)
}

func charterBytes(mesh view.MeshID, c *charter.Charter) []byte {
	return wire.AppendCharter(beginSigned(charterKind, mesh), c)
}

func passportBytes(mesh view.MeshID, p *charter.Passport) []byte {
	return wire.AppendPassport(beginSigned(passportKind, mesh), p)
}

func statementBytes(mesh view.MeshID, s *charter.Statement) []byte {
	return wire.AppendStatement(beginSigned(statementKind, mesh), s)
}

func entryBytes(mesh view.MeshID, e *wire.Entry) []byte {
	return wire.AppendEntry(beginSigned(entryKind, mesh), e)
}

// HashCharter returns what the next charter names as the one before. Signatures are no
// part of it.
func HashCharter(c *charter.Charter) charter.Hash {
	return sha256.Sum256(charterBytes(c.Mesh, c))
}

// KeyOf returns the public half of a key.
func KeyOf(private ed25519.PrivateKey) charter.Key {
	return charter.Key(private.Public().(ed25519.PublicKey))
}

// SignCharter returns c with a signature by each of the keys.
func SignCharter(c charter.Charter, keys ...ed25519.PrivateKey) wire.SignedCharter {
	out := wire.SignedCharter{Charter: c}
	body := charterBytes(c.Mesh, &c)
	for _, k := range keys {
		out.Signatures = append(out.Signatures, wire.Signature{Key: KeyOf(k), Sig: [64]byte(ed25519.Sign(k, body))})
	}
	slices.SortFunc(out.Signatures, func(a, b wire.Signature) int { return compareKeys(a.Key, b.Key) })
	return out
}

// SignPassport returns p as its issuer signs it.
func SignPassport(mesh view.MeshID, p charter.Passport, issuer ed25519.PrivateKey) wire.SignedPassport {
	p.Issuer = KeyOf(issuer)
	return wire.SignedPassport{Passport: p, Sig: [64]byte(ed25519.Sign(issuer, passportBytes(mesh, &p)))}
}

// SignStatement returns s as a revoker signs it.
func SignStatement(mesh view.MeshID, s charter.Statement, revoker ed25519.PrivateKey) wire.SignedStatement {
	s.Signer = KeyOf(revoker)
	return wire.SignedStatement{Statement: s, Sig: [64]byte(ed25519.Sign(revoker, statementBytes(mesh, &s)))}
}

// SignEntry returns e as the device of its passport signs it.
func SignEntry(mesh view.MeshID, e wire.Entry, device ed25519.PrivateKey) wire.SignedEntry {
	return wire.SignedEntry{Entry: e, Sig: [64]byte(ed25519.Sign(device, entryBytes(mesh, &e)))}
}

func verifyKey(key charter.Key, body []byte, sig [64]byte) bool {
	return ed25519.Verify(key[:], body, sig[:])
}

// countSigners returns how many of roots have signed. A key counts once, however often
// it stands among the signatures.
func countSigners(signed *wire.SignedCharter, body []byte, roots []charter.Key) int {
	have := make(map[charter.Key]bool)
	for _, s := range signed.Signatures {
		if slices.Contains(roots, s.Key) && !have[s.Key] && verifyKey(s.Key, body, s.Sig) {
			have[s.Key] = true
		}
	}
	return len(have)
}
