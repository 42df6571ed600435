package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Limits of what a decoder of members accepts.
const (
	MaxName    = 255     // bytes of a name or a zone
	MaxMembers = 1 << 16 // members of a roster
	MaxRelics  = 1 << 18 // relics of a roster
)

const (
	rosterVersion = 1
	// rosterRelics is the version of a roster with relics. One without is written
	// as ever, so that builds that do not know them can read it.
	rosterRelics = 2
)

// Member is one entry of a roster as it travels and as it is kept.
type Member struct {
	ID          view.NodeID
	Name, Zone  string
	Addr        netip.AddrPort
	Weight      int
	Storing     bool
	Status      view.Status
	HLC         version.HLC // of the attributes, by the member itself
	Boot        uint64
	Instance    uint64 // of the highest boot
	Predecessor view.NodeID
}

// memberFields is the length of a member's array.
const memberFields = 11

// Relic is what is kept for ever of a member that is gone: that it is, and whether
// it stored.
type Relic struct {
	ID      view.NodeID
	Storing bool
}

// relicSize is the length of an encoded relic.
const relicSize = 8 + 1

// AppendRoster appends the encoding of members and relics, both sorted by id.
//
//	version=1, or 2 if there are relics
//	members array of arrays: id, name, zone, address (0, 6 or 18 bytes),
//	        weight, storing, status, hlc, boot, instance, predecessor
//	relics  with version 2: bytes, for each id (8, big-endian), storing (0 or 1)
func AppendRoster(dst []byte, members []Member, relics []Relic) []byte {
	return appendPacked(dst, func(p *packer) {
		if len(relics) == 0 {
			p.writeUint(rosterVersion)
			p.writeMembers(members)
			return
		}
		p.writeUint(rosterRelics)
		p.writeMembers(members)
		p.writeRelics(relics)
	})
}

// DecodeRoster reads what AppendRoster wrote.
func DecodeRoster(data []byte) (members []Member, relics []Relic, err error) {
	err = unpackWhole(data, "roster", func(u *unpacker) {
		v := u.readVersion(rosterRelics)
		members = u.readMembers()
		if v == rosterRelics {
			if relics = u.readRelics(); len(relics) == 0 {
				u.failWith("no relics")
			}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return members, relics, nil
}

func (p *packer) writeRelics(relics []Relic) {
	b := make([]byte, 0, relicSize*len(relics))
	for _, t := range relics {
		b = binary.BigEndian.AppendUint64(b, uint64(t.ID))
		if t.Storing {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	p.writeBytes(b)
}

// readRelics accepts them in order only, each once.
func (u *unpacker) readRelics() []Relic {
	b := u.readBytes(MaxRelics * relicSize)
	if u.err != nil || len(b) == 0 {
		return nil
	}
	if len(b)%relicSize != 0 {
		u.failWith("relics of %d bytes", len(b))
		return nil
	}
	out := make([]Relic, 0, len(b)/relicSize)
	last := view.NodeID(0)
	for ; len(b) > 0; b = b[relicSize:] {
		t := Relic{ID: view.NodeID(binary.BigEndian.Uint64(b)), Storing: b[relicSize-1] == 1}
		if t.ID <= last || b[relicSize-1] > 1 {
			u.failWith("relic %v after %v", t.ID, last)
			return nil
		}
		out, last = append(out, t), t.ID
	}
	return out
}

// AppendMember appends the encoding of m alone: equal members have equal
// encodings.
func AppendMember(dst []byte, m *Member) []byte {
	return appendPacked(dst, func(p *packer) { p.writeMember(m) })
}

func (p *packer) writeMembers(members []Member) {
	p.writeArrayLen(len(members))
	for i := range members {
		p.writeMember(&members[i])
	}
}

func (p *packer) writeMember(m *Member) {
	p.writeArrayLen(memberFields)
	p.writeID(uint64(m.ID))
	p.writeString(m.Name)
	p.writeString(m.Zone)
	p.writeAddr(m.Addr)
	p.writeUint(uint64(m.Weight))
	p.writeBool(m.Storing)
	p.writeUint(uint64(m.Status))
	p.writeUint(uint64(m.HLC))
	p.writeUint(m.Boot)
	p.writeID(m.Instance)
	p.writeID(uint64(m.Predecessor))
}

func (u *unpacker) readMembers() []Member {
	n := u.readArrayLen(MaxMembers)
	if n == 0 {
		return nil
	}
	members := make([]Member, 0, n)
	for range n {
		m := u.readMember()
		if u.err != nil {
			return nil
		}
		members = append(members, m)
	}
	return members
}

func (u *unpacker) readMember() Member {
	if n := u.readArrayLen(memberFields); u.err == nil && n != memberFields {
		u.failWith("member of %d fields", n)
	}
	return Member{
		ID:          u.readNodeID(),
		Name:        u.readString(MaxName),
		Zone:        u.readString(MaxName),
		Addr:        u.readAddr(),
		Weight:      int(u.readUintMax(1 << 10)),
		Storing:     u.readBool(),
		Status:      view.Status(u.readUintMax(uint64(view.Evicted))),
		HLC:         version.HLC(u.readUint()),
		Boot:        u.readUint(),
		Instance:    u.readUint(),
		Predecessor: view.NodeID(u.readUint()),
	}
}

// writeAddr writes an address without its IPv6 zone: a zone means something only
// on the host that uses it.
func (p *packer) writeAddr(a netip.AddrPort) {
	if !a.IsValid() {
		p.writeBytes(nil)
		return
	}
	b, _ := netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()).MarshalBinary()
	p.writeBytes(b)
}

func (u *unpacker) readAddr() netip.AddrPort {
	b := u.readBytes(18)
	switch len(b) {
	case 0:
		return netip.AddrPort{}
	case 6, 18:
		var a netip.AddrPort
		if err := a.UnmarshalBinary(b); err == nil {
			return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		}
	}
	u.failWith("address of %d bytes", len(b))
	return netip.AddrPort{}
}
