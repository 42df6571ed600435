package wire

import (
	"net/netip"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const entryVersion = 1

// Entry is what a device says of the node that it runs. The name of the node is that of
// the passport.
type Entry struct {
	Passport    SignedPassport
	Node        view.NodeID
	Claim       uint64 // counts the NodeIDs of the device, from 1; the highest holds
	Addr        netip.AddrPort
	Zone        string
	Weight      int
	Storing     bool
	Status      view.Status // up to Left: others evict, by a statement
	HLC         version.HLC // when the attributes were written
	Boot        uint64
	Instance    uint64
	PacketKey   [32]byte // X25519, of this process
	Predecessor view.NodeID
}

// SignedEntry is an entry with the signature of its device.
type SignedEntry struct {
	Entry
	Sig [64]byte
}

func (e *Entry) codeFields(c *codec) {
	c.codeVersion(entryVersion)
	e.Passport.codeFields(c)
	c.codeNodeID(&e.Node)
	c.codeNumber(&e.Claim)
	c.codeAddress(&e.Addr)
	c.codeText(&e.Zone, MaxName)
	codeBounded(c, &e.Weight, maxWeight)
	c.codeFlag(&e.Storing)
	codeBounded(c, &e.Status, uint64(view.Left))
	c.codeDate(&e.HLC)
	c.codeNumber(&e.Boot)
	c.codeWide(&e.Instance)
	c.codeFixed(e.PacketKey[:])
	c.codeWide((*uint64)(&e.Predecessor))
}

// AppendEntry appends the encoding of an entry as it is signed.
//
//	version=1, passport (see AppendSignedPassport)
//	node, claim, address (0, 6 or 18 bytes), zone, weight, storing, status, hlc,
//	boot, instance, packet key (32), predecessor
func AppendEntry(dst []byte, e *Entry) []byte { return appendFields(dst, e, (*Entry).codeFields) }

func (s *SignedEntry) codeFields(c *codec) {
	s.Entry.codeFields(c)
	c.codeFixed(s.Sig[:])
}

// AppendSignedEntry appends the encoding of s: the entry and the signature (64).
func AppendSignedEntry(dst []byte, s SignedEntry) []byte {
	return appendFields(dst, &s, (*SignedEntry).codeFields)
}

// DecodeSignedEntry reads what AppendSignedEntry wrote. It checks no signature.
func DecodeSignedEntry(data []byte) (SignedEntry, error) {
	return readFields(data, "signed entry", (*SignedEntry).codeFields)
}
