package detect

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// gossip is serf's last word on a member.
type gossip uint8

const (
	silent gossip = iota // none yet
	up
	down
)

type member struct {
	id     view.NodeID
	listed bool // the roster holds it; else only gossip has named it
	state  view.State

	gossip  gossip
	upSince time.Duration // since when gossip has said up without a break

	fails   int           // direct attempts that failed since the last success
	probing bool          // a probe is under way, started at sent
	sent    time.Duration // start of the last probe
	due     time.Duration // when to probe next; Never
	urgent  bool          // goes before those that are not
	cause   Reason        // what the next failure will be put down to

	inQueue    *queue        // where on the agenda it stands; nil: nothing is due of it
	queueIndex int           // its place there
	wakeAt     time.Duration // when something is due of it, as it was put there
	wasUrgent  bool          // urgent, as it was put there

	heard             bool // it answered directly, last at heardAt
	heardAt           time.Duration
	listedUnreachable bool // unreachable, as last reported

	flapped bool          // came back from doubt, last at backAt
	backAt  time.Duration // see Params.Hold
	downAt  time.Duration // Detector.timeInCompany when it was last alive
}

// isQuiet tells whether the member needs neither probes nor redials: it is in
// contact and gossip watches over it.
func (m *member) isQuiet() bool { return m.state == view.Alive && m.gossip == up }

// isUnreachable tells whether gossip says that the member lives, while the last
// Probes direct attempts failed.
func (m *member) isUnreachable(par *Params) bool {
	return m.listed && m.state != view.Departed && m.gossip == up && m.fails >= par.Probes
}

// wantProbe puts the next probe no later than at.
func (m *member) wantProbe(at time.Duration, urgent bool, cause Reason) {
	if m.probing {
		return
	}
	if m.due == Never || urgent && !m.urgent {
		m.cause, m.urgent = cause, urgent
	}
	m.due = min(m.due, at)
}

// suspectAfter is how many failures take a live member's good name. One that
// was in doubt lately gets more patience, so that a poor link does not flap.
func (m *member) suspectAfter(now time.Duration, par *Params) int {
	if m.flapped && now-m.backAt < par.Hold {
		return par.Probes
	}
	return 1
}

// nextRetry returns when to probe a member again whose last probe failed.
func (m *member) nextRetry(par *Params) time.Duration {
	if m.state == view.Failed && m.gossip != up {
		return Never // redials watch for it
	}
	pause := par.ProbeTimeout
	for n := m.fails; n >= par.Probes && pause < par.Slow; n-- {
		pause *= 2
	}
	return m.sent + min(pause, max(par.Slow, par.ProbeTimeout))
}
