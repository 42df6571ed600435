package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/takeover"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	standAgain = 5 * time.Second       // behind a Lead that has failed
	leaseLook  = 10 * time.Millisecond // the lease is looked at no more often
	closeGrace = 2 * time.Second       // beyond what undoing takes
)

// errNoProcedure: the service has no procedure of that name.
var errNoProcedure = errors.New("failover: no such procedure")

// runner is one service at this node. Its goroutine tells a takeover.Run what happens, and
// does what that decides; nothing in it waits.
type runner struct {
	service   Service
	do, undo  [service.StepCount]Hook
	self      view.NodeID
	elections Elections
	facts     *facts
	events    func(Event)
	started   time.Time
	log       *slog.Logger
	group     *lifecycle.Group
	routes    *routeBook

	inbox     chan func()
	factsBell notify.Bell
	closing   chan struct{} // closed when it is to withdraw and end
	ended     chan struct{} // closed when the goroutine has returned
	closeOnce sync.Once
	status    *notify.Value[Status]

	// The goroutine's own.
	core     *takeover.Run
	hooks    *hooks
	lead     *lead // of now; nil: none
	standing *standing
	told     takeover.Preference
	untold   bool  // the last attempt to tell it has failed
	route    Route // that was published
	drilling drilling
	starts   int           // of the service here
	closeBy  time.Duration // 0: it is not closing
	hangs    bool          // it was closed, and something of a run may be left
}

// lead is one leadership, from the election's word to its end.
type lead struct {
	ctx       context.Context
	token     token.Token
	began     token.Token   // the first one
	at        time.Duration // of the runner's time
	address   string        // where the service is found
	givenBack bool
	released  chan struct{} // closed when nothing of the run is left
}

// standing is a call of Elections.Lead that has not returned.
type standing struct {
	cancel context.CancelFunc
	ending bool
}

func (r *runner) serveSteps(context.Context) {
	defer close(r.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	closing := r.closing
	r.lookAround()
	r.performAll(r.core.RunLeft(r.uptime())) // a process before this one may have ended in the middle
	for !r.isClosed() {
		select {
		case step := <-r.inbox:
			r.lookAtLease()
			step()
		case <-r.factsBell:
			r.lookAround()
		case <-closing:
			closing = nil
			r.closeBy = r.uptime() + r.core.Plan().UndoBound() + closeGrace
			r.performAll(r.core.Withdraw(r.uptime()))
		case <-timer.C:
		}
		r.lookAtLease()
		r.performAll(r.core.Tick(r.uptime()))
		r.lookAtDrill()
		r.informElection()
		timer.Reset(max(r.nextLook()-r.uptime(), 0))
	}
	r.hangs = !r.core.IsIdle()
	r.hooks.giveUpAll()
	r.stopStanding()
	if r.lead != nil {
		if r.hangs { // nobody may lead before the lease has ended
			_ = r.elections.LetLapse(r.election())
		}
		close(r.lead.released)
	}
}

// lookAround tells the core what is known of this node and the others.
func (r *runner) lookAround() {
	own, peers := r.facts.ofService(r.service.Plan.Service, r.election())
	own.Procedures = slices.Sorted(maps.Keys(r.service.Procedures))
	for _, name := range r.core.Plan().Requires {
		if !r.facts.isServed(name) {
			own.Unserved = append(own.Unserved, name)
		}
	}
	r.performAll(r.core.FactsChanged(r.uptime(), own, peers))
}

func (r *runner) uptime() time.Duration { return time.Since(r.started) }

func (r *runner) election() token.Election { return r.service.Election() }

// isClosed tells whether a runner that is closing has nothing to wait for any more.
func (r *runner) isClosed() bool {
	return r.closeBy != 0 && (r.uptime() >= r.closeBy || !r.core.Leads() && r.core.IsIdle())
}

// checkMode refuses a plan of another mode than that in which the service is served.
func (r *runner) checkMode(p service.Plan) error {
	if p.Mode != r.service.Plan.Mode {
		return fmt.Errorf("mode %s: %.60q is served as %s", p.Mode, p.Service, r.service.Plan.Mode)
	}
	return nil
}

// followPlans has the run go by what the records hold for its service.
func (r *runner) followPlans(b *planBook) {
	r.post(func() {
		if r.closeBy == 0 {
			r.performAll(r.core.PlansFound(r.uptime(), b.plansOf(r.service.Plan.Service)))
			r.lookAround() // for what the plan names
		}
	})
}

// nextLook is when to look again. A lease is looked at when half of it is over, so that its
// renewal is known before its end.
func (r *runner) nextLook() time.Duration {
	due := r.core.NextDue()
	if r.core.Leads() {
		if _, left, err := r.elections.Lease(r.election()); err == nil {
			due = min(due, r.uptime()+max(left/2, leaseLook))
		}
	}
	if r.closeBy != 0 {
		due = min(due, r.closeBy)
	}
	return due
}

// post has the runner's goroutine take a step; it tells whether it does.
func (r *runner) post(step func()) bool {
	select {
	case r.inbox <- step:
		return true
	case <-r.ended:
		return false
	}
}

// lookAtLease tells the core how far the lease goes now. Time here stands still while the
// machine sleeps, and the lease does not: so it is looked at before anything is done.
func (r *runner) lookAtLease() {
	if r.lead == nil || r.lead.givenBack {
		return
	}
	now := r.uptime()
	t, left, err := r.elections.Lease(r.election())
	if err != nil {
		r.performAll(r.core.LeadLost(r.uptime(), r.lead.token))
		return
	}
	r.lead.token = t
	r.performAll(r.core.LeaseExtended(now, t, now+left))
}

// performAll does what the core has decided, in order.
func (r *runner) performAll(actions []takeover.Action) {
	for len(actions) > 0 {
		first := actions[0]
		actions = append(actions[1:], r.performOne(first)...)
	}
}

// performOne does one thing, and returns what the core decides if that has ended at once.
func (r *runner) performOne(a takeover.Action) []takeover.Action {
	switch a := a.(type) {
	case takeover.Begin:
		if a.Step == service.Start {
			r.starts++
		}
		r.log.Info("a step begins", "service", r.service.Plan.Service, "step", a.Step.String(), "try", a.Try, "token", a.Token.String())
		return r.beginStep(r.hookOf(a.Step), a.Attempt, a.Deadline, r.newRun(a.Token, a.Try))
	case takeover.Undo:
		return r.beginStep(r.undo[a.Step], a.Attempt, a.Deadline, r.newRun(a.Token, 0))
	case takeover.Stop:
		run := r.newRun(a.Token, 0)
		run.Forced = true
		r.hooks.beginStop(r.service.Stop, run, a.Deadline-r.uptime(), func(err error) { r.performAll(r.core.Ended(r.uptime(), a.Attempt, err)) })
	case takeover.BeginCheck:
		if r.service.Check == nil {
			return r.core.CheckEnded(r.uptime(), a.Attempt, true)
		}
		r.hooks.beginHook(r.service.Check, r.newRun(a.Token, 0), a.Deadline-r.uptime(), func(err error) {
			if err != nil {
				r.log.Warn("a check is bad", "service", r.service.Plan.Service, "error", err)
			}
			r.performAll(r.core.CheckEnded(r.uptime(), a.Attempt, err == nil))
		})
	case takeover.GiveBack:
		r.giveLeadBack(a)
	case takeover.Alarm:
		e := Event{What: Alarm, Why: a.Why.String(), Other: a.To}
		if a.Why == takeover.StepFailed {
			e.Step = a.Step.String()
		}
		r.reportEvent(a.Token, e)
	case takeover.Record:
		r.reportRecord(a)
	}
	return nil
}

// hookOf returns what is done in a step: its hook, and the plan's procedures behind it. Nil:
// nothing is.
func (r *runner) hookOf(step service.Step) Hook {
	hook, names := r.do[step], r.core.Plan().ProceduresOf(step)
	if len(names) == 0 {
		return hook
	}
	return func(ctx context.Context, run Run) error {
		if hook != nil {
			if err := hook(ctx, run); err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := r.runProcedure(ctx, name, run); err != nil {
				return fmt.Errorf("procedure %q: %w", name, err)
			}
		}
		return nil
	}
}

// runProcedure runs one procedure, and tells how it has ended.
func (r *runner) runProcedure(ctx context.Context, name string, run Run) error {
	procedure, begin := r.service.Procedures[name], time.Now()
	err := ctx.Err()
	switch {
	case err != nil: // nobody waits for what was before
	case procedure == nil:
		err = errNoProcedure // the plan has changed: this node does not stand any more
	default:
		err = callHook(ctx, procedure, run)
	}
	e := Event{What: ProcedureEnded, Why: name, Took: time.Since(begin)}
	if err != nil {
		e.Error = err.Error()
	}
	r.reportEvent(run.Began(), e)
	return err
}

func (r *runner) beginStep(hook Hook, attempt uint64, deadline time.Duration, run Run) []takeover.Action {
	if hook == nil && len(r.hooks.calls) == 0 {
		return r.core.Ended(r.uptime(), attempt, nil)
	}
	if hook == nil { // but what is under way, as a procedure of the step that is undone, ends first
		hook = func(context.Context, Run) error { return nil }
	}
	r.hooks.beginHook(hook, run, deadline-r.uptime(), func(err error) { r.performAll(r.core.Ended(r.uptime(), attempt, err)) })
	return nil
}

func (r *runner) newRun(t token.Token, try int) Run {
	return Run{
		Service: r.service.Plan.Service, Node: r.self, Try: try, election: r.election(), elections: r.elections, shown: t, start: r.starts,
		announce: func(address string) bool { return r.takeAddress(t, address) },
	}
}

// giveLeadBack ends the lead. The others must know before what this node thinks of itself.
func (r *runner) giveLeadBack(g takeover.GiveBack) {
	e := Event{What: GivenBack, Why: g.Why.String(), Other: g.To}
	if g.Why == takeover.StepFailed {
		e.Step = g.Step.String()
	}
	r.reportEvent(g.Token, e)
	r.tellPreference()
	if r.lead == nil {
		return
	}
	r.lead.givenBack = true
	end := func() error { return r.elections.HandOver(r.election(), g.To) }
	if g.Lapse {
		end = func() error { return r.elections.LetLapse(r.election()) }
	}
	if err := end(); err != nil {
		r.log.Info("the lead was over before it was given back", "service", r.service.Plan.Service, "error", err)
	}
}

// informElection has the election know what the core makes of this node: whether it stands, and that
// nothing of its run is left.
func (r *runner) informElection() {
	r.tellPreference()
	if l := r.lead; l != nil && !r.core.Leads() && r.core.IsIdle() {
		if !l.givenBack && l.ctx.Err() == nil {
			// The lease had ended here, and an extension came too late: nothing runs under it.
			_ = r.elections.HandOver(r.election(), 0)
		}
		r.lead = nil
		close(l.released)
	}
	if r.told > 0 && r.standing == nil && r.closeBy == 0 {
		r.beginStanding()
	} else if r.told == 0 && r.standing != nil && !r.standing.ending && !r.core.Leads() {
		r.stopStanding()
	}
	r.publishRoute()
	r.publishStatus()
}

func (r *runner) tellPreference() {
	pref, _ := r.core.Standing()
	if pref == r.told {
		return
	}
	if err := r.elections.Prefer(r.election(), uint32(pref)); err != nil {
		if !r.untold { // said once: it is tried at each step
			r.log.Error("the preference cannot be told", "service", r.service.Plan.Service, "error", err)
		}
		r.untold = true
		return
	}
	r.told, r.untold = pref, false
}

// beginStanding stands for the election until stopStanding. What fails is tried again.
func (r *runner) beginStanding() {
	ctx, cancel := context.WithCancel(context.Background())
	s := &standing{cancel: cancel}
	r.standing = s
	r.group.Go(func(context.Context) {
		err := r.elections.Lead(ctx, r.election(), r.takeLead)
		failed := ctx.Err() == nil
		cancel()
		if failed {
			r.log.Error("this node does not stand for the service", "service", r.service.Plan.Service, "error", err)
			wait, stop := context.WithTimeout(context.Background(), standAgain)
			defer stop()
			select {
			case <-wait.Done():
			case <-r.closing:
			}
		}
		r.post(func() { r.standing = nil })
	})
}

func (r *runner) stopStanding() {
	if r.standing != nil {
		r.standing.cancel()
		r.standing.ending = true
	}
}

// takeLead is the work of a leadership: it returns when that has ended, and nothing of the
// run is left.
func (r *runner) takeLead(ctx context.Context, t token.Token) {
	l := &lead{ctx: ctx, token: t, began: t, address: r.service.Address, released: make(chan struct{})}
	posted := r.post(func() {
		now := r.uptime()
		_, left, err := r.elections.Lease(r.election())
		if err != nil {
			close(l.released)
			return
		}
		l.at, r.lead = now, l
		r.reportEvent(t, Event{What: Led})
		r.performAll(r.core.Led(now, t, now+left, r.elections.HandedOver(r.election())))
	})
	<-ctx.Done()
	if !posted {
		return
	}
	r.post(func() {
		if r.lead == l {
			r.performAll(r.core.LeadLost(r.uptime(), l.token))
		}
	})
	<-l.released
}

// reportRecord tells of a Record of the core.
func (r *runner) reportRecord(a takeover.Record) {
	e := Event{Took: a.Took, Other: a.Other}
	switch a.What {
	case takeover.StepEnded:
		e.What, e.Step = StepEnded, a.Step.String()
	case takeover.UndoEnded:
		e.What, e.Step = UndoEnded, a.Step.String()
	case takeover.StopEnded:
		if a.Token.IsZero() && a.Err == nil {
			return // it was made sure that nothing was left of a process before this one
		}
		e.What = Stopped
	case takeover.HealthChanged:
		e.What, e.Health = HealthChanged, a.Health
	case takeover.BetterSeen:
		e.What = BetterSeen
	}
	if a.Err != nil {
		e.Error = a.Err.Error()
		if errors.Is(a.Err, context.DeadlineExceeded) {
			e.Error = takeover.ErrTimeout.Error()
		}
	}
	r.reportEvent(a.Token, e)
}

func (r *runner) reportEvent(t token.Token, e Event) {
	e.Service, e.Node, e.Token, e.At = r.service.Plan.Service, r.self, t, time.Now()
	r.events(e)
}

func (r *runner) publishStatus() {
	leader, _ := r.elections.Standing(r.election())
	_, lacks := r.core.Standing()
	next := Status{
		Service: r.service.Plan.Service, Mode: r.service.Plan.Mode, Leader: leader.Node, Token: leader, Here: r.core.Leads(),
		Health: r.core.Health(), Stands: r.told > 0, Lacks: lacks, Plan: r.core.Plan(),
	}
	if !next.equal(r.status.Get()) {
		r.status.Set(next)
	}
}

// endSoon has the runner withdraw and end.
func (r *runner) endSoon() { r.closeOnce.Do(func() { close(r.closing) }) }
