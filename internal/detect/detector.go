package detect

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// maxStrangers bounds what is remembered of members that gossip names and
	// the roster does not hold yet.
	maxStrangers = 10_000
	// One in massShare members lost within massWindow is a mass, for which there is
	// one sweep in massPause.
	massShare  = 20
	massWindow = 5 * time.Second
	massPause  = 10 * time.Second
	// maxGap is more than the time between two steps of a shell that keeps to
	// Next. A longer one means that the process stood still.
	maxGap = 20 * time.Second
)

// Detector is the step machine. It is not safe for concurrent use.
type Detector struct {
	self       view.NodeID
	params     Params
	rng        *rand.Rand
	members    []*member // sorted by id
	aliveCount int       // members that are Alive
	unlisted   int       // members that are not listed

	now           time.Duration
	started       bool
	fresh         bool          // no round has been yet
	timeInCompany time.Duration // run time so far with at least one other alive
	agenda        agenda
	probes        pacer
	redials       pacer

	lossFrom time.Duration // members were lost since, the last no longer ago than massWindow
	losses   int           // how many
	sweepAt  time.Duration // no sweep before

	roundAt   time.Duration // of the next round of redials
	healUntil time.Duration

	effects []Effect
}

// New returns a detector for the node self that knows nobody yet; feed it one
// Joined event per roster member, whatever it knew before it was restarted.
// Events about self are ignored.
func New(self view.NodeID, par Params, rng *rand.Rand) *Detector {
	par = par.withDefaults()
	return &Detector{
		self: self, params: par, rng: rng, agenda: newAgenda(),
		probes:  newPacer(par.ProbeRate, par.ProbeBurst),
		redials: newPacer(par.RedialRate, par.RedialRate),
	}
}

// Step takes one event at time now and returns what to do about it; the
// slice is the caller's. Time must not go back; a step with an earlier time
// counts as being at the latest one.
func (d *Detector) Step(now time.Duration, ev Event) []Effect {
	d.advanceTime(now)
	if ev.Kind != Tick && ev.ID != d.self && ev.ID != 0 {
		d.applyEvent(ev)
	}
	d.redialByLot()
	d.startProbes()
	out := d.effects
	d.effects = nil
	return out
}

// Next returns the time by which Step must be called again, with Tick if
// nothing else happens. Before the first step that is at once.
func (d *Detector) Next() time.Duration {
	if !d.started {
		return 0
	}
	next := min(d.agenda.nextDue(), d.roundAt)
	if d.agenda.ready.Len() > 0 {
		next = min(next, max(d.probes.nextPermit(), d.now))
	}
	return next
}

// State returns the state of a member; Alive for self, Unknown for strangers.
func (d *Detector) State(id view.NodeID) view.State {
	if id == d.self {
		return view.Alive
	}
	if m := d.findMember(id); m != nil {
		return m.state
	}
	return view.Unknown
}

// Size returns how many nodes this one sees alive, itself included.
func (d *Detector) Size() int { return d.aliveCount + 1 }

// Unreachable lists, sorted, the members that gossip says live but to which
// the last Probes direct attempts failed: the exceptions of this node's reach
// row (protocol E.3).
func (d *Detector) Unreachable() []view.NodeID {
	var out []view.NodeID
	for _, m := range d.members {
		if m.isUnreachable(&d.params) {
			out = append(out, m.id)
		}
	}
	return out
}

// Downtime returns for how long the member has not been Alive, in run time
// during which this node saw at least one other: a node that sees nobody
// cannot tell who is down. It is 0 for members that are alive or gone.
func (d *Detector) Downtime(now time.Duration, id view.NodeID) time.Duration {
	m := d.findMember(id)
	if m == nil || !m.listed || m.state == view.Alive || m.state == view.Departed {
		return 0
	}
	seen := d.timeInCompany
	if d.aliveCount > 0 && now > d.now {
		seen += min(now-d.now, maxGap)
	}
	return seen - m.downAt
}

// advanceTime moves time on.
func (d *Detector) advanceTime(now time.Duration) {
	if !d.started {
		d.started, d.fresh, d.now, d.roundAt = true, true, now, now+roundFirst
		d.probes.fullAt, d.redials.fullAt = now, now
	}
	now = max(now, d.now)
	if d.aliveCount > 0 {
		d.timeInCompany += min(now-d.now, maxGap)
	}
	d.now = now
}

func (d *Detector) applyEvent(ev Event) {
	m := d.findMember(ev.ID)
	if m == nil {
		if m = d.addMember(ev); m == nil {
			return
		}
	}
	if m.state == view.Departed {
		return
	}
	switch ev.Kind {
	case Joined:
		d.listMember(m)
	case Gone:
		d.listMember(m)
		m.due, m.probing = Never, false
		d.setState(m, view.Departed, ByRoster)
	case GossipAlive:
		d.noteGossipUp(m)
	case GossipFailed, GossipLeft:
		d.noteGossipDown(m)
	case Broken:
		d.doubtMember(m, ByBroken, d.params.ProbeTimeout/4)
	case Doubt:
		d.doubtMember(m, ByDoubt, d.params.ProbeTimeout)
	case ProbeOK:
		d.noteHeard(m)
	case ProbeFailed:
		d.noteMissed(m)
	case Moved:
		d.noteMoved(m)
	}
	d.planMember(m)
	if cut := m.isUnreachable(&d.params); cut != m.listedUnreachable {
		m.listedUnreachable = cut
		d.effects = append(d.effects, Effect{Action: Relisted, ID: m.id})
	}
}

// addMember makes room for a member named for the first time.
func (d *Detector) addMember(ev Event) *member {
	known := ev.Kind == Joined || ev.Kind == Gone
	if !known && (ev.Kind != GossipAlive || d.unlisted >= maxStrangers) {
		return nil // nothing worth remembering
	}
	i, _ := d.searchMember(ev.ID)
	m := &member{id: ev.ID, due: Never, downAt: d.timeInCompany}
	d.members = slices.Insert(d.members, i, m)
	d.unlisted++
	return m
}

// listMember takes a member as one of the roster.
func (d *Detector) listMember(m *member) {
	if m.listed {
		return
	}
	m.listed = true
	m.downAt = d.timeInCompany
	d.unlisted--
	if m.gossip == up {
		d.setState(m, view.Alive, ByGossip)
	}
	d.wantProbe(m, d.now+d.randomBelow(d.params.First), false, BySilence)
}

func (d *Detector) noteGossipUp(m *member) {
	if m.gossip != up {
		m.gossip, m.upSince = up, d.now
	}
	if !m.listed {
		return
	}
	switch {
	case m.state == view.Unknown && m.fails == 0 && !m.probing:
		d.setState(m, view.Alive, ByGossip)
		d.wantProbe(m, d.now+d.randomBelow(d.params.First), false, BySilence)
	case m.state != view.Alive:
		d.wantProbe(m, d.earliestProbe(m, d.params.ProbeTimeout), false, BySilence)
	}
}

func (d *Detector) noteGossipDown(m *member) {
	was := m.gossip
	m.gossip = down
	if !m.listed || was == down {
		return
	}
	if d.judgeFailures(m); m.state != view.Failed {
		d.wantProbe(m, d.earliestProbe(m, d.params.ProbeTimeout), true, BySilence)
	}
}

// doubtMember probes a member at once, unless that was done less than gap ago.
func (d *Detector) doubtMember(m *member, cause Reason, gap time.Duration) {
	if m.listed && m.state != view.Failed {
		d.wantProbe(m, d.earliestProbe(m, gap), true, cause)
	}
}

func (d *Detector) noteHeard(m *member) {
	m.fails, m.probing, m.due, m.urgent = 0, false, Never, false
	if !m.listed {
		return
	}
	m.heard, m.heardAt = true, d.now
	if m.state == view.Suspect || m.state == view.Failed {
		m.flapped, m.backAt = true, d.now
	}
	if m.state == view.Failed || d.aliveCount == 0 {
		d.healUntil = d.now + d.params.HealFor
		d.roundAt = min(d.roundAt, d.now+d.randomBelow(roundFast))
	}
	d.setState(m, view.Alive, ByProbe)
	if m.gossip != up {
		d.wantProbe(m, d.now+d.params.Watch, false, BySilence)
	}
}

func (d *Detector) noteMissed(m *member) {
	if !m.probing || !m.listed {
		return // heard since, or of a probe given up for lost
	}
	m.probing = false
	if d.now-m.sent > 2*d.params.ProbeTimeout {
		// The answer to a probe comes, good or bad, by its deadline. This one
		// says that we stood still, not that the member did.
		d.wantProbe(m, d.now, true, m.cause)
		return
	}
	m.fails++
	if m.state == view.Alive && m.fails >= m.suspectAfter(d.now, &d.params) {
		d.setState(m, view.Suspect, m.cause)
	}
	d.judgeFailures(m)
	d.wantProbe(m, m.nextRetry(&d.params), m.fails < d.params.Probes, m.cause)
}

// judgeFailures draws the conclusion from enough failures in a row.
func (d *Detector) judgeFailures(m *member) {
	if m.fails < d.params.Probes {
		return
	}
	switch {
	case m.gossip != up && m.state != view.Failed:
		d.setState(m, view.Failed, BySilence)
		m.due = Never
	case m.gossip == up && m.state == view.Unknown:
		d.setState(m, view.Suspect, BySilence)
	case m.gossip == up && m.state == view.Failed && d.now-m.upSince >= d.params.Hold:
		d.setState(m, view.Suspect, ByGossipAgain)
	}
}

func (d *Detector) setState(m *member, to view.State, why Reason) {
	if m.state == to {
		return
	}
	lost := m.state == view.Alive && to != view.Departed
	if m.state == view.Alive {
		d.aliveCount--
		m.downAt = d.timeInCompany
	}
	if to == view.Alive {
		d.aliveCount++
	}
	d.effects = append(d.effects, Effect{Action: Changed, ID: m.id, From: m.state, To: to, Reason: why})
	m.state = to
	if lost {
		d.countLoss()
	}
}

// countLoss counts members that are lost together. When they are many the rest is
// probed: after a cut gossip finds the lost ones one by one, in a small part of a
// large mesh for most of a minute.
func (d *Detector) countLoss() {
	if d.now-d.lossFrom > massWindow {
		d.lossFrom, d.losses = d.now, 0
	}
	d.losses++
	if d.losses < max(2, (d.aliveCount+d.losses)/massShare) || d.now < d.sweepAt {
		return
	}
	d.sweepAt = d.now + massPause
	for _, m := range d.members {
		if m.listed && m.state == view.Alive && !m.probing {
			d.wantProbe(m, d.earliestProbe(m, d.params.ProbeTimeout)+d.randomBelow(d.params.ProbeTimeout), false, BySilence)
		}
	}
}

// startProbes starts the probes that are due, as far as the pace allows.
func (d *Detector) startProbes() {
	for d.agenda.nextDue() <= d.now {
		m := d.agenda.later.members[0]
		if m.probing {
			m.probing, m.due = false, d.now // its outcome never came
		}
		d.planMember(m)
	}
	for d.agenda.ready.Len() > 0 && d.probes.takePermit(d.now) {
		m := d.agenda.ready.members[0]
		m.probing, m.sent, m.due, m.urgent = true, d.now, Never, false
		d.planMember(m)
		d.effects = append(d.effects, Effect{Action: Probe, ID: m.id})
	}
}

// probeLostAfter is how long after its start the outcome of a probe is not waited for any
// more.
func (d *Detector) probeLostAfter() time.Duration { return 4 * d.params.ProbeTimeout }

// planMember gives a member that has changed its place on the agenda.
func (d *Detector) planMember(m *member) {
	wake := m.due
	if m.probing {
		wake = m.sent + d.probeLostAfter()
	}
	d.agenda.placeMember(m, wake, d.now)
}

func (d *Detector) wantProbe(m *member, at time.Duration, urgent bool, cause Reason) {
	m.wantProbe(at, urgent, cause)
	d.planMember(m)
}

// earliestProbe returns now, or later if the last probe began less than gap ago.
func (d *Detector) earliestProbe(m *member, gap time.Duration) time.Duration {
	if m.sent == 0 {
		return d.now
	}
	return max(d.now, m.sent+gap)
}

// randomBelow returns a random time below limit.
func (d *Detector) randomBelow(limit time.Duration) time.Duration {
	return time.Duration(d.rng.Int64N(int64(limit)))
}

func (d *Detector) findMember(id view.NodeID) *member {
	if i, ok := d.searchMember(id); ok {
		return d.members[i]
	}
	return nil
}

func (d *Detector) searchMember(id view.NodeID) (int, bool) {
	return slices.BinarySearchFunc(d.members, id, func(m *member, id view.NodeID) int { return cmp.Compare(m.id, id) })
}
