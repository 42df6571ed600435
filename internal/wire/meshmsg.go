package wire

import (
	"cmp"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// meshVersion is the format of what nodes tell each other about the mesh.
const meshVersion = 1

// Hello is what two nodes tell each other before they use a connection.
type Hello struct {
	Self   Member // the sender's own entry
	Met    bool   // another node has admitted this run of the sender
	Up     uint64 // milliseconds since the sender's start
	Client bool   // the sender is no node: it only asks, and enters no roster
}

// AppendHello appends the encoding of h.
//
//	version=1, member, met, up, client
func AppendHello(dst []byte, h *Hello) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(meshVersion)
		p.writeMember(&h.Self)
		p.writeBool(h.Met)
		p.writeUint(h.Up)
		p.writeBool(h.Client)
	})
}

// DecodeHello reads what AppendHello wrote.
func DecodeHello(data []byte) (Hello, error) {
	var h Hello
	err := unpackWhole(data, "hello", func(u *unpacker) {
		u.readVersion(meshVersion)
		h.Self = u.readMember()
		h.Met = u.readBool()
		h.Up = u.readUint()
		h.Client = u.readBool()
	})
	if err != nil {
		return Hello{}, err
	}
	return h, nil
}

// EntrySum is the digest of one roster entry.
type EntrySum = KeySum[view.NodeID, uint64]

// RosterSums asks a peer how its roster differs, with the digest of the whole of it, or
// answers: equal, or the sums of all entries, sorted by id.
type RosterSums = TableSums[view.NodeID, uint64]

// RosterSwap hands over entries that the peer lacks or has in another state,
// and names those wanted back.
type RosterSwap = TableSwap[view.NodeID, Member]

// AppendRosterQuery appends the encoding of q, which has but a digest.
//
//	version=1, digest
func AppendRosterQuery(dst []byte, q RosterSums) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(meshVersion)
		p.writeID(q.Digest)
	})
}

// DecodeRosterQuery reads what AppendRosterQuery wrote.
func DecodeRosterQuery(data []byte) (RosterSums, error) {
	var q RosterSums
	err := unpackWhole(data, "roster query", func(u *unpacker) {
		u.readVersion(meshVersion)
		q.Digest = u.readUint()
	})
	return q, err
}

// AppendRosterSums appends the encoding of s as an answer.
//
//	version=1, equal, array of: id, sum
func AppendRosterSums(dst []byte, s RosterSums) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(meshVersion)
		p.writeBool(s.Equal)
		p.writeArrayLen(len(s.Sums) * 2)
		for _, e := range s.Sums {
			p.writeID(uint64(e.Key))
			p.writeID(e.Version)
		}
	})
}

// DecodeRosterSums reads what AppendRosterSums wrote.
func DecodeRosterSums(data []byte) (RosterSums, error) {
	var s RosterSums
	err := unpackWhole(data, "roster sums", func(u *unpacker) {
		u.readVersion(meshVersion)
		s.Equal = u.readBool()
		n := u.readArrayLen(MaxMembers * 2)
		if n%2 != 0 {
			u.failWith("half a sum")
		}
		for range n / 2 {
			if u.err != nil {
				return
			}
			s.Sums = append(s.Sums, EntrySum{Key: u.readNodeID(), Version: u.readUint()})
		}
		if !slices.IsSortedFunc(s.Sums, func(a, b EntrySum) int { return cmp.Compare(a.Key, b.Key) }) {
			u.failWith("sums not in order")
		}
	})
	if err != nil {
		return RosterSums{}, err
	}
	return s, nil
}

// AppendRosterSwap appends the encoding of s.
//
//	version=1, members, array of ids wanted
func AppendRosterSwap(dst []byte, s RosterSwap) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(meshVersion)
		p.writeMembers(s.Have)
		p.writeArrayLen(len(s.Want))
		for _, id := range s.Want {
			p.writeID(uint64(id))
		}
	})
}

// DecodeRosterSwap reads what AppendRosterSwap wrote.
func DecodeRosterSwap(data []byte) (RosterSwap, error) {
	var s RosterSwap
	err := unpackWhole(data, "roster swap", func(u *unpacker) {
		u.readVersion(meshVersion)
		s.Have = u.readMembers()
		for range u.readArrayLen(MaxMembers) {
			if u.err != nil {
				return
			}
			s.Want = append(s.Want, u.readNodeID())
		}
	})
	if err != nil {
		return RosterSwap{}, err
	}
	return s, nil
}

// RelicSwap hands over relics. Digest is of all that the sender holds, and the answer
// has all that the peer holds unless the two are equal.
type RelicSwap struct {
	Digest uint64
	Have   []Relic // sorted by id
}

// AppendRelicSwap appends the encoding of s.
//
//	version=1, digest, relics: see AppendRoster
func AppendRelicSwap(dst []byte, s RelicSwap) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(meshVersion)
		p.writeID(s.Digest)
		p.writeRelics(s.Have)
	})
}

// DecodeRelicSwap reads what AppendRelicSwap wrote.
func DecodeRelicSwap(data []byte) (RelicSwap, error) {
	var s RelicSwap
	err := unpackWhole(data, "relic swap", func(u *unpacker) {
		u.readVersion(meshVersion)
		s.Digest = u.readUint()
		s.Have = u.readRelics()
	})
	if err != nil {
		return RelicSwap{}, err
	}
	return s, nil
}

const maxRTT = 1 << 50 // nanoseconds

// AppendView appends the encoding of v.
//
//	version=1, mesh id (16 bytes), self, version, roster,
//	array of arrays: id, name, zone, address, weight, storing, status, state,
//	                 boot, since (milliseconds since 1970), rtt (nanoseconds)
func AppendView(dst []byte, v view.View) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(meshVersion)
		p.writeBytes(v.Mesh[:])
		p.writeID(uint64(v.Self))
		p.writeUint(v.Version)
		p.writeID(v.Roster)
		p.writeArrayLen(len(v.Members))
		for i := range v.Members {
			m := &v.Members[i]
			p.writeArrayLen(memberFields)
			p.writeID(uint64(m.ID))
			p.writeString(m.Name)
			p.writeString(m.Zone)
			p.writeAddr(m.Addr)
			p.writeUint(uint64(m.Weight))
			p.writeBool(m.Storing)
			p.writeUint(uint64(m.Status))
			p.writeUint(uint64(m.State))
			p.writeUint(m.Boot)
			p.writeInt(m.Since.UnixMilli())
			p.writeUint(uint64(min(max(m.RTT, 0), maxRTT)))
		}
	})
}

// DecodeView reads what AppendView wrote.
func DecodeView(data []byte) (view.View, error) {
	var v view.View
	err := unpackWhole(data, "view", func(u *unpacker) {
		u.readVersion(meshVersion)
		u.readFixed(v.Mesh[:])
		v.Self = u.readNodeID()
		v.Version = u.readUint()
		v.Roster = u.readUint()
		for range u.readArrayLen(MaxMembers) {
			if n := u.readArrayLen(memberFields); u.err == nil && n != memberFields {
				u.failWith("member of %d fields", n)
			}
			if u.err != nil {
				return
			}
			v.Members = append(v.Members, view.Member{
				ID:      u.readNodeID(),
				Name:    u.readString(MaxName),
				Zone:    u.readString(MaxName),
				Addr:    u.readAddr(),
				Weight:  int(u.readUintMax(1 << 10)),
				Storing: u.readBool(),
				Status:  view.Status(u.readUintMax(uint64(view.Evicted))),
				State:   view.State(u.readUintMax(uint64(view.Departed))),
				Boot:    u.readUint(),
				Since:   time.UnixMilli(u.readInt()).UTC(),
				RTT:     time.Duration(u.readUintMax(maxRTT)),
			})
		}
	})
	if err != nil {
		return view.View{}, err
	}
	return v, nil
}
