package replicate

import (
	"time"

	"github.com/skeinmesh/skein/replica/version"
)

// Cover has the read go on at further stores until what it has merged covers what its
// client has seen: first at all other homes, then at all other stores, as many at a time
// as there are homes. It is called before Start.
func (op *ReadOp) Cover(seen version.Context) { op.seen = seen }

// isBehind tells whether what was merged lacks something that the client has seen.
func (op *ReadOp) isBehind() bool { return !op.merged.Ctx.Includes(op.seen) }

// missingDots lists what the client has seen and no reply covers, the last write of each
// birth.
func (op *ReadOp) missingDots() (missing []version.Dot) {
	for _, e := range op.seen {
		if op.merged.Ctx.Get(e.A) < e.N {
			missing = append(missing, version.Dot(e))
		}
	}
	return missing
}

// heardAll tells whether every store of the plan has replied, and every home vouches for
// what it does not have.
func (op *ReadOp) heardAll() bool {
	heard := make(map[uint64]bool, len(op.replies))
	for i := range op.replies {
		r := &op.replies[i]
		heard[uint64(r.From)] = !op.plan.IsHome(r.From) || !r.Syncing && r.Know != Corrupt
	}
	for _, id := range op.plan.Order {
		if !heard[uint64(id)] {
			return false
		}
	}
	return true
}

// Pursuit says how a read goes on when the stores in reach did not know all that its
// client has seen: it is repeated, more and more seldom, until they do or its time is over.
//
// When all stores that there are have replied, twice one after the other, and none knows
// it, then nobody does: it was deleted, and forgotten by all, or lost with the disks that
// held it. Once is not enough: a store may hand a record to one that was asked before.
type Pursuit struct {
	until time.Duration
	pause time.Duration
	most  time.Duration
	again bool // all have replied to the last attempt
}

// NewPursuit returns the pursuit of a read that may take until then.
func NewPursuit(until, timeout time.Duration) *Pursuit {
	return &Pursuit{until: until, pause: timeout / 64, most: timeout / 2}
}

// Next is told what an attempt has brought that ended at now, and whether what was seen
// waited to be written then. It returns after what time the next one begins; ok is false
// when there is none: r tells then what is missing.
func (p *Pursuit) Next(r *ReadResult, waits bool, now time.Duration) (wait time.Duration, ok bool) {
	if len(r.Missing) == 0 && !waits {
		return 0, false
	}
	if r.HeardAll && p.again {
		r.Missing = nil
		return 0, false
	}
	if p.again = r.HeardAll; p.again {
		return 0, now < p.until
	}
	wait = p.pause
	p.pause = min(2*p.pause, p.most)
	return wait, now+wait < p.until
}
