// Package detect decides what one node believes of the liveness of the
// others. It stands above serf: gossip is only a hint, and nothing is given
// up without direct, authenticated probes that failed (protocol E.1 in
// internal/README.md).
//
// It is a step machine. The shell that owns it feeds events, performs the
// effects that come back, in order, and calls Step again with a Tick no later
// than Next says. Time is the run time of this process (monotonic, from any
// origin) and chance is an argument, so a run replays from its seed.
//
// The rules:
//
//   - A member is Failed only if gossip does not say it lives and Probes direct
//     attempts in a row failed.
//   - One direct success makes it Alive at once, whatever gossip says.
//   - Gossip never takes a member from Alive, and never brings one back that
//     was given up; it makes us probe. Only a member of which nothing is known
//     is taken as alive on gossip's word, and is probed to make sure.
//   - Gossip says alive but direct attempts fail: a one-way link, or a bridge
//     between two cuts. The member stays Suspect and is listed by Unreachable.
//   - One that is out of contact and has another address now is tried there at
//     once: by all whom gossip tells that it lives, else by a few.
//   - Departed is final.
//   - Every member that is neither in contact nor gone is redialled for ever.
//   - Failed is one node's verdict. Before data or services move, others are
//     asked: see Jury and Enough.
package detect

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Kind says what an Event reports.
type Kind uint8

const (
	// Tick reports nothing but the time.
	Tick Kind = iota
	// Joined: the roster holds this member and it is not gone. Repeats do
	// nothing.
	Joined
	// Gone: the roster says that the member left or was evicted.
	Gone
	// GossipAlive, GossipFailed, GossipLeft: serf's word on the member.
	GossipAlive
	GossipFailed
	GossipLeft
	// Broken: an established data connection to the member broke.
	Broken
	// Doubt: an answer that was due from the member did not come in time.
	Doubt
	// ProbeOK: the member itself was heard over an authenticated path: it
	// answered a probe, a redial or a call, or said hello.
	ProbeOK
	// ProbeFailed: the probe that was asked for got no answer. Failed redials
	// are not reported; they prove nothing that probes do not.
	ProbeFailed
	// Moved: the roster names another address of the member than before.
	Moved
)

// Event is one input.
type Event struct {
	Kind Kind
	ID   view.NodeID // no meaning for Tick
}

// Action says what an Effect asks for.
type Action uint8

const (
	// Probe asks for one direct authenticated probe of ID with the deadline
	// Params.ProbeTimeout. Its outcome must come back as ProbeOK or
	// ProbeFailed.
	Probe Action = iota
	// Redial asks for a full attempt at joining ID again: connect, hello,
	// roster exchange, serf join. Success comes back as ProbeOK, and as
	// GossipAlive when serf sees the member.
	Redial
	// Seek asks to try the seeds, looked up afresh; those that are members in
	// contact may be skipped.
	Seek
	// Changed reports that the state of ID moved from From to To.
	Changed
	// Relisted reports that ID came on, or went off, the list of Unreachable.
	Relisted
)

// Reason says why a state changed.
type Reason uint8

const (
	ByGossip      Reason = iota // gossip's word on a member never met
	ByProbe                     // a direct answer
	ByBroken                    // a connection broke and the probe after it failed
	ByDoubt                     // an answer was late and the probe after it failed
	BySilence                   // direct attempts failed
	ByGossipAgain               // given up here, yet gossip has long said it lives
	ByRoster                    // the roster says that it left or was evicted
)

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case ByGossip:
		return "gossip says so"
	case ByProbe:
		return "it answered"
	case ByBroken:
		return "its connection broke"
	case ByDoubt:
		return "an answer was late"
	case BySilence:
		return "it does not answer"
	case ByGossipAgain:
		return "gossip says that it lives"
	case ByRoster:
		return "it left or was evicted"
	}
	return "no known reason"
}

// Effect is one output.
type Effect struct {
	Action   Action
	ID       view.NodeID // no meaning for Seek
	From, To view.State  // Changed only
	Reason   Reason      // Changed only
}

// Never is what Next returns when nothing is due.
const Never = time.Duration(1<<63 - 1)
