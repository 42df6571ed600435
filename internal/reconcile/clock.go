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
	maxSkew       int64
}

// NewClock returns a clock that starts above the stored ceiling. maxSkew is
// in milliseconds, 0 means DefaultMaxSkew.
func NewClock(ceiling version.HLC, maxSkew int64) Clock {
	if maxSkew == 0 {
		maxSkew = DefaultMaxSkew
	}
	return Clock{last: ceiling, ceiling: ceiling, maxSkew: maxSkew}
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

// Correct takes in the time by the median of the peers' clocks. Readings more
// than MaxSkew above it were given out when the wall clock was wrong: the clock
// goes on from the right time, or it would be wrong for as long as the wall clock
// was ahead. What it has dated stays in order all the same, for a key's date is
// the floor of its next one.
func (c *Clock) Correct(now version.HLC) {
	if c.last > now.Add(c.maxSkew) {
		c.last, c.ceiling = now, now
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

	clocks []int64 // sorted
	shift  int64   // to be added to each
	votes  bool
}

// NewPeers takes in clocks. votes says that the node's own clock is one of those
// by which time is kept: it counts among them, and two others are needed to tell
// that it is wrong. Otherwise one other is enough.
func NewPeers(clocks []int64, votes bool) Peers {
	p := Peers{clocks: slices.Sorted(slices.Values(clocks)), votes: votes}
	p.Known = len(clocks) >= 2 || len(clocks) == 1 && !votes
	return p
}

// Later returns what the clocks show so many milliseconds later.
func (p Peers) Later(ms int64) Peers {
	p.shift += ms
	return p
}

// middleClocks returns the two clocks in the middle, or the one twice.
func (p Peers) middleClocks(own int64) (lower, upper int64) {
	n := len(p.clocks)
	if !p.votes {
		return p.clocks[(n-1)/2] + p.shift, p.clocks[n/2] + p.shift
	}
	own -= p.shift
	i, _ := slices.BinarySearch(p.clocks, own)
	at := func(k int) int64 { // of all, own among them
		switch {
		case k < i:
			return p.clocks[k] + p.shift
		case k == i:
			return own + p.shift
		}
		return p.clocks[k-1] + p.shift
	}
	return at(n / 2), at((n + 1) / 2)
}

// Off tells by how many milliseconds a clock that shows own is ahead of the
// median, below zero: behind it. Up to maxSkew does not count. Where nothing tells
// which clock is wrong it is what lies between own and the one that was read.
func (p Peers) Off(own, maxSkew int64) int64 {
	if len(p.clocks) == 0 {
		return 0
	}
	lower, upper := p.middleClocks(own)
	if !p.Known {
		lower, upper = p.clocks[0]+p.shift, p.clocks[0]+p.shift
	}
	switch {
	case own > upper+maxSkew:
		return own - upper
	case own < lower-maxSkew:
		return own - lower
	}
	return 0
}

// How long, in milliseconds, a clock must have gone on without a step before it is taken
// at its word where no others tell: of the only store, and of one that cannot ask.
const (
	steadyAlone  = 60 * 60 * 1000
	steadyUnsure = 24 * steadyAlone
)

// Vouch tells whether a store whose clock shows own may say for good what has ended,
// and dates by that clock whatever was dated before. steady is for how many milliseconds
// it has gone on without a step.
//
//	other stores  clocks that were read   it may
//	none          none                    after an hour without a step
//	one           one                     if both agree
//	more          two or more             if it agrees with their median
//	any           fewer                   after a day without a step
func (p Peers) Vouch(own, maxSkew, steady int64) bool {
	n := len(p.clocks)
	switch {
	case p.Others == 0:
		return steady >= steadyAlone
	case n == 0, n < min(p.Others, 2) && p.agree(own, maxSkew):
		return steady >= steadyUnsure
	}
	return p.agree(own, maxSkew)
}

// agree tells whether a clock that shows own is within maxSkew of the median of those
// that were read.
func (p Peers) agree(own, maxSkew int64) bool {
	lower, upper := p.clocks[(len(p.clocks)-1)/2]+p.shift, p.clocks[len(p.clocks)/2]+p.shift
	return own <= lower+maxSkew && upper <= own+maxSkew
}

// RanAhead tells by how many milliseconds what a store has dated last is ahead of the
// time by which it dates now. Up to maxSkew does not count.
func (p Peers) RanAhead(own, maxSkew, last int64) int64 {
	if ahead := last - p.Now(own, maxSkew); ahead > maxSkew {
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
// which is wrong, the later one counts.
func (p Peers) Late(own, maxSkew int64) int64 {
	now := p.Now(own, maxSkew)
	if len(p.clocks) == 0 {
		return now
	}
	_, upper := p.middleClocks(own)
	return max(now, upper)
}

// Early returns the time by which a reader judges whether a value has ended: the
// earliest that it may be.
func (p Peers) Early(own, maxSkew int64) int64 {
	now := p.Now(own, maxSkew)
	if !p.Known {
		return now
	}
	lower, _ := p.middleClocks(own)
	return min(now, lower)
}
