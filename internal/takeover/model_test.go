package takeover

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// modelMesh is three nodes, each with a Run, under an ideal election: whoever stands and is
// preferred by all leads at once, and leads on until it gives the lead back, is down, or
// another one that does not run it is preferred. Facts are known everywhere at once.
type modelMesh struct {
	t       *testing.T
	now     time.Duration
	nodes   []*modelNode
	term    uint64
	leader  view.NodeID
	nominee view.NodeID
	log     []string
}

type modelNode struct {
	fact    service.Node
	run     *Run
	down    bool
	fails   map[service.Step]bool
	sick    bool // its checks are bad
	open    []modelHook
	alive   bool
	starts  int
	started []time.Duration
	records []Record
	given   []GiveBack
}

type modelHook struct {
	at time.Duration
	a  Action
}

const modelHookTakes = 100 * time.Millisecond

func newModelMesh(t *testing.T, plan service.Plan) *modelMesh {
	m := &modelMesh{t: t}
	for _, fact := range threeNodes {
		m.nodes = append(m.nodes, &modelNode{fact: fact, run: NewRun(plan), fails: make(map[service.Step]bool)})
	}
	m.spread()
	return m
}

func (m *modelMesh) up() (up []*modelNode) {
	return slices.DeleteFunc(slices.Clone(m.nodes), func(n *modelNode) bool { return n.down })
}

// spread tells every node all facts, and has the election look at them.
func (m *modelMesh) spread() {
	m.t.Helper()
	for range 10 {
		for _, n := range m.up() {
			var others []Peer
			for _, o := range m.up() {
				if o != n {
					pref, _ := o.run.Standing()
					others = append(others, Peer{o.fact.ID, o.fact.Name, pref})
				}
			}
			m.take(n, n.run.FactsChanged(m.now, n.fact, others))
		}
		if !m.elect() {
			return
		}
	}
	m.fail("the lead flaps")
}

// elect has the preferred one lead, and tells whether the lead has moved.
func (m *modelMesh) elect() bool {
	var best, leader *modelNode
	var high Preference
	for _, n := range m.up() {
		pref, _ := n.run.Standing()
		if pref > high || pref > 0 && n.fact.ID == m.nominee {
			best, high = n, pref
			if n.fact.ID == m.nominee {
				break
			}
		}
	}
	if i := slices.IndexFunc(m.nodes, func(n *modelNode) bool { return n.fact.ID == m.leader }); i >= 0 && !m.nodes[i].down {
		leader = m.nodes[i]
	}
	if leader != nil {
		if pref, _ := leader.run.Standing(); pref == 0 && leader.run.led {
			m.fail("%s leads, and does not stand", leader.fact.Name)
		}
	}
	if best == leader || best == nil || leader != nil && leader.run.led && leader.run.begun > 0 {
		return false
	}
	if leader != nil {
		m.take(leader, leader.run.LeadLost(m.now, token.Token{Term: m.term, Node: m.leader}))
	}
	m.term++
	handedOver := best.fact.ID == m.nominee
	m.leader, m.nominee = best.fact.ID, 0
	m.say("%s leads", best.fact.Name)
	m.take(best, best.run.Led(m.now, token.Token{Term: m.term, Node: m.leader}, Never, handedOver))
	return true
}

func (m *modelMesh) say(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%v ", m.now)+fmt.Sprintf(format, args...))
}

func (m *modelMesh) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\n%v: %s", strings.Join(m.log[max(0, len(m.log)-60):], "\n"), m.now, fmt.Sprintf(format, args...))
}

func (m *modelMesh) take(n *modelNode, actions []Action) {
	m.t.Helper()
	for _, a := range actions {
		m.say("    %s: %T%+v", n.fact.Name, a, a)
		switch a := a.(type) {
		case Begin:
			if a.Step == service.Start {
				for _, o := range m.nodes {
					if o.alive {
						m.fail("%s runs when %s starts", o.fact.Name, n.fact.Name)
					}
				}
				n.alive = true
				n.starts++
				n.started = append(n.started, m.now)
			}
			n.open = append(n.open, modelHook{m.now + modelHookTakes, a})
		case Undo, Stop, BeginCheck:
			n.open = append(n.open, modelHook{m.now + modelHookTakes, a})
		case GiveBack:
			n.given = append(n.given, a)
			m.leader, m.nominee = 0, a.To
		case Record:
			n.records = append(n.records, a)
		}
	}
}

func (m *modelMesh) setDown(i int, down bool) {
	m.t.Helper()
	n := m.nodes[i]
	n.down = down
	if m.say("%s is down: %t", n.fact.Name, down); down {
		n.alive, n.open, n.run = false, nil, NewRun(n.run.plan)
	}
	if down && m.leader == n.fact.ID {
		m.leader = 0
	}
	m.spread()
}

// pass lets time go by.
func (m *modelMesh) pass(d time.Duration) {
	m.t.Helper()
	for end := m.now + d; ; {
		next := end
		for _, n := range m.up() {
			next = min(next, max(n.run.NextDue(), m.now))
			if len(n.open) > 0 {
				next = min(next, n.open[0].at)
			}
		}
		m.now = next
		for _, n := range m.up() {
			for len(n.open) > 0 && n.open[0].at <= m.now {
				a := n.open[0].a
				n.open = n.open[1:]
				m.take(n, m.answer(n, a))
			}
			m.take(n, n.run.Tick(m.now))
		}
		m.spread()
		if m.now >= end {
			return
		}
	}
}

func (m *modelMesh) answer(n *modelNode, a Action) []Action {
	return answerHook(n.run, m.now, a, n.fails, &n.alive, !n.sick)
}

// answerHook tells a run how a hook has ended, and whether the service is alive then.
func answerHook(run *Run, now time.Duration, a Action, fails map[service.Step]bool, alive *bool, isWell bool) []Action {
	switch a := a.(type) {
	case Begin:
		if fails[a.Step] {
			return run.Ended(now, a.Attempt, errHook)
		}
		return run.Ended(now, a.Attempt, nil)
	case Undo:
		*alive = *alive && a.Step != service.Start
		return run.Ended(now, a.Attempt, nil)
	case Stop:
		*alive = false
		return run.Ended(now, a.Attempt, nil)
	case BeginCheck:
		return run.CheckEnded(now, a.Attempt, isWell)
	}
	return nil
}

func (m *modelMesh) wantRuns(i int) {
	m.t.Helper()
	if n := m.nodes[i]; n.run.Health() != service.Healthy || m.leader != n.fact.ID {
		m.fail("%s does not run it, %v leads", n.fact.Name, m.leader)
	}
}

func (m *modelMesh) starts() (n int) {
	for _, o := range m.nodes {
		n += o.starts
	}
	return n
}

func backPlan(back service.FailBack) service.Plan {
	p := pressPlan()
	p.FailBack, p.After = back, 30*time.Second
	return p
}

func TestThePrimaryThenTheBackupThenWhoeverFits(t *testing.T) {
	m := newModelMesh(t, backPlan(service.FailBackNever))
	m.pass(time.Second)
	m.wantRuns(0)
	m.setDown(0, true)
	m.pass(time.Second)
	m.wantRuns(1)
	m.setDown(1, true)
	m.pass(time.Second)
	m.wantRuns(2)
}

func TestAReconnectRestartsNothingHealthy(t *testing.T) {
	m := newModelMesh(t, backPlan(service.FailBackNever))
	m.setDown(0, true)
	m.pass(time.Second)
	n := m.starts()
	for range 20 {
		m.setDown(0, false)
		m.pass(time.Minute)
		m.setDown(0, true)
		m.pass(time.Minute)
	}
	m.wantRuns(1)
	if m.starts() != n {
		m.fail("%d starts", m.starts()-n)
	}
}

func TestFailBackOnlyToOneThatStays(t *testing.T) {
	m := newModelMesh(t, backPlan(service.FailBackAfter))
	m.setDown(0, true)
	m.pass(time.Second)
	n := m.starts()
	for range 20 {
		m.setDown(0, false)
		m.pass(29 * time.Second)
		m.setDown(0, true)
		m.pass(time.Second)
	}
	m.wantRuns(1)
	if m.starts() != n {
		m.fail("%d starts while the primary comes and goes", m.starts()-n)
	}
	m.setDown(0, false)
	m.pass(32 * time.Second)
	m.wantRuns(0)
	m.pass(time.Hour)
	if m.starts() != n+1 || m.nodes[1].given[0].Why != FailedBack || m.nodes[1].given[0].To != 1 {
		m.fail("%d starts, %+v", m.starts()-n, m.nodes[1].given)
	}
}

func TestFailBackWaitsForAHealthyService(t *testing.T) {
	m := newModelMesh(t, backPlan(service.FailBackAfter))
	m.setDown(0, true)
	m.pass(time.Second)
	m.setDown(0, false)
	m.pass(28 * time.Second)
	m.nodes[1].sick = true // a restart begins the time anew
	m.pass(4 * time.Second)
	m.nodes[1].sick = false
	m.pass(20 * time.Second)
	m.wantRuns(1)
	m.pass(12 * time.Second)
	m.wantRuns(0)
}

func TestFailBackByHand(t *testing.T) {
	m := newModelMesh(t, backPlan(service.FailBackByHand))
	m.setDown(0, true)
	m.pass(time.Second)
	m.setDown(0, false)
	m.pass(time.Hour)
	m.wantRuns(1)
	seen := 0
	for _, r := range m.nodes[1].records {
		if r.What == BetterSeen && r.Other == 1 {
			seen++
		}
	}
	if seen != 1 {
		m.fail("told %d times that a better one is there", seen)
	}
	m.take(m.nodes[1], m.nodes[1].run.MoveAsked(m.now, 3))
	m.pass(2 * time.Second)
	m.wantRuns(2)
	m.take(m.nodes[2], m.nodes[2].run.MoveAsked(m.now, 1))
	m.pass(2 * time.Second)
	m.wantRuns(0)
}

func TestOneThatFailsItsVerificationLetsOthersGoFirst(t *testing.T) {
	m := newModelMesh(t, backPlan(service.FailBackAfter))
	m.nodes[0].fails[service.Verify] = true
	m.pass(5 * time.Second)
	m.wantRuns(1)
	m.pass(2 * time.Hour) // it is tried again when the penalty has ended, less and less often
	n := m.nodes[0].starts
	if n < 4 || n > 10 {
		m.fail("%d starts of one that fails in two hours", n)
	}
	m.wantRuns(1)
	m.nodes[0].fails[service.Verify] = false
	m.pass(time.Hour)
	m.wantRuns(0)
}

func TestOneThatIsAloneTriesOnAtAGrowingPause(t *testing.T) {
	m := newModelMesh(t, backPlan(service.FailBackNever))
	m.setDown(1, true)
	m.setDown(2, true)
	m.nodes[0].fails[service.Start] = true
	m.take(m.nodes[0], m.nodes[0].run.MoveAsked(m.now, 2))
	m.pass(10 * time.Minute)
	limit := restMax + m.nodes[0].run.plan.UndoBound() + m.nodes[0].run.plan.StartBound()
	var pauses []time.Duration // between first tries
	for i, at := range m.nodes[0].started {
		if i >= 2 && i%2 == 0 {
			pauses = append(pauses, at-m.nodes[0].started[i-2])
		}
	}
	if n := len(pauses); n < 15 || !slices.IsSorted(pauses) || pauses[0] > 3*time.Second || pauses[n-1] < restMax || pauses[n-1] > limit {
		m.fail("pauses of %v", pauses)
	}
	m.nodes[0].fails[service.Start] = false
	m.pass(limit)
	m.wantRuns(0)
}

func TestAPlanThatChanges(t *testing.T) {
	m := newModelMesh(t, backPlan(service.FailBackNever))
	m.pass(time.Second)
	change := func(change func(*service.Plan)) {
		plan := m.nodes[0].run.plan
		change(&plan)
		for _, n := range m.nodes {
			m.take(n, n.run.PlanChanged(m.now, plan))
		}
		m.pass(3 * time.Second)
	}
	change(func(p *service.Plan) { p.Check.Interval, p.Primary, p.Backups = 5*time.Second, "c", nil })
	m.wantRuns(0)
	if m.starts() != 1 {
		m.fail("%d starts", m.starts())
	}
	change(func(p *service.Plan) { p.Runs = "2" })
	m.wantRuns(0)
	if m.starts() != 2 {
		m.fail("%d starts", m.starts())
	}
	change(func(p *service.Plan) { p.Needs.Capabilities = []string{"gpu"} }) // a does not have it
	m.wantRuns(2)
	change(func(p *service.Plan) { p.FailBack, p.After, p.Primary = service.FailBackAfter, time.Second, "b" })
	m.wantRuns(1)
	if m.starts() != 4 {
		m.fail("%d starts", m.starts())
	}
}
