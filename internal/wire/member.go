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
	maxWeight  = 1 << 10
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

// roster is what a roster holds, both sorted by id.
type roster struct {
	members []Member
	relics  []Relic
}

func (r *roster) codeFields(c *codec) {
	relics := c.codeEitherVersion(rosterVersion, rosterRelics, len(r.relics) > 0)
	c.codeMembers(&r.members)
	if !relics {
		return
	}
	if c.codeRelics(&r.relics); len(r.relics) == 0 {
		c.failWith("no relics")
	}
}

// AppendRoster appends the encoding of members and relics, both sorted by id.
//
//	version=1, or 2 if there are relics
//	members array of arrays: id, name, zone, address (0, 6 or 18 bytes),
//	        weight, storing, status, hlc, boot, instance, predecessor
//	relics  with version 2: bytes, for each id (8, big-endian), storing (0 or 1)
func AppendRoster(dst []byte, members []Member, relics []Relic) []byte {
	return appendFields(dst, &roster{members, relics}, (*roster).codeFields)
}

// DecodeRoster reads what AppendRoster wrote.
func DecodeRoster(data []byte) (members []Member, relics []Relic, err error) {
	r, err := readFields(data, "roster", (*roster).codeFields)
	return r.members, r.relics, err
}

// codeRelics describes a list of relics in order, each once.
func (c *codec) codeRelics(list *[]Relic) {
	if !c.reading {
		c.writeSize(relicSize*len(*list), codeBytes8)
		for _, r := range *list {
			c.data = binary.BigEndian.AppendUint64(c.data, uint64(r.ID))
			if r.Storing {
				c.data = append(c.data, 1)
			} else {
				c.data = append(c.data, 0)
			}
		}
		return
	}
	b := c.readBytes(MaxRelics * relicSize)
	if len(b)%relicSize != 0 {
		c.failWith("relics of %d bytes", len(b))
		return
	}
	if len(b) > 0 {
		*list = make([]Relic, len(b)/relicSize)
	}
	last := view.NodeID(0)
	for i := range *list {
		r, storing := view.NodeID(binary.BigEndian.Uint64(b)), b[relicSize-1]
		if r <= last || storing > 1 {
			c.failWith("relic %v after %v", r, last)
			return
		}
		(*list)[i], last, b = Relic{ID: r, Storing: storing == 1}, r, b[relicSize:]
	}
}

// AppendMember appends the encoding of m alone: equal members have equal
// encodings.
func AppendMember(dst []byte, m *Member) []byte { return appendFields(dst, m, (*Member).codeFields) }

// codeMembers describes a list of members, each an array.
func (c *codec) codeMembers(list *[]Member) {
	for i := range codeList(c, list, 1, MaxMembers) {
		(*list)[i].codeFields(c)
	}
}

func (m *Member) codeFields(c *codec) {
	c.codeTuple(memberFields)
	c.codeNodeID(&m.ID)
	c.codeText(&m.Name, MaxName)
	c.codeText(&m.Zone, MaxName)
	c.codeAddress(&m.Addr)
	codeBounded(c, &m.Weight, maxWeight)
	c.codeFlag(&m.Storing)
	codeBounded(c, &m.Status, uint64(view.Evicted))
	c.codeDate(&m.HLC)
	c.codeNumber(&m.Boot)
	c.codeWide(&m.Instance)
	c.codeWide((*uint64)(&m.Predecessor))
}

// codeAddress describes an address without its IPv6 zone: a zone means something only
// on the host that uses it.
func (c *codec) codeAddress(a *netip.AddrPort) {
	if !c.reading {
		var b []byte
		if a.IsValid() {
			b, _ = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()).MarshalBinary()
		}
		c.writeBytes(b)
		return
	}
	switch b := c.readBytes(18); len(b) {
	case 0:
	case 6, 18:
		c.checkError(a.UnmarshalBinary(b))
		*a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	default:
		c.failWith("address of %d bytes", len(b))
	}
}
