package partition

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Mode says what a node must get along without. Where several hold, the highest
// one counts.
type Mode uint8

const (
	// Normal: nothing is known to be missing.
	Normal Mode = iota
	// Local: the component is cut off from the cloud.
	Local
	// Minority: the component holds no strict majority of the storing members.
	Minority
	// Alone: no other node is in contact, although the mesh has others.
	Alone
)

// String returns the mode in lower case.
func (m Mode) String() string { return mode.Mode(m).String() }

// Cloud says whether the cloud can be reached from the component.
type Cloud uint8

const (
	// CloudUnknown: nobody probes, or nobody was heard for long.
	CloudUnknown Cloud = iota
	CloudReachable
	CloudUnreachable
)

// String returns the verdict in lower case.
func (c Cloud) String() string { return mode.Cloud(c).String() }

// Situation is what a node makes of who is lost.
type Situation uint8

const (
	// Whole: nobody is lost.
	Whole Situation = iota
	// MembersDown: some are, and nothing speaks for a cut.
	MembersDown
	// PartitionSuspected: so many at once, or such ones, that the network is
	// likely to be cut.
	PartitionSuspected
)

// String returns the situation in words.
func (s Situation) String() string { return split.Kind(s).String() }

// Verdict says, once a lost member is back, what it went through.
type Verdict struct {
	Node   view.NodeID
	Cause  Cause
	At     time.Time     // when it was back, by this node's clock
	Outage time.Duration // for how long it was lost
}

// Cause is what a member that was lost has gone through.
type Cause uint8

const (
	// Unsure: there is no proof of either.
	Unsure Cause = iota
	// WasCut: its process ran all the time, so the network was cut.
	WasCut
	// WasRestarted: its process is another one than before.
	WasRestarted
)

// String returns the cause in words.
func (c Cause) String() string { return split.VerdictKind(c).String() }

// Leadership is who leads an election as far as a node knows.
type Leadership struct {
	Election Election
	Token    token.Token // zero: nobody is known to
	Here     bool        // it is this node, and its lease holds
	// Problem says in words why nobody leads, or what keeps this node from voting and
	// standing: a disk that takes nothing, voters that are not known. Empty: nothing
	// is known to.
	Problem string
	// Candidates are who stands for it in the component, this node included; sorted by id.
	// Who has not told yet is not among them.
	Candidates []Candidate `json:",omitempty"`
}

// Candidate is a node that stands for an election.
type Candidate = token.Candidate

// Merge is a report of what came together when members were met again.
type Merge struct {
	At   time.Time
	Met  []view.NodeID
	Text string // as Config.Merged said
}

// Status is what one node knows of the mesh around it. It is never changed after
// it was made and may be shared freely.
type Status struct {
	Node      view.NodeID
	Component []view.NodeID // who is reached, by others if need be; sorted, with Node
	Members   int           // of the mesh, those that left or were evicted not counted
	Storing   int           // of these, those that store
	Reached   int           // of those that store, how many are in the component

	Situation Situation
	Since     time.Time     // when Situation became what it is
	Lost      []view.NodeID // were in the component and are not; sorted
	Unmet     []view.NodeID // were never met since this node started; sorted
	Evidence  []string      // what was seen, in words
	Verdicts  []Verdict     // of the last members that came back, the latest last; at most 64

	Leader    Leadership // of the election that Config.Scope speaks of
	Elections []Leadership
	Voters    []view.NodeID // of majority-scope elections; none: not known

	Cloud     Cloud
	Mode      Mode
	ModeSince time.Time
	Merges    []Merge // the latest last; at most 16

	// Scores are how fit to lead those in the component say that they are, by what
	// their machines have and how they reach the others: see Partition.Resources. They
	// are for comparison only, and change when they differ by much. Who has not told
	// yet is not in it.
	Scores map[view.NodeID]uint64 `json:",omitempty"`
}

// In tells whether a node is in the component.
func (s Status) In(id view.NodeID) bool {
	_, ok := slices.BinarySearch(s.Component, id)
	return ok
}
