// Package mode decides what mode one node is in: whether it may count
// on the mesh and on the cloud, or must get along with what it has. It does so
// from what it is told of the roster, of the node's component and of probes of
// the cloud; it looks at nothing itself.
//
// It holds three step machines. Reachability turns the outcomes of one node's
// probes of the cloud into that node's finding; CloudWatcher turns the findings that
// the probing nodes of a component tell each other into the component's;
// Watcher turns all that is known into a Mode. Time is the run time of this
// process (monotonic, from any origin) and chance is an argument, so a run
// replays from its seed. No machine is safe for concurrent use.
package mode

import "time"

// Mode says what a node must get along without. Where several hold, the
// highest one counts.
type Mode uint8

const (
	// Normal: nothing is known to be missing.
	Normal Mode = iota
	// Local: the component is cut off from the cloud.
	Local
	// Minority: the component holds no strict majority of the storing members
	// of the roster; of all members where none stores.
	Minority
	// Alone: no other node is in contact, although the roster has others.
	Alone
)

// String returns the mode in lower case.
func (m Mode) String() string {
	switch m {
	case Local:
		return "local"
	case Minority:
		return "minority"
	case Alone:
		return "alone"
	}
	return "normal"
}

// Cloud is a finding on whether the cloud can be reached.
type Cloud uint8

const (
	// Unknown: nobody probes, or nobody was heard for long.
	Unknown Cloud = iota
	Reachable
	Unreachable
)

// String returns the finding in lower case.
func (c Cloud) String() string {
	switch c {
	case Reachable:
		return "reachable"
	case Unreachable:
		return "unreachable"
	}
	return "unknown"
}

// Never is what Next returns when nothing is due.
const Never = time.Duration(1<<63 - 1)

// Params sets the pace of the machines. A field that is not above zero counts
// as in Defaults.
type Params struct {
	// EnterAfter is for how long what makes a mode must have held, without a
	// break, before the mode is entered; LeaveAfter for how long it must not
	// have held before the mode is left.
	EnterAfter, LeaveAfter time.Duration
	// ReadyAfter is for how long after the first step a node that has met no
	// majority yet is still taken to be starting, not cut off.
	ReadyAfter time.Duration

	// Failures in a row of a node's probes make the cloud unreachable for it,
	// Successes in a row reachable.
	Failures, Successes int
	// Interval is the mean time between two probes while they succeed.
	Interval time.Duration
	// Floor and Cap bound the time between two probes otherwise: Floor while in
	// doubt, then growing to Cap while the cloud stays unreachable.
	Floor, Cap time.Duration

	// FreshFor is for how long a report counts after it came. It must be longer
	// than the longest time between two reports of one node.
	FreshFor time.Duration
	// KeepFor is for how long a component keeps its finding after the last
	// report has ceased to count.
	KeepFor time.Duration
}

// Defaults finds a lost cloud unreachable within 25 s, and one that is back
// reachable within about a minute, the time that probes take not counted. Watcher
// follow after their own delays.
func Defaults() Params {
	return Params{
		EnterAfter: 3 * time.Second, LeaveAfter: 10 * time.Second, ReadyAfter: 15 * time.Second,
		Failures: 3, Successes: 2,
		Interval: 15 * time.Second, Floor: time.Second, Cap: time.Minute,
		FreshFor: 2 * time.Minute, KeepFor: 3 * time.Minute,
	}
}

func (p Params) withDefaults() Params {
	d := Defaults()
	fillDefault(&p.EnterAfter, d.EnterAfter)
	fillDefault(&p.LeaveAfter, d.LeaveAfter)
	fillDefault(&p.ReadyAfter, d.ReadyAfter)
	fillDefault(&p.Failures, d.Failures)
	fillDefault(&p.Successes, d.Successes)
	fillDefault(&p.Interval, d.Interval)
	fillDefault(&p.Floor, d.Floor)
	fillDefault(&p.Cap, d.Cap)
	fillDefault(&p.FreshFor, d.FreshFor)
	fillDefault(&p.KeepFor, d.KeepFor)
	return p
}

func fillDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
