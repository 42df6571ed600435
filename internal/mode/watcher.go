package mode

import "time"

// Facts is what a node knows right now. Members that left or were evicted count
// nowhere; the node itself counts everywhere.
type Facts struct {
	Roster, Component    int // members, and how many of them are in the node's component
	Storing, StoringHere int // the same of those that store
	Cloud                Cloud
	// Ready says that everybody the node knows has been tried: whoever is not
	// met by now is out of reach. It need not be said again.
	Ready bool
}

func (f Facts) isAlone() bool { return f.Component <= 1 && f.Roster > 1 }

// isMinority counts all members where none stores, as elections do
// (protocol E.2.2).
func (f Facts) isMinority() bool {
	all, here := f.Storing, f.StoringHere
	if all == 0 {
		all, here = f.Roster, f.Component
	}
	return all > 0 && 2*here <= all
}

// Watcher decides the mode of a node. Each mode has a switch of its own with a
// delay both ways, so that a mode above comes and goes without those below
// starting afresh.
//
// A node that has just started has met nobody. Until it was told to be Ready,
// ReadyAfter has passed or it has met a majority it is neither Alone nor in the
// Minority: it is starting.
type Watcher struct {
	params   Params
	now      time.Duration
	start    time.Duration // of the first step
	started  bool
	settled  bool             // no longer starting
	switches [Alone + 1]latch // by mode; that of Normal is never used
	mode     Mode
}

// New returns a machine in mode Normal.
func New(par Params) *Watcher {
	m := &Watcher{params: par.withDefaults()}
	for i := range m.switches {
		m.switches[i].differsSince = Never
	}
	return m
}

// Step takes what is known at time now and returns the mode, and whether it is
// another one than before. A step with an earlier time counts as being at the
// latest one.
func (m *Watcher) Step(now time.Duration, f Facts) (mode Mode, changed bool) {
	if !m.started {
		m.started, m.start, m.now = true, now, now
	}
	m.now = max(m.now, now)
	m.settled = m.settled || f.Ready || m.now-m.start >= m.params.ReadyAfter || f.Component > 1 && !f.isMinority()
	holds := [...]bool{
		Local:    f.Cloud == Unreachable,
		Minority: m.settled && f.isMinority(),
		Alone:    m.settled && f.isAlone(),
	}
	mode = Normal
	for i := Local; i <= Alone; i++ {
		if m.switches[i].stepLatch(m.now, holds[i], &m.params) {
			mode = i
		}
	}
	changed = mode != m.mode
	m.mode = mode
	return mode, changed
}

// Mode returns what the last Step returned.
func (m *Watcher) Mode() Mode { return m.mode }

// Next returns the time by which Step must be called again, with the facts of
// then, if nothing changes before.
func (m *Watcher) Next() time.Duration {
	next := Never
	if !m.settled {
		next = m.start + m.params.ReadyAfter
	}
	if !m.started {
		next = 0
	}
	for i := range m.switches {
		next = min(next, m.switches[i].switchAt(&m.params))
	}
	return next
}

// latch follows a condition with a delay both ways.
type latch struct {
	on           bool
	differsSince time.Duration // since when the condition has differed from on; Never
}

func (l *latch) stepLatch(now time.Duration, holds bool, par *Params) bool {
	if holds == l.on {
		l.differsSince = Never
		return l.on
	}
	l.differsSince = min(l.differsSince, now)
	if now >= l.switchAt(par) {
		l.on, l.differsSince = holds, Never
	}
	return l.on
}

// switchAt returns when the condition will have differed for long enough.
func (l *latch) switchAt(par *Params) time.Duration {
	switch {
	case l.differsSince == Never:
		return Never
	case l.on:
		return l.differsSince + par.LeaveAfter
	}
	return l.differsSince + par.EnterAfter
}
