package replicate

import (
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// Readiness tracks, per unit (a shard, say), whether this store's record of a
// key being absent proves anything. Values it holds always count. A home is
// not ready from its start, or from becoming a home, until it was made equal
// with enough of the other homes by anti-entropy.
type Readiness struct {
	equal map[int][]view.NodeID
	fresh map[int]bool
}

// Begin makes a unit not ready. fresh tells that the store was not a home of
// it before, so that all it can know comes from the others.
func (r *Readiness) Begin(unit int, fresh bool) {
	if r.equal == nil {
		r.equal, r.fresh = map[int][]view.NodeID{}, map[int]bool{}
	}
	r.equal[unit] = nil
	r.fresh[unit] = fresh
}

// Equal reports that the unit was made equal with a peer.
func (r *Readiness) Equal(unit int, peer view.NodeID) {
	if peers, tracked := r.equal[unit]; tracked && !slices.Contains(peers, peer) {
		r.equal[unit] = append(peers, peer)
	}
}

// Ready tells whether absence here counts, given the homes of the unit.
//
// A write at level Quorum is on more than half of the n homes. A store that
// was a home all the time, and only missed what was written while it was
// away, meets one of those when it is equal with n/2 others; a fresh one
// needs a majority of the n, or all others when they are fewer. What a
// majority has never seen, no quorum of homes has acked.
func (r *Readiness) Ready(unit int, self view.NodeID, homes []view.NodeID) bool {
	peers, tracked := r.equal[unit]
	if !tracked {
		return false
	}
	n := 0
	for _, id := range homes {
		if id != self && slices.Contains(peers, id) {
			n++
		}
	}
	need := len(homes) / 2
	if r.fresh[unit] {
		need = min(len(homes)/2+1, len(homes)-1)
	}
	return n >= need
}
