package watch

import (
	"container/heap"

	"github.com/skeinmesh/skein/replica/version"
)

// ends are the keys that a watcher takes for live and that end by a TTL, the next one
// first. What has become of a key since is found when its turn comes.
type ends []end

type end struct {
	due version.HLC
	key string
}

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].due < e[j].due }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// noteEnd has TakeEnded come to a state.
func (ns *Notes) noteEnd(s *State) {
	if !s.Live || s.Due == 0 {
		return
	}
	if len(ns.ends) >= 2*MostNotes {
		ns.dropStaleEnds()
	}
	heap.Push(&ns.ends, end{s.Due, s.Key})
}

// dropStaleEnds leaves those that the notes tell of: one for each note at most.
func (ns *Notes) dropStaleEnds() {
	ns.ends = ns.ends[:0]
	for n := ns.order.behind; n != &ns.order; n = n.behind {
		if n.Live && n.Due != 0 {
			ns.ends = append(ns.ends, end{n.Due, n.Key})
		}
	}
	heap.Init(&ns.ends)
}

// HasEnds tells whether TakeEnded may find something, by whatever date.
func (ns *Notes) HasEnds() bool { return len(ns.ends) > 0 }

// TakeEnded returns the next key that the watcher takes for live and that has ended by a
// date. It is to be told.
func (ns *Notes) TakeEnded(now version.HLC) (State, bool) {
	for len(ns.ends) > 0 && ns.ends[0].due <= now {
		due := heap.Pop(&ns.ends).(end)
		if n := ns.byKey[due.key]; n != nil && n.Live && n.Due == due.due {
			n.Live = false
			return n.State, true
		}
	}
	return State{}, false
}
