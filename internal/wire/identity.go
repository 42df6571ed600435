package wire

import (
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

// AppendIdentity appends the encoding of id.
//
//	version=1, node id, mesh id (16 bytes), seed (32 bytes), boot, storing, end
func AppendIdentity(dst []byte, id Identity) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(identityVersion)
		p.writeID(uint64(id.Node))
		p.writeBytes(id.Mesh[:])
		p.writeBytes(id.Seed[:])
		p.writeUint(id.Boot)
		p.writeBool(id.Storing)
		p.writeUint(uint64(id.End))
	})
}

// DecodeIdentity reads what AppendIdentity wrote.
func DecodeIdentity(data []byte) (Identity, error) {
	var id Identity
	err := unpackWhole(data, "identity", func(u *unpacker) {
		u.readVersion(identityVersion)
		id.Node = u.readNodeID()
		u.readFixed(id.Mesh[:])
		u.readFixed(id.Seed[:])
		id.Boot = u.readUint()
		id.Storing = u.readBool()
		id.End = End(u.readUintMax(uint64(EndRolled)))
	})
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

// Owner is the content of the file that says whose data a store directory
// holds.
type Owner struct {
	Node        view.NodeID
	Initialised bool // the store was created; from then on its files must be there
}

// AppendOwner appends the encoding of o.
//
//	version=1, node id, initialised
func AppendOwner(dst []byte, o Owner) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(ownerVersion)
		p.writeID(uint64(o.Node))
		p.writeBool(o.Initialised)
	})
}

// DecodeOwner reads what AppendOwner wrote.
func DecodeOwner(data []byte) (Owner, error) {
	var o Owner
	err := unpackWhole(data, "owner", func(u *unpacker) {
		u.readVersion(ownerVersion)
		o.Node = u.readNodeID()
		o.Initialised = u.readBool()
	})
	if err != nil {
		return Owner{}, err
	}
	return o, nil
}

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

// AppendRosterFile appends the encoding of f.
//
//	version=1, or 2 if there are places
//	mesh id (16 bytes), roster
//	places  with version 2: array of arrays: id, array of addresses (6 or 18 bytes)
func AppendRosterFile(dst []byte, f RosterFile) []byte {
	return appendPacked(dst, func(p *packer) {
		if len(f.Places) == 0 {
			p.writeUint(rosterFileVersion)
		} else {
			p.writeUint(rosterFilePlaces)
		}
		p.writeBytes(f.Mesh[:])
		p.writeBytes(f.Roster)
		if len(f.Places) > 0 {
			p.writePlaces(f.Places)
		}
	})
}

// DecodeRosterFile reads what AppendRosterFile wrote. Roster lies in data.
func DecodeRosterFile(data []byte) (RosterFile, error) {
	var f RosterFile
	err := unpackWhole(data, "roster file", func(u *unpacker) {
		v := u.readVersion(rosterFilePlaces)
		u.readFixed(f.Mesh[:])
		f.Roster = u.readBytes(len(data))
		if v == rosterFilePlaces {
			if f.Places = u.readPlaces(); len(f.Places) == 0 {
				u.failWith("no places")
			}
		}
	})
	if err != nil {
		return RosterFile{}, err
	}
	return f, nil
}

func (p *packer) writePlaces(places []Places) {
	p.writeArrayLen(len(places))
	for _, m := range places {
		p.writeArrayLen(2)
		p.writeID(uint64(m.ID))
		p.writeArrayLen(len(m.Addrs))
		for _, a := range m.Addrs {
			p.writeAddr(a)
		}
	}
}

func (u *unpacker) readPlaces() []Places {
	var places []Places
	for range u.readArrayLen(MaxMembers) {
		if n := u.readArrayLen(2); u.err == nil && n != 2 {
			u.failWith("places of %d fields", n)
		}
		m := Places{ID: u.readNodeID()}
		for range u.readArrayLen(MaxPlaces) {
			m.Addrs = append(m.Addrs, u.readAddr())
		}
		if u.err == nil && (len(m.Addrs) == 0 || slices.Contains(m.Addrs, netip.AddrPort{})) {
			u.failWith("no address of node %v", m.ID)
		}
		if u.err != nil {
			return nil
		}
		places = append(places, m)
	}
	return places
}

// readNodeID reads the id of a node, which is never zero.
func (u *unpacker) readNodeID() view.NodeID {
	id := view.NodeID(u.readUint())
	if id == 0 {
		u.failWith("node id 0")
	}
	return id
}

// readFixed reads a byte string of exactly len(dst) bytes into dst.
func (u *unpacker) readFixed(dst []byte) {
	b := u.readBytes(len(dst))
	if u.err == nil && len(b) != len(dst) {
		u.failWith("%d bytes where %d must stand", len(b), len(dst))
		return
	}
	copy(dst, b)
}
