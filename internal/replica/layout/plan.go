package layout

import (
	"cmp"
	"slices"

	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// MakePlan describes a key's stores to the cores. Stores that were silent lately
// are left out as long as there are others to take their part.
func (h *Homes) MakePlan(l *Layout, r *Route) replicate.Plan {
	p := replicate.Plan{Self: h.opts.Self, Order: r.Order, Homes: r.Homes, Live: l.Live}
	if !h.opts.Silence.Any() {
		return p
	}
	heard := func(id view.NodeID) bool { return l.InMesh[id] && !h.opts.Silence.Has(id) }
	n := 0
	for _, id := range r.Order {
		if heard(id) || id == h.opts.Self {
			n++
		}
	}
	if n >= r.Homes {
		p.Live = heard
	}
	return p
}

// OrderCoordinators lists the stores to try, those that were silent lately last. A
// node that holds nothing takes any living store when no home lives.
func (h *Homes) OrderCoordinators(plan replicate.Plan, rt *Route) []view.NodeID {
	out := replicate.Route(plan, rt.Lead, h.opts.Stores)
	if !h.opts.Stores {
		for _, id := range rt.Order[rt.Homes:] {
			if len(out) < 4 && plan.Live(id) {
				out = append(out, id)
			}
		}
	}
	if h.opts.Silence.Any() {
		slices.SortStableFunc(out, func(a, b view.NodeID) int {
			return cmp.Compare(boolToInt(h.opts.Silence.Has(a)), boolToInt(h.opts.Silence.Has(b)))
		})
	}
	return out
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
