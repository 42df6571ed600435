package elect

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// grant is what a voter has granted this node, as far as it knows.
type grant struct {
	term uint64
	ends time.Duration // by this node's clock, guard and drift taken off
}

// reign is a term for which this node asks, or with which it leads.
type reign struct {
	token   token.Token
	voters  Electorate
	refused map[view.NodeID]bool          // while it asks
	again   map[view.NodeID]time.Duration // when to ask those that are busy for a moment
	ends    time.Duration                 // while it asks: when it gives up
	busy    time.Duration                 // longest that a voter holds a grant of another for
	outbids bool                          // while it asks: it follows on a bid whose term was too low
}

// Election is the step machine of one election at one node. It is not safe for
// concurrent use.
type Election struct {
	self  view.NodeID
	par   Params
	rng   *rand.Rand
	now   time.Duration
	voter voter
	f     Field
	known bool // a Field was given

	stands bool
	grants map[view.NodeID]grant
	lead   *reign
	bid    *reign
	last   uint64                 // highest term that this node asked for
	seen   uint64                 // highest term that voters have told of
	freed  map[view.NodeID]uint64 // by who gave grants back: up to which term

	startAt  time.Duration // of the next bid; Never
	backAt   time.Duration // no bid before
	failed   int           // bids in a row that were lost
	renewAt  time.Duration
	askedAt  time.Duration // of the last renewal
	betterAt time.Duration // since when there has been a challenger; Never
	offered  int           // times in a row that it handed over, and nobody led
	otherAt  time.Duration // since when the electorate has differed; Never
	missing  bool          // a voter in contact does not follow this term

	mute   view.NodeID // claims to lead, by what others have of it, and is not in contact
	muteAt time.Duration

	heir     view.NodeID // who has nominated this node, until heirEnds
	heirEnds time.Duration

	draining bool
	nominee  view.NodeID

	out []Effect
}

// New returns the Election of a node with what it wrote down in an earlier run;
// the zero Durable for none.
func New(self view.NodeID, par Params, d Durable, now time.Duration, rng *rand.Rand) *Election {
	return &Election{
		self: self, par: par, rng: rng, now: now, voter: newVoter(self, d, now),
		grants: map[view.NodeID]grant{}, freed: map[view.NodeID]uint64{}, startAt: Never, betterAt: Never, otherAt: Never,
	}
}

// Look takes in what the node knows now.
func (e *Election) Look(now time.Duration, f Field) []Effect {
	was, sum := e.claimed(), e.f.Electorate.Sum
	e.f, e.known = f, true
	maps.DeleteFunc(e.freed, func(id view.NodeID, _ uint64) bool { return !f.Component[id] })
	e.pass(now)
	if e.claimed() != was || f.Electorate.Sum != sum {
		// What made bids hopeless may be over.
		e.failed, e.backAt = 0, min(e.backAt, e.now+e.par.Pause+e.chance(e.par.Pause))
	}
	claim := e.claimed()
	if !claim.IsZero() {
		e.offered = 0
	} else if !was.IsZero() && !f.Component[was.Node] && e.voter.d.Grant.Node != was.Node {
		// It fell silent, and by no grant of this node is it known until when it
		// leads.
		e.backAt = max(e.backAt, now+e.par.Lease)
	}
	if claim.IsZero() || f.Contact[claim.Node] {
		e.mute = 0
	} else if e.mute != claim.Node {
		e.mute, e.muteAt = claim.Node, e.now
	}
	return e.step(now)
}

// Stand says whether the node is a candidate.
func (e *Election) Stand(now time.Duration, stands bool) []Effect {
	e.stands = stands
	return e.step(now)
}

// Tick reports nothing but the time.
func (e *Election) Tick(now time.Duration) []Effect { return e.step(now) }

// Asked answers a candidate. The answer must not leave before the effects, in
// which there may be a Save, were performed.
func (e *Election) Asked(now time.Duration, from view.NodeID, a Ask) (Answer, []Effect) {
	e.pass(now)
	if !e.known {
		return Answer{Reason: OutOfHere, Max: e.voter.d.Max}, nil
	}
	out, save := e.voter.ask(e.now, from, a, &e.f)
	if save {
		e.emit(Effect{Action: Save, Durable: e.voter.d})
	}
	return out, e.step(now)
}

// Returned takes in that a node has given its grants back; see GiveBack.
func (e *Election) Returned(now time.Duration, from view.NodeID, term uint64, nominee view.NodeID) []Effect {
	e.pass(now)
	e.voter.release(e.now, from, term, nominee)
	e.freed[from] = max(e.freed[from], term)
	if nominee == e.self {
		e.heir, e.heirEnds, e.backAt = from, e.now+e.par.Lease/2, 0
	}
	return e.step(now)
}

// Answered takes in the answer to an Ask that was sent at a time.
func (e *Election) Answered(now time.Duration, from view.NodeID, a Ask, sent time.Duration, ans Answer) []Effect {
	e.pass(now)
	if e.voter.believes(ans.Max) {
		e.seen = max(e.seen, ans.Max)
	}
	ans.Wait = min(ans.Wait, MaxLease)
	switch {
	case ans.Reason == Granted && e.holds(a.Term):
		e.granted(from, a, sent)
	case ans.Reason == Granted:
		e.emit(Effect{Action: GiveBack, To: from, Term: a.Term})
		if e.grants[from].term <= a.Term {
			delete(e.grants, from) // what is given back is another's soon
		}
	case e.bid != nil && a.Term == e.bid.token.Term && !a.Renew:
		e.turnedDown(from, ans)
	case e.lead != nil && ans.Reason == OldTerm:
		if g, ok := e.grants[from]; ok && ans.Max == e.last && g.term < e.last {
			g.term = e.last // its answer to that bid was lost
			e.grants[from] = g
		} else if g.term == a.Term || !ok {
			e.missing = true
		}
	}
	return e.step(now)
}

// Unanswered takes in that an Ask will get no answer, though it may have been
// granted: a bid that cannot be won without that voter need not wait for it.
func (e *Election) Unanswered(now time.Duration, from view.NodeID, a Ask) []Effect {
	e.pass(now)
	if e.bid != nil && a.Term == e.bid.token.Term && !a.Renew && e.grants[from].term < a.Term {
		e.bid.refused[from] = true
	}
	return e.step(now)
}

// Drained reports that the work of the leadership that was stopped has ended.
func (e *Election) Drained(now time.Duration) []Effect {
	e.pass(now)
	if e.draining {
		e.giveBack(e.nominee)
		e.lead, e.draining, e.nominee = nil, false, 0
		clear(e.grants)
		e.backAt = e.now + e.par.Pause + e.chance(e.par.Pause)
	}
	return e.step(now)
}

// Leading returns the token with which the node leads, and until when it does if
// nothing renews it; false if it does not. Work that was told to stop is
// covered until then.
func (e *Election) Leading(now time.Duration) (token.Token, time.Duration, bool) {
	if e.lead == nil {
		return token.Token{}, 0, false
	}
	until := e.until(e.lead)
	return e.lead.token, until, max(now, e.now) < until
}

// Holder returns whose unexpired grant this node keeps.
func (e *Election) Holder(now time.Duration) (token.Token, bool) {
	_, held := e.voter.holder(max(now, e.now))
	return e.voter.d.Grant, held
}

// Next returns the time by which Tick must be called if nothing else happens.
func (e *Election) Next() time.Duration {
	next := Never
	soon := func(t time.Duration) {
		if t > e.now {
			next = min(next, t)
		}
	}
	if e.lead != nil {
		soon(e.until(e.lead))
		soon(e.renewAt)
		if e.betterAt != Never {
			soon(e.betterAt + e.hold())
		}
		if e.otherAt != Never {
			soon(e.otherAt + e.par.Settle)
			soon(e.backAt)
		}
	}
	if e.bid != nil {
		soon(e.bid.ends)
		for _, t := range e.bid.again {
			soon(t)
		}
	}
	if e.stands && e.lead == nil && e.bid == nil {
		soon(e.startAt)
		soon(e.backAt)
		soon(e.voter.until)
		soon(e.voter.favour)
		soon(e.voter.led + 3*e.par.Lease + 1)
		soon(e.heirEnds)
		if e.mute != 0 {
			soon(e.muteAt + e.par.Lease)
		}
	}
	return next
}

// pass moves time on. A lease that ran out meanwhile is lost, whatever has come in
// since: another may have led.
func (e *Election) pass(now time.Duration) {
	e.now = max(e.now, now)
	if e.lead != nil && e.until(e.lead) <= e.now {
		e.lose()
	}
}

func (e *Election) emit(eff Effect) { e.out = append(e.out, eff) }

// chance returns a random time below limit.
func (e *Election) chance(limit time.Duration) time.Duration {
	return time.Duration(e.rng.Int64N(int64(max(limit, 1))))
}

// step decides what is due and hands out all effects.
func (e *Election) step(now time.Duration) []Effect {
	e.pass(now)
	e.voter.lapse(e.now)
	e.count()
	if e.lead != nil {
		e.reignOn()
	}
	if e.bid != nil {
		e.pursue()
	} else if e.lead == nil && !e.draining {
		e.consider()
	}
	out := e.out
	e.out = nil
	return out
}

// holds tells whether grants of a term are kept: it is that of the present bid, or
// of the leadership and the bids made since. While work of a leadership that was
// lost is ending all are, and given back when it has.
func (e *Election) holds(term uint64) bool {
	if e.lead == nil && e.draining {
		return true
	}
	if e.lead != nil {
		return term >= e.lead.token.Term && term <= e.last
	}
	return e.bid != nil && term == e.bid.token.Term
}

func (e *Election) granted(from view.NodeID, a Ask, sent time.Duration) {
	g := e.grants[from]
	e.grants[from] = grant{term: max(g.term, a.Term), ends: max(g.ends, sent+e.par.own(a.Lease))}
	if e.bid != nil {
		delete(e.bid.again, from)
	}
}

func (e *Election) turnedDown(from view.NodeID, ans Answer) {
	if ans.Reason == Busy && !ans.Holder.IsZero() {
		e.bid.busy = max(e.bid.busy, ans.Wait)
	}
	if ans.Reason == OldTerm && ans.Holder.IsZero() && ans.Max >= e.bid.token.Term && !e.bid.outbids {
		// A bid that was lost took the voter's term up, and nobody holds its grant.
		// Where others are silent that may be needed: ask above the term, once.
		if e.run(); e.bid != nil {
			e.bid.outbids = true
		}
		return
	}
	if ans.Wait > 0 && e.now+ans.Wait < e.bid.ends {
		e.bid.again[from] = e.now + ans.Wait + e.par.Pause/20
		return
	}
	e.bid.refused[from] = true
}

// until is when a leader's lease ends: when no majority of unexpired grants is
// left. Grants of later terms to the same node count, they are the voter's only
// ones.
func (e *Election) until(r *reign) time.Duration {
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

// count sees whether the bid is won.
func (e *Election) count() {
	if e.bid == nil || e.until(e.bid) <= e.now {
		return
	}
	first := e.lead == nil
	e.lead, e.bid = e.bid, nil
	e.failed, e.missing = 0, false
	e.betterAt, e.otherAt = Never, Never
	if first {
		e.emit(Effect{Action: Lead, Token: e.lead.token})
	} else {
		e.emit(Effect{Action: Renamed, Token: e.lead.token})
	}
	// Voters that were late or busy join soon: they must know whose lease lapses.
	e.renewAt, e.askedAt = e.now+e.par.Renew/10, 0
}

// reignOn does what a leader does.
func (e *Election) reignOn() {
	if !e.draining {
		e.reconsider()
	}
	if e.now >= e.renewAt {
		confirmed := e.until(e.lead) >= e.askedAt+e.par.own(e.par.Lease)
		e.renewAt, e.askedAt = e.now+e.par.Renew, e.now
		if !confirmed {
			e.renewAt = e.now + e.par.Renew/3 // a blip must not cost more than it lasts
		}
		e.renew()
	}
}

// lose ends a leadership whose lease has run out. Its grants may still be given
// back when its work has ended.
func (e *Election) lose() {
	if !e.draining {
		e.emit(Effect{Action: Stop, Token: e.lead.token, Why: Expired, Until: e.now})
	}
	e.lead, e.bid, e.draining = nil, nil, true
	e.startAt = Never
}

// stop has the work end while the lease goes on.
func (e *Election) stop(why Why, nominee view.NodeID) {
	e.draining, e.nominee, e.bid = true, nominee, nil
	e.emit(Effect{Action: Stop, Token: e.lead.token, Why: why, Until: e.until(e.lead)})
}

// reconsider looks whether the leader should go, or take a new term.
func (e *Election) reconsider() {
	if !e.stands {
		e.stop(Withdrawn, 0)
		return
	}
	if other := e.claimed(); e.lead.token.Less(other) {
		e.stop(Yielded, other.Node)
		return
	}
	if better := e.f.challenger(e.self, e.f.score(e.self)); better == 0 {
		e.betterAt = Never
	} else if e.betterAt == Never {
		e.betterAt = e.now
	} else if e.now-e.betterAt >= e.hold() {
		e.offered = min(e.offered+1, 5)
		e.stop(HandsOver, better)
		return
	}
	if e.f.Electorate.Sum == e.lead.voters.Sum && !e.missing {
		e.otherAt = Never
	} else if e.otherAt == Never {
		e.otherAt = e.now
	} else if e.now-e.otherAt >= e.par.Settle && e.bid == nil && e.now >= e.backAt && e.winnable() {
		e.run()
	}
}

// hold is for how long another must be better. Of one that was handed the lead and
// could not take it more is asked each time.
func (e *Election) hold() time.Duration { return e.par.Hold << e.offered }

// renew asks all voters of the term, each for the term that it has granted.
func (e *Election) renew() {
	for _, id := range e.lead.voters.Voters {
		term := e.lead.token.Term
		if g, ok := e.grants[id]; ok {
			term = max(term, g.term)
		}
		e.ask(id, Ask{Term: term, Renew: true, Electorate: e.lead.voters.Sum, Lease: e.par.Lease, Score: e.f.score(e.self)})
	}
}

// ask asks a voter, which may be this node.
func (e *Election) ask(id view.NodeID, a Ask) {
	if id != e.self {
		e.emit(Effect{Action: Send, To: id, Ask: a, Sent: e.now})
		return
	}
	ans, save := e.voter.ask(e.now, e.self, a, &e.f)
	if save {
		e.emit(Effect{Action: Save, Durable: e.voter.d})
	}
	if ans.Reason == Granted {
		e.granted(e.self, a, e.now)
	} else if e.bid != nil && !a.Renew {
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
	if !e.stands || !e.free() || e.now < e.backAt || !e.winnable() {
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
		e.run()
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
	return other.IsZero() || other.Node == e.voter.lapsed && other.Term <= e.voter.d.Grant.Term ||
		other.Node == e.heir && e.now < e.heirEnds || other.Node == e.mute && e.now-e.muteAt >= e.par.Lease
}

// claimed returns the highest token that another in contact claims to lead with and
// has not given back since: its notice may be late, or its last one.
func (e *Election) claimed() (high token.Token) {
	for _, t := range e.f.Claims {
		if t.Node != e.self && t.Term > e.freed[t.Node] && e.voter.believes(t.Term) && high.Less(t) {
			high = t
		}
	}
	return high
}

// run asks for a new term on the present electorate. The term is written down
// first: a candidate that forgets one may use it again for another leadership.
func (e *Election) run() {
	term := max(e.voter.d.Max, e.seen, e.last, e.claimed().Term) + 1
	e.last = term
	e.startAt = Never
	e.bid = &reign{
		token: token.Token{Term: term, Node: e.self}, voters: e.f.Electorate,
		refused: map[view.NodeID]bool{}, again: map[view.NodeID]time.Duration{},
		ends: e.now + max(e.par.Lease/2, 4*(e.f.RTT+e.par.Pause)),
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
	saved := len(e.out)
	if e.bid.voters.Has(e.self) {
		e.ask(e.self, a)
	}
	if e.voter.d.Max = max(e.voter.d.Max, a.Term); e.voter.d != before && len(e.out) == saved {
		e.emit(Effect{Action: Save, Durable: e.voter.d})
	}
	for _, id := range e.bid.voters.Voters {
		if id != e.self {
			e.ask(id, a)
		}
	}
}

func (e *Election) bidAsk() Ask {
	return Ask{Term: e.bid.token.Term, Electorate: e.bid.voters.Sum, Lease: e.par.Lease, Score: e.f.score(e.self)}
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
	if e.now < e.bid.ends && left >= e.bid.voters.Majority() && (e.stands || e.lead != nil) {
		return
	}
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

// giveBack frees all that any voter may hold for this node.
func (e *Election) giveBack(nominee view.NodeID) {
	e.voter.release(e.now, e.self, e.last, nominee)
	to := map[view.NodeID]bool{}
	for id := range e.grants {
		to[id] = true
	}
	for _, id := range e.f.Electorate.Voters {
		to[id] = true
	}
	if nominee != 0 {
		to[nominee] = true
	}
	delete(to, e.self)
	for _, id := range slices.Sorted(maps.Keys(to)) {
		e.emit(Effect{Action: GiveBack, To: id, Term: e.last, Nominee: nominee})
	}
}
