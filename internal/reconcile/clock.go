package reconcile

import (
	"slices"

	"github.com/skeinmesh/skein/replica/version"
)

const (
	// DefaultMaxSkew is how far ahead of the wall clock, in milliseconds, a
	// date from elsewhere may be and still move the local clock.
	DefaultMaxSkew = 5 * 60 * 1000

	// Milliseconds between the wall clock and a new ceiling. A store that
	// restarts dates its writes ahead of the others' by as much, at most, so it
	// is short; each costs one small record.
	ceilingAhead = 3 * 1000
	ceilingStep  = 1000 // the same, once readings run ahead of the wall clock
)

// Clock is a hybrid logical clock (Kulkarni et al., 2014). Its readings grow
// strictly, across restarts and whatever the wall clock does, provided that
// the ceiling is stored before a reading that raised it is shown. It breaks
// ties between concurrent writes and dates expiry, nothing else. It is a
// value; it must not be used concurrently.
type Clock struct {
	last, ceiling version.HLC
	start         version.HLC // the ceiling of earlier runs
	maxSkew       int64
}

// NewClock returns a clock that starts above the stored ceiling. maxSkew is
// in milliseconds, 0 means DefaultMaxSkew.
func NewClock(ceiling version.HLC, maxSkew int64) Clock {
	if maxSkew == 0 {
		maxSkew = DefaultMaxSkew
	}
	return Clock{last: ceiling, ceiling: ceiling, start: ceiling, maxSkew: maxSkew}
}

// Now returns the later of the wall clock and the last reading.
func (c *Clock) Now(wall version.HLC) version.HLC { return max(wall, c.last) }

// Last returns the last reading that was given out or taken in.
func (c *Clock) Last() version.HLC { return c.last }

// Ceiling returns the bound that must be stored before any reading so far is
// shown.
func (c *Clock) Ceiling() version.HLC { return c.ceiling }

// Tick returns a reading above the floor and, unless the floor is more than
// MaxSkew ahead of the wall clock, above every earlier one. A floor that far
// ahead comes from a wrong clock: the reading still exceeds it, but the clock
// itself is not moved, so one wrong clock does not date the keys it never
// touched. It fails only if no later reading exists.
func (c *Clock) Tick(wall, floor version.HLC) (version.HLC, bool) {
	h := max(wall, c.last+1)
	if floor >= h {
		h = floor + 1
		if floor > wall.Add(c.maxSkew) {
			return h, h < version.Limit
		}
	}
	if h >= version.Limit {
		return h, false
	}
	c.last = h
	if h > c.ceiling {
		// A store that restarts often begins each time at the last ceiling.
		// Were the new one always so far above the reading, it would run away
		// from the wall clock by as much per restart.
		c.ceiling = max(h.Add(ceilingStep), wall.Add(ceilingAhead))
	}
	return h, true
}

// Correct takes in the time by clocks that are right; see Peers.Corrects. Readings more
// than MaxSkew above it were given out when the wall clock was wrong: the clock
// goes on from the right time, or it would be wrong for as long as the wall clock
// was ahead. What it has dated stays in order all the same, for a key's date is
// the floor of its next one.
//
// What earlier runs have dated is not taken back: it is all that tells of a machine that
// starts in 1970, and finds others that do, that their clocks are behind.
func (c *Clock) Correct(now version.HLC) {
	if right := max(now, c.start); c.last > right.Add(c.maxSkew) {
		c.last, c.ceiling = right, right
	}
}

// Observe takes in a date from elsewhere and tells whether it is more than
// MaxSkew ahead of the wall clock; such a date does not move the clock.
func (c *Clock) Observe(wall, h version.HLC) (skewed bool) {
	if h > wall.Add(c.maxSkew) {
		return true
	}
	c.last = max(c.last, h)
	return false
}

// Peers is what the wall clocks of a node's peers show, in milliseconds.
type Peers struct {
	// Known: so many clocks were read that they tell which one is wrong.
	Known bool
	// Others is how many other stores there are, in contact or not.
	Others int

	all, near sortedClocks
	shift     int64 // to be added to each
	votes     bool
}

// sortedClocks are what some stores' clocks show.
type sortedClocks []int64

// NewPeers takes in the clocks of other stores: near those of them that are in contact,
// away what the others' have come to since they were. That these cannot be asked any more
// does not make a wrong clock here a right one, however many others here share it. votes
// says that the node's own clock is one of those by which time is kept: it counts among
// them, and two others are needed to tell that it is wrong. Otherwise one other is enough.
func NewPeers(near, away []int64, votes bool) Peers {
	p := Peers{all: slices.Concat(near, away), near: slices.Sorted(slices.Values(near)), votes: votes}
	slices.Sort(p.all)
	p.Known = p.canTell(p.all)
	return p
}

// canTell tells whether clocks are enough to say which one is wrong.
func (p Peers) canTell(clocks sortedClocks) bool {
	return len(clocks) >= 2 || len(clocks) == 1 && !p.votes
}

// Later returns what the clocks show so many milliseconds later.
func (p Peers) Later(ms int64) Peers {
	p.shift += ms
	return p
}

// findMiddle returns the two clocks in the middle, or the one twice.
func (p Peers) findMiddle(clocks sortedClocks, own int64) (lower, upper int64) {
	n := len(clocks)
	if !p.votes {
		return clocks[(n-1)/2] + p.shift, clocks[n/2] + p.shift
	}
	own -= p.shift
	i, _ := slices.BinarySearch(clocks, own)
	at := func(k int) int64 { // of all, own among them
		switch {
		case k < i:
			return clocks[k] + p.shift
		case k == i:
			return own + p.shift
		}
		return clocks[k-1] + p.shift
	}
	return at(n / 2), at((n + 1) / 2)
}

// Off tells by how many milliseconds a clock that shows own is ahead of the
// median, below zero: behind it. Up to maxSkew does not count. Where nothing tells
// which clock is wrong it is what lies between own and the one that was read.
func (p Peers) Off(own, maxSkew int64) int64 {
	if len(p.all) == 0 {
		return 0
	}
	lower, upper := p.findMiddle(p.all, own)
	if !p.Known {
		lower, upper = p.all[0]+p.shift, p.all[0]+p.shift
	}
	switch {
	case own > upper+maxSkew:
		return own - upper
	case own < lower-maxSkew:
		return own - lower
	}
	return 0
}

// SteadyFor is how long, in milliseconds, a clock must have gone on without a step before
// something ends for good by it: those of a whole site may be set wrong, and back.
const SteadyFor = 60 * 60 * 1000

// Ended returns the time by which a store whose clock shows own may say for good what has
// ended: for others it has, too, by MaxSkew. ok tells whether it may. steady says that its
// clock has gone on for SteadyFor without a step.
//
//	other stores  it may if its clock is steady, and
//	none          always
//	any           own and those within maxSkew of it are more than half of all stores'
//
// A clock of which nothing is known agrees with none. So no side of a cut with half of the
// stores or less that has come up by itself ends anything, whatever its clocks agree on:
// all others would have to follow.
func (p Peers) Ended(own, maxSkew int64, steady bool) (by int64, ok bool) {
	return p.Early(own, maxSkew) - maxSkew, steady && p.isMajority(own, own, maxSkew)
}

// Corrects tells whether a store whose clock shows own may take back what it has dated
// ahead of Now; see Clock.Correct. More than half of all stores' clocks say what time it
// is, or nobody can say otherwise and its clock is steady.
func (p Peers) Corrects(own, maxSkew int64, steady bool) bool {
	if p.Others == 0 {
		return steady
	}
	return p.isMajority(p.Now(own, maxSkew), own, maxSkew)
}

// isMajority tells whether more than half of all stores' clocks are within maxSkew of a
// time.
func (p Peers) isMajority(at, own, maxSkew int64) bool {
	agree, of := 0, p.Others
	near := func(clock int64) {
		if clock <= at+maxSkew && at <= clock+maxSkew {
			agree++
		}
	}
	if p.votes {
		of++
		near(own)
	}
	for _, clock := range p.all {
		near(clock + p.shift)
	}
	return 2*agree > of
}

// RanAhead tells by how many milliseconds what a store has dated last is ahead of the
// time by which it dates now, even if it takes back with its next write what it may; start
// is the ceiling of earlier runs. Up to maxSkew does not count.
func (p Peers) RanAhead(own, maxSkew int64, steady bool, last, start int64) int64 {
	now := p.Now(own, maxSkew)
	if p.Corrects(own, maxSkew, steady) {
		last = min(last, max(now, start))
	}
	if ahead := last - now; ahead > maxSkew {
		return ahead
	}
	return 0
}

// Steady is since when a wall clock goes along with the boot clock. It is a value.
type Steady struct{ apart, since int64 }

// NewSteady begins with what the two clocks show, in milliseconds.
func NewSteady(wall, boot int64) Steady { return Steady{apart: wall - boot, since: boot} }

// Look takes in what the two clocks show now. A step by more than maxSkew begins anew.
func (s Steady) Look(wall, boot, maxSkew int64) Steady {
	if d := wall - boot - s.apart; d > maxSkew || d < -maxSkew {
		return NewSteady(wall, boot)
	}
	return s
}

// For is for how many milliseconds the clock has gone on without a step.
func (s Steady) For(boot int64) int64 { return boot - s.since }

// Now returns the time that a node dates by whose clock shows own: one that is
// off, in either direction, dates nothing where the median is known.
func (p Peers) Now(own, maxSkew int64) int64 {
	if !p.Known {
		return own
	}
	return own - p.Off(own, maxSkew)
}

// Late returns the time from which a value that is written now has to live: the
// latest that it may be. A value whose end was dated by a clock that is behind
// would be gone too early, or at once. Of two clocks, of which nobody can tell
// which is wrong, the later one counts, and so it does of those in contact and of all:
// those away may have been set right meanwhile.
func (p Peers) Late(own, maxSkew int64) int64 {
	late := p.Now(own, maxSkew)
	if len(p.all) > 0 {
		_, upper := p.findMiddle(p.all, own)
		late = max(late, upper)
	}
	if p.canTell(p.near) {
		_, upper := p.findMiddle(p.near, own)
		late = max(late, upper)
	}
	return late
}

// Early returns the time by which a reader judges whether a value has ended: the
// earliest that it may be.
func (p Peers) Early(own, maxSkew int64) int64 {
	early := p.Now(own, maxSkew)
	for _, clocks := range []sortedClocks{p.all, p.near} {
		if p.canTell(clocks) {
			lower, _ := p.findMiddle(clocks, own)
			early = min(early, lower)
		}
	}
	return early
}
