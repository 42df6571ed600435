package elect

import (
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

func (e *Election) noteRefusal(from view.NodeID, ans Answer) {
	if ans.Reason == Busy && e.lead == nil && e.bid.handedOver && ans.Holder.Node == e.nominator {
		// What the leader before gives back is on its way to this voter, too, or is lost: it
		// is asked less and less often.
		e.bid.askAgainAt[from] = e.now + max(e.params.Pause/5, (e.now-e.bid.began)/2)
		return
	}
	rival := !ans.Holder.IsZero() && e.failed < rivalBids && e.field.isRival(ans.Holder.Node)
	if ans.Reason == Busy && !ans.Holder.IsZero() && !rival {
		e.bid.longestBusy = max(e.bid.longestBusy, ans.Wait)
	}
	if ans.Reason == OldTerm && ans.Holder.IsZero() && ans.Max >= e.bid.token.Term && !e.bid.outbids {
		// A bid that was lost took the voter's term up, and nobody holds its grant.
		// Where others are silent that may be needed: ask above the term, once.
		if e.bid.outbidNext = e.voter.saving; !e.bid.outbidNext {
			e.outbid()
		}
		return
	}
	if ans.Reason == Saving {
		e.bid.savesUntil = max(e.bid.savesUntil, min(e.now+ans.Wait+e.params.Lease/2, e.bid.began+maxBid*e.params.Lease))
		e.bid.askAgainAt[from] = e.now + min(ans.Wait, e.params.Lease/2) + e.params.Pause/20
		return
	}
	// Of two candidates that have split the voters one gives up at once, and the other follows on. Else
	// both would wait for voters beyond a cut that they have not noticed yet, until their bids end:
	//
	//	0 ms     a and b ask for term 7; c grants it to a
	//	1 ms     a and b refuse each other; d and e are silent
	//	2 ms     b gives up, by lot, and a asks for term 8
	//	1000 ms  both would give up
	e.bid.yields = e.bid.yields || e.lead == nil && rival && e.field.yieldsTo(e.self, ans.Holder.Node)
	e.lostReason = ans.Reason
	if ans.Reason == Unable {
		e.bid.longestBusy = max(e.bid.longestBusy, e.params.Lease)
	}
	if ans.Wait > 0 && e.now+ans.Wait < e.bid.givesUpAt {
		e.bid.askAgainAt[from] = e.now + ans.Wait + e.params.Pause/20
		return
	}
	e.bid.refused[from] = true
}

// outbid goes on with the bid under a term above those that voters have told of.
func (e *Election) outbid() {
	voters := e.field.Electorate
	if e.bid.renews {
		voters = e.bid.voters
	}
	if e.startBid(voters, e.bid.renews); e.bid != nil {
		e.bid.outbids = true
	}
}

// askVoter asks a voter, which may be this node. Its own grant counts when it is on disk.
func (e *Election) askVoter(id view.NodeID, a Ask) {
	if id != e.self {
		e.emitEffect(Effect{Action: Send, To: id, Ask: a, Sent: e.now, Renews: a.Renew && !e.isOfBid(a)})
		return
	}
	ans, save := e.voter.answerAsk(e.now, e.self, a, &e.field)
	if save {
		e.startSave()
	}
	if e.awaitsDisk(e.self, a, ans.Reason) {
		return // see Saved
	}
	if ans.Reason == Granted {
		e.noteGrant(e.self, a, e.now)
	} else if e.isOfBid(a) {
		e.noteRefusal(e.self, ans)
	}
}

// isWinnable tells whether enough voters are in contact, and nobody is better by the
// margin.
func (e *Election) isWinnable() bool {
	voters := e.field.Electorate
	return e.known && len(voters.Voters) > 0 && e.field.countInContact(voters) >= voters.Majority() &&
		(e.now < e.nominationEnds || e.voter.isLeaderless(e.now, e.params.Lease) || !e.field.isBeaten(e.self, e.field.scoreOf(e.self), e.voter.lapsed))
}

// considerBid decides whether, and when, to ask for a term.
func (e *Election) considerBid() {
	if !e.stands || e.voter.saving || e.voter.broken || !e.isLeaseFree() || e.now < e.noBidBefore || !e.isWinnable() {
		e.startAt = Never
		return
	}
	if e.now < e.nominationEnds {
		e.startAt = e.now
	}
	if e.startAt == Never {
		rank := e.field.rankOf(e.self, e.field.scoreOf(e.self), e.voter.lapsed)
		e.startAt = e.now + time.Duration(rank)*(2*e.field.RTT+e.params.Pause) + e.randomBelow(e.params.Pause/4)
	}
	if e.now >= e.startAt {
		e.startBid(e.field.Electorate, false)
	}
}

// tellLapse has the best candidate know that a leader whom this voter followed has let its
// lease run out. A candidate that is no voter would else wait until that leader is out of
// contact, and all others for the candidate that is better than they are:
//
//	0 s  c leads, and dies; d is preferred to all that are left, and no voter
//	2 s  c's lease runs out at the voters a and b, which are not as good as d
//	4 s  d misses c, whom it takes for the leader until then
//	6 s  d asks for a term
//
// Told so d asks at 2 s. If the word is wrong, as from a voter that the leader alone does not
// reach, d asks in vain. What a voter has granted before it was started it tells nothing of: its
// leader may have been renewed by the others.
func (e *Election) tellLapse() {
	lapse := token.Token{Term: e.voter.lapsedIn, Node: e.voter.lapsed}
	if !e.known || lapse.Node == 0 || lapse == e.lapseTold || !e.isLeaseFree() {
		return
	}
	e.lapseTold = lapse
	if best := e.field.bestBut(lapse.Node); best != 0 && best != e.self && !e.field.Electorate.Has(best) {
		e.emitEffect(Effect{Action: GiveBack, To: best, Nominee: best})
	}
}

// believesLapse tells whether a node is believed that says that the leader's lease has run out:
// a voter is, once in a lease, for each bid is a write of flash.
func (e *Election) believesLapse(from view.NodeID) bool {
	again := e.lapseHeardAt != Never && e.now-e.lapseHeardAt < e.params.Lease
	return e.field.Electorate.Has(from) && !again && e.now >= e.nominationEnds
}

// isLeaseFree tells whether no valid lease is known. A claim is not believed for longer
// than a lease when it does not come from the node itself: a voter that did not
// grant that lease cannot see it lapse, and others may wait for it to stand.
func (e *Election) isLeaseFree() bool {
	if id, held := e.voter.holder(e.now); held && id != e.self {
		return false
	}
	if e.voter.nominee != 0 && e.voter.nominee != e.self {
		return false
	}
	other := e.highestClaim()
	return other.IsZero() || e.voter.outlived(other) ||
		e.now < e.nominationEnds && (other.Node == e.nominator || other == e.leaderLapsed) || other.Node == e.mute && e.now-e.muteAt >= e.params.Lease
}

// highestClaim returns the highest token that another in contact claims to lead with and
// has not given back since: its notice may be late, or its last one.
func (e *Election) highestClaim() (high token.Token) {
	for _, t := range e.field.Claims {
		if t.Node != e.self && t.Term > e.freedTerms[t.Node] && e.voter.exceeds(t.Term) && high.Less(t) {
			high = t
		}
	}
	return high
}

// startBid asks an electorate for a new term. It is written down meanwhile, and won when it
// is; see checkBidWon. No Save is under way.
func (e *Election) startBid(voters Electorate, renews bool) {
	term := max(e.voter.durable.Max, e.highestSeen, e.lastAsked, e.highestClaim().Term) + 1
	e.lastAsked = term
	e.startAt = Never
	handedOver := e.lead == nil && e.now < e.nominationEnds && !e.byLapse || e.lead != nil && e.lead.handedOver
	e.bid = &reign{
		handedOver: handedOver,
		token:      token.Token{Term: term, Node: e.self}, voters: voters, renews: renews,
		refused: map[view.NodeID]bool{}, askAgainAt: map[view.NodeID]time.Duration{},
		began:     e.now,
		givesUpAt: e.now + max(e.params.Lease/2, 4*(e.field.RTT+e.params.Pause), min(3*e.voter.took, e.params.ownLease(e.params.Lease))),
		keepAt:    e.now + e.params.ownLease(e.params.Lease)/2,
	}
	if e.lead == nil {
		clear(e.grants)
	}
	e.askAll()
	e.checkBidWon() // its own grant may be all it needs
}

func (e *Election) askAll() {
	a := e.askOfBid()
	before := e.voter.durable
	if e.bid.voters.Has(e.self) {
		e.askVoter(e.self, a)
	}
	if e.voter.durable.Max = max(e.voter.durable.Max, a.Term); e.voter.durable != before && !e.voter.saving {
		e.startSave()
	}
	for _, id := range e.bid.voters.Voters {
		if id != e.self {
			e.askVoter(id, a)
		}
	}
}

// isOfBid tells whether an Ask is one of the present bid.
func (e *Election) isOfBid(a Ask) bool {
	return e.bid != nil && a.Term == e.bid.token.Term && a.Renew == e.bid.renews
}

func (e *Election) askOfBid() Ask {
	return Ask{Term: e.bid.token.Term, Renew: e.bid.renews, Electorate: e.bid.voters.Sum, Lease: e.params.Lease, Score: e.field.scoreOf(e.self)}
}

// pursueBid goes on with a bid: asks again those that were busy for a moment, and
// gives up what cannot be won.
func (e *Election) pursueBid() {
	for _, id := range slices.Sorted(maps.Keys(e.bid.askAgainAt)) {
		if e.now >= e.bid.askAgainAt[id] {
			delete(e.bid.askAgainAt, id)
			e.askVoter(id, e.askOfBid())
		}
	}
	if e.checkBidWon(); e.bid == nil {
		return
	}
	left := len(e.bid.voters.Voters) - len(e.bid.refused)
	if e.now < e.bidEnds() && left >= e.bid.voters.Majority() && (e.stands || e.lead != nil) && !e.bid.yields {
		e.keepGrants()
		return
	}
	e.abandonBid()
}

// followRival has this node's bid go on when another candidate has given up, which had granted
// itself: it is asked again, and all are for a higher term if it has used this one up. That is done
// once for each bid, so that two do not go on outbidding each other.
func (e *Election) followRival(rival view.NodeID, term uint64) {
	switch {
	case e.bid == nil || e.lead != nil || !e.bid.refused[rival]:
	case term < e.bid.token.Term:
		for id := range e.bid.refused { // may have granted it to the rival
			e.bid.askAgainAt[id] = e.now + e.params.Pause/20
		}
		clear(e.bid.refused)
	case !e.bid.outbids:
		if e.bid.outbidNext = e.voter.saving; !e.bid.outbidNext {
			e.outbid()
		}
	}
}

// bidEnds is when the bid is given up. Those that save, this node among them, are
// waited for: to ask for another term would have them save again.
func (e *Election) bidEnds() time.Duration {
	if e.voter.saving {
		return e.bid.began + maxBid*e.params.Lease
	}
	return max(e.bid.givesUpAt, e.bid.savesUntil)
}

// keepGrants asks again those that have granted the bid, before their grants lapse or
// when they came too late: it waits for others that save, and to grant the same once more
// takes no save. A leader renews them anyway.
func (e *Election) keepGrants() {
	if e.lead != nil || e.now < e.bid.keepAt {
		return
	}
	e.bid.keepAt = e.now + e.params.Renew
	for _, id := range e.bid.voters.Voters {
		if e.grants[id].term == e.bid.token.Term && !e.bid.refused[id] {
			e.askVoter(id, e.askOfBid())
		}
	}
}

// abandonBid gives the bid up.
func (e *Election) abandonBid() {
	e.failed = min(e.failed+1, 5)
	e.noBidBefore = e.now + e.params.Pause + e.randomBelow(e.params.Pause<<e.failed)
	if e.bid.longestBusy > e.params.Lease/2 {
		// Somebody leads, and renews its grants, whom we do not hear. Each bid
		// costs a write of flash: ask less and less often.
		e.noBidBefore = e.now + e.bid.longestBusy + e.randomBelow(e.params.Lease<<e.failed)
	}
	e.bid = nil
	if e.lead == nil {
		e.giveBack(0)
		clear(e.grants)
	}
}
