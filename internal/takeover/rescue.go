package takeover

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// When it is tried to bring a node back.
const (
	rescueFirst = time.Minute // behind its failure: most come back by themselves
	rescueLast  = time.Hour   // from one attempt to the next at the most: doubled each time
)

// Rescues says when it is to be tried to bring failed nodes back. The zero value knows of none.
type Rescues struct{ all map[view.NodeID]rescue }

type rescue struct {
	pause time.Duration // from the last attempt, or the failure
	due   time.Duration
	back  bool          // it has not failed any more
	since time.Duration // it has been back
}

// TakeDue takes in which nodes have failed by now, and returns those that it is to be tried to
// bring back now, and when to ask again at the latest.
func (r *Rescues) TakeDue(now time.Duration, failed []view.NodeID) (due []view.NodeID, next time.Duration) {
	next = now + rescueLast
	all := make(map[view.NodeID]rescue, len(failed))
	for _, id := range failed {
		s, known := r.all[id]
		switch {
		case !known:
			s = rescue{pause: rescueFirst, due: now + rescueFirst}
		case s.back: // again: a node that dies each time that it was brought back is tried less and less, too
			s.back, s.due = false, now+s.pause
		case now >= s.due:
			due = append(due, id)
			s.pause = min(2*s.pause, rescueLast)
			s.due = now + s.pause
		}
		all[id] = s
		next = min(next, s.due)
	}
	for id, s := range r.all {
		if _, failed := all[id]; failed {
			continue
		}
		if !s.back {
			s.back, s.since = true, now
		}
		if now-s.since < rescueLast {
			all[id] = s
		}
	}
	r.all = all
	slices.Sort(due)
	return due, next
}
