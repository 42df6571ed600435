// Package charter has the words in which the authority of a mesh speaks: the
// Charter says who may vouch for devices and who may revoke them, a Passport
// says what a device is, and a Statement takes something back. They are values:
// nothing here signs, checks or sends.
//
// Nothing in them expires. Written tells people when something was written,
// and no decision looks at it: clocks at the edge are wrong.
package charter

import (
	"encoding/hex"
	"math"

	"github.com/skeinmesh/skein/mesh/view"
)

// Bounds of what the words may hold. What has more is refused where it is read.
const (
	MaxKeys   = 16 // of each kind in a charter
	MaxGlobs  = 16 // patterns of names, zones or roles of one issuer
	MaxRoles  = 8  // of a passport
	MaxVoters = 7  // voters of a charter
	MaxText   = 64 // bytes of a name, a zone, a role or a pattern
	// MaxReason is the longest reason of a statement, in bytes.
	MaxReason = 128
)

// Key is an Ed25519 public key. Whoever holds its private half is known by it, and
// by nothing else.
type Key [32]byte

// String returns the key as 64 hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Hash is the SHA-256 of a charter.
type Hash [32]byte

// String returns the hash as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Charter says who has a say in a mesh. Charters form a chain: each has an Epoch one
// above that of the charter before, and is signed by roots of that one. Lists of keys
// are in rising order, each key once.
type Charter struct {
	Mesh   view.MeshID
	Name   string // of the mesh
	Shards int
	Epoch  uint64 // from 1
	Prev   Hash   // of the charter before; zeros in epoch 1

	Roots     []Key // who may sign the next charter
	Threshold int   // how many of Roots must sign; at least 1

	Issuers      []Issuer
	Revokers     []Revoker
	Signers      []Key // of policies
	TokenIssuers []TokenIssuer
	Voters       []view.NodeID // of majority scope, in rising order

	SecretMode    bool // the key that the mesh secret yields counts
	DenyByDefault bool // what no rule of a policy allows is refused

	Knock   [32]byte // proves that a dialler may see the certificate of a node
	Written int64    // milliseconds since 1970, for people only
}

// Issuer may sign passports.
type Issuer struct {
	Key           Key
	Scope         Scope
	MinGeneration uint64 // passports of lower generations do not count
}

// Scope bounds what an issuer may write into passports. Names, Zones and Roles are
// patterns as of path.Match; without any, nothing is covered.
type Scope struct {
	Names []string
	Zones []string // a passport that leaves the zone free needs a "*"
	Roles []string
	Caps  Caps
	Max   uint64 // highest serial number; so many devices in each generation
}

// Revoker may sign statements.
type Revoker struct {
	Key Key
	// Through is the highest Seq of a statement that counts: InOffice for a revoker
	// in office. A charter that leaves a revoker out drops its statements. Who has stolen
	// the key of one can go on under old numbers: such a one is left out, and what it said
	// in good faith is signed anew by another.
	Through uint64
}

// InOffice is the Through of a revoker whose statements all count.
const InOffice uint64 = math.MaxUint64

// TokenIssuer may sign tokens.
type TokenIssuer struct {
	Key    Key
	Roles  []string // patterns, as in Scope
	MaxTTL uint64   // seconds
}

// Caps are what a device may do in the mesh's own protocol.
type Caps uint16

const (
	Member  Caps = 1 << iota // belong to the mesh
	Store                    // hold data
	Vote                     // grant leases of majority scope
	Lead                     // stand in elections
	Serve                    // run services
	Enrol                    // hand passports to newcomers
	Token                    // sign people in
	Operate                  // do what an operator does
	AllCaps = Operate<<1 - 1
)

// Passport says what the device with a key is. It holds for ever, until its
// generation or its key is revoked.
type Passport struct {
	Issuer     Key
	Generation uint64
	Serial     uint64 // from 1, within the issuer's generation
	Device     Key
	Name       string
	Zone       string // "": the device may say
	Roles      []string
	Caps       Caps
	MaxWeight  int // 1 to 8
}

// Kind says what a statement takes back.
type Kind uint8

const (
	RevokeDevice Kind = iota + 1 // Target is its key
	RevokeIssuer                 // Target is its key; generations up to Number are revoked
	RevokeToken                  // Target is the SHA-256 of the token's id
	EvictNode                    // Number is its NodeID
)

// String returns the kind in lower case.
func (k Kind) String() string {
	switch k {
	case RevokeDevice:
		return "revoke device"
	case RevokeIssuer:
		return "revoke issuer"
	case RevokeToken:
		return "revoke token"
	case EvictNode:
		return "evict node"
	}
	return "unknown"
}

// Statement takes something back. There is no way to undo one but a charter.
type Statement struct {
	Kind   Kind
	Target Key // zeros for EvictNode
	// Number is a generation for RevokeIssuer and a NodeID for EvictNode. For
	// RevokeDevice it is the last generation that may have been given to the device:
	// when a charter has all generations up to it retired, the statement may be
	// forgotten. AnyGeneration keeps it for ever. It is 0 for RevokeToken.
	Number  uint64
	Signer  Key
	Seq     uint64 // of the signer's statements, from 1
	Reason  string // for people
	Written int64  // milliseconds since 1970, for people only
}

// AnyGeneration is above every generation.
const AnyGeneration uint64 = math.MaxUint64
