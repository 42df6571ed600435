package elect

import (
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// given notes a grant that leaves a voter, which was asked for it at a time, and fails if the last one, to another,
// has not ended: L1.
func (w *world) given(voter *node, to view.NodeID, e int, a Ask, at time.Duration) {
	last, ok := w.grants[e][voter.id]
	if ok && last.token.Node != to && at < last.until {
		w.fault("L1: %d grants term %d of %d to %d, its grant %v holds for %v", voter.id, a.Term, e, to, last.token, last.until-w.now)
	}
	if ok && a.Term < last.token.Term {
		w.fault("%d grants term %d of %d after %d", voter.id, a.Term, e, last.token.Term)
	}
	until := at + time.Duration(float64(a.Lease)/(1+voter.drift)) - time.Millisecond
	w.grants[e][voter.id] = held{token.Token{Term: a.Term, Node: to}, max(until, last.until)}
	if ok && last.token.Node != to {
		w.grants[e][voter.id] = held{token.Token{Term: a.Term, Node: to}, until}
	}
}

// freed notes that a voter learns of a grant given back.
func (w *world) freed(voter *node, e int, from view.NodeID, term uint64) {
	if g := w.grants[e][voter.id]; g.token.Node == from && g.token.Term <= term {
		g.until = min(g.until, w.now)
		w.grants[e][voter.id] = g
	}
}

func (w *world) supporters(nd *node, e int) map[view.NodeID]bool {
	out := map[view.NodeID]bool{}
	if el := nd.e[e]; el.lead != nil {
		for id, g := range el.grants {
			if el.lead.voters.Has(id) && g.term >= el.lead.token.Term && g.ends > w.clock(nd) {
				out[id] = true
			}
		}
	}
	return out
}

// begun fails if a token is not above those of leaders before with a common
// voter, of the same node, or of the same electorate at all: L5, L4.
func (w *world) begun(nd *node, e int, t token.Token) {
	voters := w.supporters(nd, e)
	if 2*len(voters) <= len(nd.e[e].lead.voters.Voters) {
		w.fault("%d leads %d by %d of %d", nd.id, e, len(voters), len(nd.e[e].lead.voters.Voters))
	}
	if l := w.lapses[e]; e == majority && w.now < l.until && !(l.of == nd && l.life != nd.life) {
		w.fault("%d leads %v before the lease ends that %d lets lapse", nd.id, l.until-w.now, l.of.id)
	}
	for _, p := range w.reigns[e] {
		if p.token.Less(t) {
			continue
		}
		if e == majority || p.token.Node == t.Node || overlap(p.voters, voters) {
			w.fault("L5: %v of %d follows %v", t, e, p.token)
		}
	}
	w.reigns[e] = append(w.reigns[e], past{t, voters})
	w.count[fmt.Sprint("led ", e)]++
}

// check fails if two lead on a common voter, or electorate: L2, L3, L4.
func (w *world) check() {
	for e := range elections {
		var first []*node
		for _, nd := range w.nodes {
			if !nd.up || nd.frozen || nd.e[e].lead == nil {
				continue
			}
			if _, _, ok := nd.e[e].Leading(w.clock(nd)); !ok {
				continue
			}
			for _, other := range first {
				a, b := nd.e[e].lead, other.e[e].lead
				if overlap(w.supporters(nd, e), w.supporters(other, e)) || a.voters.Sum == b.voters.Sum || e == majority {
					w.fault("%d and %d both lead %d: %v by %v, %v by %v", other.id, nd.id, e, b.token, keys(w.supporters(other, e)), a.token, keys(w.supporters(nd, e)))
				}
			}
			first = append(first, nd)
		}
	}
	w.checkWork()
}

// checkWork fails if the work of two leaders of the majority-scope election runs
// at a time: it is told to stop a guard before others may lead, and takes less.
// That of a machine that stood still is told when it runs again.
func (w *world) checkWork() {
	var first *node
	for _, nd := range w.nodes {
		if !nd.up || nd.frozen || !nd.working[majority] || nd.thawed != 0 && w.now-nd.thawed < w.par.Guard {
			continue
		}
		if first != nil {
			w.fault("the work of %d and of %d runs", first.id, nd.id)
		}
		first = nd
	}
}

func overlap(a, b map[view.NodeID]bool) bool {
	for id := range a {
		if b[id] {
			return true
		}
	}
	return false
}

func keys(m map[view.NodeID]bool) (out []view.NodeID) {
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// leaders lists who leads among some nodes.
func (w *world) leaders(e int, among ...*node) (out []view.NodeID) {
	for _, nd := range among {
		if !nd.up || nd.frozen {
			continue
		}
		if _, _, ok := nd.e[e].Leading(w.clock(nd)); ok {
			out = append(out, nd.id)
		}
	}
	return out
}
