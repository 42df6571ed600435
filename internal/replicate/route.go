package replicate

import "github.com/skeinmesh/skein/mesh/view"

// Route lists the stores that may coordinate a write of a key, in the order
// to try them: the lead, then the other live homes, this store before the
// rest if it is a home. Only when none of them can be reached does a storing
// node that is no home coordinate itself, so it comes last.
//
// A write that was handed to a store which then fell silent may have been
// done there. Handing it to the next one is safe, it merely becomes a second
// write of the same value, but the caller must give each attempt a deadline,
// so that a late first attempt does not overtake what the client does next.
func Route(plan Plan, lead view.NodeID, storing bool) []view.NodeID {
	out := make([]view.NodeID, 0, plan.Homes+1)
	there := func(id view.NodeID) bool { return id == plan.Self || plan.Live(id) }
	if lead != 0 && there(lead) && plan.IsHome(lead) {
		out = append(out, lead)
	}
	self := plan.IsHome(plan.Self)
	if self && lead != plan.Self {
		out = append(out, plan.Self)
	}
	for _, id := range plan.homeIDs() {
		if id != lead && id != plan.Self && plan.Live(id) {
			out = append(out, id)
		}
	}
	if !self && storing {
		out = append(out, plan.Self)
	}
	return out
}
