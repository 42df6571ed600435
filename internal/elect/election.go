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
	token       token.Token
	voters      Electorate
	refused     map[view.NodeID]bool          // while it asks
	askAgainAt  map[view.NodeID]time.Duration // when to ask those that are busy for a moment
	began       time.Duration                 // when it asked first
	givesUpAt   time.Duration                 // while it asks: when it gives up
	savesUntil  time.Duration                 // while it asks: no sooner than that, for there are voters that save
	keepAt      time.Duration                 // while it asks: when to ask again those that have granted it
	outbidNext  bool                          // while it asks: it is to follow on with a higher term; see outbid
	longestBusy time.Duration                 // longest that a voter holds a grant of another for
	yields      bool                          // while it asks: it gives up in favour of another candidate
	outbids     bool                          // while it asks: it follows on a bid whose term was too low
	renews      bool                          // it is asked of the voters that its node leads already; see raise
	handedOver  bool                          // the leader before has nominated this node
}

// raises is what a leader has done about the claims of another.
type raises struct {
	term  uint64 // the last above which it asked
	times int
}

// Election is the step machine of one election at one node. It is not safe for
// concurrent use.
type Election struct {
	self   view.NodeID
	params Params
	rng    *rand.Rand
	now    time.Duration
	voter  voter
	field  Field
	known  bool // a Field was given

	stands      bool
	grants      map[view.NodeID]grant
	lead        *reign
	bid         *reign
	lastAsked   uint64                 // highest term that this node asked for
	highestSeen uint64                 // highest term that voters have told of
	freedTerms  map[view.NodeID]uint64 // by who gave grants back: up to which term

	startAt     time.Duration // of the next bid; Never
	noBidBefore time.Duration // no bid before
	failed      int           // bids in a row that were lost
	renewAt     time.Duration
	askedAt     time.Duration          // of the last renewal
	betterAt    time.Duration          // since when there has been a challenger; Never
	handOvers   int                    // times in a row that it handed over, and nobody led
	differsAt   time.Duration          // since when the electorate has differed; Never
	missing     bool                   // a voter in contact does not follow this term
	raises      map[view.NodeID]raises // above whose claims it has asked for a term, while they claim to lead

	mute   view.NodeID // claims to lead, by what others have of it, and is not in contact
	muteAt time.Duration

	nominator      view.NodeID   // who has nominated this node, until nominationEnds
	byLapse        bool          // the last nomination is no hand-over: a voter says that the leader's lease has run out
	leaderLapsed   token.Token   // the claim of which a voter says that its lease has run out; zero: none
	lapseHeardAt   time.Duration // when one has said so last; Never: nobody has
	lapseTold      token.Token   // last lapse of a lease that the best candidate was told of
	nominationEnds time.Duration

	draining bool        // work was told to end, or the lease of its leadership is to end by itself
	drained  bool        // that work has ended, and the lease has not
	lapses   bool        // nothing is given back: the lease ends by itself
	nominee  view.NodeID // of whom is said, when all is given back, that it should lead
	named    naming      // the last one of whom that was said

	out        []Effect
	held       []Effect // GiveBack of terms that are not on disk yet
	askers     []asker  // wait for answers that are not
	lostReason Reason   // why a voter refused this node's last bid
}

// New returns the Election of a node with what it wrote down in an earlier run;
// the zero Durable for none.
func New(self view.NodeID, par Params, d Durable, now time.Duration, rng *rand.Rand) *Election {
	e := &Election{
		self: self, params: par, rng: rng, now: now, voter: newVoter(self, d, now),
		grants: map[view.NodeID]grant{}, freedTerms: map[view.NodeID]uint64{}, raises: map[view.NodeID]raises{}, startAt: Never, betterAt: Never, differsAt: Never, lapseHeardAt: Never, lapseTold: d.Grant,
	}
	// What was read may be in the system's cache alone: the run before this one may have
	// ended at a write that failed.
	e.voter.first = true
	e.startSave()
	return e
}

// Look takes in what the node knows now.
func (e *Election) Look(now time.Duration, f Field) []Effect {
	was, sum := e.highestClaim(), e.field.Electorate.Sum
	e.field, e.known = f, true
	maps.DeleteFunc(e.freedTerms, func(id view.NodeID, _ uint64) bool { return !f.Component[id] })
	maps.DeleteFunc(e.raises, func(id view.NodeID, _ raises) bool {
		return !slices.ContainsFunc(f.Claims, func(t token.Token) bool { return t.Node == id })
	})
	if e.lead != nil && e.lead.voters.Sum == f.Electorate.Sum {
		e.lead.voters = f.Electorate // a committee may vote for more, or for fewer
	}
	e.advanceTime(now)
	if e.highestClaim() != was || f.Electorate.Sum != sum {
		// What made bids hopeless may be over.
		e.failed, e.noBidBefore = 0, min(e.noBidBefore, e.now+e.params.Pause+e.randomBelow(e.params.Pause))
	}
	claim := e.highestClaim()
	if !claim.IsZero() {
		e.handOvers = 0
	} else if !was.IsZero() && !f.Component[was.Node] && !e.voter.supports(was) && !e.voter.outlived(was) {
		// It fell silent, and by no grant of this node is it known until when it
		// leads, or led.
		e.noBidBefore = max(e.noBidBefore, now+e.params.Lease)
	}
	if claim.IsZero() || f.Contact[claim.Node] {
		e.mute = 0
	} else if e.mute != claim.Node {
		e.mute, e.muteAt = claim.Node, e.now
	}
	return e.decideDue(now)
}

// Stand says whether the node is a candidate.
func (e *Election) Stand(now time.Duration, stands bool) []Effect {
	e.stands = stands
	return e.decideDue(now)
}

// Tick reports nothing but the time.
func (e *Election) Tick(now time.Duration) []Effect { return e.decideDue(now) }

// Asked takes in the request of a candidate. An effect Reply with ref answers it, now
// or when what it says is on disk.
func (e *Election) Asked(now time.Duration, from view.NodeID, a Ask, ref uint64) []Effect {
	e.advanceTime(now)
	w := asker{id: from, ref: ref, ask: a, ans: Answer{Reason: OutOfHere, Max: e.voter.durable.Max}, at: e.now}
	if e.known {
		var save bool
		if w.ans, save = e.voter.answerAsk(e.now, from, a, &e.field); save {
			e.startSave()
		}
	}
	e.replyWhenKept(w)
	return e.decideDue(now)
}

// Returned takes in that a node has given its grants back; see GiveBack. A nomination
// counts once: when a copy of it comes late its node may lead again. Term 0 gives nothing
// back: it is a voter's word that the leader it followed has let its lease run out.
func (e *Election) Returned(now time.Duration, from view.NodeID, term uint64, nominee view.NodeID) []Effect {
	e.advanceTime(now)
	e.voter.releaseGrant(e.now, from, term, nominee)
	switch {
	case nominee != e.self:
	case term > e.freedTerms[from]:
		e.leaderLapsed, e.byLapse = token.Token{}, false
		e.nominator, e.nominationEnds, e.noBidBefore = from, e.now+e.params.Lease/2, 0
	case term == 0 && e.believesLapse(from):
		e.leaderLapsed, e.lapseHeardAt, e.byLapse = e.highestClaim(), e.now, true
		e.nominator, e.nominationEnds, e.noBidBefore = from, e.now+e.params.Lease/2, 0
	}
	e.freedTerms[from] = max(e.freedTerms[from], term)
	if nominee == 0 {
		e.followRival(from, term)
	}
	return e.decideDue(now)
}

// Answered takes in the answer to an Ask that was sent at a time.
func (e *Election) Answered(now time.Duration, from view.NodeID, a Ask, sent time.Duration, ans Answer) []Effect {
	e.advanceTime(now)
	if e.voter.exceeds(ans.Max) {
		e.highestSeen = max(e.highestSeen, ans.Max)
	}
	ans.Wait = min(ans.Wait, MaxLease)
	switch {
	case ans.Reason == Granted && e.keepsGrantsOf(a.Term):
		e.noteGrant(from, a, sent)
	case ans.Reason == Granted:
		e.emitEffect(Effect{Action: GiveBack, To: from, Term: a.Term, Nominee: e.named.nomineeAt(e.now, a.Term)})
		if e.grants[from].term <= a.Term {
			delete(e.grants, from) // what is given back is another's soon
		}
	case e.isOfBid(a):
		e.noteRefusal(from, ans)
	case e.lead != nil && ans.Reason == OldTerm:
		if g, ok := e.grants[from]; ok && ans.Max == e.lastAsked && g.term < e.lastAsked {
			g.term = e.lastAsked // its answer to that bid was lost
			e.grants[from] = g
		} else if g.term == a.Term || !ok {
			e.missing = true
		}
	}
	return e.decideDue(now)
}

// Unanswered takes in that an Ask will get no answer, though it may have been
// granted: a bid that cannot be won without that voter need not wait for it.
func (e *Election) Unanswered(now time.Duration, from view.NodeID, a Ask) []Effect {
	e.advanceTime(now)
	if e.isOfBid(a) && e.grants[from].term < a.Term {
		e.bid.refused[from] = true
	}
	return e.decideDue(now)
}

// Drained reports that the work of the leadership that was stopped has ended. See LetLapse
// for the one thing that goes on then.
func (e *Election) Drained(now time.Duration) []Effect {
	e.advanceTime(now)
	switch {
	case e.draining && !e.lapses:
		e.named = naming{nominee: e.nominee, term: e.lastAsked, until: e.now + e.params.Lease/2}
		e.giveBack(e.nominee)
		e.endLead()
	case e.draining && e.lead == nil:
		e.endLead()
	case e.draining:
		e.drained = true // and the lease goes on
	}
	return e.decideDue(now)
}

// Leading returns the token with which the node leads, and until when it does if
// nothing renews it; false if it does not. Work that was told to stop is
// covered until then.
func (e *Election) Leading(now time.Duration) (token.Token, time.Duration, bool) {
	if e.lead == nil {
		return token.Token{}, 0, false
	}
	until := e.leaseEnd(e.lead)
	return e.lead.token, until, max(now, e.now) < until
}

// HandedOver tells whether the node leads because the leader before has nominated it.
func (e *Election) HandedOver() bool { return e.lead != nil && e.lead.handedOver }

// Holder returns whose unexpired grant this node keeps, and until when; false if it
// keeps none.
func (e *Election) Holder(now time.Duration) (token.Token, time.Duration, bool) {
	_, held := e.voter.holder(max(now, e.now))
	return e.voter.durable.Grant, e.voter.grantEnds, held
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
		soon(e.leaseEnd(e.lead))
		soon(e.renewAt)
		if e.betterAt != Never {
			soon(e.betterAt + e.holdTime())
		}
		if e.differsAt != Never {
			soon(e.differsAt + e.params.Settle)
			soon(e.noBidBefore)
		}
	}
	if e.voter.broken && !e.voter.saving {
		soon(e.voter.retryAt)
	}
	if e.voter.supports(e.highestClaim()) {
		soon(e.voter.grantEnds)
	}
	if len(e.askers) > 0 {
		soon(e.askers[0].at + e.askerPatience())
	}
	if e.bid != nil {
		soon(e.bid.givesUpAt)
		soon(e.bid.savesUntil)
		soon(e.bid.keepAt)
		for _, t := range e.bid.askAgainAt {
			soon(t)
		}
	}
	if e.stands && e.lead == nil && e.bid == nil {
		soon(e.startAt)
		soon(e.noBidBefore)
		soon(e.voter.grantEnds)
		soon(e.voter.favourEnds)
		soon(e.voter.ledUntil + 3*e.params.Lease + 1)
		soon(e.nominationEnds)
		if e.mute != 0 {
			soon(e.muteAt + e.params.Lease)
		}
	}
	return next
}

// advanceTime moves time on. A lease that ran out meanwhile is lost, whatever has come in
// since: another may have led.
func (e *Election) advanceTime(now time.Duration) {
	e.now = max(e.now, now)
	if e.lead != nil && e.leaseEnd(e.lead) <= e.now {
		e.loseLease()
	}
}

// emitEffect hands an effect out. No grant of a term is given back that this node may use
// once more, because it is not on disk that it has used it: that would come late.
func (e *Election) emitEffect(eff Effect) {
	if eff.Action == GiveBack && eff.Term > e.voter.kept.Max {
		e.held = append(e.held, eff)
		return
	}
	e.out = append(e.out, eff)
}

// randomBelow returns a random time below limit.
func (e *Election) randomBelow(limit time.Duration) time.Duration {
	return time.Duration(e.rng.Int64N(int64(max(limit, 1))))
}

// decideDue decides what is due and hands out all effects.
func (e *Election) decideDue(now time.Duration) []Effect {
	e.advanceTime(now)
	e.voter.noteLapse(e.now)
	e.tellLapse()
	e.attendDisk()
	e.checkBidWon()
	if e.bid != nil {
		e.pursueBid()
	}
	if e.lead != nil {
		e.keepLeading()
	} else if e.bid == nil && !e.draining {
		e.considerBid()
	}
	out := e.out
	e.out = nil
	return out
}

// keepsGrantsOf tells whether grants of a term are kept: it is that of the present bid, or
// of the leadership and the bids made since. While work of a leadership that was
// lost is ending all are, and given back when it has.
func (e *Election) keepsGrantsOf(term uint64) bool {
	if e.lead == nil && e.draining {
		return true
	}
	if e.lead != nil {
		return term >= e.lead.token.Term && term <= e.lastAsked
	}
	return e.bid != nil && term == e.bid.token.Term
}

func (e *Election) noteGrant(from view.NodeID, a Ask, sent time.Duration) {
	g := e.grants[from]
	e.grants[from] = grant{term: max(g.term, a.Term), ends: max(g.ends, sent+e.params.ownLease(a.Lease))}
	if e.bid != nil {
		delete(e.bid.askAgainAt, from)
	}
}

// checkBidWon sees whether the bid is won. Nobody leads with a term that it has not written
// down, for it may use it again for another leadership when it has forgotten.
func (e *Election) checkBidWon() {
	if e.bid == nil || e.bid.token.Term > e.voter.kept.Max || e.leaseEnd(e.bid) <= e.now {
		return
	}
	first := e.lead == nil
	e.lead, e.bid = e.bid, nil
	e.failed, e.missing = 0, false
	e.betterAt, e.differsAt = Never, Never
	if first {
		e.emitEffect(Effect{Action: Lead, Token: e.lead.token})
	} else {
		e.emitEffect(Effect{Action: Renamed, Token: e.lead.token})
	}
	// Voters that were late or busy join soon: they must know whose lease lapses.
	e.renewAt, e.askedAt = e.now+e.params.Renew/10, 0
}
