package roster

import (
	"github.com/skeinmesh/skein/mesh/view"
)

// maxJump is by how many starts a node may be ahead of what is known of it, by the
// word of another. No box is started that often unseen.
const maxJump = 1 << 20

// Hear parts what one node says of the others into what may be merged at once and
// what is in doubt: that a node which alive reports here has gone, is going, or has
// another life than the one that answers. Whoever runs is to be asked itself. What
// a node says of itself, and of those that are down or unknown here, is taken.
func (r Roster) Hear(from view.NodeID, said Roster, alive func(view.NodeID) bool) (take Roster, doubts []Entry) {
	take.entries = make([]Entry, 0, len(said.entries))
	for _, e := range said.entries {
		known, ok := r.Get(e.ID)
		if ok && e.ID != from {
			if known.Boot > 0 && e.Boot > known.Boot && e.Boot-known.Boot > maxJump {
				e.Boot, e.Instance = known.Boot, known.Instance
			}
			if advances(e, known) && alive(e.ID) {
				doubts = append(doubts, e)
				e.Status = min(e.Status, known.Status)
				e.Boot, e.Instance = known.Boot, known.Instance
			}
		}
		take.entries = append(take.entries, e)
	}
	for _, t := range said.relics {
		known, ok := r.Get(t.ID)
		if ok && t.ID != from && !known.Status.Gone() && alive(t.ID) {
			known.Status = view.Evicted
			doubts = append(doubts, known)
			continue
		}
		take.relics = append(take.relics, t)
	}
	return take, doubts
}

// Ahead tells whether e says of its node what this roster does not: that it goes or
// has gone, or has lived on. That is so no longer once it was heard from the node
// itself, for instance.
func (r Roster) Ahead(e Entry) bool {
	known, ok := r.Get(e.ID)
	return !ok || !r.Reduced(e.ID) && advances(e, known)
}

func advances(e, known Entry) bool {
	return e.Status > known.Status && e.Status > view.Active || e.IsLater(known)
}

// Believe tells whether what some members say of a node that answers is true
// nevertheless, as of one that was evicted in another part of a cut mesh: two
// members that store say so, or one does and none that was asked says otherwise.
func (r Roster) Believe(about view.NodeID, by []view.NodeID, against int) bool {
	backers := 0
	for _, id := range by {
		if e, ok := r.Get(id); ok && id != about && e.Storing && !e.Status.Gone() {
			backers++
		}
	}
	return backers >= 2 || backers == 1 && against == 0
}
