package elect

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// Committee is how many of a large component vote.
const (
	maxElectorate = 64
	committee     = 15
)

// MaxVoters is how many voters a majority-scope electorate may have.
const MaxVoters = 7

// Electorate is who votes in a term. It is never changed after it was made.
type Electorate struct {
	Voters []view.NodeID // sorted
	Sum    uint64        // of scope, version and voters: equal ones have equal sums
	Of     int           // for how many of the mesh's Electors they vote; a committee for more than it has
}

// Has tells whether a node votes.
func (e Electorate) Has(id view.NodeID) bool {
	_, ok := slices.BinarySearch(e.Voters, id)
	return ok
}

// Majority is how many grants make a leader: more than half.
func (e Electorate) Majority() int { return len(e.Voters)/2 + 1 }

// InComponent returns the electorate of a component of v: its storing members
// or, where none stores, all of it. Of more than 64 a committee of 15 votes that
// rendezvous hashing chooses (Thaler and Ravishankar 1998), so that one who comes
// or goes changes it by one at most.
func InComponent(v view.View, component []view.NodeID) Electorate {
	var voters []view.NodeID
	for _, id := range component {
		if m, ok := v.Member(id); ok && m.Storing && !m.Status.Gone() {
			voters = append(voters, id)
		}
	}
	of := len(voters)
	if len(voters) == 0 {
		if voters = slices.Clone(component); !stores(v) {
			of = len(voters)
		}
	}
	if len(voters) > maxElectorate {
		slices.SortFunc(voters, func(a, b view.NodeID) int {
			return cmp.Or(cmp.Compare(rendezvousHash(v.Mesh, a), rendezvousHash(v.Mesh, b)), cmp.Compare(a, b))
		})
		voters = voters[:committee]
	}
	return newElectorate('c', 0, voters, of)
}

// Electors is how many vote in all the components of v together, if it is cut.
func Electors(v view.View) (n int) {
	all := !stores(v)
	for _, m := range v.Members {
		if !m.Status.Gone() && (m.Storing || all) {
			n++
		}
	}
	return n
}

func stores(v view.View) bool {
	return slices.ContainsFunc(v.Members, func(m view.Member) bool { return m.Storing && !m.Status.Gone() })
}

// OfVoters returns the electorate that a mesh was founded with, or came to by its
// version-th change.
func OfVoters(version uint64, voters []view.NodeID) Electorate {
	return newElectorate('m', version, slices.Clone(voters), len(voters))
}

func newElectorate(scope byte, version uint64, voters []view.NodeID, of int) Electorate {
	slices.Sort(voters)
	voters = slices.Compact(voters)
	h := fnv.New64a()
	var b [8]byte
	h.Write([]byte{scope})
	binary.BigEndian.PutUint64(b[:], version)
	h.Write(b[:])
	for _, id := range voters {
		binary.BigEndian.PutUint64(b[:], uint64(id))
		h.Write(b[:])
	}
	return Electorate{Voters: voters, Sum: h.Sum64(), Of: of}
}

// rendezvousHash is the rendezvous hash of a node in a mesh.
func rendezvousHash(mesh view.MeshID, id view.NodeID) uint64 {
	h := fnv.New64a()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	h.Write(mesh[:])
	h.Write(b[:])
	return mixBits(h.Sum64())
}

// mixBits spreads the bits of an FNV hash, whose high bits hardly change with the
// last byte (the finaliser of SplitMix64).
func mixBits(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
