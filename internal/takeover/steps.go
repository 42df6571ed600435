package takeover

import (
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

// arrive takes in the time, and does first what was due before.
func (r *Run) arrive(now time.Duration) {
	r.now = max(r.now, now)
	if r.led && r.now >= r.leaseEnd {
		r.loseLead()
	}
	if r.work.id != 0 && r.now >= r.work.due {
		r.endWork(ErrTimeout)
	}
	if r.stop.id != 0 && r.now >= r.stop.due {
		r.repeatStop()
	}
	if r.check.id != 0 && r.now >= r.check.due {
		r.endCheck(false)
	}
}

// decideNext goes on as far as it can without an answer, and returns what is to be done.
func (r *Run) decideNext() []Action {
	r.judgeItself()
	for r.work.id == 0 && (r.undoLast() || r.endUnwinding() || r.beginNext()) {
	}
	if r.isVerified() && r.check.id == 0 && r.now >= r.nextCheck {
		r.check = r.newWork(false, r.plan.Check.Timeout)
		r.lastCheck, r.nextCheck = r.now, r.now+r.plan.Check.Interval
		r.addAction(BeginCheck{Attempt: r.check.id, Token: r.token, Deadline: r.check.due})
	}
	if h := r.Health(); h != r.toldHealth {
		r.toldHealth = h
		r.addAction(Record{Token: r.token, At: r.now, What: HealthChanged, Health: h})
	}
	out := r.out
	r.out = nil
	return out
}

// judgeItself decides whether this node is still the one to run the service.
func (r *Run) judgeItself() {
	if !r.led || r.hangs || r.down && !r.again {
		return
	}
	_, lacks := r.Standing()
	switch {
	case r.withdrawn:
		r.unwindAll(GiveBack{Why: WasWithdrawn})
	case r.isOutweighed():
		r.unwindAll(GiveBack{Why: OtherMode})
	case len(lacks) == 0:
		r.alone = false
		if r.begun == 0 && r.idle != 0 && !r.settled && !r.waitsForOthers() && r.now < r.firstLed+deferFor {
			r.settled = true
			r.unwindAll(GiveBack{Why: Deferred, To: r.idle})
			return
		}
		r.judgeRival()
	case r.fitting > 0:
		r.unwindAll(GiveBack{Why: Unfit})
	default:
		r.rival = 0
		if !r.alone {
			r.alone = true
			r.addAction(Alarm{Token: r.token, Why: NobodyElse})
		}
		if r.begun == 0 {
			r.unwindAll(GiveBack{Why: Unfit})
		}
	}
}

// waitsForOthers tells whether nothing is begun yet, for one that the plan prefers may be about
// to stand. Where all nodes start at once, the first one that leads is often not the primary:
//
//	0.0 s  b stands, and leads at once, for it has heard of no other
//	0.1 s  c, the first backup, stands: b has begun nothing, and waits for a still
//	0.2 s  a, the primary, stands: b gives it the lead
//
// Without this b would have started the service, and a would get it by a restart or never. c
// would start it at once, if it got the lead: it does not know that nobody has run it.
// Once the service was seen to run somewhere a node begins at once: its leader has died, or
// has handed it over.
func (r *Run) waitsForOthers() bool { return r.unheard && !r.settled && r.now < r.firstLed+hearFor }

// judgeRival decides whether a better node takes over from this one.
func (r *Run) judgeRival() {
	if !r.isVerified() || r.better == 0 {
		r.rival = 0
		return
	}
	if r.better != r.rival {
		r.rival, r.since = r.better, r.now
		if r.plan.FailBack == service.FailBackByHand {
			r.addAction(Record{Token: r.token, At: r.now, What: BetterSeen, Other: r.rival})
		}
	}
	if r.plan.FailBack == service.FailBackAfter && r.bad == 0 && r.now-r.since >= r.plan.After {
		r.unwindAll(GiveBack{Why: FailedBack, To: r.rival})
	}
}

// beginNext begins the next step if it may.
func (r *Run) beginNext() bool {
	if !r.led || r.down || r.begun == int(service.StepCount) || r.begun == 0 && (r.now < r.penalty.RestUntil() || r.waitsForOthers()) {
		return false
	}
	k := service.Step(r.begun)
	r.settled = true
	r.begun++
	r.tries++
	r.work = r.newWork(false, r.plan.Steps[k].Timeout)
	r.addAction(Begin{Step: k, Attempt: r.work.id, Try: r.tries, Token: r.token, Deadline: r.work.due})
	return true
}

// undoLast undoes the step that was begun last. Before a stop under way has ended it comes
// to Start only.
func (r *Run) undoLast() bool {
	k := service.Step(r.begun - 1)
	if !r.down || r.begun <= r.keep || r.stop.id != 0 && k <= service.Start {
		return false
	}
	if k == service.Start && r.stopped {
		r.stopped = false
		r.begun--
		return true
	}
	r.work = r.newWork(true, r.plan.Steps[k].Timeout)
	r.addAction(Undo{Step: k, Attempt: r.work.id, Token: r.token, Deadline: r.work.due})
	return true
}

// endUnwinding goes on once all is undone that is to be: with another attempt, by giving the
// lead back, or not at all without a lead.
func (r *Run) endUnwinding() bool {
	if !r.down || r.begun > r.keep || r.stop.id != 0 {
		return false
	}
	r.down = false
	if r.begun == 0 {
		r.bad, r.restarts = 0, 0
	}
	if r.led && !r.again {
		r.giveBack(r.leaving)
	}
	return true
}

func (r *Run) giveBack(g GiveBack) {
	g.Token = r.token
	if !r.standsElsewhere(g.To) { // it has gone meanwhile
		g.To = 0
	}
	r.addAction(g)
	r.led, r.alone, r.rival = false, false, 0
}

// endWork takes in how a step or an undoing has ended.
func (r *Run) endWork(err error) {
	w, k := r.work, service.Step(r.begun-1)
	r.work = work{}
	done := Record{Token: r.token, At: r.now, What: StepEnded, Step: k, Attempt: w.id, Took: r.now - w.since, Err: err}
	if w.undo {
		done.What = UndoEnded
	}
	r.addAction(done)
	switch {
	case w.undo && k == service.Start && err != nil: // something of the run may be left
		r.demandStop()
	case w.undo: // what cannot be undone is passed over
		r.begun--
	case err == nil:
		r.tries = 0
		if k == service.Verify {
			r.bad, r.wellSince, r.lastCheck = 0, r.now, r.now
			r.nextCheck = r.now + r.plan.Check.Interval
		}
	case r.tries <= r.plan.Steps[k].Retries:
		tries := r.tries
		r.unwind(r.begun-1, true, GiveBack{Why: StepFailed, Step: k})
		r.tries = tries
	default:
		r.giveUp(GiveBack{Why: StepFailed, Step: k})
	}
}

// endCheck takes in what a check has found.
func (r *Run) endCheck(ok bool) {
	r.check = work{}
	if ok {
		r.bad = 0
		if r.now-r.wellSince >= steadyFor {
			r.restarts = 0
		}
		return
	}
	r.bad++
	r.wellSince = r.now
	switch {
	case r.bad < badChecks:
	case r.restarts < r.plan.Restarts:
		r.restarts++
		r.unwind(int(service.Start), true, GiveBack{Why: HealthFailed})
	default:
		r.giveUp(GiveBack{Why: HealthFailed})
	}
}

// giveUp leaves the service to others, and lets them go before this node for a while.
func (r *Run) giveUp(why GiveBack) {
	r.penalty.Add(r.now)
	r.addAction(Alarm{Token: r.token, Why: why.Why, Step: why.Step})
	r.unwindAll(why)
}

// unwindAll undoes all and gives the lead back.
func (r *Run) unwindAll(why GiveBack) { r.unwind(0, false, why) }

// unwind undoes all but so many steps. The result of a step or check under way counts no more.
func (r *Run) unwind(keep int, again bool, why GiveBack) {
	if !r.work.undo {
		r.work = work{}
	}
	if r.down {
		keep = min(keep, r.keep)
	}
	r.check, r.tries = work{}, 0
	r.down, r.keep, r.again, r.leaving = true, keep, again, why
}

// loseLead has the run stopped at once, whatever is under way.
func (r *Run) loseLead() {
	if !r.led {
		return
	}
	r.led, r.alone, r.rival = false, false, 0
	if r.begun > 0 && r.stop.id == 0 && !r.stopped {
		if r.work.undo && r.begun-1 == int(service.Start) {
			r.work = work{} // the stop takes its place
		}
		r.demandStop()
	}
	r.unwind(0, false, GiveBack{Why: LostLead})
}

func (r *Run) demandStop() {
	r.stop = r.newWork(true, r.plan.Steps[service.Start].Timeout)
	r.addAction(Stop{Attempt: r.stop.id, Token: r.token, Deadline: r.stop.due})
}

// endStop takes in how a stop has ended. If badly, it is demanded again in a moment.
func (r *Run) endStop(err error) {
	r.addAction(Record{Token: r.token, At: r.now, What: StopEnded, Attempt: r.stop.id, Took: r.now - r.stop.since, Err: err})
	if err != nil {
		r.stop.due = min(r.stop.due, r.now+stopAgain)
		return
	}
	r.stop, r.hangs = work{}, false
	r.stopped = r.begun > int(service.Start)
}

// repeatStop demands a stop again that has not ended. Meanwhile the lead lapses, for others
// must not begin before what ends the run at the lease's end has done so.
func (r *Run) repeatStop() {
	r.hangs = true
	r.addAction(Alarm{Token: r.token, Why: StopHangs})
	if r.led {
		r.giveBack(GiveBack{Why: StopHangs, Lapse: true})
		r.unwind(0, false, GiveBack{Why: LostLead})
	}
	r.stop.due = r.now + max(r.plan.Steps[service.Start].Timeout, stopAgain)
	r.addAction(Stop{Attempt: r.stop.id, Token: r.token, Deadline: r.stop.due})
}
