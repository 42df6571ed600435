package detect

import "time"

// Params sets the pace of a Detector. Take one of the profiles and change
// what must differ; a field that is not above zero counts as in LAN.
type Params struct {
	// Probes is how many direct attempts in a row must fail before a member
	// may be Failed.
	Probes int
	// ProbeTimeout is the deadline of one probe, and the least time between
	// the starts of two probes of one member while it is in doubt.
	ProbeTimeout time.Duration
	// ProbeRate is how many probes may start per second; Burst how many may
	// start at once after a quiet time. Urgent ones go first.
	ProbeRate, ProbeBurst int
	// Watch is the time between probes of a member that answers us but that
	// gossip does not know.
	Watch time.Duration
	// Slow is the longest time between probes of a member that gossip says
	// lives but that does not answer us; the time doubles from ProbeTimeout.
	Slow time.Duration
	// Hold is how long gossip must have said without a break that a failed
	// member lives before it counts as Suspect again, and for how long a
	// member that came back needs Probes failures, not one, to be suspected.
	Hold time.Duration
	// First spreads the first probes of members just heard of.
	First time.Duration

	// Redial is the expected time between two attempts of this node's whole
	// component at one member that is out of contact.
	Redial time.Duration
	// RedialFloor is the longest expected time between two attempts of the
	// component at anyone while somebody is out of contact.
	RedialFloor time.Duration
	// RedialHeal replaces Redial for HealFor after a member came back: where
	// one returns, others are likely to.
	RedialHeal, HealFor time.Duration
	// RedialLone replaces Redial for a node that sees nobody; it also tries
	// the seeds about that often.
	RedialLone time.Duration
	// RedialRate is how many redials one node may start per second.
	RedialRate int
}

// LAN is for nodes on one site: round trips of a few milliseconds, little
// loss.
//
// A member whose process was killed is suspected within ProbeTimeout of its
// connections breaking. A member gone silent is Failed at most 3 x 400 ms
// (and a tick) after gossip gave it up, so 8, 11 and 16 s after it fell silent
// at 5, 50 and 300 nodes, as long as no more than 300 fall silent at once.
func LAN() Params {
	return Params{
		Probes: 3, ProbeTimeout: 400 * time.Millisecond, ProbeRate: 400, ProbeBurst: 300,
		Watch: 5 * time.Second, Slow: 10 * time.Second, Hold: 15 * time.Second, First: time.Second,
		Redial: 30 * time.Second, RedialFloor: 3 * time.Second,
		RedialHeal: time.Second, HealFor: 10 * time.Second,
		RedialLone: 2 * time.Second, RedialRate: 10,
	}
}

// WAN is for sites joined by the internet: round trips to 300 ms, some loss.
//
// A killed process is suspected within 1 s of its connections breaking; a
// silent member is Failed at most 3 s after gossip gave it up.
func WAN() Params {
	return Params{
		Probes: 3, ProbeTimeout: time.Second, ProbeRate: 100, ProbeBurst: 100,
		Watch: 15 * time.Second, Slow: 30 * time.Second, Hold: 45 * time.Second, First: 3 * time.Second,
		Redial: 30 * time.Second, RedialFloor: 10 * time.Second,
		RedialHeal: 2 * time.Second, HealFor: 20 * time.Second,
		RedialLone: 5 * time.Second, RedialRate: 5,
	}
}

// Edge is for starved gateways and poor radio links: it would rather be late
// than wrong.
//
// A killed process is suspected within 2 s of its connections breaking; a
// silent member is Failed at most 8 s after gossip gave it up.
func Edge() Params {
	return Params{
		Probes: 4, ProbeTimeout: 2 * time.Second, ProbeRate: 30, ProbeBurst: 30,
		Watch: 30 * time.Second, Slow: time.Minute, Hold: time.Minute, First: 10 * time.Second,
		Redial: 30 * time.Second, RedialFloor: 15 * time.Second,
		RedialHeal: 3 * time.Second, HealFor: 30 * time.Second,
		RedialLone: 8 * time.Second, RedialRate: 2,
	}
}

// ProbeWait is how long the outcome of a probe of a member is waited for: ProbeTimeout,
// and longer where the round trip to it is known to be long. It stays below twice
// ProbeTimeout: one that fails later counts as a stall of this node's own.
func (p Params) ProbeWait(roundTrip time.Duration) time.Duration {
	return min(max(p.ProbeTimeout, roundTrip*5/4), p.ProbeTimeout*19/10)
}

func (p Params) withDefaults() Params {
	lan := LAN()
	fillDefault(&p.Probes, lan.Probes)
	fillDefault(&p.ProbeTimeout, lan.ProbeTimeout)
	fillDefault(&p.ProbeRate, lan.ProbeRate)
	fillDefault(&p.ProbeBurst, lan.ProbeBurst)
	fillDefault(&p.Watch, lan.Watch)
	fillDefault(&p.Slow, lan.Slow)
	fillDefault(&p.Hold, lan.Hold)
	fillDefault(&p.First, lan.First)
	fillDefault(&p.Redial, lan.Redial)
	fillDefault(&p.RedialFloor, lan.RedialFloor)
	fillDefault(&p.RedialHeal, lan.RedialHeal)
	fillDefault(&p.HealFor, lan.HealFor)
	fillDefault(&p.RedialLone, lan.RedialLone)
	fillDefault(&p.RedialRate, lan.RedialRate)
	return p
}

func fillDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
