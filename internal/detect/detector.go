package detect

import (
	"math/rand/v2"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Detector is the step machine. It is not safe for concurrent use.
type Detector struct {
	self    view.NodeID
	par     Params
	rng     *rand.Rand
	members map[view.NodeID]*member
}

type member struct {
	state view.State
}

// New returns a detector for the node self that knows nobody yet; feed it one
// Joined event per roster member. Events about self are ignored.
func New(self view.NodeID, par Params, rng *rand.Rand) *Detector {
	return &Detector{self: self, par: par, rng: rng, members: map[view.NodeID]*member{}}
}

// Step takes one event at time now and returns what to do about it. Time must
// not go back; a step with an earlier time counts as being at the latest one.
func (d *Detector) Step(now time.Duration, ev Event) []Effect { return nil }

// Next returns the time by which Step must be called again, with Tick if
// nothing else happens, or Never.
func (d *Detector) Next() time.Duration { return Never }

// State returns the state of a member; Alive for self, Unknown for strangers.
func (d *Detector) State(id view.NodeID) view.State { return view.Unknown }

// Size returns how many nodes this one sees alive, itself included.
func (d *Detector) Size() int { return 1 }

// Unreachable lists, sorted, the members that gossip says live but to which
// the last Probes direct attempts failed: the exceptions of this node's reach
// row (protocol E.1).
func (d *Detector) Unreachable() []view.NodeID { return nil }

// Downtime returns for how long the member has not been Alive, in run time
// during which this node saw at least one other: a node that sees nobody
// cannot tell who is down.
func (d *Detector) Downtime(now time.Duration, id view.NodeID) time.Duration { return 0 }
