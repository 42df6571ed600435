package split

import (
	"fmt"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Life is what a node last said of its process.
type Life struct {
	Boot   uint64        // boot counter of the store, as in view.Member; 0: no report
	Uptime time.Duration // for how long the process had been running when it said so
	At     time.Duration // `now` when the report came here
}

// VerdictKind is what a member that was lost has gone through.
type VerdictKind uint8

const (
	Unsure       VerdictKind = iota // no proof of either
	WasCut                          // its process ran all the time: the network was cut
	WasRestarted                    // its process is another one than before: it crashed or was restarted
)

// String returns the kind in words.
func (k VerdictKind) String() string {
	switch k {
	case Unsure:
		return "unsure"
	case WasCut:
		return "was cut off"
	case WasRestarted:
		return "was restarted"
	}
	return fmt.Sprintf("verdict(%d)", uint8(k))
}

// Verdict tells, after the fact, why a member was lost.
type Verdict struct {
	Node   view.NodeID
	Kind   VerdictKind
	Since  time.Duration // when it was found lost
	Outage time.Duration // from then until it was found back
}

type phase uint8

const (
	phaseHere phase = iota // in the component, and no verdict is due
	phaseLost              // not in the component
	phaseBack              // in the component again; the verdict is due
)

// member is what is kept of one that was in the component.
type member struct {
	phase  phase
	boot   uint64        // the highest heard of until it was found lost
	life   Life          // its last report until then
	since  time.Duration // found lost
	backAt time.Duration // found back
	byRows bool          // only what others say of their reach has it back, and that may be old
	alive  bool          // it was seen alive at the last step
}

// noteAbsent takes in that a member is not in the component. It reports whether it
// ever was.
//
// One that goes again before the verdict had not come back for good, or not at
// all: a row that came late can make it look so for a moment. Its outage goes on.
func (w *Watcher) noteAbsent(m *view.Member, life Life) (met bool) {
	r := w.metMembers[m.ID]
	if r == nil {
		return false
	}
	if r.phase == phaseHere {
		r.since = w.now
		r.learnLife(m, life)
	}
	r.phase, r.alive = phaseLost, m.State == view.Alive
	return true
}

// notePresent takes in that a member is in the component, and returns the verdict if
// one is reached by that.
func (w *Watcher) notePresent(m *view.Member, life Life) (verdict Verdict, reached bool) {
	r := w.metMembers[m.ID]
	if r == nil {
		r = &member{}
		w.metMembers[m.ID] = r
	}
	alive := m.State == view.Alive
	heard := alive && !r.alive || max(m.Boot, life.Boot) > r.boot
	r.alive = alive
	if r.phase == phaseLost || r.phase == phaseBack && r.byRows && heard {
		r.phase, r.backAt, r.byRows = phaseBack, w.now, !heard
	}
	if r.phase == phaseBack {
		kind, sure := r.decideVerdict(w.now, m.Boot, life)
		if !sure && w.now-r.backAt < w.params.VerdictWait {
			return Verdict{}, false
		}
		verdict = Verdict{Node: m.ID, Kind: kind, Since: r.since, Outage: r.backAt - r.since}
		reached = true
	}
	r.phase = phaseHere
	r.learnLife(m, life)
	return verdict, reached
}

// learnLife takes in what a process says that may be lost next.
func (r *member) learnLife(m *view.Member, life Life) {
	r.boot, r.life = max(r.boot, m.Boot, life.Boot), life
}

const (
	// helloSlack is by how much the hello that brings a member back, with its boot and
	// its report, and the step that finds it back may be apart.
	helloSlack = 500 * time.Millisecond
	// driftPart is the part of a time by which two clocks may differ over it,
	// some times of what the crystals of cheap boards do.
	driftPart = 1000
)

// decideVerdict draws the verdict on a member that is back from the highest boot
// counter seen of it and from its last report.
func (r *member) decideVerdict(now time.Duration, boot uint64, life Life) (kind VerdictKind, sure bool) {
	switch {
	case r.boot == 0:
		return Unsure, true // nothing to compare with
	case boot > r.boot && now-r.backAt <= helloSlack:
		return WasRestarted, true
	case life.Boot > r.boot && life.At-life.Uptime <= r.backAt:
		return WasRestarted, true // and not after it was back
	case life.Boot == r.boot && r.ranUntilBack(life):
		return WasCut, true
	}
	return Unsure, false
}

// ranUntilBack tells whether the process of before the loss made the report once
// it was back. The report must have come then; that it was made then shows from
// its uptime, counted from the last report of before, or else from the loss.
func (r *member) ranUntilBack(life Life) bool {
	from := Life{At: r.since}
	if r.life.Boot == r.boot {
		from = r.life
	}
	must := r.backAt - from.At
	return life.At >= r.backAt-helloSlack && life.Uptime-from.Uptime >= must-must/driftPart-helloSlack
}
