package takeover

import (
	"errors"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Action is what the shell is to do; one of the types below. Its token is the newest.
type Action interface{ isAction() }

// Begin: begin a step, and call Ended with the attempt when it has ended.
type Begin struct {
	Step     service.Step
	Attempt  uint64 // no two actions have the same, but a Stop that is repeated
	Try      int    // from 1
	Token    token.Token
	Deadline time.Duration // it is passed over then: its context ends
}

// Undo: undo all attempts of a step, also of one that has failed or hangs, and call Ended.
// That of Start has ended well when nothing of the run is left.
type Undo struct {
	Step     service.Step
	Attempt  uint64
	Token    token.Token
	Deadline time.Duration
}

// Stop: end the run and every hook now, by force if need be, and call Ended when nothing
// of it is left. Until then it is demanded again and again.
type Stop struct {
	Attempt  uint64
	Token    token.Token
	Deadline time.Duration // it is demanded again
}

// BeginCheck: look whether the service is well, and call CheckEnded.
type BeginCheck struct {
	Attempt  uint64
	Token    token.Token
	Deadline time.Duration
}

// GiveBack: lead no more.
type GiveBack struct {
	Token token.Token
	Why   Why
	Step  service.Step // StepFailed
	To    view.NodeID  // who should take over; 0: whoever is preferred
	// Lapse: the run may not have ended, so nobody may lead before the lease has: it is
	// not renewed, but not handed over either.
	Lapse bool
}

// Alarm: tell a person.
type Alarm struct {
	Token token.Token
	Why   Why
	Step  service.Step // StepFailed
	To    view.NodeID  // MoveRefused
}

// Record: add a line to the history.
type Record struct {
	Token   token.Token
	At      time.Duration
	What    What
	Step    service.Step // of a step or an undoing
	Attempt uint64
	Took    time.Duration
	Health  service.Health // HealthChanged
	Other   view.NodeID    // BetterSeen
	Err     error          // nil: it went well
}

func (Begin) isAction()      {}
func (Undo) isAction()       {}
func (Stop) isAction()       {}
func (BeginCheck) isAction() {}
func (GiveBack) isAction()   {}
func (Alarm) isAction()      {}
func (Record) isAction()     {}

// ErrTimeout: a hook was passed over. It stands in a Record.
var ErrTimeout = errors.New("takeover: no answer in time")

// Why says why a node does not run a service any longer, or what is wrong.
type Why uint8

const (
	LostLead     Why = iota
	StepFailed       // for the last time
	HealthFailed     // and restarts have not helped
	Unfit            // the node lacks what the plan needs
	Moved            // by hand
	FailedBack       // to one that the plan prefers
	Deferred         // to one that the plan prefers, before anything was begun
	Replanned        // something else is to be run
	WasWithdrawn     // the node does not stand any more
	StopHangs
	NobodyElse  // it is unfit, and no other node fits: it goes on if it runs
	MoveRefused // the node that was named does not stand
	PlanRefused // it is that of another service or mode
	OtherMode   // there is a plan of it, and Exclusive counts
	whyCount
)

var whyWords = [whyCount]string{
	LostLead: "the lead is lost", StepFailed: "a step has failed for the last time", HealthFailed: "it is not well, and restarts have not helped",
	Unfit: "the node does not fit any more", Moved: "a move was asked for", FailedBack: "it goes back to the node that the plan prefers",
	Deferred: "a node that the plan prefers stands too", Replanned: "the plan has something else run", WasWithdrawn: "the node serves it no more", StopHangs: "it does not stop",
	NobodyElse: "the node does not fit, and no other one does", MoveRefused: "the node that it was to move to does not stand for it",
	PlanRefused: "the plan is for another service or mode", OtherMode: "there is a plan of the other mode, and the exclusive one counts",
}

// String says it in words.
func (w Why) String() string {
	if w < whyCount {
		return whyWords[w]
	}
	return "unknown reason"
}

// What says what a Record tells.
type What uint8

const (
	StepEnded What = iota
	UndoEnded
	StopEnded
	HealthChanged
	BetterSeen // a node that the plan prefers stands, and waits to be asked
)
