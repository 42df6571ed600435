package elect

import (
	"fmt"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// disk is what a voter knows of its own disk. One Save is under way at most, and
// nothing that must be kept changes until it has ended: so what is in memory is what
// is being saved, and one write is all that anybody waits for.
type disk struct {
	kept        Durable // on disk for certain
	saving      bool
	saveBegan   time.Duration // when the Save that is under way began
	first       bool          // it is that of what was read
	took        time.Duration // how long the last Save took
	broken      bool          // the last Save failed
	failedSaves int           // Saves in a row that failed
	retryAt     time.Duration // when to try again
}

const (
	// firstRetry and lastRetry bound the time between two tries to save what could not
	// be: each one writes, and a disk that is full stays full for a while.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// maxBid is for how many leases a bid waits for those that save, at most.
	maxBid = 16
)

// saveTimeLeft is for how long a Save that is under way may go on yet, by how long the last one
// took.
func (d *disk) saveTimeLeft(now time.Duration) time.Duration {
	return max(d.took-(now-d.saveBegan), time.Millisecond)
}

// asker is a candidate or leader that waits for its answer until what it is told is on
// disk.
type asker struct {
	id  view.NodeID
	ref uint64
	ask Ask
	ans Answer
	at  time.Duration
}

// startSave begins to save what the voter has decided.
func (e *Election) startSave() {
	e.voter.saving, e.voter.saveBegan = true, e.now
	e.emitEffect(Effect{Action: Save, Durable: e.voter.durable})
}

// Saved takes in how the Save under way has ended. After one that failed it is not
// known what is on disk: nothing is promised until another one has succeeded.
func (e *Election) Saved(now time.Duration, ok bool) []Effect {
	e.advanceTime(now)
	v := &e.voter
	v.saving, v.broken = false, !ok
	if !ok {
		v.retryAt = e.now + min(firstRetry<<min(v.failedSaves, 10), lastRetry)
		v.failedSaves++
		e.refuseAskers()
		if e.bid != nil && e.bid.token.Term > v.kept.Max {
			e.abandonBid()
		}
		return e.decideDue(now)
	}
	if !v.first {
		v.took = e.now - v.saveBegan
	}
	v.kept, v.first, v.failedSaves = v.durable, false, 0
	e.answerAskers()
	held := e.held
	e.held = nil
	for _, eff := range held {
		e.emitEffect(eff)
	}
	if e.bid != nil && e.bid.outbidNext {
		e.outbid()
	} else if e.bid != nil && e.bid.voters.Has(e.self) && !e.bid.refused[e.self] {
		e.askVoter(e.self, e.askOfBid())
	}
	return e.decideDue(now)
}

// awaitsDisk tells whether an answer says of a grant what is not on disk yet: that it is
// given, or that there is a later one to the same node. What a refusal tells others
// they act on with no harm.
func (e *Election) awaitsDisk(from view.NodeID, a Ask, r Reason) bool {
	v := &e.voter
	return v.durable != v.kept && v.durable.Grant.Node == from && (r == OldTerm || r == Granted && !v.renewsKept(from, a))
}

// replyWhenKept answers an asker now, or when its answer is on disk.
func (e *Election) replyWhenKept(w asker) {
	switch {
	case !e.awaitsDisk(w.id, w.ask, w.ans.Reason):
		e.emitEffect(Effect{Action: Reply, To: w.id, Ref: w.ref, Ask: w.ask, Answer: w.ans})
	case e.voter.broken:
		e.emitEffect(Effect{Action: Reply, To: w.id, Ref: w.ref, Ask: w.ask, Answer: Answer{Reason: Unable, Max: w.ans.Max, Wait: e.voter.retryAt - e.now}})
	default:
		e.askers = append(e.askers, w)
	}
}

func (e *Election) answerAskers() {
	all := e.askers
	e.askers = nil
	for _, w := range all {
		if w.ans.Reason == Granted && (e.voter.released || e.voter.durable.Grant != (token.Token{Term: w.ask.Term, Node: w.id})) {
			w.ans.Reason = OldTerm // it was given back meanwhile
		}
		e.replyWhenKept(w)
	}
}

func (e *Election) refuseAskers() {
	all := e.askers
	e.askers = nil
	for _, w := range all {
		e.replyWhenKept(w)
	}
}

// askerPatience is for how long an asker waits for its answer at most: it learns then that
// this voter lives and saves, and asks again for the same.
func (e *Election) askerPatience() time.Duration { return e.params.Lease / 4 }

// attendDisk does what is due of disk and askers.
func (e *Election) attendDisk() {
	if e.voter.broken && !e.voter.saving && e.now >= e.voter.retryAt {
		e.startSave()
	}
	for len(e.askers) > 0 && e.now >= e.askers[0].at+e.askerPatience() {
		w := e.askers[0]
		e.askers = e.askers[1:]
		e.emitEffect(Effect{Action: Reply, To: w.id, Ref: w.ref, Ask: w.ask, Answer: Answer{Reason: Saving, Max: w.ans.Max, Wait: e.voter.saveTimeLeft(e.now)}})
	}
}

// Obstacle says in words why nobody leads, as far as this node knows; it is empty where
// somebody does, or nothing is in the way.
func (e *Election) Obstacle(now time.Duration) string {
	if _, _, leads := e.Leading(now); leads || !e.known || !e.highestClaim().IsZero() {
		return ""
	}
	voters, v := e.field.Electorate, &e.voter
	switch met := e.field.countInContact(voters); {
	case len(voters.Voters) == 0:
		return "no voters are known"
	case met < voters.Majority():
		return fmt.Sprintf("%d of %d voters are in contact, %d are needed", met, len(voters.Voters), voters.Majority())
	case v.saving && now-v.saveBegan > e.params.Lease/2:
		return fmt.Sprintf("this node's disk has not saved its word for more than half a lease of %v", e.params.Lease)
	case e.bid != nil && e.bid.savesUntil > e.bid.givesUpAt:
		return fmt.Sprintf("%d of %d voters have granted it, others save that: their disks are slow", e.countSupport(), len(e.bid.voters.Voters))
	case e.bid == nil && e.failed > 1 && e.lostReason != Granted:
		return "bids fail: " + e.lostReason.String()
	}
	return ""
}

// countSupport is how many voters of the bid have granted it.
func (e *Election) countSupport() (n int) {
	for _, id := range e.bid.voters.Voters {
		if e.grants[id].term >= e.bid.token.Term {
			n++
		}
	}
	return n
}
