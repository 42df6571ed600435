package roster

import "time"

// What is said of nodes that are gone, and were not known, cannot be tested, and is
// never forgotten: one message of a faulty member could make a mesh full for good. So
// a node takes in an eighth at most, in one run, of what there is room for.
//
// A new node must believe somebody: that does not hold for it until a while after it
// has met the first other.
const (
	maxUnseen  = MaxGone / 8
	believeFor = time.Minute
)

// Ration keeps to that. It is not safe for concurrent use.
type Ration struct {
	unseen int           // nodes taken in that are gone, and were not known
	isNew  bool          // the node knew nobody when it started
	begun  bool          // somebody was met or heard of
	first  time.Duration // when
}

// NewRation returns the ration of a node that starts with the roster r.
func NewRation(r Roster) *Ration {
	return &Ration{isNew: r.Len() <= 1 && len(r.relics) == 0}
}

// Meet notes that another was heard at time now of the run.
func (g *Ration) Meet(now time.Duration) {
	if !g.begun {
		g.begun, g.first = true, now
	}
}

// Take returns what may be merged into r of what others say at time now of the run,
// and how many nodes are not taken in.
func (g *Ration) Take(now time.Duration, r, said Roster) (take Roster, refused int) {
	g.Meet(now)
	if g.isNew = g.isNew && now-g.first < believeFor; g.isNew {
		return said, 0
	}
	for _, e := range said.entries {
		if _, known := r.Get(e.ID); !known && e.Status.Gone() && !g.takeUnseen() {
			refused++
			continue
		}
		take.entries = append(take.entries, e)
	}
	for _, t := range said.relics {
		if _, known := r.Get(t.ID); !known && !g.takeUnseen() {
			refused++
			continue
		}
		take.relics = append(take.relics, t)
	}
	return take, refused
}

// takeUnseen tells whether there is one left, and takes it.
func (g *Ration) takeUnseen() bool {
	if g.unseen >= maxUnseen {
		return false
	}
	g.unseen++
	return true
}
