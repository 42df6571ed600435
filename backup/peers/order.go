package peers

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/mesh/view"
)

// orderHolders returns the other members that are asked, in the order in which they should hold an
// object: by rendezvous hashing, first one of each other zone, then a second one of each, and those
// of this node's zone last. Who is away keeps its place, so that an object is looked for where it was
// put.
func orderHolders(v view.View, isHolder func(view.Member) bool, name string) []view.Member {
	members := slices.DeleteFunc(slices.Clone(v.Members), func(m view.Member) bool {
		return m.ID == v.Self || m.Status.Gone() || !isHolder(m)
	})
	score := func(m view.Member) uint64 {
		return xxhash.Sum64(append(binary.BigEndian.AppendUint64(nil, uint64(m.ID)), name...))
	}
	slices.SortFunc(members, func(a, b view.Member) int {
		return cmp.Or(cmp.Compare(score(b), score(a)), cmp.Compare(a.ID, b.ID))
	})
	self, _ := v.Member(v.Self)
	inZone := map[string]int{self.Zone: len(members)}
	turn := make(map[view.NodeID]int)
	for _, m := range members {
		turn[m.ID] = inZone[m.Zone]
		inZone[m.Zone]++
	}
	slices.SortStableFunc(members, func(a, b view.Member) int { return cmp.Compare(turn[a.ID], turn[b.ID]) })
	return members
}
