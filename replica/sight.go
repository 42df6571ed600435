package replica

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// sight is what one node sees of the others at a moment.
type sight struct {
	self view.NodeID
	view view.View
	now  time.Time // by this node's clock
}

func (s *Store) lookAround() sight {
	return sight{self: s.id, view: s.mesh.View(), now: s.cfg.clock.Wall()}
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
func (at sight) contactOf(m view.Member) contact {
	witness := func(o view.Member) bool {
		return o.ID != at.self && o.ID != m.ID && o.State == view.Alive && !o.Unreachable && !o.Status.Gone()
	}
	switch {
	case !slices.ContainsFunc(at.view.Members, witness):
		return lostAlone
	case at.now.Sub(m.Since) < goneAfter:
		return lostNow
	}
	return brokenLink
}

// reportSilent tells of members that do not answer although they are not known to be
// down.
func (at sight) reportSilent(add func(view.Problem)) {
	var cut, fresh, alone []view.NodeID
	for _, m := range at.view.Members {
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
		add(view.Problem{Kind: view.ProblemCut, Nodes: at.nameAll(cut)})
	}
	if len(fresh) > 0 {
		add(view.Problem{Kind: view.ProblemSilent, Nodes: at.nameAll(fresh)})
	}
	if len(alone) > 0 {
		add(view.Problem{Kind: view.ProblemSilentAlone, Nodes: at.nameAll(alone)})
	}
}

// sortAway notes what is the matter with nodes that are not in contact. One that
// others reach is not down: it is there, through them.
func (at sight) sortAway(p *view.Problem, ids []view.NodeID) {
	for _, id := range ids {
		named := at.nameAll([]view.NodeID{id})
		switch m, _ := at.view.Member(id); {
		case !m.Unreachable:
			p.Nodes = append(p.Nodes, named...)
		case at.contactOf(m) == brokenLink:
			p.Cut = append(p.Cut, named...)
		default:
			p.Silent = append(p.Silent, named...)
		}
	}
}

// nameAll adds to nodes the names that people know them by.
func (at sight) nameAll(ids []view.NodeID) []view.Named {
	out := make([]view.Named, len(ids))
	for i, id := range ids {
		m, _ := at.view.Member(id)
		out[i] = view.Named{ID: id, Name: m.Name}
	}
	return out
}
