package replicate

import (
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// Readiness tracks, per unit (a shard, say), whether this store's record of a
// key being absent proves anything. Values it holds always count. A home is
// not ready from its start, or from becoming a home, until it has got from
// others, by anti-entropy, all that a quorum of homes can have acknowledged.
type Readiness struct {
	units map[int]*unitReadiness // of which this store is a home; nil: it has not looked yet
}

type unitReadiness struct {
	fresh     bool
	ready     bool
	homes     []view.NodeID // seasoned stores with which the unit was made equal
	consulted []view.NodeID // stores of which this one has all that they hold of the unit
}

// Follow takes in of which of so many units this store is a home, by a roster. One of which
// it was none when it last looked begins anew, as fresh: all that it can know comes from the
// others. At the first look those do that were not settled when the store was last open;
// the rest only missed what was written while it was away. Follow returns the units of
// which it is no home any more.
func (r *Readiness) Follow(units int, isHome, settled func(unit int) bool) (left []int) {
	first := r.units == nil
	if first {
		r.units = make(map[int]*unitReadiness)
	}
	for unit := range units {
		switch home, was := isHome(unit), r.units[unit] != nil; {
		case home && !was:
			r.beginUnit(unit, !first || !settled(unit))
		case !home && was:
			delete(r.units, unit)
			left = append(left, unit)
		}
	}
	return left
}

// Lose has a unit begin anew, as fresh: records of it are gone here, nobody knows which. It
// tells whether this store is a home of it.
func (r *Readiness) Lose(unit int) bool {
	if r.units[unit] == nil {
		return false
	}
	r.beginUnit(unit, true)
	return true
}

// beginUnit makes a unit not ready.
func (r *Readiness) beginUnit(unit int, fresh bool) {
	r.units[unit] = &unitReadiness{fresh: fresh}
}

// Seasoned tells whether this store takes part in what quorums of the unit's
// homes know: it was a home before it went down, or is ready.
func (r *Readiness) Seasoned(unit int) bool {
	u := r.units[unit]
	return u != nil && (u.ready || !u.fresh)
}

// Equal reports that the unit was made equal with a peer, and whether that
// said it was a seasoned home of it at the time.
func (r *Readiness) Equal(unit int, peer view.NodeID, seasoned bool) {
	r.Consulted(unit, peer)
	if u := r.units[unit]; u != nil && seasoned && !slices.Contains(u.homes, peer) {
		u.homes = append(u.homes, peer)
	}
}

// Consulted reports that all a peer holds of the unit is here, be it nothing.
func (r *Readiness) Consulted(unit int, peer view.NodeID) {
	if u := r.units[unit]; u != nil && !slices.Contains(u.consulted, peer) {
		u.consulted = append(u.consulted, peer)
	}
}

// Ready tells whether absence here counts, given the homes of the unit and the
// storing members that are not gone.
//
// A write at level Quorum is on more than half of the n homes. A store that
// was a home all the time, and only missed what was written while it was
// away, meets one of those when it is equal with n/2 other seasoned homes. A
// fresh one needs a majority of the n, or all others when they are fewer: of
// whatever homes the unit had before, these are a majority, or have met one.
// When several homes change at once there are too few seasoned ones; then it
// must have consulted all members.
func (r *Readiness) Ready(unit int, self view.NodeID, homes, members []view.NodeID) bool {
	u := r.units[unit]
	if u == nil {
		return false
	}
	n := countMet(homes, self, u.homes)
	need := len(homes) / 2
	if u.fresh {
		need = max(1, min(len(homes)/2+1, len(homes)-1))
	}
	everyone := !slices.ContainsFunc(members, func(id view.NodeID) bool {
		return id != self && !slices.Contains(u.consulted, id)
	})
	u.ready = n >= need || everyone
	return u.ready
}

// countMet tells how many of the ids, self left out, are among those met.
func countMet(ids []view.NodeID, self view.NodeID, met []view.NodeID) int {
	n := 0
	for _, id := range ids {
		if id != self && slices.Contains(met, id) {
			n++
		}
	}
	return n
}
