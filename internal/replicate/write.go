package replicate

import (
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Level says when a write is acknowledged, or how many replies a read merges.
type Level int

const (
	One    Level = -1 // the coordinating store; for a read, one reply
	Quorum Level = -2 // more than half of the homes
)

// Sloppy is the level of n distinct stores, homes or not; n < 1 counts as 1.
func Sloppy(n int) Level { return Level(max(n, 1)) }

// DefaultLevel is Sloppy(2).
const DefaultLevel = Level(2)

// stores and homes needed at a level, of n homes.
func (l Level) requiredOf(n int) (stores, homes int) {
	switch {
	case l == Quorum:
		return n/2 + 1, n/2 + 1
	case l < 1:
		return 1, 0
	}
	return int(l), 0
}

// DefaultMinDurable is how many stores must have synced a write below which
// ErrDegraded comes with the result, in a mesh of that many storing members.
func DefaultMinDurable(storing int) int { return min(2, max(storing, 1)) }

// Plan describes where a key's copies belong and who is there to take them.
type Plan struct {
	Self  view.NodeID
	Order []view.NodeID // the homes, then the stand-ins in their order; all storing members
	Homes int           // how many of Order are homes
	Live  func(view.NodeID) bool
}

func (p *Plan) homeIDs() []view.NodeID { return p.Order[:p.Homes] }

// hasNoHome tells that a key has no home: all stores are on their way out. Who has
// something then keeps it as a home would.
func (p *Plan) hasNoHome() bool { return p.Homes == 0 }

// IsHome tells whether a store is a home.
func (p *Plan) IsHome(id view.NodeID) bool { return slices.Contains(p.homeIDs(), id) }

// Effect is something that the caller of a WriteOp must do.
type Effect struct {
	Kind EffectKind
	// To is the store to send to (Send).
	To view.NodeID
	// For is the home concerned: the hint's target, 0 when To gets the item
	// as a home (Send); the target to keep a hint for here (Keep); the home
	// that has acked (Settle).
	For view.NodeID
}

// EffectKind is what to do.
type EffectKind uint8

const (
	Send   EffectKind = iota + 1 // send the item to To, in role Role{For}
	Keep                         // add the role Role{For} to the record here, then call Kept
	Settle                       // For holds the item durably: Settle the hint for it here
	Finish                       // Result is final: answer the client. Goes out once
)

// Result is what the client is told.
type Result struct {
	// Durable is on how many distinct stores the write is synced and stays:
	// homes, this store, and one stand-in for each home that has not got it.
	Durable int
	Homes   int   // homes among them
	Hinted  int   // homes that another store keeps it for
	Err     error // nil or ErrDegraded; or that of Fenced, and the write is not acknowledged
}

// slot is what is owed to one home.
type slot struct {
	home      view.NodeID
	asked     view.NodeID   // store that has been sent the item for it; 0: none at the moment
	since     time.Duration // when
	durableAt view.NodeID   // where the item is durable for it: the home or a stand-in; 0: nowhere yet
	hintHere  bool          // this store holds a hint for it durably
}

func (s *slot) isOwed() bool { return s.durableAt == 0 && !s.hintHere }

// WriteOp coordinates the copies of one write. The write is committed here
// first: NewWrite, then a synced commit with LocalRoles, then Committed.
type WriteOp struct {
	plan       Plan
	level      Level
	minDurable int
	timeout    time.Duration
	slots      []slot
	standIn    int // next of plan.Order to be asked for a hint
	selfHome   bool
	committed  bool
	finished   bool
	fenced     error
	ending     ending
	result     Result
}

// NewWrite prepares the coordination of a write by plan.Self. minDurable < 1
// counts as 1, timeout 0 means DefaultAckTimeout.
func NewWrite(plan Plan, level Level, minDurable int, timeout time.Duration) *WriteOp {
	if timeout == 0 {
		timeout = DefaultAckTimeout
	}
	op := &WriteOp{
		plan: plan, level: level, minDurable: max(minDurable, 1), timeout: timeout,
		standIn: plan.Homes, selfHome: plan.IsHome(plan.Self) || plan.hasNoHome(),
		slots: make([]slot, 0, plan.Homes),
	}
	for _, id := range plan.homeIDs() {
		if id != plan.Self {
			op.slots = append(op.slots, slot{home: id})
		}
	}
	return op
}

// LocalRoles are the roles under which the write is committed here. A store
// that is no home keeps it for every home until that one has it: were it to
// crash before it has sent anything, the write must not be left without a
// role. Where a key has no home at all, it is kept as by a home until there is
// one.
func (op *WriteOp) LocalRoles() []Role {
	if op.selfHome {
		return []Role{HomeRole}
	}
	roles := make([]Role, len(op.slots))
	for i := range op.slots {
		roles[i] = Role{op.slots[i].home}
	}
	return roles
}

// Committed reports that the write is synced here. Only now may its dot leave
// the store.
func (op *WriteOp) Committed(now time.Duration) []Effect {
	op.committed = true
	op.ending.noteAsked(now, op.timeout)
	out := make([]Effect, 0, len(op.slots)+1)
	spare := !op.selfHome // this store counts as the stand-in of one dead home
	for i := range op.slots {
		s := &op.slots[i]
		s.hintHere = !op.selfHome
		switch {
		case op.plan.Live(s.home):
			out = op.sendCopy(out, s, s.home, now)
		case spare:
			spare = false
		default:
			out = op.tryStandIn(out, s, now)
		}
	}
	return op.concludeWrite(out)
}

func (op *WriteOp) sendCopy(out []Effect, s *slot, to view.NodeID, now time.Duration) []Effect {
	s.asked, s.since = to, now
	e := Effect{Kind: Send, To: to}
	if to != s.home {
		e.For = s.home
	}
	return append(out, e)
}

// tryStandIn gives the slot to the next live stand-in, each of which is asked once
// in an operation. When there is none the hint is kept here.
func (op *WriteOp) tryStandIn(out []Effect, s *slot, now time.Duration) []Effect {
	for op.standIn < len(op.plan.Order) {
		id := op.plan.Order[op.standIn]
		op.standIn++
		if id != op.plan.Self && op.plan.Live(id) {
			return op.sendCopy(out, s, id, now)
		}
	}
	s.asked = 0
	if s.isOwed() {
		out = append(out, Effect{Kind: Keep, For: s.home})
	}
	return out
}

// Acked reports that store from holds the write durably, in the role that it
// was sent with.
func (op *WriteOp) Acked(from view.NodeID, now time.Duration) []Effect {
	var out []Effect
	for i := range op.slots {
		switch s := &op.slots[i]; {
		case s.home == from && s.durableAt != from:
			if s.hintHere {
				out = append(out, Effect{Kind: Settle, For: from})
			}
			s.durableAt, s.asked, s.hintHere = from, 0, false
		case s.asked == from:
			s.durableAt, s.asked = from, 0
		}
	}
	return op.concludeWrite(out)
}

// Fenced reports that store from holds the write durably, and has seen the token of a later
// leader, which err tells. A client that waits is told that at once and nothing else. What
// is kept of the write gives way to that leader's wherever the two meet.
func (op *WriteOp) Fenced(from view.NodeID, err error, now time.Duration) []Effect {
	if op.fenced == nil {
		op.fenced = err
	}
	return op.Acked(from, now)
}

// Failed reports that store from has refused the item or cannot be reached.
func (op *WriteOp) Failed(from view.NodeID, now time.Duration) []Effect {
	var out []Effect
	for i := range op.slots {
		if s := &op.slots[i]; s.asked == from {
			out = op.tryStandIn(out, s, now)
			op.ending.noteFailed(now, op.timeout)
		}
	}
	return op.concludeWrite(out)
}

// EndBy sets until when the client may wait at most.
func (op *WriteOp) EndBy(at time.Duration) { op.ending.latestEnd = at }

// Ends returns when the client is to be told how things stand (see Abandon), once a
// store has failed: those that take its part may be silent, too, one after the other.
// ok is false before that, and once the client is answered.
func (op *WriteOp) Ends() (at time.Duration, ok bool) {
	return op.ending.answerAt, op.ending.answerAt != 0 && !op.finished
}

// ending tells when the client of an operation is answered with what there is. As long
// as all goes well that is nobody's care.
type ending struct {
	latestEnd time.Duration // the latest, 0: not set
	answerAt  time.Duration // 0: not yet known
}

// noteAsked is told that stores are asked for the first time.
func (e *ending) noteAsked(now, timeout time.Duration) {
	if e.latestEnd != 0 && e.latestEnd < now+timeout*3/2 { // much of the time is gone
		e.answerAt = max(e.latestEnd, now+timeout/4)
	}
}

// noteFailed is told that a store has failed. What is left is less than the timeout: who
// waits for the answer on another node has waited for a silent store before.
func (e *ending) noteFailed(now, timeout time.Duration) {
	if e.answerAt == 0 {
		e.answerAt = now + timeout*3/4
		if e.latestEnd != 0 {
			e.answerAt = min(e.answerAt, max(e.latestEnd, now))
		}
		e.answerAt = max(e.answerAt, 1)
	}
}

// Kept reports that the hint for a home is synced here.
func (op *WriteOp) Kept(home view.NodeID) []Effect {
	for i := range op.slots {
		if s := &op.slots[i]; s.home == home && s.isOwed() {
			s.hintHere = true
		}
	}
	return op.concludeWrite(nil)
}

// Tick gives the parts of stores that have been silent for the ack timeout
// to the next ones.
func (op *WriteOp) Tick(now time.Duration) []Effect {
	var out []Effect
	for i := range op.slots {
		if s := &op.slots[i]; s.asked != 0 && now-s.since >= op.timeout {
			out = op.tryStandIn(out, s, now)
			op.ending.noteFailed(now, op.timeout)
		}
	}
	return op.concludeWrite(out)
}

// Next returns when Tick is due; ok is false if nothing is awaited.
func (op *WriteOp) Next() (at time.Duration, ok bool) {
	for i := range op.slots {
		if s := &op.slots[i]; s.asked != 0 && (!ok || s.since+op.timeout < at) {
			at, ok = s.since+op.timeout, true
		}
	}
	return at, ok
}

// Abandon ends the client's wait, whose deadline has come. The copies go on.
func (op *WriteOp) Abandon() []Effect {
	if !op.committed || op.finished {
		return nil
	}
	return op.finishWrite(nil)
}

// Awaits tells whether a store is still to answer.
func (op *WriteOp) Awaits() bool {
	return slices.ContainsFunc(op.slots, func(s slot) bool { return s.asked != 0 })
}

// Over tells whether everything owed to the homes is settled: each has the
// write, or a store holds a hint for it durably. The operation can be dropped
// then, and not before.
func (op *WriteOp) Over() bool {
	if !op.finished {
		return false
	}
	for i := range op.slots {
		if s := &op.slots[i]; s.isOwed() || s.asked != 0 {
			return false
		}
	}
	return true
}

// Result returns the result so far; it is final after Finish.
func (op *WriteOp) Result() Result {
	if op.finished {
		return op.result
	}
	r := op.countCopies()
	switch {
	case op.fenced != nil:
		r.Err = op.fenced
	case !op.meetsLevel(r):
		r.Err = fmt.Errorf("replicate: durable on %d stores, %d of %d homes: %w", r.Durable, r.Homes, op.plan.Homes, ErrDegraded)
	}
	return r
}

func (op *WriteOp) countCopies() Result {
	var r Result
	for i := range op.slots {
		switch s := &op.slots[i]; {
		case s.durableAt == s.home:
			r.Durable++
			r.Homes++
		case s.durableAt != 0:
			r.Durable++
			r.Hinted++
		case s.hintHere:
			r.Hinted++
		}
	}
	// A store that is no home lets go once all homes have the write.
	if op.selfHome && !op.plan.hasNoHome() {
		r.Homes++
	}
	if op.selfHome || r.Durable < len(op.slots) {
		r.Durable++
	}
	return r
}

// meetsLevel tells whether a result is what was asked for.
func (op *WriteOp) meetsLevel(r Result) bool {
	stores, homes := op.level.requiredOf(op.plan.Homes)
	return r.Durable >= max(stores, op.minDurable) && r.Homes >= homes
}

// concludeWrite appends Finish when the level is reached, or when nobody is left to
// wait for.
func (op *WriteOp) concludeWrite(out []Effect) []Effect {
	if op.finished || !op.committed {
		return out
	}
	if op.fenced == nil && !op.meetsLevel(op.countCopies()) {
		for i := range op.slots {
			if s := &op.slots[i]; s.asked != 0 || s.isOwed() {
				return out
			}
		}
	}
	return op.finishWrite(out)
}

func (op *WriteOp) finishWrite(out []Effect) []Effect {
	op.result, op.finished = op.Result(), true
	return append(out, Effect{Kind: Finish})
}
