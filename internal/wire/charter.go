package wire

import (
	"bytes"

	"github.com/skeinmesh/skein/mesh/identity/charter"
)

const (
	charterVersion   = 1
	passportVersion  = 1
	statementVersion = 1

	maxShards = 1 << 16
)

// Signature is a signature by the key beside it.
type Signature struct {
	Key charter.Key
	Sig [64]byte
}

// SignedCharter is a charter with what its roots and those before signed, sorted by
// key, each key once.
type SignedCharter struct {
	charter.Charter
	Signatures []Signature
}

// SignedPassport is a passport with the signature of its issuer.
type SignedPassport struct {
	charter.Passport
	Sig [64]byte
}

// SignedStatement is a statement with the signature of its signer.
type SignedStatement struct {
	charter.Statement
	Sig [64]byte
}

// codeRisingKeys describes keys in rising order, each once.
func codeRisingKeys(c *codec, list *[]charter.Key) {
	last := charter.Key{}
	for i := range codeList(c, list, 1, charter.MaxKeys) {
		codeKeyAbove(c, &(*list)[i], &last)
	}
}

// codeKeyAbove describes a key that is above last, which it becomes.
func codeKeyAbove(c *codec, key, last *charter.Key) {
	c.codeFixed(key[:])
	if bytes.Compare(key[:], last[:]) <= 0 {
		c.failWith("keys not in order")
	}
	*last = *key
}

// codeTexts describes at most limit names or patterns.
func codeTexts(c *codec, list *[]string, limit int) {
	for i := range codeList(c, list, 1, limit) {
		if c.codeText(&(*list)[i], charter.MaxText); (*list)[i] == "" {
			c.failWith("an empty name or pattern")
		}
	}
}

func codeIssuer(c *codec, i *charter.Issuer, last *charter.Key) {
	codeKeyAbove(c, &i.Key, last)
	codeTexts(c, &i.Scope.Names, charter.MaxGlobs)
	codeTexts(c, &i.Scope.Zones, charter.MaxGlobs)
	codeTexts(c, &i.Scope.Roles, charter.MaxGlobs)
	codeBounded(c, &i.Scope.Caps, uint64(charter.AllCaps))
	c.codeNumber(&i.Scope.Max)
	c.codeNumber(&i.MinGeneration)
}

func codeCharter(ch *charter.Charter, c *codec) {
	c.codeVersion(charterVersion)
	c.codeFixed(ch.Mesh[:])
	c.codeText(&ch.Name, MaxName)
	codeBounded(c, &ch.Shards, maxShards)
	c.codeNumber(&ch.Epoch)
	c.codeFixed(ch.Prev[:])
	codeRisingKeys(c, &ch.Roots)
	codeBounded(c, &ch.Threshold, charter.MaxKeys)
	last := charter.Key{}
	for i := range codeList(c, &ch.Issuers, 7, charter.MaxKeys) {
		codeIssuer(c, &ch.Issuers[i], &last)
	}
	last = charter.Key{}
	for i := range codeList(c, &ch.Revokers, 2, charter.MaxKeys) {
		codeKeyAbove(c, &ch.Revokers[i].Key, &last)
		c.codeNumber(&ch.Revokers[i].Through)
	}
	codeRisingKeys(c, &ch.Signers)
	last = charter.Key{}
	for i := range codeList(c, &ch.TokenIssuers, 3, charter.MaxKeys) {
		t := &ch.TokenIssuers[i]
		codeKeyAbove(c, &t.Key, &last)
		codeTexts(c, &t.Roles, charter.MaxGlobs)
		c.codeNumber(&t.MaxTTL)
	}
	c.codeRisingIDs(&ch.Voters, charter.MaxVoters)
	c.codeFlag(&ch.SecretMode)
	c.codeFlag(&ch.DenyByDefault)
	c.codeFixed(ch.Knock[:])
	codeSigned(c, &ch.Written)
}

// AppendCharter appends the encoding of a charter as it is signed and hashed.
//
//	version=1, mesh (16), name, shards, epoch, prev (32), roots (array), threshold
//	issuers        array: key, names, zones, roles (arrays), caps, max, min generation, ...
//	revokers       array: key, through, ...
//	signers        array
//	token issuers  array: key, roles (array), max ttl, ...
//	voters         array
//	secret mode, deny by default, knock (32), written
func AppendCharter(dst []byte, ch *charter.Charter) []byte {
	return appendFields(dst, ch, codeCharter)
}

func (s *SignedCharter) codeFields(c *codec) {
	codeCharter(&s.Charter, c)
	last := charter.Key{}
	for i := range codeList(c, &s.Signatures, 2, 2*charter.MaxKeys) {
		codeKeyAbove(c, &s.Signatures[i].Key, &last)
		c.codeFixed(s.Signatures[i].Sig[:])
	}
}

// AppendSignedCharter appends the encoding of s: the charter, and an array of keys and
// signatures (64).
func AppendSignedCharter(dst []byte, s SignedCharter) []byte {
	return appendFields(dst, &s, (*SignedCharter).codeFields)
}

// DecodeSignedCharter reads what AppendSignedCharter wrote. It checks no signature.
func DecodeSignedCharter(data []byte) (SignedCharter, error) {
	return readFields(data, "charter", (*SignedCharter).codeFields)
}

func codePassport(p *charter.Passport, c *codec) {
	c.codeVersion(passportVersion)
	c.codeFixed(p.Issuer[:])
	c.codeNumber(&p.Generation)
	c.codeNumber(&p.Serial)
	c.codeFixed(p.Device[:])
	c.codeText(&p.Name, charter.MaxText)
	c.codeText(&p.Zone, charter.MaxText)
	codeTexts(c, &p.Roles, charter.MaxRoles)
	codeBounded(c, &p.Caps, uint64(charter.AllCaps))
	codeBounded(c, &p.MaxWeight, maxWeight)
}

// AppendPassport appends the encoding of a passport as it is signed: version=1, issuer
// (32), generation, serial, device (32), name, zone, roles (array), caps, max weight.
func AppendPassport(dst []byte, p *charter.Passport) []byte {
	return appendFields(dst, p, codePassport)
}

func (s *SignedPassport) codeFields(c *codec) {
	codePassport(&s.Passport, c)
	c.codeFixed(s.Sig[:])
}

// AppendSignedPassport appends the encoding of s: the passport and the signature (64).
func AppendSignedPassport(dst []byte, s SignedPassport) []byte {
	return appendFields(dst, &s, (*SignedPassport).codeFields)
}

// DecodeSignedPassport reads what AppendSignedPassport wrote. It checks no signature.
func DecodeSignedPassport(data []byte) (SignedPassport, error) {
	return readFields(data, "passport", (*SignedPassport).codeFields)
}

func codeStatement(s *charter.Statement, c *codec) {
	c.codeVersion(statementVersion)
	codeBounded(c, &s.Kind, uint64(charter.EvictNode))
	c.codeFixed(s.Target[:])
	c.codeNumber(&s.Number)
	c.codeFixed(s.Signer[:])
	c.codeNumber(&s.Seq)
	c.codeText(&s.Reason, charter.MaxReason)
	codeSigned(c, &s.Written)
}

// AppendStatement appends the encoding of a statement as it is signed: version=1, kind,
// target (32), number, signer (32), seq, reason, written.
func AppendStatement(dst []byte, s *charter.Statement) []byte {
	return appendFields(dst, s, codeStatement)
}

func (s *SignedStatement) codeFields(c *codec) {
	codeStatement(&s.Statement, c)
	c.codeFixed(s.Sig[:])
}

// AppendSignedStatement appends the encoding of s: the statement and the signature (64).
func AppendSignedStatement(dst []byte, s SignedStatement) []byte {
	return appendFields(dst, &s, (*SignedStatement).codeFields)
}

// DecodeSignedStatement reads what AppendSignedStatement wrote. It checks no signature.
func DecodeSignedStatement(data []byte) (SignedStatement, error) {
	return readFields(data, "statement", (*SignedStatement).codeFields)
}
