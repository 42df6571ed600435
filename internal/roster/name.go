package roster

import (
	"fmt"

	"github.com/skeinmesh/skein/mesh/view"
)

// One name is borne by one node. These are the rules by which that comes to be
// again where several have it:
//
//   - A node that runs takes the place of every node of its name that is down,
//     whoever replaced whom before, and however many disks were lost at once.
//     It need not have been named: what others have heard of it, and when, is
//     of no account.
//   - Of two that run the one with the higher NodeID gives way, see Prevails.
//   - Nobody takes the place of one that runs.

// Namesakes returns the nodes, other than id, that have the name of id and are not
// gone, sorted. A node that is gone bears no name.
func (r Roster) Namesakes(id view.NodeID) []view.NodeID {
	e, ok := r.Get(id)
	if !ok || e.Status.Gone() {
		return nil
	}
	return r.bearers(e)
}

// Bearers returns the entries of the nodes, other than e, that have the name of e
// and are not gone, sorted.
func (r Roster) Bearers(e Entry) (out []Entry) {
	for _, id := range r.bearers(e) {
		o, _ := r.Get(id)
		out = append(out, o)
	}
	return out
}

func (r Roster) bearers(e Entry) (out []view.NodeID) {
	for _, o := range r.entries {
		if o.Name == e.Name && o.ID != e.ID && !o.Status.Gone() {
			out = append(out, o.ID)
		}
	}
	return out
}

// Oust returns the roster in which id has taken the place of all its namesakes that
// down reports: those are evicted, and returned. id is a node that runs.
func (r Roster) Oust(id view.NodeID, down func(view.NodeID) bool) (Roster, []view.NodeID) {
	var evicted []view.NodeID
	for _, o := range r.Namesakes(id) {
		if down(o) {
			evicted = append(evicted, o)
		}
	}
	return r.markEvicted(evicted), evicted
}

// Prevails tells whether a goes on where a and b both run under one name. All
// nodes answer alike, whatever they know, so that exactly one goes on.
func Prevails(a, b view.NodeID) bool { return a < b }

// admitName tells whether e may bear its name: see Admit.
func (r Roster) admitName(e Entry, alive func(view.NodeID) bool) error {
	var down []view.NodeID
	named := false
	for _, id := range r.bearers(e) {
		o, _ := r.Get(id)
		switch {
		case o.Predecessor == e.ID:
		case alive(id):
			return fmt.Errorf("%w: %v and %v are both %q", ErrNameTaken, e.ID, id, e.Name)
		default:
			down = append(down, id)
			named = named || e.Predecessor == id
		}
	}
	if len(down) > 0 && !named {
		return fmt.Errorf("%w: %v names none of %v, which are %q, too", ErrNameTaken, e.ID, down, e.Name)
	}
	return nil
}
