package replicate

import (
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Knowledge is what a store's record says about a key.
type Knowledge uint8

const (
	Absent  Knowledge = iota // no record
	Present                  // Item holds it, tombs included
	Corrupt                  // the record is damaged: the store knows nothing
)

// Reply is one store's answer to a read.
type Reply struct {
	From    view.NodeID
	Know    Knowledge
	Syncing bool // the store is a home that has not caught up: what it lacks proves nothing
	Item    version.Item
	Stamp   purge.Stamp // the store's in the key's shard when it read Item
}

// ReadResult is what a read concludes.
type ReadResult struct {
	Item    version.Item // merged from all replies; Unknown if none had a record
	Stamp   purge.Stamp  // with which Item may be merged elsewhere
	Replies int          // replies that count towards the level
	// Missing is what the client has seen and no reply covers; see ReadOp.Cover. HeardAll
	// tells that all stores that there are were asked for it and have replied.
	Missing  []version.Dot
	HeardAll bool
	// Err is ErrDegraded if fewer stores answered than the level asks for, or
	// if none had a record and too few homes can vouch that there is none.
	Err error
}

// Found tells whether any store had a record, be it of a delete.
func (r *ReadResult) Found() bool { return !r.Item.Unknown() }

// ReadOp gathers the replies to one read.
//
// A record is merged wherever it comes from. Its absence counts only at a home
// that has caught up: everywhere else, and in a damaged record, it means that
// the store does not know. That there is no record at all is concluded only
// when more than half of the homes say so (with all, every one). At level
// Quorum only homes that have caught up count, also with what they hold: that
// is what makes it meet every write of that level.
type ReadOp struct {
	plan         Plan
	want         int  // replies that count
	strict       bool // only homes that have caught up count
	absentNeeded int  // homes that must say absent
	seen         version.Context
	oneFirst     bool
	timeout      time.Duration
	asked        []askedStore
	next         int // next of plan.Order to be asked
	merged       version.Item
	stamp        purge.Stamp // with which merged may be sent on
	counted      int
	absent       int // homes among them without a record
	replies      []Reply
	finished     bool
	failed       int // stores
	ending       ending
	result       ReadResult
}

type askedStore struct {
	to    view.NodeID
	since time.Duration
	state askState
}

type askState uint8

const (
	waiting  askState = iota
	overdue           // the next store was asked as well
	answered          // or failed
)

// NewRead prepares a read by plan.Self. all is for a delete that would be
// left out if there is nothing to delete. timeout 0 means DefaultAckTimeout.
func NewRead(plan Plan, level Level, all bool, timeout time.Duration) *ReadOp {
	if timeout == 0 {
		timeout = DefaultAckTimeout
	}
	stores, _ := level.requiredOf(plan.Homes)
	op := &ReadOp{plan: plan, want: min(stores, max(plan.Homes, 1)), strict: level == Quorum, timeout: timeout}
	op.absentNeeded = level.homesToProveAbsence(plan.Homes)
	if all {
		op.absentNeeded = plan.Homes
	}
	return op
}

// homesToProveAbsence returns how many homes of n must say that a key is unknown for a
// read to conclude that it is.
func (l Level) homesToProveAbsence(n int) int {
	stores, _ := l.requiredOf(n)
	return max(min(stores, max(n, 1)), n/2+1)
}

// HomesToScan returns how many homes of n are asked for all that they have: as many as
// prove to a read that a key is unknown, for a scan must not miss one either. At level
// One a single home does, and what others have acknowledged a moment ago may be missing.
func (l Level) HomesToScan(n int) int {
	if l == One {
		return 1
	}
	return l.homesToProveAbsence(n)
}

// Start returns the stores to ask first. This store is one of them if it is a
// home, or there is none; its own record is read like any other and reported by
// Replied.
func (op *ReadOp) Start(now time.Duration) []view.NodeID {
	op.ending.noteAsked(now, op.timeout)
	var out []view.NodeID
	if op.plan.IsHome(op.plan.Self) || op.plan.hasNoHome() {
		out = op.askStore(out, op.plan.Self, now)
	}
	return op.askFurther(out, now)
}

func (op *ReadOp) askStore(out []view.NodeID, id view.NodeID, now time.Duration) []view.NodeID {
	op.asked = append(op.asked, askedStore{to: id, since: now})
	return append(out, id)
}

// askFurther asks further stores while the replies that are due cannot suffice.
func (op *ReadOp) askFurther(out []view.NodeID, now time.Duration) []view.NodeID {
	for !op.finished && op.lacksReplies() && op.next < len(op.plan.Order) {
		id := op.plan.Order[op.next]
		op.next++
		if op.hasAsked(id) || id != op.plan.Self && !op.plan.Live(id) {
			continue
		}
		out = op.askStore(out, id, now)
	}
	return out
}

func (op *ReadOp) hasAsked(id view.NodeID) bool {
	for i := range op.asked {
		if op.asked[i].to == id {
			return true
		}
	}
	return false
}

// instead is how many more stores are asked when one has failed: those that it is
// silent with may be many, and there is no time to find out one by one.
const instead = 3

// lacksReplies tells whether the replies so far and those still due are too few.
func (op *ReadOp) lacksReplies() bool {
	due := 0
	for i := range op.asked {
		if op.asked[i].state == waiting {
			due++
		}
	}
	return due < op.repliesLacking()+instead*op.failed
}

// repliesLacking returns how many more replies the read needs at least. Once it is known
// that the nearest stores do not cover what was seen, several others are asked at a time.
func (op *ReadOp) repliesLacking() int {
	n := op.levelLacks()
	if op.oneFirst && len(op.replies) == 0 && op.failed == 0 {
		return 1
	}
	if len(op.replies) > 0 && op.isBehind() {
		return max(n, op.plan.Homes, 1)
	}
	return n
}

// levelLacks returns how many more replies the level asks for.
func (op *ReadOp) levelLacks() int {
	if !op.merged.Unknown() {
		return op.want - op.counted
	}
	return op.absentNeeded - op.absent
}

// Replied takes in a reply. It returns the stores to ask next; done is true
// once, when the result is final.
func (op *ReadOp) Replied(r Reply, now time.Duration) (ask []view.NodeID, done bool) {
	if !op.markAnswered(r.From) {
		return nil, false
	}
	op.replies = append(op.replies, r)
	vouches := !r.Syncing && op.plan.IsHome(r.From)
	switch {
	case r.Know == Present:
		if op.merged.Unknown() {
			op.stamp = r.Stamp
		}
		op.stamp = op.stamp.Least(r.Stamp)
		op.merged = version.Merge(op.merged, r.Item)
		if vouches || !op.strict {
			op.counted++
		}
	case r.Know == Absent && vouches:
		op.counted++
		op.absent++
	}
	return op.concludeRead(now)
}

// Failed reports that a store does not answer.
func (op *ReadOp) Failed(from view.NodeID, now time.Duration) (ask []view.NodeID, done bool) {
	if !op.markAnswered(from) {
		return nil, false
	}
	op.failed++
	op.ending.noteFailed(now, op.timeout)
	return op.concludeRead(now)
}

// Ends returns when the read is to end with what there is (see Abandon), once a store
// has failed: the next ones may be silent, too, one after the other. ok is false
// before that, and once it has ended.
func (op *ReadOp) Ends() (at time.Duration, ok bool) {
	return op.ending.answerAt, op.ending.answerAt != 0 && !op.finished
}

// EndBy sets until when the read may take at most.
func (op *ReadOp) EndBy(at time.Duration) { op.ending.latestEnd = at }

// markAnswered marks that a store has been heard; false if it was not asked, or has
// been heard before.
func (op *ReadOp) markAnswered(id view.NodeID) bool {
	for i := range op.asked {
		if a := &op.asked[i]; a.to == id && a.state != answered {
			a.state = answered
			return true
		}
	}
	return false
}

// Tick asks further stores in place of those that have been silent for the
// timeout. When nobody is left to ask, the read ends without them.
func (op *ReadOp) Tick(now time.Duration) (ask []view.NodeID, done bool) {
	for i := range op.asked {
		if a := &op.asked[i]; a.state == waiting && now-a.since >= op.timeout {
			a.state = overdue
			op.ending.noteFailed(now, op.timeout)
		}
	}
	return op.concludeRead(now)
}

// Next returns when Tick is due; ok is false if nothing is awaited.
func (op *ReadOp) Next() (at time.Duration, ok bool) {
	if op.finished {
		return 0, false
	}
	for i := range op.asked {
		if a := &op.asked[i]; a.state == waiting && (!ok || a.since+op.timeout < at) {
			at, ok = a.since+op.timeout, true
		}
	}
	return at, ok
}

func (op *ReadOp) concludeRead(now time.Duration) (out []view.NodeID, done bool) {
	if op.finished {
		return nil, false
	}
	if op.repliesLacking() > 0 {
		if out = op.askFurther(nil, now); len(out) > 0 || op.awaitsReply() {
			return out, false
		}
	}
	op.finishRead()
	return nil, true
}

func (op *ReadOp) awaitsReply() bool {
	for i := range op.asked {
		if op.asked[i].state == waiting {
			return true
		}
	}
	return false
}

// Abandon ends the read, whose deadline has come, with what there is. It reports
// false if it had ended.
func (op *ReadOp) Abandon() bool {
	if op.finished {
		return false
	}
	op.finishRead()
	return true
}

func (op *ReadOp) finishRead() {
	op.finished = true
	op.result = ReadResult{Item: op.merged, Stamp: op.stamp, Replies: op.counted}
	if op.isBehind() {
		op.result.Missing, op.result.HeardAll = op.missingDots(), op.heardAll()
	}
	if n := op.levelLacks(); n > 0 {
		op.result.Err = fmt.Errorf("replicate: %d replies too few: %w", n, ErrDegraded)
	}
}

// Result returns what the read concludes; final once done.
func (op *ReadOp) Result() ReadResult { return op.result }

// Repairs lists the homes whose reply was strictly behind the merge of all
// replies so far, this store included. They may be sent Merged, in the
// background. Homes that lost their record are behind, too.
func (op *ReadOp) Repairs() []view.NodeID {
	var out []view.NodeID
	if op.merged.Unknown() {
		return nil
	}
	for i := range op.replies {
		r := &op.replies[i]
		if op.plan.IsHome(r.From) && (r.Know != Present || !r.Item.Dominates(op.merged)) {
			out = append(out, r.From)
		}
	}
	return out
}

// Merged returns the merge of all replies so far, late ones included, and the
// stamp with which it is to be sent on: never a newer one than any reply came
// with, or a value that was read before a purge would be written back after it.
func (op *ReadOp) Merged() (version.Item, purge.Stamp) { return op.merged, op.stamp }
