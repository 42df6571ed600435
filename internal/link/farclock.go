package link

import "time"

// farClock places readings of the peer's clock on our own, so that a deadline
// still means the same moment after its frame was held up on the way: a cut
// may hold a stream for half a minute and then deliver what was written
// before it.
//
// Neither clock needs to be right. The difference between when a frame came
// and when the peer says it was sent is the difference of the clocks plus the
// time on the way; the least one seen lately is the best guess of the former,
// too large by the least time on the way. Lately is one to two farMemory, so
// that clocks may drift apart. A connection is broken for silence well before
// a delay could fill that span.
//
// It belongs to the reader of a connection.
type farClock struct {
	least, before time.Duration // ours minus theirs: least since, and in the span before
	since         time.Duration // by our clock
	known         bool
}

const farMemory = 2 * time.Minute

// mark takes in that a frame which the peer sent at theirs came at ours.
func (f *farClock) mark(theirs, ours time.Duration) {
	d := ours - theirs
	switch {
	case !f.known:
		*f = farClock{least: d, before: d, since: ours, known: true}
	case ours-f.since >= farMemory:
		f.before, f.least, f.since = f.least, d, ours
	default:
		f.least = min(f.least, d)
	}
}

// here returns when, by our clock, theirs was or will be.
func (f *farClock) here(theirs time.Duration) time.Duration {
	return theirs + min(f.least, f.before)
}
