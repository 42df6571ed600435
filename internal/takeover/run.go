package takeover

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Never is what NextDue returns when nothing is due.
const Never = time.Duration(1<<63 - 1)

const (
	badChecks = 3                // in a row make the service failed
	steadyFor = 10 * time.Minute // healthy, until earlier restarts are forgotten
	stopAgain = time.Second      // behind a stop that has failed, at least
	hearFor   = time.Second      // the first lead waits so long for those that the plan prefers to say that they stand
	deferFor  = 5 * time.Second  // behind the first lead: so long it goes to one of them, once
)

// Run is one service at one node, over all the times that this leads. Make one with NewRun.
// It is not safe for concurrent use.
type Run struct {
	plan  service.Plan
	own   service.Node
	peers []Peer
	now   time.Duration
	out   []Action

	led       bool
	token     token.Token
	leaseEnd  time.Duration
	withdrawn bool
	clashes   bool // there is a plan of the other mode
	penalty   penalty
	hasLed    bool
	firstLed  time.Duration // when, once hasLed
	settled   bool          // the service is known to have run, or a lead has been given on

	begun   int  // steps begun and not undone; the last one may be under way
	tries   int  // of the step that is next or under way
	down    bool // undoing, down to keep steps
	keep    int
	again   bool     // once down, begin anew; else give the lead back, if there still is one
	leaving GiveBack // that, then
	work    work     // the step or undoing under way
	stop    work     // the stop under way, beside that
	stopped bool     // it has ended: that is the undoing of Start
	hangs   bool     // it has not ended in time
	lastID  uint64   // of an attempt
	alone   bool     // unfit without another node that fits: that was told

	fitting int           // others that stand
	unheard bool          // one that the plan places before all that stand does not stand, or has not told
	idle    view.NodeID   // as better, but does not say that it runs the service
	better  view.NodeID   // the one of them that the plan places highest, if before this one
	rival   view.NodeID   // better than this one, which runs it verified
	since   time.Duration // since when

	check      work
	nextCheck  time.Duration
	lastCheck  time.Duration
	bad        int // checks in a row
	restarts   int
	wellSince  time.Duration
	toldHealth service.Health
}

// work is something that the shell was told to do. The zero work is none.
type work struct {
	id         uint64
	undo       bool
	since, due time.Duration
}

// NewRun returns a run of a plan that is valid.
func NewRun(plan service.Plan) *Run { return &Run{plan: plan.Complete()} }

// RunLeft reports, before the node leads, that a former process may have left a run here: it
// is stopped, and nothing is begun before that has ended.
func (r *Run) RunLeft(now time.Duration) []Action {
	r.arrive(now)
	if !r.led && r.begun == 0 && r.stop.id == 0 {
		r.demandStop()
		r.unwindAll(GiveBack{Why: LostLead})
	}
	return r.decideNext()
}

// Led reports that this node leads, or leads on with a higher token, and whether the leader
// before has handed over to it.
func (r *Run) Led(now time.Duration, t token.Token, leaseEnd time.Duration, handedOver bool) []Action {
	r.arrive(now)
	r.settled = r.settled || handedOver
	isNew := r.token.Less(t) || r.led && t == r.token // one that was given back is spent
	if isNew && r.now < leaseEnd {
		r.led, r.token, r.leaseEnd = true, t, leaseEnd
		if !r.hasLed {
			r.hasLed, r.firstLed = true, r.now
		}
		if r.down && r.leaving.Why == LostLead {
			r.again = true
		}
	}
	return r.decideNext()
}

// LeaseExtended reports until when the lease goes now.
func (r *Run) LeaseExtended(now time.Duration, t token.Token, leaseEnd time.Duration) []Action {
	r.arrive(now)
	if r.led && !t.Less(r.token) {
		r.token, r.leaseEnd = t, max(leaseEnd, r.leaseEnd)
	}
	return r.decideNext()
}

// LeadLost reports that the leadership of a token is over.
func (r *Run) LeadLost(now time.Duration, t token.Token) []Action {
	r.arrive(now)
	if !t.Less(r.token) {
		r.loseLead()
	}
	return r.decideNext()
}

// Ended reports how a step, an undoing or a stop has ended. What was passed over counts no
// more, but a stop does whenever it ends.
func (r *Run) Ended(now time.Duration, attempt uint64, err error) []Action {
	r.arrive(now)
	switch attempt {
	case 0:
	case r.work.id:
		r.endWork(err)
	case r.stop.id:
		r.endStop(err)
	}
	return r.decideNext()
}

// CheckEnded reports what a check has found.
func (r *Run) CheckEnded(now time.Duration, attempt uint64, ok bool) []Action {
	r.arrive(now)
	if attempt != 0 && attempt == r.check.id {
		r.endCheck(ok)
	}
	return r.decideNext()
}

// FactsChanged reports what is known of this node and the others that are in contact. What own
// refers to must not be changed afterwards.
func (r *Run) FactsChanged(now time.Duration, own service.Node, peers []Peer) []Action {
	r.arrive(now)
	r.own, r.peers = own, slices.Clone(peers)
	r.weighPeers()
	return r.decideNext()
}

// MoveAsked reports that a person wants another node to run the service.
func (r *Run) MoveAsked(now time.Duration, to view.NodeID) []Action {
	r.arrive(now)
	switch {
	case !r.led || to == r.own.ID: // nothing is to be moved
	case !r.standsElsewhere(to):
		r.addAction(Alarm{Token: r.token, Why: MoveRefused, To: to})
	default:
		r.unwindAll(GiveBack{Why: Moved, To: to})
	}
	return r.decideNext()
}

// PlanChanged reports another plan, which must be valid. Only what differs is acted upon:
// limits count from the next step and check on.
func (r *Run) PlanChanged(now time.Duration, plan service.Plan) []Action {
	r.arrive(now)
	plan = plan.Complete()
	if plan.Service != r.plan.Service || plan.Mode != r.plan.Mode {
		r.addAction(Alarm{Token: r.token, Why: PlanRefused})
		return r.decideNext()
	}
	r.takePlan(plan)
	return r.decideNext()
}

// PlansFound reports the plans that are kept for the service: one of each mode at most, and
// both if two sides of a cut have not known of each other. Then Exclusive counts, for what may
// not run twice is harmed more by running twice than the other one by standing still: a run of
// the other mode ends, until that plan is gone.
func (r *Run) PlansFound(now time.Duration, plans []service.Plan) []Action {
	r.arrive(now)
	clashed := r.clashes
	r.clashes = false
	for _, p := range plans {
		if p.Mode == r.plan.Mode {
			r.takePlan(p.Complete())
		} else {
			r.clashes = true
		}
	}
	if r.clashes && !clashed {
		r.addAction(Alarm{Token: r.token, Why: OtherMode})
	}
	return r.decideNext()
}

// takePlan goes by another plan of the service.
func (r *Run) takePlan(plan service.Plan) {
	anew := plan.Runs != r.plan.Runs && r.begun > 0 && r.led
	r.plan, r.withdrawn = plan, false
	r.weighPeers()
	r.nextCheck = r.lastCheck + plan.Check.Interval
	if anew && (!r.down || r.again) {
		r.unwind(0, true, GiveBack{Why: Replanned})
	}
}

// isOutweighed tells whether a plan of the other mode counts instead of this one's.
func (r *Run) isOutweighed() bool { return r.clashes && r.plan.Mode != service.Exclusive }

// Withdraw has the node not stand any more, until a plan comes.
func (r *Run) Withdraw(now time.Duration) []Action {
	r.arrive(now)
	r.withdrawn = true
	return r.decideNext()
}

// Tick has done what is due by itself.
func (r *Run) Tick(now time.Duration) []Action {
	r.arrive(now)
	return r.decideNext()
}

// NextDue is when Tick is to be called at the latest; Standing may have changed then.
func (r *Run) NextDue() time.Duration {
	due := Never
	for _, w := range []work{r.work, r.stop, r.check} {
		if w.id != 0 {
			due = min(due, w.due)
		}
	}
	if until := r.penalty.Until(); until > r.now {
		due = min(due, until)
	}
	if !r.led {
		return due
	}
	due = min(due, r.leaseEnd)
	if r.begun == 0 && r.penalty.RestUntil() > r.now {
		due = min(due, r.penalty.RestUntil())
	}
	if r.begun == 0 && r.waitsForOthers() {
		due = min(due, r.firstLed+hearFor)
	}
	if r.isVerified() {
		if r.check.id == 0 {
			due = min(due, r.nextCheck)
		}
		if r.rival != 0 && r.plan.FailBack == service.FailBackAfter && r.bad == 0 {
			due = min(due, r.since+r.plan.After)
		}
	}
	return max(due, r.now)
}

// Standing returns this node's preference, and all that it lacks. With a lack it does not
// stand, unless it runs the service: then it stands until it has undone all, so that no
// election ends what it would end in order.
func (r *Run) Standing() (Preference, []service.Lack) {
	own := r.own
	own.Penalised = r.now < r.penalty.Until()
	own.Runs = r.led && r.begun > 0
	lacks := r.plan.Lacks(own)
	if r.hangs {
		lacks = append(lacks, service.Lack{Kind: service.LackStop})
	}
	if r.withdrawn || r.isOutweighed() {
		lacks = append(lacks, service.Lack{Kind: service.LackPlan})
	}
	if len(lacks) > 0 && (!own.Runs || r.hangs) {
		return 0, lacks
	}
	return preferFit(r.plan, own), lacks
}

// Plan returns the plan that the Run goes by, complete.
func (r *Run) Plan() service.Plan { return r.plan }

// Leads tells whether the node leads, as far as the Run goes by it.
func (r *Run) Leads() bool { return r.led }

// IsIdle tells whether nothing of a run is here, and nothing is being stopped.
func (r *Run) IsIdle() bool { return r.begun == 0 && r.stop.id == 0 }

// Health tells how the service is at this node.
func (r *Run) Health() service.Health {
	switch {
	case r.bad >= badChecks:
		return service.Failed
	case !r.isVerified():
		return service.Offline
	case r.bad > 0:
		return service.Degraded
	}
	return service.Healthy
}

func (r *Run) isVerified() bool {
	return r.led && r.begun == int(service.StepCount) && !r.down && r.work.id == 0
}

func (r *Run) standsElsewhere(id view.NodeID) bool {
	return slices.ContainsFunc(r.peers, func(o Peer) bool { return o.ID == id && o.Preference > 0 })
}

// weighPeers takes in what other nodes are worth by the plan.
func (r *Run) weighPeers() {
	var idle, silent []Peer
	for _, o := range r.peers {
		switch {
		case o.Preference == 0:
			silent = append(silent, o)
		case o.Preference.runs():
			r.settled = true
		default:
			idle = append(idle, o)
		}
	}
	r.fitting = len(r.peers) - len(silent)
	r.better, r.idle = findBetter(r.plan, r.own.Name, r.peers), findBetter(r.plan, r.own.Name, idle)
	first := r.own.Name // of those that are known to stand
	for _, o := range idle {
		if o.ID == r.idle {
			first = o.Name
		}
	}
	r.unheard = slices.ContainsFunc(silent, func(o Peer) bool { return rankOf(r.plan, o.Name) > rankOf(r.plan, first) })
}

func (r *Run) addAction(a Action) { r.out = append(r.out, a) }

func (r *Run) newWork(undo bool, limit time.Duration) work {
	r.lastID++
	return work{id: r.lastID, undo: undo, since: r.now, due: r.now + limit}
}
