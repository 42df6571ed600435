package ledger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/replica/version"
)

// Kind is what a leaf stands for.
type Kind uint8

const (
	Write    Kind = 1 + iota // a write of a key
	Manifest                 // a manifest of a backup
	Event                    // something else that has happened
)

const (
	leafVersion = 1
	leafSize    = 2 + 8 + 28 + 2*sha256.Size

	// MaxNames is how long a bucket's name and a key may be together, in bytes.
	MaxNames = 64<<10 + 255
)

// Leaf is one entry of a log. It tells when something was entered, of what kind it is, and which
// write; of what and of which value it holds commitments, which reveal nothing without the
// Opening of this leaf.
//
// It is always as long, big endian:
//
//	0   1   version 1
//	1   1   kind
//	2   8   milliseconds since 1970, signed
//	10  28  the dot of a write: store, session, seq, n; zeros where there is none
//	38  32  HMAC-SHA-256 under the salt of: 1, length of the bucket's name (4 bytes), that name, the key
//	70  32  HMAC-SHA-256 under the salt of: 2, SHA-256 of the value
type Leaf struct {
	Kind    Kind
	At      time.Time
	Dot     version.Dot
	Subject [sha256.Size]byte
	Value   [sha256.Size]byte
}

// Opening shows which subject and which value a leaf stands for, and nothing of another leaf.
type Opening struct {
	Salt   [sha256.Size]byte
	Bucket string
	Key    string
	Sum    [sha256.Size]byte // SHA-256 of the value
}

// DeriveSalt returns the salt of the leaf at an index of the log that signs with this key. Who
// has the secret can open all leaves.
func DeriveSalt(secret [32]byte, log string, index int64) (salt [sha256.Size]byte) {
	h := hmac.New(sha256.New, secret[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(index)))
	h.Write([]byte(log))
	h.Sum(salt[:0])
	return salt
}

// CommitSubject returns what stands for the bucket and the key in a leaf.
func (o Opening) CommitSubject() [sha256.Size]byte {
	length := binary.BigEndian.AppendUint32([]byte{1}, uint32(len(o.Bucket)))
	return o.commitTo(length, []byte(o.Bucket), []byte(o.Key))
}

// CommitValue returns what stands for the value in a leaf.
func (o Opening) CommitValue() [sha256.Size]byte { return o.commitTo([]byte{2}, o.Sum[:]) }

func (o Opening) commitTo(parts ...[]byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, o.Salt[:])
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

// Opens tells whether l stands for what o says.
func (o Opening) Opens(l Leaf) bool {
	return o.CommitSubject() == l.Subject && o.CommitValue() == l.Value
}

// AppendLeaf appends the encoding of l.
func AppendLeaf(dst []byte, l Leaf) []byte {
	dst = append(dst, leafVersion, byte(l.Kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.At.UnixMilli()))
	dst = binary.BigEndian.AppendUint64(dst, l.Dot.A.Store)
	dst = binary.BigEndian.AppendUint64(dst, l.Dot.A.Session)
	dst = binary.BigEndian.AppendUint32(dst, l.Dot.A.Seq)
	dst = binary.BigEndian.AppendUint64(dst, l.Dot.N)
	dst = append(dst, l.Subject[:]...)
	return append(dst, l.Value[:]...)
}

// ParseLeaf reads what AppendLeaf wrote.
func ParseLeaf(b []byte) (l Leaf, err error) {
	if len(b) != leafSize || b[0] != leafVersion || b[1] < byte(Write) || b[1] > byte(Event) {
		return l, fmt.Errorf("%w: leaf of %d bytes", ErrMalformed, len(b))
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	l.Kind, l.At = Kind(b[1]), time.UnixMilli(int64(u64(2))).UTC()
	l.Dot.A = version.Actor{Store: u64(10), Session: u64(18), Seq: binary.BigEndian.Uint32(b[26:])}
	l.Dot.N = u64(30)
	copy(l.Subject[:], b[38:])
	copy(l.Value[:], b[70:])
	return l, nil
}
