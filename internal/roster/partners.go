package roster

import "github.com/skeinmesh/skein/mesh/view"

// Partners returns whom a node hands its news to, and compares with: on the ring
// of living members those 1, 2, 4, 8, ... places on. Whatever the size of the mesh
// a node has few of them, the same ones for as long as nothing changes, and news
// reaches everybody in a logarithmic number of steps.
func Partners(v view.View) []view.NodeID {
	var ring []view.NodeID
	self := 0
	for _, m := range v.Members {
		if m.ID == v.Self {
			self = len(ring)
		}
		if m.State == view.Alive || m.ID == v.Self {
			ring = append(ring, m.ID)
		}
	}
	var out []view.NodeID
	for step := 1; step < len(ring); step *= 2 {
		out = append(out, ring[(self+step)%len(ring)])
	}
	return out
}
