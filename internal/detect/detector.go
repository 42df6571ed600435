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
	self    view.NodeID
	par     Params
	rng     *rand.Rand
	members []*member // sorted by id
	others  int       // members that are Alive
	strange int       // members that are not listed

	now     time.Duration
	started bool
	fresh   bool          // no round has been yet
	seen    time.Duration // run time so far with at least one other alive
	agenda  agenda
	probes  pacer
	redials pacer

	lossFrom time.Duration // members were lost since, the last no longer ago than massWindow
	losses   int           // how many
	sweepAt  time.Duration // no sweep before

	roundAt   time.Duration // of the next round of redials
	healUntil time.Duration

	out []Effect
}

// New returns a detector for the node self that knows nobody yet; feed it one
// Joined event per roster member, whatever it knew before it was restarted.
// Events about self are ignored.
func New(self view.NodeID, par Params, rng *rand.Rand) *Detector {
	par = par.filled()
	return &Detector{
		self: self, par: par, rng: rng, agenda: newAgenda(),
		probes:  newPacer(par.ProbeRate, par.ProbeBurst),
		redials: newPacer(par.RedialRate, par.RedialRate),
	}
}

// Step takes one event at time now and returns what to do about it; the
// slice is the caller's. Time must not go back; a step with an earlier time
// counts as being at the latest one.
func (d *Detector) Step(now time.Duration, ev Event) []Effect {
	d.pass(now)
	if ev.Kind != Tick && ev.ID != d.self && ev.ID != 0 {
		d.take(ev)
	}
	d.round()
	d.probe()
	out := d.out
	d.out = nil
	return out
}

// Next returns the time by which Step must be called again, with Tick if
// nothing else happens. Before the first step that is at once.
func (d *Detector) Next() time.Duration {
	if !d.started {
		return 0
	}
	next := min(d.agenda.next(), d.roundAt)
	if d.agenda.ready.Len() > 0 {
		next = min(next, max(d.probes.free(), d.now))
	}
	return next
}

// State returns the state of a member; Alive for self, Unknown for strangers.
func (d *Detector) State(id view.NodeID) view.State {
	if id == d.self {
		return view.Alive
	}
	if m := d.find(id); m != nil {
		return m.state
	}
	return view.Unknown
}

// Size returns how many nodes this one sees alive, itself included.
func (d *Detector) Size() int { return d.others + 1 }

// Unreachable lists, sorted, the members that gossip says live but to which
// the last Probes direct attempts failed: the exceptions of this node's reach
// row (protocol E.3).
func (d *Detector) Unreachable() []view.NodeID {
	var out []view.NodeID
	for _, m := range d.members {
		if m.unreachable(&d.par) {
			out = append(out, m.id)
		}
	}
	return out
}

// Downtime returns for how long the member has not been Alive, in run time
// during which this node saw at least one other: a node that sees nobody
// cannot tell who is down. It is 0 for members that are alive or gone.
func (d *Detector) Downtime(now time.Duration, id view.NodeID) time.Duration {
	m := d.find(id)
	if m == nil || !m.listed || m.state == view.Alive || m.state == view.Departed {
		return 0
	}
	seen := d.seen
	if d.others > 0 && now > d.now {
		seen += min(now-d.now, maxGap)
	}
	return seen - m.downAt
}

// pass moves time on.
func (d *Detector) pass(now time.Duration) {
	if !d.started {
		d.started, d.fresh, d.now, d.roundAt = true, true, now, now+roundFirst
		d.probes.full, d.redials.full = now, now
	}
	now = max(now, d.now)
	if d.others > 0 {
		d.seen += min(now-d.now, maxGap)
	}
	d.now = now
}

func (d *Detector) take(ev Event) {
	m := d.find(ev.ID)
	if m == nil {
		if m = d.meet(ev); m == nil {
			return
		}
	}
	if m.state == view.Departed {
		return
	}
	switch ev.Kind {
	case Joined:
		d.list(m)
	case Gone:
		d.list(m)
		m.due, m.probing = Never, false
		d.set(m, view.Departed, ByRoster)
	case GossipAlive:
		d.gossipUp(m)
	case GossipFailed, GossipLeft:
		d.gossipDown(m)
	case Broken:
		d.doubt(m, ByBroken, d.par.ProbeTimeout/4)
	case Doubt:
		d.doubt(m, ByDoubt, d.par.ProbeTimeout)
	case ProbeOK:
		d.heard(m)
	case ProbeFailed:
		d.missed(m)
	case Moved:
		d.moved(m)
	}
	d.plan(m)
	if cut := m.unreachable(&d.par); cut != m.cut {
		m.cut = cut
		d.out = append(d.out, Effect{Action: Relisted, ID: m.id})
	}
}

// meet makes room for a member named for the first time.
func (d *Detector) meet(ev Event) *member {
	known := ev.Kind == Joined || ev.Kind == Gone
	if !known && (ev.Kind != GossipAlive || d.strange >= maxStrangers) {
		return nil // nothing worth remembering
	}
	i, _ := d.search(ev.ID)
	m := &member{id: ev.ID, due: Never, downAt: d.seen}
	d.members = slices.Insert(d.members, i, m)
	d.strange++
	return m
}

// list takes a member as one of the roster.
func (d *Detector) list(m *member) {
	if m.listed {
		return
	}
	m.listed = true
	m.downAt = d.seen
	d.strange--
	if m.gossip == up {
		d.set(m, view.Alive, ByGossip)
	}
	d.want(m, d.now+d.spread(d.par.First), false, BySilence)
}

func (d *Detector) gossipUp(m *member) {
	if m.gossip != up {
		m.gossip, m.upSince = up, d.now
	}
	if !m.listed {
		return
	}
	switch {
	case m.state == view.Unknown && m.fails == 0 && !m.probing:
		d.set(m, view.Alive, ByGossip)
		d.want(m, d.now+d.spread(d.par.First), false, BySilence)
	case m.state != view.Alive:
		d.want(m, d.pause(m, d.par.ProbeTimeout), false, BySilence)
	}
}

func (d *Detector) gossipDown(m *member) {
	was := m.gossip
	m.gossip = down
	if !m.listed || was == down {
		return
	}
	if d.judge(m); m.state != view.Failed {
		d.want(m, d.pause(m, d.par.ProbeTimeout), true, BySilence)
	}
}

// doubt probes a member at once, unless that was done less than gap ago.
func (d *Detector) doubt(m *member, cause Reason, gap time.Duration) {
	if m.listed && m.state != view.Failed {
		d.want(m, d.pause(m, gap), true, cause)
	}
}

func (d *Detector) heard(m *member) {
	m.fails, m.probing, m.due, m.urgent = 0, false, Never, false
	if !m.listed {
		return
	}
	m.heard, m.heardAt = true, d.now
	if m.state == view.Suspect || m.state == view.Failed {
		m.flapped, m.backAt = true, d.now
	}
	if m.state == view.Failed || d.others == 0 {
		d.healUntil = d.now + d.par.HealFor
		d.roundAt = min(d.roundAt, d.now+d.spread(roundFast))
	}
	d.set(m, view.Alive, ByProbe)
	if m.gossip != up {
		d.want(m, d.now+d.par.Watch, false, BySilence)
	}
}

func (d *Detector) missed(m *member) {
	if !m.probing || !m.listed {
		return // heard since, or of a probe given up for lost
	}
	m.probing = false
	if d.now-m.sent > 2*d.par.ProbeTimeout {
		// The answer to a probe comes, good or bad, by its deadline. This one
		// says that we stood still, not that the member did.
		d.want(m, d.now, true, m.cause)
		return
	}
	m.fails++
	if m.state == view.Alive && m.fails >= m.suspectAfter(d.now, &d.par) {
		d.set(m, view.Suspect, m.cause)
	}
	d.judge(m)
	d.want(m, m.retry(&d.par), m.fails < d.par.Probes, m.cause)
}

// judge draws the conclusion from enough failures in a row.
func (d *Detector) judge(m *member) {
	if m.fails < d.par.Probes {
		return
	}
	switch {
	case m.gossip != up && m.state != view.Failed:
		d.set(m, view.Failed, BySilence)
		m.due = Never
	case m.gossip == up && m.state == view.Unknown:
		d.set(m, view.Suspect, BySilence)
	case m.gossip == up && m.state == view.Failed && d.now-m.upSince >= d.par.Hold:
		d.set(m, view.Suspect, ByGossipAgain)
	}
}

func (d *Detector) set(m *member, to view.State, why Reason) {
	if m.state == to {
		return
	}
	lost := m.state == view.Alive && to != view.Departed
	if m.state == view.Alive {
		d.others--
		m.downAt = d.seen
	}
	if to == view.Alive {
		d.others++
	}
	d.out = append(d.out, Effect{Action: Changed, ID: m.id, From: m.state, To: to, Reason: why})
	m.state = to
	if lost {
		d.miss()
	}
}

// miss counts members that are lost together. When they are many the rest is
// probed: after a cut gossip finds the lost ones one by one, in a small part of a
// large mesh for most of a minute.
func (d *Detector) miss() {
	if d.now-d.lossFrom > massWindow {
		d.lossFrom, d.losses = d.now, 0
	}
	d.losses++
	if d.losses < max(2, (d.others+d.losses)/massShare) || d.now < d.sweepAt {
		return
	}
	d.sweepAt = d.now + massPause
	for _, m := range d.members {
		if m.listed && m.state == view.Alive && !m.probing {
			d.want(m, d.pause(m, d.par.ProbeTimeout)+d.spread(d.par.ProbeTimeout), false, BySilence)
		}
	}
}

// probe starts the probes that are due, as far as the pace allows.
func (d *Detector) probe() {
	for d.agenda.next() <= d.now {
		m := d.agenda.later.members[0]
		if m.probing {
			m.probing, m.due = false, d.now // its outcome never came
		}
		d.plan(m)
	}
	for d.agenda.ready.Len() > 0 && d.probes.allow(d.now) {
		m := d.agenda.ready.members[0]
		m.probing, m.sent, m.due, m.urgent = true, d.now, Never, false
		d.plan(m)
		d.out = append(d.out, Effect{Action: Probe, ID: m.id})
	}
}

// lost is how long after its start the outcome of a probe is not waited for any
// more.
func (d *Detector) lost() time.Duration { return 4 * d.par.ProbeTimeout }

// plan gives a member that has changed its place on the agenda.
func (d *Detector) plan(m *member) {
	wake := m.due
	if m.probing {
		wake = m.sent + d.lost()
	}
	d.agenda.put(m, wake, d.now)
}

func (d *Detector) want(m *member, at time.Duration, urgent bool, cause Reason) {
	m.want(at, urgent, cause)
	d.plan(m)
}

// pause returns now, or later if the last probe began less than gap ago.
func (d *Detector) pause(m *member, gap time.Duration) time.Duration {
	if m.sent == 0 {
		return d.now
	}
	return max(d.now, m.sent+gap)
}

// spread returns a random time below limit.
func (d *Detector) spread(limit time.Duration) time.Duration {
	return time.Duration(d.rng.Int64N(int64(limit)))
}

func (d *Detector) find(id view.NodeID) *member {
	if i, ok := d.search(id); ok {
		return d.members[i]
	}
	return nil
}

func (d *Detector) search(id view.NodeID) (int, bool) {
	return slices.BinarySearchFunc(d.members, id, func(m *member, id view.NodeID) int { return cmp.Compare(m.id, id) })
}
