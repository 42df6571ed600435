package reconcile

import (
	"encoding/binary"

	"github.com/skeinmesh/skein/replica/version"
)

// Hasher hashes the records of one shard for anti-entropy. All stores of a
// mesh use the same key for a shard.
type Hasher struct{ k0, k1 uint64 }

// NewHasher returns the hasher for a shard, whose key is derived from the
// MeshID and the shard's number (protocol D.1).
func NewHasher(key [16]byte) Hasher {
	return Hasher{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}
}

// Element stands for one key's record in digests: equal records have equal
// elements. Values, dates and expiry do not count, a dot stands for them.
type Element struct{ Key, Version uint64 }

// Element returns the element of a key's record.
func (h Hasher) Element(key []byte, it version.Item) Element {
	return Element{h.Key(key), h.Version(it)}
}

// Key hashes a key.
func (h Hasher) Key(key []byte) uint64 { return sipHash(h.k0, h.k1, key) }

// Version hashes what an item knows: the lines of its context, then the dots
// of its siblings, each as store, session, seq and count, big-endian. The
// lines have rising births and the first dot's birth is one of them, so no
// separator is needed.
func (h Hasher) Version(it version.Item) uint64 {
	var room [16 * 28]byte
	b := room[:0]
	for i := range it.Ctx {
		b = appendDot(b, it.Ctx[i].A, it.Ctx[i].N)
	}
	for i := range it.Sibs {
		b = appendDot(b, it.Sibs[i].Dot.A, it.Sibs[i].Dot.N)
	}
	return sipHash(h.k0, h.k1, b)
}

func appendDot(b []byte, a version.Actor, n uint64) []byte {
	b = binary.BigEndian.AppendUint64(b, a.Store)
	b = binary.BigEndian.AppendUint64(b, a.Session)
	b = binary.BigEndian.AppendUint32(b, a.Seq)
	return binary.BigEndian.AppendUint64(b, n)
}

// Digest is the sum of a shard's elements: 16 bytes, whatever the order in
// which they were added. The zero Digest is that of an empty shard.
type Digest struct{ Key, Version uint64 }

// Add puts an element in.
func (d *Digest) Add(e Element) { d.Key += e.Key; d.Version += e.Version }

// Remove takes an element out that was put in before.
func (d *Digest) Remove(e Element) { d.Key -= e.Key; d.Version -= e.Version }
