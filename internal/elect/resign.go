package elect

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// HandOver ends this node's lead because somebody says so: its work ends under the lease,
// and then all is given back, in favour of a nominee if that is not 0. It tells whether there
// was a lead to end: work that was told to end already goes on ending as it does.
func (e *Election) HandOver(now time.Duration, nominee view.NodeID) ([]Effect, bool) {
	e.advanceTime(now)
	leads := e.lead != nil && !e.draining
	if leads {
		e.stopLeading(Told, nominee)
	}
	return e.decideDue(now), leads
}

// LetLapse ends this node's lead such that nobody leads before its lease has ended by itself,
// not even this node: what was begun under it may run on. Its work ends at once, the lease is
// not renewed any more, and nothing is given back. It tells whether there was a lead, or work
// that was ending.
func (e *Election) LetLapse(now time.Duration) ([]Effect, bool) {
	e.advanceTime(now)
	any := e.lead != nil || e.draining
	if e.lead != nil && !e.draining {
		e.stopLeading(Lapses, 0)
	}
	e.lapses = any
	return e.decideDue(now), any
}

// endLead forgets a leadership whose work has ended and whose lease was given back, or has
// ended.
func (e *Election) endLead() {
	e.lead, e.draining, e.drained, e.lapses, e.nominee = nil, false, false, false, 0
	clear(e.grants)
	e.noBidBefore = e.now + e.params.Pause + e.randomBelow(e.params.Pause)
}

// naming is in whose favour terms up to one were given back, and until when voters favour it.
type naming struct {
	nominee view.NodeID
	term    uint64
	until   time.Duration
}

// nomineeAt returns the nominee for what is given back later: a grant of the same leadership, whose
// answer was on its way. It may come first, and what comes second is not heeded:
//
//	0 ms  a leads, and asks b to renew its grant
//	1 ms  b has granted that, and a hands over to c
//	2 ms  a has b's answer, and gives it back
//	3 ms  b has what a gave back at 2 ms, and then what it gave back at 1 ms
//
// Did it name nobody b would not favour c, and another might lead.
func (n naming) nomineeAt(now time.Duration, term uint64) view.NodeID {
	if term > n.term || now >= n.until {
		return 0
	}
	return n.nominee
}
