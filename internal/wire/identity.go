package wire

import (
	"math"
	"net/netip"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	identityVersion   = 1
	ownerVersion      = 1
	rosterFileVersion = 1
	// rosterFilePlaces is the version of a roster file with places. One without is
	// written as ever.
	rosterFilePlaces = 2
)

// MaxPlaces is how many addresses of one member a decoder accepts.
const MaxPlaces = 16

// End says why an identity may never be used again.
type End uint8

const (
	Running    End = iota // it may be used
	EndLeft               // the node left the mesh
	EndEvicted            // the mesh evicted the node
	EndRolled             // a later life of the same identity was seen elsewhere
)

// String returns the reason in lower case.
func (e End) String() string {
	switch e {
	case EndLeft:
		return "left"
	case EndEvicted:
		return "evicted"
	case EndRolled:
		return "rolled back or cloned"
	}
	return "running"
}

// Identity is the content of a node's identity file. It lives and dies with
// the data in the same directory.
type Identity struct {
	Node    view.NodeID
	Mesh    view.MeshID
	Seed    [32]byte // of the node's Ed25519 key
	Boot    uint64   // starts so far
	Storing bool     // fixed for the life of the identity
	End     End
}

func (id *Identity) codeFields(c *codec) {
	c.codeVersion(identityVersion)
	c.codeNodeID(&id.Node)
	c.codeFixed(id.Mesh[:])
	c.codeFixed(id.Seed[:])
	c.codeNumber(&id.Boot)
	c.codeFlag(&id.Storing)
	codeBounded(c, &id.End, uint64(EndRolled))
}

// AppendIdentity appends the encoding of id.
func AppendIdentity(dst []byte, id Identity) []byte {
	return appendFields(dst, &id, (*Identity).codeFields)
}

// DecodeIdentity reads what AppendIdentity wrote.
func DecodeIdentity(data []byte) (Identity, error) {
	return readFields(data, "identity", (*Identity).codeFields)
}

// Owner is the content of the file that says whose data a store directory
// holds.
type Owner struct {
	Node        view.NodeID
	Initialised bool // the store was created; from then on its files must be there
}

func (o *Owner) codeFields(c *codec) {
	c.codeVersion(ownerVersion)
	c.codeNodeID(&o.Node)
	c.codeFlag(&o.Initialised)
}

// AppendOwner appends the encoding of o.
func AppendOwner(dst []byte, o Owner) []byte { return appendFields(dst, &o, (*Owner).codeFields) }

// DecodeOwner reads what AppendOwner wrote.
func DecodeOwner(data []byte) (Owner, error) { return readFields(data, "owner", (*Owner).codeFields) }

// RosterFile is the content of the file that keeps a node's roster.
type RosterFile struct {
	Mesh   view.MeshID // whose roster it is
	Roster []byte      // see AppendRoster
	Places []Places
}

// Places are where else a member may be than the roster says, the likeliest first.
type Places struct {
	ID    view.NodeID
	Addrs []netip.AddrPort // at least one
}

func (f *RosterFile) codeFields(c *codec) {
	places := c.codeEitherVersion(rosterFileVersion, rosterFilePlaces, len(f.Places) > 0)
	c.codeFixed(f.Mesh[:])
	c.codeBytes(&f.Roster, math.MaxInt)
	if !places {
		return
	}
	for i := range codeList(c, &f.Places, 1, MaxMembers) {
		f.Places[i].codeFields(c)
	}
	if len(f.Places) == 0 {
		c.failWith("no places")
	}
}

func (p *Places) codeFields(c *codec) {
	c.codeTuple(2)
	c.codeNodeID(&p.ID)
	for i := range codeList(c, &p.Addrs, 1, MaxPlaces) {
		c.codeAddress(&p.Addrs[i])
	}
	if len(p.Addrs) == 0 || slices.Contains(p.Addrs, netip.AddrPort{}) {
		c.failWith("no address of node %v", p.ID)
	}
}

// AppendRosterFile appends the encoding of f.
func AppendRosterFile(dst []byte, f RosterFile) []byte {
	return appendFields(dst, &f, (*RosterFile).codeFields)
}

// DecodeRosterFile reads what AppendRosterFile wrote. Roster lies in data.
func DecodeRosterFile(data []byte) (RosterFile, error) {
	return readFields(data, "roster file", (*RosterFile).codeFields)
}
