package elect

import (
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// BelievesVoters tells whether voters that another node has fixed can be those of the mesh
// of v: they are members, and those that this node's user names, if any are named. Otherwise
// more than half of them store: without such a node no leader is chosen, and nobody that
// merely reads and writes makes itself the only voter. One that was evicted since may be
// among them.
func BelievesVoters(v view.View, names []string, voters []view.NodeID) bool {
	named, storing := len(names) > 0, 0
	for _, id := range voters {
		m, ok := v.Member(id)
		if !ok || named && !slices.Contains(names, m.Name) {
			return false
		}
		if m.Storing {
			storing++
		}
	}
	if named {
		return len(voters) == len(names)
	}
	return 2*storing > len(voters)
}

// NamedVoters returns the members of v that bear some names, sorted, once all of them are
// there. They need not store.
func NamedVoters(v view.View, names []string) (voters []view.NodeID) {
	for _, name := range names {
		bears := func(m view.Member) bool { return m.Name == name && !m.Status.Gone() }
		i := slices.IndexFunc(v.Members, bears)
		if i < 0 || slices.ContainsFunc(v.Members[i+1:], bears) {
			return nil // or another one bears the name: which is meant is not known
		}
		voters = append(voters, v.Members[i].ID)
	}
	slices.Sort(voters)
	return voters
}
