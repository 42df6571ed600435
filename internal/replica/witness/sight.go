// Package witness judges stores that are down as seen from one node: it asks other nodes whether
// they reach them, and tells an operator what may be said of each.
package witness

import (
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Sight is what one node sees of the others at a moment.
type Sight struct {
	Self view.NodeID
	View view.View
	Now  time.Time // by this node's clock
}

// goneAfter is longer than nodes take to hear that one is down: until then that
// others list it says nothing.
const goneAfter = 30 * time.Second

// contact is what this node may say of a member to which attempts fail while nobody
// has told that it is down.
type contact uint8

const (
	brokenLink contact = iota // others have reached it all the while
	lostNow                   // they may not know yet
	lostAlone                 // there are no others
)

// contactOf judges a member that is unreachable.
func (at Sight) contactOf(m view.Member) contact {
	witness := func(o view.Member) bool {
		return o.ID != at.Self && o.ID != m.ID && o.State == view.Alive && !o.Unreachable && !o.Status.Gone()
	}
	switch {
	case !slices.ContainsFunc(at.View.Members, witness):
		return lostAlone
	case at.Now.Sub(m.Since) < goneAfter:
		return lostNow
	}
	return brokenLink
}

// ReportSilent tells of members that do not answer although they are not known to be
// down.
func (at Sight) ReportSilent(add func(view.Problem)) {
	var cut, fresh, alone []view.NodeID
	for _, m := range at.View.Members {
		if !m.Unreachable || m.Status.Gone() {
			continue
		}
		switch at.contactOf(m) {
		case lostAlone:
			alone = append(alone, m.ID)
		case lostNow:
			fresh = append(fresh, m.ID)
		default:
			cut = append(cut, m.ID)
		}
	}
	if len(cut) > 0 {
		add(view.Problem{Kind: view.ProblemCut, Nodes: at.NameAll(cut)})
	}
	if len(fresh) > 0 {
		add(view.Problem{Kind: view.ProblemSilent, Nodes: at.NameAll(fresh)})
	}
	if len(alone) > 0 {
		add(view.Problem{Kind: view.ProblemSilentAlone, Nodes: at.NameAll(alone)})
	}
}

// SortAway notes what is the matter with nodes that are not in contact. One that
// others reach is not down: it is there, through them.
func (at Sight) SortAway(p *view.Problem, ids []view.NodeID) {
	for _, id := range ids {
		named := at.NameAll([]view.NodeID{id})
		switch m, _ := at.View.Member(id); {
		case !m.Unreachable:
			p.Nodes = append(p.Nodes, named...)
		case at.contactOf(m) == brokenLink:
			p.Cut = append(p.Cut, named...)
		default:
			p.Silent = append(p.Silent, named...)
		}
	}
}

// NameAll adds to nodes the names that people know them by.
func (at Sight) NameAll(ids []view.NodeID) []view.Named {
	out := make([]view.Named, len(ids))
	for i, id := range ids {
		m, _ := at.View.Member(id)
		out[i] = view.Named{ID: id, Name: m.Name}
	}
	return out
}

// ReportUnconfirmed tells of stores that are down as seen from here, and why no copies are
// made in their place, by what was said of them.
func (at Sight) ReportUnconfirmed(said map[view.NodeID]view.Witnesses, add func(view.Problem)) {
	for _, id := range slices.Sorted(maps.Keys(said)) {
		w, node := said[id], at.NameAll([]view.NodeID{id})
		by := slices.DeleteFunc(slices.Clone(w.By), func(id view.NodeID) bool { return id == at.Self })
		switch {
		case len(by) > 0:
			add(view.Problem{Kind: view.ProblemReached, Nodes: node, By: at.NameAll(by)})
		case w.Reached == 0 && !w.Confirmed:
			add(view.Problem{Kind: view.ProblemUnconfirmed, Nodes: node, Count: w.Failed, Of: w.Need})
		}
	}
}
