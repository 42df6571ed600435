package purge

import (
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Why a store does not acknowledge a round. Nothing has changed there.
var (
	// ErrMembers: it knows other members than the proposer.
	ErrMembers = errors.New("purge: the members are not agreed upon")
	// ErrLagging: it has to catch up with earlier rounds first.
	ErrLagging = errors.New("purge: rounds are missing here")
	// ErrOldRound: it has acknowledged a later one.
	ErrOldRound = errors.New("purge: a later round was acknowledged")
	// ErrNotDead: a value in the batch has not expired by its clock, or its
	// clock is not to be trusted.
	ErrNotDead = errors.New("purge: a value is not known to be dead")
)

// Tomb is a key of a batch with the item that stands for its delete.
type Tomb struct {
	Bucket uint64
	Key    string
	Item   version.Item
}

// Proposal is what a proposer asks all members to acknowledge.
type Proposal struct {
	Shard   int
	Round   Round
	Members [16]byte // digest of the storing members ever met, and whether each is in or out
	Stamp   Stamp    // see Next
	Batch   []Tomb
}

// Grave tells whether nothing of an item is alive: each of its siblings is a
// tomb, or had expired by now. known tells that every sibling is a tomb, so
// that the verdict depends on no clock.
func Grave(it version.Item, now version.HLC) (dead, known bool) {
	if it.Unknown() {
		return false, false
	}
	dead, known = true, true
	for i := range it.Sibs {
		s := &it.Sibs[i]
		known = known && s.Flags&version.Tomb != 0
		dead = dead && s.Deleted(now)
	}
	return dead, known
}

// Due is from when on, by the clock, nothing of an item is alive; ok is false
// if that never comes by itself.
func Due(it version.Item) (at version.HLC, ok bool) {
	if it.Unknown() {
		return 0, false
	}
	for i := range it.Sibs {
		s := &it.Sibs[i]
		switch {
		case s.Flags&version.Tomb != 0:
		case s.Expire == 0:
			return 0, false
		default:
			at = max(at, s.Expire)
		}
	}
	return at, true
}

// Acknowledge decides whether a store with stamp m acknowledges a proposal. If
// so it returns the stamp to be stored, in the batch in which every copy that
// the store holds of a key in it, or should hold as a home, is merged with its
// tomb. A round may be acknowledged again.
//
// members is the digest of those that this store knows; by is the time by which it may
// say for good what has ended, vouched tells that it may: stores of earlier releases propose
// values that have, without a note of that.
func (m Stamp) Acknowledge(p *Proposal, members [16]byte, by version.HLC, vouched bool) (Stamp, error) {
	m = m.Heard(p.Stamp)
	switch {
	case members != p.Members:
		return m, ErrMembers
	case m.Lagging(), m.Acked.Before(p.Stamp.Acked):
		return m, fmt.Errorf("%w: up to %v, here %v", ErrLagging, laterRound(m.Committed, p.Stamp.Acked), m.Acked)
	case p.Round.Before(m.Acked):
		return m, fmt.Errorf("%w: %v after %v", ErrOldRound, m.Acked, p.Round)
	}
	for i := range p.Batch {
		dead, known := Grave(p.Batch[i].Item, by)
		if !dead || !known && !vouched {
			return m, fmt.Errorf("%w: key %q", ErrNotDead, p.Batch[i].Key)
		}
	}
	m.Acked = p.Round
	return m, nil
}

// Buried is what a store remembers of a key that was in rounds.
type Buried struct {
	Round Round        // the last one
	Over  bool         // it is known to be committed
	Tomb  version.Item // the key's in that round
	All   version.Item // merged from the tombs of this and earlier rounds
}

// Bury notes the tomb of a round, given what is remembered of the key so far.
func (b Buried) Bury(r Round, tomb version.Item) Buried {
	return b.Join(Buried{Round: r, Tomb: tomb, All: tomb})
}

// Join takes in what another store remembers of the key.
func (b Buried) Join(o Buried) Buried {
	out := b
	if b.Round.Before(o.Round) {
		out = o
	}
	out.Over = out.Over || b.Round == o.Round && (b.Over || o.Over)
	out.All = version.Merge(b.All, o.All)
	return out
}

// mostRemembered bounds All.
const mostRemembered = 256

// Bound forgets what earlier rounds have purged of a key that is in rounds again
// and again: each leaves an entry in the context of All. Of those rounds, up to
// the one returned, the log is not whole any more.
func (b Buried) Bound(before Round) (Buried, Round) {
	if len(b.All.Ctx) <= mostRemembered || b.All.Equal(b.Tomb) {
		return b, Round{}
	}
	b.All = b.Tomb
	if before.Before(b.Round) {
		return b, before
	}
	return b, b.Round
}

// Hear takes in the stamp of a store. That a round is committed tells nothing of
// those before it: they may have been given up.
func (b Buried) Hear(m Stamp) Buried {
	b.Over = b.Over || m.Over(b.Round)
	return b
}

// Drop tells whether a store may drop its record of the key: the round is
// committed, and nothing was written since.
func (b Buried) Drop(held version.Item) bool { return b.Over && held.Equal(b.Tomb) }

// Nothing tells whether an item offered to a store that has no record of the
// key is what was purged, or a part of it: to take it in would only bring the
// tomb back.
func (b Buried) Nothing(offered version.Item) bool {
	return b.Over && version.Merge(offered, b.Tomb).Equal(b.Tomb)
}

// Takes tells whether a store merges the tomb of a round with what it holds of the
// key. A home that holds nothing takes the tomb in, unless that was purged there
// before. A damaged record is no absence: the tomb may be less than what was in it.
func (b Buried) Takes(tomb version.Item, held, damaged, home bool) bool {
	switch {
	case held:
		return true
	case !home:
		return false
	}
	return damaged || !b.Nothing(tomb)
}

// Amend is what a store takes in of an item that was read at a store with stamp
// in. While it catches up it admits what was read before rounds that are in its
// log already; what they have purged of the item dies.
func (b Buried) Amend(in Stamp, it version.Item) version.Item {
	if !in.Acked.Before(b.Round) {
		return it
	}
	return b.CatchUp(it)
}

// CatchUp is what a store that has missed rounds makes of an item that it
// holds: whatever they purged of it dies.
func (b Buried) CatchUp(held version.Item) version.Item { return version.Merge(held, b.All) }

// Keep is what a store may keep of an item when no log reaches back to the
// rounds it has missed: the values that it wrote itself, under births that own
// tells, since they cannot have been purged without the store; tombs, which bring
// nothing back; and that what all of these and others have replaced is dead. Of
// the other values nobody knows any more whether they were deleted; the item says
// nothing of them then. Where nothing but such values was alive, nothing is kept: a
// record that tells only what was replaced would pass for knowledge of the key. A
// blind delete would be based on it, for example, and spare the value that was given
// up here and is alive elsewhere.
func Keep(held version.Item, own func(version.Actor) bool) version.Item {
	out := version.Item{HLC: held.HLC}
	unseen := make(map[version.Actor]uint64) // first dot of a birth that is given up
	for _, s := range held.Sibs {
		if own(s.Dot.A) || s.Flags&version.Tomb != 0 {
			continue
		}
		if n, ok := unseen[s.Dot.A]; !ok || s.Dot.N < n {
			unseen[s.Dot.A] = s.Dot.N
		}
	}
	for _, e := range held.Ctx {
		if n, ok := unseen[e.A]; ok {
			e.N = n - 1
		}
		if e.N > 0 {
			out.Ctx = append(out.Ctx, e)
		}
	}
	out.Sibs = coveredSiblings(version.Item{Ctx: out.Ctx, Sibs: held.Sibs}) // a tomb may be of a birth that is cut off before it
	if len(unseen) > 0 && len(out.Sibs) == 0 || len(out.Ctx) == 0 {
		return version.Item{}
	}
	return out
}

// Attempt gathers the answers to one round of one shard.
type Attempt struct {
	members []view.NodeID // whose acknowledgement it needs
	acked   []view.NodeID
}

// NewAttempt begins to count. members are the storing members that are not
// gone, this store included.
func NewAttempt(members []view.NodeID) *Attempt { return &Attempt{members: members} }

// Acked takes in an acknowledgement.
func (a *Attempt) Acked(id view.NodeID) {
	if slices.Contains(a.members, id) && !slices.Contains(a.acked, id) {
		a.acked = append(a.acked, id)
	}
}

// Committed tells whether every member has acknowledged.
func (a *Attempt) Committed() bool { return len(a.acked) == len(a.members) }

// Next is the round that a store with stamp m may propose after all members have
// told their stamps, and the stamp that the proposal carries: it tells every
// member of all rounds that any of them has acknowledged, or knows to be
// committed. A store that lags behind one of those proposes nothing, nor does
// another acknowledge: that round may be committed without it, because it was no
// member then or its disk was rolled back, while nobody who was asked had heard
// so yet.
func (m Stamp) Next(self view.NodeID, told ...Stamp) (Round, Stamp, error) {
	all := m
	for _, o := range told {
		all = Stamp{Acked: laterRound(all.Acked, o.Acked), Committed: laterRound(all.Committed, o.Committed)}
	}
	switch {
	case m.Acked.Before(all.Acked), m.Acked.Before(all.Committed):
		return Round{}, all, fmt.Errorf("%w: up to %v, here %v", ErrLagging, laterRound(all.Acked, all.Committed), m.Acked)
	case all.Acked.Counter >= MaxCounter:
		return Round{}, all, errors.New("purge: no more rounds")
	}
	return Round{Counter: all.Acked.Counter + 1, Proposer: self}, all, nil
}
