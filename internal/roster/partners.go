package roster

import (
	"math/bits"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// nearPartners is how many of the next living members are partners whatever their
// distance: news must come to each node on several ways, for one may be broken.
const nearPartners = 3

// Partners returns whom a node hands its news to, and compares with, the nearest
// first. On the circle of all ids that could be, they are the next living members
// and, further on, the first at a distance of 1, 2, 4, 8, ... or more. Whatever the
// size of the mesh a node has few of them, and news reaches everybody in a
// logarithmic number of steps.
//
// Distances go by ids, not by places among the living: a member that comes or
// goes moves the partners of a few nodes only. Each partner is a connection, so
// by places every join would make one at every node.
func Partners(v view.View) []view.NodeID {
	self := slices.IndexFunc(v.Members, func(m view.Member) bool { return m.ID == v.Self })
	var out []view.NodeID
	far := 0 // the binary logarithm of the last distance, plus 1
	for i := range v.Members {
		m := &v.Members[(self+1+i)%len(v.Members)]
		if m.ID == v.Self || m.State != view.Alive {
			continue
		}
		k := bits.Len64(uint64(m.ID - v.Self))
		if k > far || len(out) < nearPartners {
			out = append(out, m.ID)
		}
		far = k
	}
	return out
}
