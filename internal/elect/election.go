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
	began   time.Duration                 // when it asked first
	ends    time.Duration                 // while it asks: when it gives up
	slow    time.Duration                 // while it asks: no sooner than that, for there are voters that save
	keepAt  time.Duration                 // while it asks: when to ask again those that have granted it
	outdo   bool                          // while it asks: it is to follow on with a higher term; see outbid
	busy    time.Duration                 // longest that a voter holds a grant of another for
	outbids bool                          // while it asks: it follows on a bid whose term was too low
	renews  bool                          // it is asked of the voters that its node leads already; see raise
}

// raises is what a leader has done about the claims of another.
type raises struct {
	term  uint64 // the last above which it asked
	times int
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
	askedAt  time.Duration          // of the last renewal
	betterAt time.Duration          // since when there has been a challenger; Never
	offered  int                    // times in a row that it handed over, and nobody led
	otherAt  time.Duration          // since when the electorate has differed; Never
	missing  bool                   // a voter in contact does not follow this term
	raises   map[view.NodeID]raises // above whose claims it has asked for a term, while they claim to lead

	mute   view.NodeID // claims to lead, by what others have of it, and is not in contact
	muteAt time.Duration

	heir     view.NodeID // who has nominated this node, until heirEnds
	heirEnds time.Duration

	draining bool
	nominee  view.NodeID

	out    []Effect
	held   []Effect // GiveBack of terms that are not on disk yet
	askers []asker  // wait for answers that are not
	lost   Reason   // why a voter refused this node's last bid
}

// New returns the Election of a node with what it wrote down in an earlier run;
// the zero Durable for none.
func New(self view.NodeID, par Params, d Durable, now time.Duration, rng *rand.Rand) *Election {
	e := &Election{
		self: self, par: par, rng: rng, now: now, voter: newVoter(self, d, now),
		grants: map[view.NodeID]grant{}, freed: map[view.NodeID]uint64{}, raises: map[view.NodeID]raises{}, startAt: Never, betterAt: Never, otherAt: Never,
	}
	// What was read may be in the system's cache alone: the run before this one may have
	// ended at a write that failed.
	e.voter.first = true
	e.save()
	return e
}

// Look takes in what the node knows now.
func (e *Election) Look(now time.Duration, f Field) []Effect {
	was, sum := e.claimed(), e.f.Electorate.Sum
	e.f, e.known = f, true
	maps.DeleteFunc(e.freed, func(id view.NodeID, _ uint64) bool { return !f.Component[id] })
	maps.DeleteFunc(e.raises, func(id view.NodeID, _ raises) bool {
		return !slices.ContainsFunc(f.Claims, func(t token.Token) bool { return t.Node == id })
	})
	if e.lead != nil && e.lead.voters.Sum == f.Electorate.Sum {
		e.lead.voters = f.Electorate // a committee may vote for more, or for fewer
	}
	e.pass(now)
	if e.claimed() != was || f.Electorate.Sum != sum {
		// What made bids hopeless may be over.
		e.failed, e.backAt = 0, min(e.backAt, e.now+e.par.Pause+e.chance(e.par.Pause))
	}
	claim := e.claimed()
	if !claim.IsZero() {
		e.offered = 0
	} else if !was.IsZero() && !f.Component[was.Node] && !e.voter.supports(was) {
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

// Asked takes in the request of a candidate. An effect Reply with ref answers it, now
// or when what it says is on disk.
func (e *Election) Asked(now time.Duration, from view.NodeID, a Ask, ref uint64) []Effect {
	e.pass(now)
	w := asker{id: from, ref: ref, ask: a, ans: Answer{Reason: OutOfHere, Max: e.voter.d.Max}, at: e.now}
	if e.known {
		var save bool
		if w.ans, save = e.voter.ask(e.now, from, a, &e.f); save {
			e.save()
		}
	}
	e.reply(w)
	return e.step(now)
}

// Returned takes in that a node has given its grants back; see GiveBack. A nomination
// counts once: when a copy of it comes late its node may lead again.
func (e *Election) Returned(now time.Duration, from view.NodeID, term uint64, nominee view.NodeID) []Effect {
	e.pass(now)
	e.voter.release(e.now, from, term, nominee)
	if nominee == e.self && term > e.freed[from] {
		e.heir, e.heirEnds, e.backAt = from, e.now+e.par.Lease/2, 0
	}
	e.freed[from] = max(e.freed[from], term)
	return e.step(now)
}

// Answered takes in the answer to an Ask that was sent at a time.
func (e *Election) Answered(now time.Duration, from view.NodeID, a Ask, sent time.Duration, ans Answer) []Effect {
	e.pass(now)
	if e.voter.exceeds(ans.Max) {
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
	case e.ofBid(a):
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
	if e.ofBid(a) && e.grants[from].term < a.Term {
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

// Holder returns whose unexpired grant this node keeps, and until when; false if it
// keeps none.
func (e *Election) Holder(now time.Duration) (token.Token, time.Duration, bool) {
	_, held := e.voter.holder(max(now, e.now))
	return e.voter.d.Grant, e.voter.until, held
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
	if e.voter.broken && !e.voter.saving {
		soon(e.voter.retry)
	}
	if len(e.askers) > 0 {
		soon(e.askers[0].at + e.patience())
	}
	if e.bid != nil {
		soon(e.bid.ends)
		soon(e.bid.slow)
		soon(e.bid.keepAt)
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

// emit hands an effect out. No grant of a term is given back that this node may use
// once more, because it is not on disk that it has used it: that would come late.
func (e *Election) emit(eff Effect) {
	if eff.Action == GiveBack && eff.Term > e.voter.kept.Max {
		e.held = append(e.held, eff)
		return
	}
	e.out = append(e.out, eff)
}

// chance returns a random time below limit.
func (e *Election) chance(limit time.Duration) time.Duration {
	return time.Duration(e.rng.Int64N(int64(max(limit, 1))))
}

// step decides what is due and hands out all effects.
func (e *Election) step(now time.Duration) []Effect {
	e.pass(now)
	e.voter.lapse(e.now)
	e.attend()
	e.count()
	if e.bid != nil {
		e.pursue()
	}
	if e.lead != nil {
		e.reignOn()
	} else if e.bid == nil && !e.draining {
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

// count sees whether the bid is won. Nobody leads with a term that it has not written
// down, for it may use it again for another leadership when it has forgotten.
func (e *Election) count() {
	if e.bid == nil || e.bid.token.Term > e.voter.kept.Max || e.until(e.bid) <= e.now {
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
