package takeover

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	siteLease  = 2 * time.Second
	siteRenew  = 500 * time.Millisecond
	siteChoice = 300 * time.Millisecond // a leader is chosen so long behind the end of a lease
)

// site is three nodes with leases, which are killed, cut off, frozen and worn, and whose hooks
// fail and hang. One node at a time holds the lease, as elections promise; two of the three must
// reach each other for it to be given or renewed. What a node knows of the others is late.
type site struct {
	t       *testing.T
	rng     *rand.Rand
	now     time.Duration
	nodes   []*siteNode
	plan    service.Plan
	term    uint64
	holder  *siteNode // of the lease
	ends    time.Duration
	free    time.Duration // when another one may be chosen
	nominee view.NodeID

	fence      token.Token   // the highest that it was shown
	calm       time.Duration // since when nothing is wrong
	served     time.Duration // when it was last verified somewhere
	alarmed    time.Duration // the last alarm
	verified   int
	log        []string
	tally      map[string]int
	nextSpread time.Duration
}

type siteNode struct {
	fact    service.Node
	run     *Run
	token   token.Token
	renewed time.Duration
	leads   bool // by its own word
	alive   bool // the service runs
	down    bool
	cut     bool
	frozen  bool
	fails   map[service.Step]bool
	hangs   bool
	sick    bool
	open    []modelHook
}

func newSite(t *testing.T, seed uint64, tally map[string]int) *site {
	rng := rand.New(rand.NewPCG(seed, 16))
	s := &site{t: t, rng: rng, plan: sitePlan(rng, "x"), tally: tally, served: -time.Hour, alarmed: -time.Hour}
	s.say("-seed %d, %+v", seed, s.plan)
	for _, fact := range threeNodes {
		s.nodes = append(s.nodes, &siteNode{fact: fact, run: NewRun(s.plan), fails: map[service.Step]bool{}})
	}
	return s
}

// sitePlan gives hooks and checks more time than they take when all is fine.
func sitePlan(rng *rand.Rand, runs string) service.Plan {
	p := randomPlan(rng, runs)
	for k := range p.Steps {
		p.Steps[k].Timeout *= 10
	}
	p.Check = service.Check{Interval: 10 * p.Check.Interval, Timeout: 10 * p.Check.Timeout}
	return p
}

func (s *site) say(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%v ", s.now)+fmt.Sprintf(format, args...))
}

func (s *site) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\n%v: %s", strings.Join(s.log[max(0, len(s.log)-80):], "\n"), s.now, fmt.Sprintf(format, args...))
}

// reaches tells whether a node is one of two that reach each other.
func (s *site) reaches(n *siteNode) bool {
	count := 0
	for _, o := range s.nodes {
		if !o.down && !o.cut && !o.frozen {
			count++
		}
	}
	return !n.down && !n.cut && !n.frozen && count >= 2
}

// isFine tells whether a node could run the service all the time.
func (s *site) isFine(n *siteNode) bool {
	return s.reaches(n) && len(n.fails) == 0 && !n.hangs && !n.sick && len(n.fact.Conditions) == 0
}

// bound is within what time the service is verified once nothing is wrong: the lease ends, what
// hangs is given up and undone, a rest after failures, a detour by a node that the plan prefers,
// and a start at each of three nodes.
func (s *site) bound() time.Duration {
	return 2*siteLease + 2*siteChoice + hearFor + deferFor + restMax + 3*(s.plan.UndoBound()+s.plan.StartBound())
}

// pass lets time go by in small steps.
func (s *site) pass(d time.Duration) {
	s.t.Helper()
	for end := s.now + d; s.now < end; {
		s.now += 20 * time.Millisecond
		s.runElection()
		for _, n := range s.nodes {
			if n.down || n.frozen {
				continue
			}
			for len(n.open) > 0 && n.open[0].at <= s.now {
				a := n.open[0].a
				n.open = n.open[1:]
				s.take(n, s.answer(n, a))
			}
			s.take(n, n.run.Tick(s.now))
		}
		if s.now >= s.nextSpread {
			s.nextSpread = s.now + time.Duration(s.rng.IntN(200))*time.Millisecond
			s.spread()
		}
		s.check()
	}
}

// runElection renews the lease, ends it, and chooses who has it next.
func (s *site) runElection() {
	s.t.Helper()
	for _, n := range s.nodes { // the leash knows the end of the lease, whatever its node does
		if n.alive && (n != s.holder || s.now >= s.ends) {
			n.alive = false
			s.say("    the leash of %s kills", n.fact.Name)
		}
	}
	if h := s.holder; h != nil && s.now >= s.ends {
		s.say("the lease of %s is over", h.fact.Name)
		s.holder, s.free = nil, max(s.free, s.now+siteChoice)
		if !h.down && !h.frozen {
			s.take(h, h.run.LeadLost(s.now, h.token))
		}
	}
	if h := s.holder; h != nil && h.leads && s.reaches(h) && s.now-h.renewed >= siteRenew {
		h.renewed, s.ends = s.now, s.now+siteLease
		if s.rng.IntN(8) == 0 { // its voters have changed
			s.term++
			h.token = token.Token{Term: s.term, Node: h.fact.ID}
		}
		s.take(h, h.run.LeaseExtended(s.now, h.token, s.ends))
	}
	if s.holder != nil || s.now < s.free {
		return
	}
	var best *siteNode
	var high Preference
	for _, n := range s.nodes {
		if pref, _ := n.run.Standing(); s.reaches(n) && pref > 0 && (best == nil || pref > high || n.fact.ID == s.nominee) && (best == nil || best.fact.ID != s.nominee) {
			best, high = n, pref
		}
	}
	if best == nil {
		return
	}
	handedOver := best.fact.ID == s.nominee
	s.term++
	s.holder, s.ends, s.nominee = best, s.now+siteLease, 0
	best.token, best.renewed, best.leads = token.Token{Term: s.term, Node: best.fact.ID}, s.now, true
	s.say("%s leads", best.fact.Name)
	s.take(best, best.run.Led(s.now, best.token, s.ends, handedOver))
}

func (s *site) spread() {
	s.t.Helper()
	for _, n := range s.nodes {
		if n.down || n.frozen {
			continue
		}
		var others []Peer
		for _, o := range s.nodes {
			if o != n && s.reaches(o) && s.reaches(n) {
				pref, _ := o.run.Standing()
				others = append(others, Peer{o.fact.ID, o.fact.Name, pref})
			}
		}
		s.take(n, n.run.FactsChanged(s.now, n.fact, others))
	}
}

func (s *site) take(n *siteNode, actions []Action) {
	s.t.Helper()
	for _, a := range actions {
		s.say("    %s: %T%+v", n.fact.Name, a, a)
		wait := time.Duration(10+s.rng.IntN(60)) * time.Millisecond
		switch a := a.(type) {
		case Begin:
			if a.Step == service.Start {
				for _, o := range s.nodes {
					if o.alive {
						s.fail("%s runs when %s starts", o.fact.Name, n.fact.Name)
					}
				}
				if n.alive = s.holder == n; !n.alive {
					s.fail("%s starts without the lease", n.fact.Name)
				}
			}
			if n.hangs {
				wait = 10 * time.Second
			}
			n.open = append(n.open, modelHook{s.now + wait, a})
		case Undo, Stop, BeginCheck:
			n.open = append(n.open, modelHook{s.now + wait, a})
		case GiveBack:
			n.leads = false
			if s.holder == n && !a.Lapse {
				if n.alive {
					s.fail("%s gives the lead back, and the service runs", n.fact.Name)
				}
				s.holder, s.free, s.nominee = nil, s.now+40*time.Millisecond, a.To
			}
			s.tally["given back: "+a.Why.String()]++
		case Alarm:
			s.alarmed = s.now
			s.tally["alarms"]++
		}
	}
}

func (s *site) answer(n *siteNode, a Action) []Action {
	return answerHook(n.run, s.now, a, n.fails, &n.alive, n.alive && !n.sick)
}

// check has what runs show its token, and looks whether the service is served as was promised.
func (s *site) check() {
	s.t.Helper()
	fine, verified := 0, 0
	for _, n := range s.nodes {
		if s.isFine(n) {
			fine++
		}
		if n.alive && !n.frozen && !n.down {
			if n.token.Less(s.fence) {
				s.fail("%s shows %v, and %v was seen", n.fact.Name, n.token, s.fence)
			}
			s.fence = n.token
		}
		if h := n.run.Health(); !n.down && !n.frozen && n.alive && (h == service.Healthy || h == service.Degraded) {
			verified++
		}
	}
	if fine < len(s.nodes) {
		s.calm = s.now
	}
	if verified > 0 {
		s.served = s.now
		s.verified++
	}
	if s.now-max(s.calm, s.served) > s.bound() {
		s.fail("not served for %v while all is fine", s.now-s.served)
	}
}

// checkTold looks, when the service was not served for long, whether anybody was told why.
func (s *site) checkTold(since time.Duration) {
	s.t.Helper()
	for _, n := range s.nodes {
		if _, lacks := n.run.Standing(); s.reaches(n) && len(lacks) == 0 && s.served < since && s.alarmed < since && n.run.Health() == service.Offline {
			s.fail("%s could run it, nobody does since %v, and there was no alarm", n.fact.Name, s.served)
		}
	}
}

// disturb does one thing at random.
func (s *site) disturb() {
	s.t.Helper()
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	what := [...]string{"kill", "kill", "cut", "freeze", "fail", "hang", "sicken", "wear", "move", "plan"}[s.rng.IntN(10)]
	s.say("%s %s", what, n.fact.Name)
	s.tally[what]++
	switch what {
	case "kill":
		if n.down = !n.down; n.down {
			*n = siteNode{fact: n.fact, run: NewRun(s.plan), down: true, fails: n.fails, hangs: n.hangs, sick: n.sick, cut: n.cut}
			if s.holder == n { // it does not know any more that it has the lease
				n.leads = false
			}
		} else {
			n.run = NewRun(s.plan)
			s.take(n, n.run.RunLeft(s.now))
		}
	case "cut":
		n.cut = !n.cut
	case "freeze":
		n.frozen = !n.frozen && !n.down
	case "fail":
		if k := service.Step(s.rng.IntN(int(service.StepCount))); n.fails[k] {
			delete(n.fails, k)
		} else {
			n.fails[k] = true
		}
	case "hang":
		n.hangs = !n.hangs
	case "sicken":
		n.sick = !n.sick
	case "wear":
		if n.fact.Conditions == nil {
			n.fact.Conditions = []string{"worn"}
		} else {
			n.fact.Conditions = nil
		}
	case "move":
		if h := s.holder; h != nil && h.leads && !h.down && !h.frozen {
			s.take(h, h.run.MoveAsked(s.now, n.fact.ID))
		}
	case "plan":
		plan := sitePlan(s.rng, []string{"x", "y"}[s.rng.IntN(2)])
		plan.Steps, plan.Check = s.plan.Steps, s.plan.Check
		s.plan = plan
		for _, o := range s.nodes {
			if !o.down && !o.frozen {
				s.take(o, o.run.PlanChanged(s.now, plan))
			}
		}
	}
}

// mend ends all that is wrong.
func (s *site) mend() {
	s.t.Helper()
	for _, n := range s.nodes {
		if n.down {
			n.run = NewRun(s.plan)
			n.down = false
			s.take(n, n.run.RunLeft(s.now))
		}
		n.cut, n.frozen, n.hangs, n.sick, n.fact.Conditions, n.fails = false, false, false, false, nil, map[service.Step]bool{}
		s.take(n, n.run.PlanChanged(s.now, s.plan))
	}
	s.calm = s.now
}

// TestServicesOfASiteOverRandomSchedules has nodes be killed, cut off, frozen and worn, and hooks
// fail and hang, in any order. The service never runs twice, what it shows to a fence never goes
// down, it is served within the bound when all is fine, and never unserved for long without an
// alarm, or a reason that each node tells.
func TestServicesOfASiteOverRandomSchedules(t *testing.T) {
	first, last := uint64(1), uint64(50)
	if *long {
		last = 10_000
	}
	if *seed != 0 {
		first, last = *seed, *seed
	}
	tally := map[string]int{}
	verified := 0
	for n := first; n <= last && !t.Failed(); n++ {
		s := newSite(t, n, tally)
		for range 12 {
			s.pass(time.Duration(s.rng.IntN(8000)) * time.Millisecond)
			s.disturb()
		}
		since := s.now
		s.pass(s.bound())
		s.checkTold(since)
		s.mend()
		s.pass(s.bound() + 10*time.Second)
		if s.served < s.now {
			s.fail("not served in the end, %v", s.served)
		}
		verified += s.verified
	}
	t.Logf("%v, verified in %d of all steps", tally, verified)
	for _, what := range slices.Sorted(func(yield func(string) bool) {
		for _, w := range []string{"kill", "cut", "freeze", "fail", "hang", "sicken", "wear", "move", "plan", "alarms"} {
			if !yield(w) {
				return
			}
		}
	}) {
		if *seed == 0 && tally[what] < int(last)/2 {
			t.Errorf("hardly any %s: %v", what, tally)
		}
	}
}
