package purge

import (
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Standing is where a store stands in the rounds of a shard, and what its log of
// them is worth. The zero Standing is that of a store that holds nothing of the
// shard and has seen no round. A restart keeps Stamp, From and Logged.
type Standing struct {
	Stamp  Stamp
	From   Round // the log is whole after it
	Logged Round // the last round of which there is something in the log
	Filled bool  // there may be records; once set it stays
	Aside  bool  // they are being set aside: nothing is taken in meanwhile
	Lost   int   // counts losses of entries of the log
	Torn   int   // counts those of them that may be of rounds after Stamp.Acked
	Missed Round // the last that a peer has acknowledged whose log does not reach back to here
}

// News is what a store has to do after it has heard of rounds.
type News struct {
	CatchUp bool // read the log of the store that it has heard it from
	Finish  bool // let go of what was purged: a round turns out to be committed
}

// Admit judges an item by the stamp that it came with, and takes in which rounds
// its sender knows to be committed.
func (m Standing) Admit(in Stamp) (next Standing, news News, ok bool) {
	if m.Aside {
		return m, News{}, false
	}
	if m.Stamp == in {
		return m, News{}, true
	}
	next = m.Hear(in).skipRounds(in.Acked)
	news.CatchUp = next.Stamp.Lagging() || next.From != m.From
	news.Finish = next.Stamp.Committed != m.Stamp.Committed
	return next, news, m.Stamp.Admits(in)
}

// Hear takes in which rounds are committed, as another store knows it.
func (m Standing) Hear(theirs Stamp) Standing {
	m.Stamp = m.Stamp.Heard(theirs)
	return m
}

// skipRounds passes over rounds up to one that another store has acknowledged: who
// holds nothing of a shard has nothing to catch up with. Of these rounds there is
// nothing in the log here.
func (m Standing) skipRounds(acked Round) Standing {
	if !m.Filled && m.Stamp.Acked.Before(acked) {
		m.Stamp.Acked, m.From = acked, acked
	}
	return m
}

// Acknowledge decides on a proposal, see Stamp.Acknowledge. After an error
// nothing has changed.
func (m Standing) Acknowledge(p *Proposal, members [16]byte, by version.HLC, vouched bool) (Standing, error) {
	stamp, err := m.Stamp.Acknowledge(p, members, by, vouched)
	if err != nil {
		return m, err
	}
	m.Stamp = stamp
	return m.Log(p.Round), nil
}

// Log notes that the log holds an entry of a round.
func (m Standing) Log(r Round) Standing {
	m.Logged = laterRound(m.Logged, r)
	return m
}

// Lose notes that the log has lost entries of rounds up to the given one; the
// zero Round: it has lost none.
func (m Standing) Lose(upTo Round) Standing {
	if upTo == (Round{}) {
		return m
	}
	if m.Stamp.Acked.Before(upTo) {
		m.Torn++
	}
	m.Lost++
	m.From = laterRound(m.From, upTo)
	return m
}

// LoseAny notes that the log has lost entries and nobody knows of which rounds.
func (m Standing) LoseAny() Standing {
	m.Lost, m.Torn = m.Lost+1, m.Torn+1
	m.From = laterRound(m.From, m.Stamp.Acked)
	return m
}

// Tells tells whether a store has to show its log to one that stands at asker and
// whose own log is whole after from.
func (m Standing) Tells(asker Stamp, from Round) bool {
	return asker.Behind(m.Stamp) || m.From.Before(from)
}

// Amends tells whether an item that was read at a store with stamp in may be older
// than something in the log; see Buried.Amend.
func (m Standing) Amends(in Stamp) bool { return in.Acked.Before(m.Logged) }

// Remembers tells whether an item, of which a store has no record, may be what was
// purged there; see Buried.Nothing.
func (m Standing) Remembers(offered version.Item) bool {
	_, mortal := Due(offered)
	return mortal && m.Stamp.Acked != Round{}
}

// Reading is a peer's log as it comes in, page by page.
type Reading struct {
	Asked  Standing // where the reader stood when it began
	Theirs Stamp    // the peer's, with the first page
	From   Round    // the pages are whole after it
	begun  bool
}

// Page takes in what a page says of the log that it is of. What the peer does
// after the first page it may do behind it: its stamp of then is the one that
// counts. What it forgets meanwhile is missing.
func (r *Reading) Page(theirs Stamp, from Round) {
	if !r.begun {
		r.begun, r.Theirs = true, theirs
	}
	r.From = laterRound(r.From, from)
}

// CaughtUp moves a store to where a peer stood when the reading of its log began;
// all of the entries have been taken in. ok is false if the reading is worth
// nothing: entries are lost here, and what they have purged may have come in
// behind them.
//
// The stamp moves if the log names all that the peer has acknowledged since this
// store stood where it stands now. The log here is worth what the peer's is, unless
// it has lost entries meanwhile.
func (m Standing) CaughtUp(r Reading) (next Standing, ok bool) {
	if m.Torn != r.Asked.Torn {
		return m, false
	}
	next = m
	if m.Stamp.Acked.Before(r.Theirs.Acked) && m.Stamp.Reaches(r.Theirs, r.From) {
		next.Stamp.Acked = r.Theirs.Acked
	}
	next = next.skipRounds(r.Theirs.Acked).Hear(r.Theirs)
	if m.Lost == r.Asked.Lost && r.From.Before(next.From) && !r.Theirs.Acked.Before(next.From) {
		next.From = r.From
	}
	if next.Stamp.Acked.Before(r.Theirs.Acked) {
		next.Missed = laterRound(next.Missed, r.Theirs.Acked)
	}
	return next, true
}

// Outcome is what the reading of a peer's log has led to.
type Outcome int

// The outcomes.
const (
	UpToDate Outcome = iota // the peer knows of nothing that is missing
	Nearer                  // the store has moved: the same peer may help it further
	Short                   // the peer's log does not reach back to where the store stands
)

// Outcome tells how a reading has ended for a store that stands at m after it. A
// round that the peer has acknowledged may be committed, although nobody who knows
// that was met yet. But who stands no further than this store is no witness to
// that: as long as there is one, it may never have been.
func (m Standing) Outcome(r Reading) Outcome {
	switch {
	case !m.Stamp.Lagging() && !m.Stamp.Acked.Before(r.Theirs.Acked):
		return UpToDate
	case m.Stamp.Acked != r.Asked.Stamp.Acked:
		return Nearer
	}
	return Short
}

// Search is the search for a member whose log reaches back to where a store
// stands. The zero Search has asked nobody.
type Search struct{ short []view.NodeID }

// Short notes that a peer could not help. It tells whether none of the members
// can: then what the store cannot vouch for is to be set aside. The search begins
// anew after that.
func (s *Search) Short(peer, self view.NodeID, members []view.NodeID) (nobody bool) {
	if !slices.Contains(s.short, peer) {
		s.short = append(s.short, peer)
	}
	for _, id := range members {
		if id != self && !slices.Contains(s.short, id) {
			return false
		}
	}
	*s = Search{}
	return true
}

// GiveUp begins to set aside what a store cannot vouch for, see Keep. From then on
// nothing is taken in: what came in behind the search would be vouched for at its
// end. ok is false if that is under way, or need not be.
func (m Standing) GiveUp() (next Standing, ok bool) {
	if m.Aside || !m.isBehind() {
		return m, false
	}
	m.Aside = true
	return m, true
}

func (m Standing) isBehind() bool { return m.Stamp.Lagging() || m.Stamp.Acked.Before(m.Missed) }

// GivesUp tells whether what was begun is to go on: somebody's log may have been
// found after all.
func (m Standing) GivesUp() bool { return m.Aside && m.isBehind() }

// GaveUp ends what GiveUp has begun. all tells whether everything was gone
// through: then the store holds nothing that may have been purged.
func (m Standing) GaveUp(all bool) Standing {
	if m.Aside = false; all && m.isBehind() {
		m.Stamp.Acked = laterRound(m.Stamp.Committed, m.Missed)
		m.From = m.Stamp.Acked
	}
	return m
}

// Trim tells what a log may forget that has an entry of each of the given rounds
// and is to remember so many of them: those up to a round. ok is false if it need
// forget none.
func Trim(entries []Round, keep int) (upTo Round, ok bool) {
	if len(entries) <= keep {
		return Round{}, false
	}
	inOrder := slices.SortedFunc(slices.Values(entries), Round.Compare)
	return inOrder[len(inOrder)-keep-1], true
}
