package elect

import (
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// leaseEnd is when a leader's lease ends: when no majority of unexpired grants is
// left. Grants of later terms to the same node count, they are the voter's only
// ones.
func (e *Election) leaseEnd(r *reign) time.Duration {
	var ends []time.Duration
	for _, id := range r.voters.Voters {
		if g, ok := e.grants[id]; ok && g.term >= r.token.Term {
			ends = append(ends, g.ends)
		}
	}
	need := r.voters.Majority()
	if len(ends) < need {
		return 0
	}
	slices.Sort(ends)
	return ends[len(ends)-need]
}

// keepLeading does what a leader does.
func (e *Election) keepLeading() {
	if !e.draining {
		e.reconsiderLead()
	}
	if e.now >= e.renewAt && !e.lapses {
		confirmed := e.leaseEnd(e.lead) >= e.askedAt+e.params.ownLease(e.params.Lease)
		e.renewAt, e.askedAt = nextMultiple(e.now, e.params.Renew), e.now
		if !confirmed {
			e.renewAt = nextMultiple(e.now, e.params.Renew/3) // a blip must not cost more than it lasts
		}
		e.renewGrants()
	}
}

// nextMultiple returns the next time that is a multiple of step: so what a node leads is
// renewed at the same times.
func nextMultiple(now, step time.Duration) time.Duration {
	step = max(step, 1)
	return now - now%step + step
}

// loseLease ends a leadership whose lease has run out. Its grants may still be given
// back when its work has ended.
func (e *Election) loseLease() {
	if !e.draining {
		e.emitEffect(Effect{Action: Stop, Token: e.lead.token, Why: Expired, Until: e.now})
	}
	e.lead, e.bid, e.draining = nil, nil, true
	e.startAt = Never
	if e.drained {
		e.endLead()
	}
}

// stopLeading has the work end while the lease goes on.
func (e *Election) stopLeading(why Why, nominee view.NodeID) {
	e.draining, e.nominee, e.bid = true, nominee, nil
	e.emitEffect(Effect{Action: Stop, Token: e.lead.token, Why: why, Until: e.leaseEnd(e.lead)})
}

// reconsiderLead looks whether the leader should go, or take a new term.
func (e *Election) reconsiderLead() {
	if !e.stands {
		e.stopLeading(Withdrawn, 0)
		return
	}
	if other := e.highestClaim(); e.lead.token.Less(other) {
		if !e.raiseTerm(other) {
			e.stopLeading(Yielded, other.Node)
		}
		return
	}
	if better := e.field.challenger(e.self, e.field.scoreOf(e.self)); better == 0 {
		e.betterAt = Never
	} else if e.betterAt == Never {
		e.betterAt = e.now
	} else if e.now-e.betterAt >= e.holdTime() {
		e.handOvers = min(e.handOvers+1, 5)
		e.stopLeading(HandsOver, better)
		return
	}
	if e.field.Electorate.Sum == e.lead.voters.Sum && !e.missing {
		e.differsAt = Never
	} else if e.differsAt == Never {
		e.differsAt = e.now
	} else if e.now-e.differsAt >= e.params.Settle && e.bid == nil && !e.voter.saving && !e.voter.broken && e.now >= e.noBidBefore && e.isWinnable() {
		e.startBid(e.field.Electorate, false)
	}
}

// maxRaises is how often a leader asks for a term above that of the same other, as long
// as that one leads; then it yields itself. Two that do not know of the same members
// may each take themselves for the leader of most, and where nodes hear each other in
// one direction only the other may never hear of the higher term.
const maxRaises = 3

// raiseTerm has a leader stay though another leads with a higher token, if more than half
// of the whole mesh follow it; it tells whether it does. A node that was alone has
// often come to higher terms than all others together, and its return must not end
// their work. So they are asked for a term above the other's, who yields to that.
func (e *Election) raiseTerm(other token.Token) bool {
	if e.bid != nil || e.voter.saving {
		return true
	}
	done := e.raises[other.Node]
	if done.term == other.Term || done.times == maxRaises || e.voter.broken || !e.outnumbers() {
		return false
	}
	e.raises[other.Node] = raises{other.Term, done.times + 1}
	e.startBid(e.lead.voters, true)
	return true
}

// outnumbers tells whether this leader has grants of more than half of all who vote
// in the mesh, in reach or not: those that it does not reach may follow another. A
// committee's count for those for whom it votes. Grants of an earlier term than
// its own are of voters whose last answer is on its way.
func (e *Election) outnumbers() bool {
	n, voters := 0, e.lead.voters
	for _, id := range voters.Voters {
		if e.grants[id].ends > e.now {
			n++
		}
	}
	return 2*n*voters.Of > e.field.Electors*len(voters.Voters)
}

// holdTime is for how long another must be better. Of one that was handed the lead and
// could not take it more is asked each time.
func (e *Election) holdTime() time.Duration { return e.params.Hold << e.handOvers }

// renewGrants asks all voters of the term, each for the term that it has granted.
func (e *Election) renewGrants() {
	for _, id := range e.lead.voters.Voters {
		term := e.lead.token.Term
		if g, ok := e.grants[id]; ok {
			term = max(term, g.term)
		}
		e.askVoter(id, Ask{Term: term, Renew: true, Electorate: e.lead.voters.Sum, Lease: e.params.Lease, Score: e.field.scoreOf(e.self)})
	}
}

// giveBack frees all that any voter may hold for this node.
func (e *Election) giveBack(nominee view.NodeID) {
	e.voter.releaseGrant(e.now, e.self, e.lastAsked, nominee)
	to := map[view.NodeID]bool{}
	for id := range e.grants {
		to[id] = true
	}
	for _, id := range e.field.Electorate.Voters {
		to[id] = true
	}
	if nominee != 0 {
		to[nominee] = true
	}
	delete(to, e.self)
	for _, id := range slices.Sorted(maps.Keys(to)) {
		e.emitEffect(Effect{Action: GiveBack, To: id, Term: e.lastAsked, Nominee: nominee})
	}
}
