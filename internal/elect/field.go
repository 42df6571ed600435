package elect

import (
	"cmp"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Peer is a node that stands for the election and is in contact.
type Peer struct {
	ID    view.NodeID
	Score Score
}

// Field is what a node knows of the others. It is never changed after it was
// given to an Election.
type Field struct {
	Electorate Electorate
	Electors   int                  // how many vote in the whole mesh, in reach or not
	Component  map[view.NodeID]bool // who is in it, this node included
	Contact    map[view.NodeID]bool // who is in contact, without a relay; this node included
	Standing   []Peer               // in contact, this node included if it stands
	Claims     []token.Token        // of leaders in contact, as they say themselves
	RTT        time.Duration        // a typical one; 0 when not known
}

// Leader returns who of those that claim to lead does for a node: the one that it has
// granted, for there may be several while parts of a mesh meet, else the one with the
// highest token. It is zero if nobody claims to.
func (f *Field) Leader(granted view.NodeID) (leader token.Token) {
	for _, t := range f.Claims {
		if t.Node == granted {
			return t
		}
		if leader.Less(t) {
			leader = t
		}
	}
	return leader
}

// isBeaten tells whether somebody who stands is better than a candidate by the
// margin. One who let its lease run out is not waited for.
func (f *Field) isBeaten(candidate view.NodeID, score Score, lapsed view.NodeID) bool {
	return slices.ContainsFunc(f.Standing, func(p Peer) bool {
		return p.ID != candidate && p.ID != lapsed && Beats(p.Score, score)
	})
}

// rankOf is how many come before a node: the best first, and of equals by lot.
func (f *Field) rankOf(self view.NodeID, score Score, lapsed view.NodeID) (n int) {
	for _, p := range f.Standing {
		if p.ID == self || p.ID == lapsed {
			continue
		}
		if cmp.Or(-cmp.Compare(p.Score, score), cmp.Compare(mixBits(uint64(p.ID)), mixBits(uint64(self)))) < 0 {
			n++
		}
	}
	return n
}

// bestBut returns the one of all that stand but one which comes before the others; 0 for none.
func (f *Field) bestBut(lapsed view.NodeID) view.NodeID {
	for _, p := range f.Standing {
		if p.ID != lapsed && f.rankOf(p.ID, p.Score, lapsed) == 0 {
			return p.ID
		}
	}
	return 0
}

// challenger returns the best of those that beat a leader by the margin; 0 for
// none.
func (f *Field) challenger(leader view.NodeID, score Score) view.NodeID {
	var best Peer
	for _, p := range f.Standing {
		if p.ID != leader && Beats(p.Score, score) && (best.ID == 0 || p.Score > best.Score || p.Score == best.Score && p.ID < best.ID) {
			best = p
		}
	}
	return best.ID
}

// scoreOf returns what a node stands with.
func (f *Field) scoreOf(id view.NodeID) Score {
	for _, p := range f.Standing {
		if p.ID == id {
			return p.Score
		}
	}
	return 0
}

// rivalBids is how many bids may fail before a node that holds grants is taken for a leader after
// all: what it says may be late, or lost.
const rivalBids = 3

// isRival tells whether a node that holds grants is another candidate: it is in contact, and if
// it led it would be heard to, mostly. It gives its grants back, as this node does, if neither
// wins.
func (f *Field) isRival(id view.NodeID) bool {
	claims := func(t token.Token) bool { return t.Node == id }
	return f.Contact[id] && !slices.ContainsFunc(f.Claims, claims)
}

// yieldsTo tells whether a candidate gives up in favour of a rival. It goes by lot, which both draw
// alike, for what they know of each other's scores may differ; and one that is beaten does not go
// on, as voters would refuse it.
func (f *Field) yieldsTo(self, rival view.NodeID) bool {
	return mixBits(uint64(rival)) < mixBits(uint64(self)) || Beats(f.scoreOf(rival), f.scoreOf(self))
}

// countInContact counts how many of an electorate are in contact: others cannot be asked.
func (f *Field) countInContact(e Electorate) (n int) {
	for _, id := range e.Voters {
		if f.Contact[id] {
			n++
		}
	}
	return n
}
