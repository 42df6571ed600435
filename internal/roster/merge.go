package roster

import (
	"cmp"

	"github.com/skeinmesh/skein/mesh/view"
)

// mergeEntry returns the least entry that is at least a and b, two entries of
// one node.
func mergeEntry(a, b Entry) Entry {
	m := a
	if compareAttributes(b, a) > 0 {
		m = b
	}
	m.Status = max(a.Status, b.Status)
	m.Boot, m.Instance = a.Boot, a.Instance
	if cmp.Or(cmp.Compare(b.Boot, a.Boot), cmp.Compare(b.Instance, a.Instance)) > 0 {
		m.Boot, m.Instance = b.Boot, b.Instance
	}
	return m
}

// attributes strips an entry of all that is merged apart from them.
func attributes(e Entry) Entry {
	e.HLC, e.Status, e.Boot, e.Instance = 0, view.Joining, 0, 0
	return e
}

// compareAttributes orders attributes by date. Only the node itself writes
// them, each time with a new date; equal dates with unequal content come from
// clones or forgery, and any total order will do.
func compareAttributes(a, b Entry) int {
	return cmp.Or(
		cmp.Compare(a.HLC, b.HLC),
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Zone, b.Zone),
		a.Addr.Compare(b.Addr),
		cmp.Compare(a.Weight, b.Weight),
		cmp.Compare(flagByte(a.Storing), flagByte(b.Storing)),
		cmp.Compare(a.Predecessor, b.Predecessor),
	)
}

func flagByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
