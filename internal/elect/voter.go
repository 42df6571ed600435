package elect

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Durable is what a node must never forget of an election.
type Durable struct {
	Max   uint64        // highest term that it granted or used
	Grant token.Token   // last grant, to Grant.Node
	Lease time.Duration // of that grant
}

// Ask is a candidate's request for a grant, or a leader's for its renewal.
type Ask struct {
	Term       uint64
	Renew      bool
	Electorate uint64 // Sum
	Lease      time.Duration
	Score      Score
}

// Reason says why a grant is refused.
type Reason uint8

const (
	Granted   Reason = iota
	Busy             // another holds an unexpired grant, or was nominated
	Silent           // the voter was restarted and may have forgotten when a grant ends
	OldTerm          // the term, or a higher one, was granted before
	Differs          // the voter computes another electorate
	Beaten           // somebody in contact is better by the margin
	OutOfHere        // the candidate is not in the voter's component
	BadLease         // longer than MaxLease or not above zero
	BadTerm          // beyond all belief
	Saving           // its disk is busy with what it promised before
	Unable           // its disk does not take what it would promise
)

// maxLeap is by how much a term may be above those known. Terms grow by one a bid;
// one far above is a fault that, once believed, would use up all there are.
const maxLeap = 1 << 40

var reasons = [...]string{"granted", "another holds a grant", "the voter has just started", "the term is old",
	"the voter sees another electorate", "another is better", "the voter is in another component", "the lease is out of bounds", "the term is out of bounds",
	"the voter is saving another promise", "the voter's disk takes nothing"}

// String says it in words.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "unknown reason"
}

// Answer is a voter's reply to an Ask.
type Answer struct {
	Reason Reason
	Max    uint64        // the voter's highest term
	Wait   time.Duration // Busy, Silent, Saving, Unable: until that has passed
	Holder token.Token   // Busy, OldTerm: whose grant it is, if it is another's
}

// voter is the part of an Election that grants.
type voter struct {
	self    view.NodeID
	durable Durable // what it goes by: kept, or under way to the disk
	disk

	grantEnds     time.Duration // when the last grant ends
	ledUntil      time.Duration // when the last one ends, or was given back, that was renewed
	renewed       uint64        // highest term that the last grant's node has renewed here; 0: none
	released      bool          // it was given back: it cannot be renewed
	silentUntil   time.Duration // grants nothing before that
	lapsed        view.NodeID   // let its grant run out and was not heard of since
	lapsedIn      uint64        // the term of that grant
	lapsedRenewed uint64        // what renewed was then
	nominee       view.NodeID   // is preferred, before favour
	favourEnds    time.Duration
}

// newVoter returns a voter with what it wrote down in an earlier run.
func newVoter(self view.NodeID, d Durable, now time.Duration) voter {
	v := voter{self: self, durable: d, grantEnds: now, ledUntil: now}
	if !d.Grant.IsZero() {
		// When the grant ends is not known any more; all grants given before do
		// within the longest lease that is allowed for, its own.
		v.silentUntil = now + d.Lease
	}
	return v
}

// holder returns whose unexpired grant there is.
func (v *voter) holder(now time.Duration) (view.NodeID, bool) {
	return v.durable.Grant.Node, now < v.grantEnds && !v.released
}

// answerAsk answers a request. If save, what it decided must be on disk first. While that
// cannot be, nothing is decided that must.
func (v *voter) answerAsk(now time.Duration, from view.NodeID, a Ask, f *Field) (Answer, bool) {
	v.noteLapse(now)
	if v.lapsed == from {
		v.lapsed = 0
	}
	out := Answer{Reason: v.judgeAsk(now, from, a, f), Max: v.durable.Max}
	switch out.Reason {
	case Granted:
		if v.renewsKept(from, a) {
			v.grantEnds, v.renewed = max(v.grantEnds, now+a.Lease), max(v.renewed, a.Term)
			v.ledUntil = v.grantEnds
			return out, false
		}
	case Silent:
		out.Wait = v.silentUntil - now
		return out, false
	case Busy:
		out.Wait, out.Holder = v.grantEnds-now, v.durable.Grant
		if _, held := v.holder(now); !held {
			out.Wait, out.Holder = v.favourEnds-now, token.Token{}
		}
		return out, false
	case OldTerm:
		if id, held := v.holder(now); held && id != from {
			out.Holder = v.durable.Grant
		}
		return out, false
	default:
		return out, false
	}
	grant := token.Token{Term: a.Term, Node: from}
	again := grant == v.durable.Grant
	save := !again || a.Lease > v.durable.Lease
	if save && v.saving {
		out.Reason, out.Wait = Saving, v.saveTimeLeft(now)
		return out, false
	}
	if save && v.broken {
		out.Reason, out.Wait = Unable, v.retryAt-now
		return out, false
	}
	if from != v.durable.Grant.Node {
		v.durable.Lease, v.renewed = 0, 0
	}
	v.durable.Grant, v.durable.Lease, v.released = grant, max(v.durable.Lease, a.Lease), false
	v.durable.Max = max(v.durable.Max, a.Term)
	v.grantEnds = max(v.grantEnds, now+a.Lease)
	if a.Renew {
		v.ledUntil = v.grantEnds
		if again { // else it may be a term that has not begun
			v.renewed = a.Term
		}
	}
	if v.nominee == from {
		v.nominee = 0
	}
	out.Max = v.durable.Max
	return out, save
}

func (v *voter) judgeAsk(now time.Duration, from view.NodeID, a Ask, f *Field) Reason {
	if a.Lease <= 0 || a.Lease > MaxLease {
		return BadLease
	}
	if now < v.silentUntil {
		return Silent
	}
	if (token.Token{Term: a.Term, Node: from}) == v.durable.Grant {
		if v.released {
			return OldTerm
		}
		return Granted // the last grant, once more
	}
	if v.renewsKept(from, a) {
		return Granted
	}
	if a.Term <= v.durable.Max {
		return OldTerm
	}
	if !v.believes(a.Term) {
		return BadTerm
	}
	if id, held := v.holder(now); held && id != from {
		return Busy
	}
	if v.nominee != 0 && v.nominee != from {
		return Busy
	}
	if a.Renew {
		return Granted // the term has begun without this voter; it joins
	}
	if a.Electorate != f.Electorate.Sum {
		return Differs
	}
	if !f.Component[from] && from != v.self {
		return OutOfHere
	}
	if from != v.nominee && !v.isLeaderless(now, a.Lease) && f.isBeaten(from, a.Score, v.lapsed) {
		return Beaten
	}
	return Granted
}

// renewsKept tells whether a leader renews the grant that is on disk while that of a
// later term, to the same node, is under way there: it leads on whatever becomes of
// that.
func (v *voter) renewsKept(from view.NodeID, a Ask) bool {
	grant := token.Token{Term: a.Term, Node: from}
	return a.Renew && grant == v.kept.Grant && v.durable.Grant != grant && v.durable.Grant.Node == from && !v.released && a.Lease <= v.kept.Lease
}

// isLeaderless tells whether nobody has led for so long that whoever can win may: the best
// one does not, for whatever reason. That it asks again and again counts nothing.
func (v *voter) isLeaderless(now, lease time.Duration) bool { return now-v.ledUntil > 3*lease }

// believes tells whether a term can be one that somebody came to by asking.
func (v *voter) believes(term uint64) bool {
	return term <= v.durable.Max || term-v.durable.Max <= maxLeap
}

// exceeds tells whether a term above that one could be believed.
func (v *voter) exceeds(term uint64) bool {
	return term <= v.durable.Max || term-v.durable.Max < maxLeap
}

// noteLapse notes that the last grant, and the favour of a nominee, have run out.
func (v *voter) noteLapse(now time.Duration) {
	if !v.released && !v.durable.Grant.IsZero() && now >= v.grantEnds && now >= v.silentUntil {
		v.lapsed, v.lapsedIn, v.lapsedRenewed = v.durable.Grant.Node, v.durable.Grant.Term, v.renewed
	}
	if now >= v.favourEnds {
		v.nominee = 0
	}
}

// supports tells whether a claim rests on the last grant of this voter: it was won
// with that one or was renewed here. A leader whose bid for another term was granted
// here leads on without it, if it has not heard so: by grants of others, of which
// this voter does not see the end.
func (v *voter) supports(claim token.Token) bool {
	return claim.Node == v.durable.Grant.Node && (claim.Term == v.durable.Grant.Term || claim.Term <= v.renewed)
}

// outlived tells whether a claim rests, in that sense, on a grant that ran out.
func (v *voter) outlived(claim token.Token) bool {
	return claim.Node == v.lapsed && (claim.Term == v.lapsedIn || claim.Term <= v.lapsedRenewed)
}

// releaseGrant takes back what its holder gave up: all grants of terms up to this one,
// in favour of a nominee if there is one.
func (v *voter) releaseGrant(now time.Duration, from view.NodeID, term uint64, nominee view.NodeID) {
	if v.durable.Grant.Node != from || v.durable.Grant.Term > term || v.released {
		return
	}
	v.released = true
	v.grantEnds, v.ledUntil = now, min(v.ledUntil, now)
	if v.lapsed == from {
		v.lapsed = 0
	}
	v.nominee, v.favourEnds = nominee, now+v.durable.Lease/2
}
