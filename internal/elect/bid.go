package elect

import (
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

func (e *Election) turnedDown(from view.NodeID, ans Answer) {
	if ans.Reason == Busy && !ans.Holder.IsZero() {
		e.bid.busy = max(e.bid.busy, ans.Wait)
	}
	if ans.Reason == OldTerm && ans.Holder.IsZero() && ans.Max >= e.bid.token.Term && !e.bid.outbids {
		// A bid that was lost took the voter's term up, and nobody holds its grant.
		// Where others are silent that may be needed: ask above the term, once.
		if e.bid.outdo = e.voter.saving; !e.bid.outdo {
			e.outbid()
		}
		return
	}
	if ans.Reason == Saving {
		e.bid.slow = max(e.bid.slow, min(e.now+ans.Wait+e.par.Lease/2, e.bid.began+maxBid*e.par.Lease))
		e.bid.again[from] = e.now + min(ans.Wait, e.par.Lease/2) + e.par.Pause/20
		return
	}
	e.lost = ans.Reason
	if ans.Reason == Unable {
		e.bid.busy = max(e.bid.busy, e.par.Lease)
	}
	if ans.Wait > 0 && e.now+ans.Wait < e.bid.ends {
		e.bid.again[from] = e.now + ans.Wait + e.par.Pause/20
		return
	}
	e.bid.refused[from] = true
}

// outbid goes on with the bid under a term above those that voters have told of.
func (e *Election) outbid() {
	voters := e.f.Electorate
	if e.bid.renews {
		voters = e.bid.voters
	}
	if e.run(voters, e.bid.renews); e.bid != nil {
		e.bid.outbids = true
	}
}

// ask asks a voter, which may be this node. Its own grant counts when it is on disk.
func (e *Election) ask(id view.NodeID, a Ask) {
	if id != e.self {
		e.emit(Effect{Action: Send, To: id, Ask: a, Sent: e.now})
		return
	}
	ans, save := e.voter.ask(e.now, e.self, a, &e.f)
	if save {
		e.save()
	}
	if e.awaits(e.self, a, ans.Reason) {
		return // see Saved
	}
	if ans.Reason == Granted {
		e.granted(e.self, a, e.now)
	} else if e.ofBid(a) {
		e.turnedDown(e.self, ans)
	}
}

// winnable tells whether enough voters are in contact, and nobody is better by the
// margin.
func (e *Election) winnable() bool {
	voters := e.f.Electorate
	return e.known && len(voters.Voters) > 0 && e.f.met(voters) >= voters.Majority() &&
		(e.now < e.heirEnds || e.voter.idle(e.now, e.par.Lease) || !e.f.beaten(e.self, e.f.score(e.self), e.voter.lapsed))
}

// consider decides whether, and when, to ask for a term.
func (e *Election) consider() {
	if !e.stands || e.voter.saving || e.voter.broken || !e.free() || e.now < e.backAt || !e.winnable() {
		e.startAt = Never
		return
	}
	if e.now < e.heirEnds {
		e.startAt = e.now
	}
	if e.startAt == Never {
		rank := e.f.rank(e.self, e.f.score(e.self), e.voter.lapsed)
		e.startAt = e.now + time.Duration(rank)*(2*e.f.RTT+e.par.Pause) + e.chance(e.par.Pause/4)
	}
	if e.now >= e.startAt {
		e.run(e.f.Electorate, false)
	}
}

// free tells whether no valid lease is known. A claim is not believed for longer
// than a lease when it does not come from the node itself: a voter that did not
// grant that lease cannot see it lapse, and others may wait for it to stand.
func (e *Election) free() bool {
	if id, held := e.voter.holder(e.now); held && id != e.self {
		return false
	}
	if e.voter.nominee != 0 && e.voter.nominee != e.self {
		return false
	}
	other := e.claimed()
	return other.IsZero() || e.voter.outlived(other) ||
		other.Node == e.heir && e.now < e.heirEnds || other.Node == e.mute && e.now-e.muteAt >= e.par.Lease
}

// claimed returns the highest token that another in contact claims to lead with and
// has not given back since: its notice may be late, or its last one.
func (e *Election) claimed() (high token.Token) {
	for _, t := range e.f.Claims {
		if t.Node != e.self && t.Term > e.freed[t.Node] && e.voter.exceeds(t.Term) && high.Less(t) {
			high = t
		}
	}
	return high
}

// run asks an electorate for a new term. It is written down meanwhile, and won when it
// is; see count. No Save is under way.
func (e *Election) run(voters Electorate, renews bool) {
	term := max(e.voter.d.Max, e.seen, e.last, e.claimed().Term) + 1
	e.last = term
	e.startAt = Never
	e.bid = &reign{
		token: token.Token{Term: term, Node: e.self}, voters: voters, renews: renews,
		refused: map[view.NodeID]bool{}, again: map[view.NodeID]time.Duration{},
		began:  e.now,
		ends:   e.now + max(e.par.Lease/2, 4*(e.f.RTT+e.par.Pause), min(3*e.voter.took, e.par.own(e.par.Lease))),
		keepAt: e.now + e.par.own(e.par.Lease)/2,
	}
	if e.lead == nil {
		clear(e.grants)
	}
	e.askAll()
	e.count() // its own grant may be all it needs
}

func (e *Election) askAll() {
	a := e.bidAsk()
	before := e.voter.d
	if e.bid.voters.Has(e.self) {
		e.ask(e.self, a)
	}
	if e.voter.d.Max = max(e.voter.d.Max, a.Term); e.voter.d != before && !e.voter.saving {
		e.save()
	}
	for _, id := range e.bid.voters.Voters {
		if id != e.self {
			e.ask(id, a)
		}
	}
}

// ofBid tells whether an Ask is one of the present bid.
func (e *Election) ofBid(a Ask) bool {
	return e.bid != nil && a.Term == e.bid.token.Term && a.Renew == e.bid.renews
}

func (e *Election) bidAsk() Ask {
	return Ask{Term: e.bid.token.Term, Renew: e.bid.renews, Electorate: e.bid.voters.Sum, Lease: e.par.Lease, Score: e.f.score(e.self)}
}

// pursue goes on with a bid: asks again those that were busy for a moment, and
// gives up what cannot be won.
func (e *Election) pursue() {
	for _, id := range slices.Sorted(maps.Keys(e.bid.again)) {
		if e.now >= e.bid.again[id] {
			delete(e.bid.again, id)
			e.ask(id, e.bidAsk())
		}
	}
	if e.count(); e.bid == nil {
		return
	}
	left := len(e.bid.voters.Voters) - len(e.bid.refused)
	if e.now < e.bidEnds() && left >= e.bid.voters.Majority() && (e.stands || e.lead != nil) {
		e.keepGrants()
		return
	}
	e.forsake()
}

// bidEnds is when the bid is given up. Those that save, this node among them, are
// waited for: to ask for another term would have them save again.
func (e *Election) bidEnds() time.Duration {
	if e.voter.saving {
		return e.bid.began + maxBid*e.par.Lease
	}
	return max(e.bid.ends, e.bid.slow)
}

// keepGrants asks again those that have granted the bid, before their grants lapse or
// when they came too late: it waits for others that save, and to grant the same once more
// takes no save. A leader renews them anyway.
func (e *Election) keepGrants() {
	if e.lead != nil || e.now < e.bid.keepAt {
		return
	}
	e.bid.keepAt = e.now + e.par.Renew
	for _, id := range e.bid.voters.Voters {
		if e.grants[id].term == e.bid.token.Term && !e.bid.refused[id] {
			e.ask(id, e.bidAsk())
		}
	}
}

// forsake gives the bid up.
func (e *Election) forsake() {
	e.failed = min(e.failed+1, 5)
	e.backAt = e.now + e.par.Pause + e.chance(e.par.Pause<<e.failed)
	if e.bid.busy > e.par.Lease/2 {
		// Somebody leads, and renews its grants, whom we do not hear. Each bid
		// costs a write of flash: ask less and less often.
		e.backAt = e.now + e.bid.busy + e.chance(e.par.Lease<<e.failed)
	}
	e.bid = nil
	if e.lead == nil {
		e.giveBack(0)
		clear(e.grants)
	}
}
