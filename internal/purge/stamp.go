package purge

import (
	"cmp"

	"github.com/skeinmesh/skein/mesh/view"
)

// Round names one attempt to purge a shard. Rounds of a shard are ordered:
// first by counter, then by who proposed them, so that no two are ever equal.
// The zero Round comes before all.
type Round struct {
	Counter  uint64
	Proposer view.NodeID
}

// MaxCounter bounds the counter of rounds: nothing comes near it by itself, and a
// store that claims more must not use up what there is.
const MaxCounter = 1 << 48

// Compare orders rounds; see cmp.Compare.
func (r Round) Compare(o Round) int {
	return cmp.Or(cmp.Compare(r.Counter, o.Counter), cmp.Compare(r.Proposer, o.Proposer))
}

// Before tells whether r comes before o.
func (r Round) Before(o Round) bool { return r.Compare(o) < 0 }

func laterRound(a, b Round) Round {
	if a.Before(b) {
		return b
	}
	return a
}

// Stamp is where a store stands in the rounds of a shard. The zero Stamp is that
// of a store that has seen none.
type Stamp struct {
	Acked     Round // the last round that the store has acknowledged, or caught up with
	Committed Round // the last round that it knows all members have acknowledged
}

// Lagging tells whether a round was committed that the store has not
// acknowledged: it was no member then. It may hold what was purged, so it must
// catch up before it acknowledges anything or lets an item of the shard go.
func (m Stamp) Lagging() bool { return m.Acked.Before(m.Committed) }

// Over tells whether a store with stamp m knows a round to be committed. Of those
// before the last that is it knows nothing: they may have been given up.
func (m Stamp) Over(r Round) bool { return r == m.Committed }

// Admits tells whether an item that was read at a store with stamp from may be
// merged at a store with stamp m.
func (m Stamp) Admits(from Stamp) bool { return !from.Acked.Before(m.Acked) }

// Least is the stamp of what was merged from items with both stamps: it is
// admitted only where each of them is.
func (m Stamp) Least(o Stamp) Stamp {
	if o.Acked.Before(m.Acked) {
		m.Acked = o.Acked
	}
	if o.Committed.Before(m.Committed) {
		m.Committed = o.Committed
	}
	return m
}

// Latest is a stamp that no store with one of the two is ahead of: of a round that
// is committed all have acknowledged.
func (m Stamp) Latest(o Stamp) Stamp {
	return Stamp{Acked: laterRound(laterRound(m.Acked, o.Acked), o.Committed), Committed: laterRound(m.Committed, o.Committed)}
}

// Heard takes in which rounds are committed, as another store knows it.
func (m Stamp) Heard(from Stamp) Stamp {
	m.Committed = laterRound(m.Committed, from.Committed)
	return m
}

// Reaches tells whether the log of a member with stamp theirs, which is whole
// after from, names all that it has acknowledged since a store stood at m.
func (m Stamp) Reaches(theirs Stamp, from Round) bool {
	return !m.Acked.Before(theirs.Acked) || !m.Acked.Before(from)
}

// Behind tells whether the store with stamp o has acknowledged, or knows to be
// committed, a round that the store with stamp m does not know of.
func (m Stamp) Behind(o Stamp) bool {
	return m.Acked.Before(o.Acked) || m.Committed.Before(o.Committed)
}

// Asks tells whether a store with stamp m asks one with stamp theirs for its log.
// To ask is also to tell: the other hears of what it lacks itself. A store that
// lags asks whoever it meets: of one that lags as much it has to know that it
// cannot help either, or two of them would wait for each other for ever.
func (m Stamp) Asks(theirs Stamp) bool {
	return m.Lagging() || m.Behind(theirs) || theirs.Behind(m)
}
