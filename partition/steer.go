package partition

import (
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Prefer says how much this node is preferred for an election. Of two that stand the one with
// the higher preference is better by any amount, without the margin of 15 %; of equal ones
// the scores decide. A leader hands over to one that is preferred more after Pace.Hold. Zero,
// which every node begins with when its Partition is opened, leaves all to the scores.
//
// It may be called before or after Lead, and any time later: the others are told at once.
// They see it in Leadership.Candidates. The errors are those of Lead, but for the context's.
func (p *Partition) Prefer(election Election, preference uint32) error {
	e, err := p.elections.openElection(election, maxAsked+maxStanding)
	if err != nil {
		return err
	}
	e.mu.Lock()
	changed := e.preference != preference
	e.preference = preference
	e.mu.Unlock()
	if p.isClosed() {
		return ErrClosed
	}
	if changed {
		p.leadsBell.Ring()
	}
	return nil
}

// Lease returns the token with which this node leads, as Token does, and for how long it
// leads if nothing renews its lease: then the context of work ends, which is Pace.Guard, and
// a hundredth of the lease, before others may lead. It is above zero where err is nil. The
// error is ErrNotLeader if this node does not lead. It is as cheap as Check.
func (p *Partition) Lease(election Election) (t token.Token, left time.Duration, err error) {
	e, err := p.elections.openElection(election, maxAsked+maxStanding)
	if err != nil {
		return token.Token{}, 0, err
	}
	if t, left = e.currentLease(); t.IsZero() {
		return t, 0, fmt.Errorf("%w of %s", ErrNotLeader, election)
	}
	return t, left, nil
}

// HandedOver tells whether this node leads an election because the leader before has named it,
// by HandOver or because this one is better; false if it does not lead, or the leader before has
// named nobody, or what it said of that got lost.
func (p *Partition) HandedOver(election Election) bool {
	e := p.elections.findElection(election)
	if e == nil || e.leadingToken().IsZero() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.handedOver
}

// HandOver ends this node's lead: the context of its work ends, and when work has returned
// the lead is given back, so that another takes it in a moment: the node to, which the voters
// favour for half a lease, or the best one, which may be this one again, if to is 0. This
// node goes on standing. HandOver does not wait for any of that.
//
// The error is ErrNotLeader if this node does not lead, or its work has been told to end
// already; ErrClosed after Close.
func (p *Partition) HandOver(election Election, to view.NodeID) error {
	return p.elections.resign(election, func(m *elect.Election, now time.Duration) ([]elect.Effect, bool) { return m.HandOver(now, to) })
}

// LetLapse ends this node's lead such that nobody leads before its lease has ended by itself,
// this node neither: for what was begun under the lease and cannot be stopped, but is killed
// by its end, of which Lease tells. The context of work ends at once, the lease is not renewed
// any more, and nothing is given back when work returns. This node leads, by Token and Lease,
// until the lease ends, and goes on standing. Voters know it by its NodeID: started anew in
// another process meanwhile it may lead again before that lease has ended.
//
// It may be called while the context of work has ended and work has not returned, whatever
// that has ended for. Else the error is ErrNotLeader if this node does not lead; ErrClosed
// after Close.
func (p *Partition) LetLapse(election Election) error {
	return p.elections.resign(election, (*elect.Election).LetLapse)
}
