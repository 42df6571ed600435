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

// Observe takes in a date from elsewhere and tells whether it is more than
// MaxSkew ahead of the wall clock; such a date does not move the clock.
func (c *Clock) Observe(wall, h version.HLC) (skewed bool) {
	if h > wall.Add(c.maxSkew) {
		return true
	}
	c.last = max(c.last, h)
	return false
}

// Agrees tells whether a store whose wall clock shows own is within maxSkew
// milliseconds of the median of its peers' clocks. With fewer than two peers
// there is no telling, and the answer is no.
func Agrees(own version.HLC, peers []version.HLC, maxSkew int64) bool {
	if len(peers) < 2 {
		return false
	}
	if maxSkew == 0 {
		maxSkew = DefaultMaxSkew
	}
	sorted := slices.Sorted(slices.Values(peers))
	lower, upper := sorted[(len(sorted)-1)/2], sorted[len(sorted)/2]
	return own <= lower.Add(maxSkew) && upper <= own.Add(maxSkew)
}

// Ahead tells whether a store whose wall clock shows own is more than maxSkew
// milliseconds ahead of the median of its peers' clocks (the upper one of two
// medians). Such a store hands the coordination of last-writer-wins keys to
// another home, or fails with ErrClockSkew. With fewer than two peers there
// is no telling who is wrong, and the answer is no.
func Ahead(own version.HLC, peers []version.HLC, maxSkew int64) bool {
	if len(peers) < 2 {
		return false
	}
	if maxSkew == 0 {
		maxSkew = DefaultMaxSkew
	}
	sorted := slices.Sorted(slices.Values(peers))
	return own > sorted[len(sorted)/2].Add(maxSkew)
}
