package takeover

import (
	"errors"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

func pressPlan() service.Plan {
	p := service.Plan{Service: "press", Primary: "a", Backups: []string{"b"}, Conditions: []string{"worn"}, Restarts: 1}
	for k := range p.Steps {
		p.Steps[k] = service.Limits{Timeout: time.Second, Retries: 1}
	}
	return p
}

// verifiedShell has a shell whose service runs, verified, since it answered within 10 ms.
func verifiedShell(t *testing.T, plan service.Plan) *testShell {
	t.Helper()
	s := newTestShell(t, plan)
	s.run.settled = true // it has run before
	s.led(time.Hour)
	s.answer(100*time.Millisecond, 10*time.Millisecond, works)
	if s.run.Health() != service.Healthy {
		s.fail("not verified")
	}
	s.did = nil
	return s
}

func failing(step service.Step) func(Action) error {
	return func(a Action) error {
		if b, ok := a.(Begin); ok && b.Step == step {
			return errHook
		}
		return nil
	}
}

func hanging(is func(Action) bool) func(Action) error {
	return func(a Action) error {
		if is(a) {
			return errHang
		}
		return nil
	}
}

func undoes(step service.Step) func(Action) bool {
	return func(a Action) bool { u, ok := a.(Undo); return ok && u.Step == step }
}

func TestFiveStepsUntilVerified(t *testing.T) {
	s := newTestShell(t, pressPlan())
	if s.run.Health() != service.Offline {
		t.Error("healthy before it runs")
	}
	s.led(time.Hour)
	s.answer(50*time.Millisecond, 10*time.Millisecond, works)
	if s.run.Health() != service.Healthy || len(s.stack) != 5 || s.now != 50*time.Millisecond {
		s.fail("%v", s.run.Health())
	}
	if pref, lacks := s.run.Standing(); len(lacks) > 0 || pref <= preferenceOf(s.plan, threeNodes[0]) {
		s.fail("who runs it is preferred to all: %v, %v", pref, lacks)
	}
}

// TestSlowestStartKeepsWithinTheBound has each attempt but the last hang, each undoing hang,
// each stop and each last attempt end at the last moment.
func TestSlowestStartKeepsWithinTheBound(t *testing.T) {
	plan := pressPlan()
	plan.Steps[service.Route].Retries = 3
	plan.Steps[service.Start].Retries = 2
	s := newTestShell(t, plan)
	s.led(time.Hour)
	hangs := hanging(func(a Action) bool {
		b, isBegin := a.(Begin)
		_, isUndo := a.(Undo)
		return isUndo || isBegin && b.Try <= s.plan.Steps[b.Step].Retries
	})
	for s.run.Health() != service.Healthy && s.now < time.Minute {
		s.tick(s.run.NextDue() - 1)
		ids := s.openIDs()
		if id := ids[len(ids)-1]; hangs(s.open[id]) == nil {
			s.end(id, nil)
		} else {
			s.tick(s.run.NextDue())
		}
	}
	bound := plan.StartBound()
	if s.now > bound || s.now < bound-100 {
		s.fail("verified after %v, the bound is %v", s.now, bound)
	}
}

func TestAFailedVerifyUndoesAllAndGivesTheLeadBack(t *testing.T) {
	s := newTestShell(t, pressPlan())
	s.led(time.Hour)
	s.answer(time.Second, 10*time.Millisecond, failing(service.Verify))
	g, _ := last[GiveBack](s)
	if g.Why != StepFailed || g.Step != service.Verify || g.Lapse || s.alive || len(s.stack) > 0 || s.begins(service.Verify) != 2 || s.begins(service.Start) != 1 {
		s.fail("%+v", g)
	}
	if a, _ := last[Alarm](s); a.Why != StepFailed || a.Step != service.Verify {
		s.fail("%+v", a)
	}
	pref, _ := s.run.Standing()
	if pref == 0 || pref >= preferenceOf(s.plan, threeNodes[1]) || !s.penalised() {
		s.fail("its preference is %d", pref)
	}
	if due := s.run.NextDue(); due != s.run.penalty.Until() {
		s.fail("the end of the penalty is not due, but %v", due)
	}
	s.tick(s.run.penalty.Until())
	if pref, _ := s.run.Standing(); pref != preferenceOf(s.plan, threeNodes[0]) {
		s.fail("its preference is %d when the penalty is over", pref)
	}
}

func TestARestComesBeforeTheNextTryOfOneThatIsAlone(t *testing.T) {
	s := newTestShell(t, pressPlan())
	s.led(time.Hour)
	for s.lead {
		s.answer(s.now+10*time.Millisecond, 10*time.Millisecond, failing(service.Sync))
	}
	ended, n := s.now, s.begins(service.Prepare)
	s.led(time.Hour)
	s.answer(ended+900*time.Millisecond, 10*time.Millisecond, works)
	if s.begins(service.Prepare) != n || (s.run.led && s.run.begun > 0) {
		s.fail("no rest")
	}
	s.answer(ended+1100*time.Millisecond, 10*time.Millisecond, works)
	if s.run.Health() != service.Healthy {
		s.fail("not verified after a rest")
	}
}

func TestALateResultIsIgnored(t *testing.T) {
	s := newTestShell(t, pressPlan())
	s.led(time.Hour)
	old := s.openIDs()[0]
	s.tick(time.Second)
	if r, _ := last[Record](s); !errors.Is(r.Err, ErrTimeout) || r.Step != service.Prepare || r.Took != time.Second {
		s.fail("%+v is recorded", r)
	}
	s.end(old, nil)
	if len(s.stack) != 1 {
		s.fail("the late result has counted")
	}
	s.answer(2*time.Second, 10*time.Millisecond, works)
	if s.run.Health() != service.Healthy || s.begins(service.Prepare) != 2 {
		s.fail("not verified")
	}
}

func TestLostLeadStopsWhateverHangs(t *testing.T) {
	for name, stage := range map[string]func(s *testShell){
		"verified":      func(s *testShell) {},
		"check hangs":   func(s *testShell) { s.answer(s.now+time.Second, 10*time.Millisecond, hanging(isCheck)) },
		"undoing hangs": func(s *testShell) { s.take("move", s.run.MoveAsked(s.now, 2)) },
		"start is undone": func(s *testShell) {
			s.take("move", s.run.MoveAsked(s.now, 2))
			s.answer(s.now+50*time.Millisecond, 10*time.Millisecond, hanging(undoes(service.Start)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := verifiedShell(t, pressPlan())
			stage(s)
			s.did = nil
			s.lose()
			if a, ok := s.did[0].(Stop); !ok || a.Token != s.token {
				s.fail("%+v comes first", s.did)
			}
			s.answer(s.now+time.Second, 10*time.Millisecond, works)
			if s.alive || s.run.begun > 0 || s.run.down || s.run.NextDue() != Never {
				s.fail("not all is undone")
			}
			if _, given := last[GiveBack](s); given {
				s.fail("what is lost is given back")
			}
		})
	}
}

func isCheck(a Action) bool { _, ok := a.(BeginCheck); return ok }
func isStop(a Action) bool  { _, ok := a.(Stop); return ok }

func TestALeaseThatEndsIsALostLead(t *testing.T) {
	s := newTestShell(t, pressPlan())
	s.led(3 * time.Second)
	s.answer(time.Second, 10*time.Millisecond, works)
	s.leaseEnd = 4 * time.Second
	s.take("extended", s.run.LeaseExtended(s.now, s.token, s.leaseEnd))
	s.answer(3500*time.Millisecond, 10*time.Millisecond, works)
	if s.run.Health() != service.Healthy {
		s.fail("the lease was extended")
	}
	s.answer(4*time.Second, 10*time.Millisecond, works)
	if !s.asked(isStop) {
		s.fail("not stopped at the lease's end")
	}
	s.take("extended", s.run.LeaseExtended(s.now, s.token, s.now+time.Hour))
	if s.run.led {
		s.fail("led after the lease's end")
	}
}

func TestANewLeadWaitsForTheFormerRunsStop(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.lose()
	stop := s.openIDs()[0]
	s.led(time.Hour)
	for id := range s.open { // all but the stop
		if !isStop(s.open[id]) {
			s.end(id, nil)
		}
	}
	s.answer(s.now+900*time.Millisecond, 10*time.Millisecond, hanging(isStop))
	if n := s.begins(service.Prepare); n > 0 || !s.alive {
		s.fail("%d begun before the stop has ended", n)
	}
	s.end(stop, nil)
	s.answer(s.now+200*time.Millisecond, 10*time.Millisecond, works)
	if s.run.Health() != service.Healthy || s.begins(service.Start) != 1 {
		s.fail("not verified")
	}
}

func TestARunThatAFormerProcessLeftIsStoppedFirst(t *testing.T) {
	s := newTestShell(t, pressPlan())
	s.alive = true
	s.take("left", s.run.RunLeft(0))
	s.led(time.Hour)
	s.take("left, said too late", s.run.RunLeft(0))
	s.answer(900*time.Millisecond, 10*time.Millisecond, hanging(isStop))
	if s.begins(service.Prepare) > 0 || len(s.did) != 1 {
		s.fail("begun beside what is left")
	}
	s.answer(s.now+200*time.Millisecond, 10*time.Millisecond, works)
	s.take("left, said too late", s.run.RunLeft(s.now))
	if s.run.Health() != service.Healthy || !s.lead {
		s.fail("not verified")
	}
}

func TestAStopThatHangsIsRepeatedAndTheLeadLapses(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.take("move", s.run.MoveAsked(s.now, 2))
	s.answer(s.now+3*time.Second, 10*time.Millisecond, hanging(func(a Action) bool { return isStop(a) || undoes(service.Start)(a) }))
	g, ok := last[GiveBack](s)
	if !ok || !g.Lapse || g.Why != StopHangs {
		s.fail("%+v", g)
	}
	stops, alarms := 0, 0
	for _, a := range s.did {
		switch a := a.(type) {
		case Stop:
			stops++
		case Alarm:
			if a.Why == StopHangs {
				alarms++
			}
		}
	}
	if stops < 2 || alarms < 1 {
		s.fail("%d stops, %d alarms", stops, alarms)
	}
	if _, lacks := s.run.Standing(); len(lacks) != 1 || lacks[0].Kind != service.LackStop {
		s.fail("%v", lacks)
	}
	s.end(s.openIDs()[len(s.openIDs())-1], nil) // late, and it counts
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	if pref, _ := s.run.Standing(); pref == 0 || s.run.begun > 0 {
		s.fail("it does not stand again")
	}
}

func TestAnUndoneStartThatFailsIsStopped(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.take("move", s.run.MoveAsked(s.now, 2))
	s.answer(s.now+time.Second, 10*time.Millisecond, func(a Action) error {
		if undoes(service.Start)(a) {
			return errHook
		}
		return nil
	})
	if g, _ := last[GiveBack](s); g.Why != Moved || g.Lapse || g.To != 2 || s.alive {
		s.fail("%+v", g)
	}
	if _, ok := last[Stop](s); !ok {
		s.fail("not stopped")
	}
}

func TestHealth(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	bad := false
	checks := func(a Action) error {
		if isCheck(a) && bad {
			return errHook
		}
		return nil
	}
	next := func(want service.Health) {
		t.Helper()
		s.answer(s.now+time.Second, 10*time.Millisecond, checks)
		if got := s.run.Health(); got != want {
			s.fail("%v instead of %v", got, want)
		}
	}
	next(service.Healthy)
	bad = true
	next(service.Degraded)
	next(service.Degraded)
	bad = false
	next(service.Healthy)
	bad = true
	next(service.Degraded)
	next(service.Degraded)
	bad = false
	s.answer(s.now+1500*time.Millisecond, 10*time.Millisecond, checks)
	if s.begins(service.Start) != 0 {
		s.fail("restarted")
	}
	bad = true
	next(service.Degraded)
	next(service.Degraded)
	for s.run.Health() == service.Degraded {
		s.tick(s.run.NextDue())
		for _, id := range s.openIDs() {
			s.end(id, checks(s.open[id]))
			break
		}
	}
	if s.run.Health() != service.Failed || !s.lead {
		s.fail("%v", s.run.Health())
	}
	s.answer(s.now+100*time.Millisecond, 10*time.Millisecond, checks)
	if s.begins(service.Start) != 1 || s.begins(service.Sync) != 0 || s.begins(service.Verify) != 1 || s.run.Health() != service.Healthy {
		s.fail("not restarted in place")
	}
	s.answer(s.now+4*time.Second, 10*time.Millisecond, checks)
	if g, _ := last[GiveBack](s); g.Why != HealthFailed || s.begins(service.Start) != 1 || !s.penalised() || s.run.Health() != service.Offline {
		s.fail("%+v after the second failure", g)
	}
}

func TestAHangingCheckIsBad(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.answer(s.now+2500*time.Millisecond, 10*time.Millisecond, hanging(isCheck))
	if s.run.Health() != service.Degraded {
		s.fail("%v", s.run.Health())
	}
}

func TestALateCheckIsIgnored(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.answer(s.now+1500*time.Millisecond, 10*time.Millisecond, hanging(isCheck))
	old := s.openIDs()[0]
	s.tick(2100 * time.Millisecond) // its time is over, and the next one is under way
	if s.run.Health() != service.Degraded || len(s.openIDs()) != 2 {
		s.fail("%v", s.run.Health())
	}
	s.end(old, nil)
	if s.run.Health() != service.Degraded {
		s.fail("the late result has counted")
	}
}

func TestRestartsAreForgottenAfterAGoodWhile(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	for range 3 {
		s.answer(s.now+3500*time.Millisecond, 10*time.Millisecond, func(a Action) error {
			if isCheck(a) && s.run.restarts == 0 {
				return errHook
			}
			return nil
		})
		if !s.lead || s.run.restarts != 1 {
			s.fail("%d restarts", s.run.restarts)
		}
		s.answer(s.now+steadyFor-5*time.Second, 10*time.Millisecond, works)
		if s.run.restarts != 1 {
			s.fail("forgotten at once")
		}
		s.leaseEnd += time.Hour
		s.take("extended", s.run.LeaseExtended(s.now, s.token, s.leaseEnd))
		s.answer(s.now+10*time.Second, 10*time.Millisecond, works)
		if s.run.restarts != 0 {
			s.fail("not forgotten")
		}
	}
}

func TestMoves(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	own, others := threeNodes[0], []service.Node{threeNodes[1], {ID: 3, Name: "c", Conditions: []string{"worn"}}}
	s.takeFacts("facts", own, others)
	for _, to := range []view.NodeID{3, 7} {
		s.take("move", s.run.MoveAsked(s.now, to))
		if a, ok := last[Alarm](s); !ok || a.Why != MoveRefused || a.To != to || s.run.Health() != service.Healthy {
			s.fail("%+v", a)
		}
	}
	s.did = nil
	s.take("move", s.run.MoveAsked(s.now, 1))
	if s.run.down || len(s.did) > 0 {
		s.fail("moved to itself")
	}
	s.take("move", s.run.MoveAsked(s.now, 2))
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	if g, _ := last[GiveBack](s); g.Why != Moved || g.To != 2 || s.penalised() {
		s.fail("%+v", g)
	}
	s.take("move", s.run.MoveAsked(s.now, 2))
}

func TestAMoveEndsAStepAndACheckUnderWay(t *testing.T) {
	s := newTestShell(t, pressPlan())
	s.led(time.Hour)
	step := s.openIDs()[0]
	s.take("move", s.run.MoveAsked(s.now, 2))
	if u, ok := last[Undo](s); !ok || u.Step != service.Prepare {
		s.fail("what hangs is waited for")
	}
	s.end(step, nil)
	s.answer(100*time.Millisecond, 10*time.Millisecond, works)
	if s.lead || s.begins(service.Sync) > 0 {
		s.fail("a step went on")
	}

	s = verifiedShell(t, pressPlan())
	s.answer(s.now+2900*time.Millisecond, 10*time.Millisecond, func(a Action) error {
		if isCheck(a) {
			return errHook
		}
		return nil
	})
	s.tick(s.run.NextDue())
	check := s.openIDs()[0] // the third bad one
	s.take("move", s.run.MoveAsked(s.now, 2))
	s.end(check, errHook)
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	if g, _ := last[GiveBack](s); g.Why != Moved || s.penalised() {
		s.fail("%+v", g)
	}
}

func TestUnfitWhileItRuns(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	sick, busy := threeNodes[0], threeNodes[0]
	sick.Conditions, busy.Used = []string{"worn"}, []int{990}
	s.takeFacts("busy", busy, threeNodes[1:])
	s.takeFacts("alone", sick, nil)
	s.takeFacts("alone", sick, nil)
	alarms := 0
	for _, a := range s.did {
		if a, ok := a.(Alarm); ok && a.Why == NobodyElse {
			alarms++
		}
	}
	if s.run.Health() != service.Healthy || alarms != 1 {
		s.fail("%v, %d alarms", s.run.Health(), alarms)
	}
	fit := preferenceOf(s.plan, service.Node{Name: sick.Name, Runs: true, Used: sick.Used})
	if pref, lacks := s.run.Standing(); pref != fit || len(lacks) != 1 {
		s.fail("it runs alone with %d instead of %d, %v", pref, fit, lacks)
	}
	s.takeFacts("another", sick, threeNodes[1:])
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	if g, _ := last[GiveBack](s); g.Why != Unfit {
		s.fail("%+v", g)
	}
	s.did = nil
	s.takeFacts("alone", sick, nil)
	s.led(time.Hour)
	if g, ok := last[GiveBack](s); !ok || g.Why != Unfit || s.begins(service.Prepare) > 0 {
		s.fail("begun although it is unfit")
	}
	if a, ok := last[Alarm](s); !ok || a.Why != NobodyElse {
		s.fail("no alarm")
	}
}

// TestUnfitWithoutARivalAnyMore has the better node go when this one becomes unfit: nothing
// must stay due that nobody does. The shell checks that.
func TestUnfitWithoutARivalAnyMore(t *testing.T) {
	plan := pressPlan()
	plan.Primary, plan.FailBack, plan.After = "b", service.FailBackAfter, 5*time.Second
	s := verifiedShell(t, plan)
	sick := threeNodes[0]
	sick.Conditions = []string{"worn"}
	s.takeFacts("alone", sick, nil)
	s.answer(6*time.Second, 10*time.Millisecond, works)
	s.takeFacts("together", threeNodes[0], threeNodes[1:])
	s.answer(s.now+4*time.Second, 10*time.Millisecond, works)
	if s.run.Health() != service.Healthy {
		s.fail("the time of before has counted")
	}
}

func TestOnlyWhatDiffersOfAPlanIsActedUpon(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	p := s.plan
	p.Check.Interval, p.Primary, p.Backups, p.Steps[service.Start].Timeout = 5*time.Second, "b", []string{"a"}, 2*time.Second
	s.plan = p
	s.take("plan", s.run.PlanChanged(s.now, p))
	s.answer(s.now+20*time.Second, 10*time.Millisecond, works)
	checks := 0
	for _, a := range s.did {
		switch a.(type) {
		case BeginCheck:
			checks++
		case Begin, Undo, Stop:
			s.fail("%+v", a)
		}
	}
	if checks < 3 || checks > 5 {
		s.fail("%d checks in 20 s", checks)
	}
	p.Check.Interval = time.Hour
	s.take("plan", s.run.PlanChanged(s.now, p))
	s.answer(s.now+10*time.Second, 10*time.Millisecond, works)
	p.Check.Interval = time.Second
	s.take("plan", s.run.PlanChanged(s.now, p))
	if due := s.run.NextDue(); due > s.now+time.Second {
		s.fail("the next check is due at %v", due)
	}
	p.Runs = "another"
	s.take("plan", s.run.PlanChanged(s.now, p))
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	if s.begins(service.Prepare) != 1 || s.begins(service.Start) != 1 || s.run.Health() != service.Healthy || !s.lead {
		s.fail("not run anew, once, under the same lead")
	}
	other := p
	other.Mode = service.PerComponent
	s.take("plan", s.run.PlanChanged(s.now, other))
	if a, _ := last[Alarm](s); a.Why != PlanRefused || s.run.plan.Mode != service.Exclusive {
		s.fail("%+v", a)
	}
	other = p
	other.Service = "oven"
	s.take("plan", s.run.PlanChanged(s.now, other))
	if s.run.plan.Service != "press" {
		s.fail("another service")
	}
}

func TestWithdrawn(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.take("withdrawn", s.run.Withdraw(s.now))
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	if g, _ := last[GiveBack](s); g.Why != WasWithdrawn || s.alive {
		s.fail("%+v", g)
	}
	if pref, lacks := s.run.Standing(); pref != 0 || lacks[0].Kind != service.LackPlan {
		s.fail("it stands: %v", lacks)
	}
	s.led(time.Hour)
	if s.lead || s.begins(service.Prepare) > 0 {
		s.fail("begun")
	}
	s.take("plan", s.run.PlanChanged(s.now, s.plan))
	if pref, _ := s.run.Standing(); pref == 0 {
		s.fail("it does not stand with a plan")
	}
}

func TestTokensGrow(t *testing.T) {
	s := newTestShell(t, pressPlan())
	s.led(time.Hour)
	before := s.token
	s.led(time.Hour) // renamed: it goes on
	if s.begins(service.Prepare) != 1 {
		s.fail("begun twice")
	}
	s.take("lost long ago", s.run.LeadLost(s.now, before))
	s.take("led long ago", s.run.Led(s.now, before, s.now+2*time.Hour, false))
	s.take("extended long ago", s.run.LeaseExtended(s.now, before, s.now+3*time.Hour))
	if !s.run.led || s.run.leaseEnd != s.leaseEnd {
		s.fail("an old token has counted")
	}
	s.token = token.Token{Term: 9, Node: 1}
	s.take("extended", s.run.LeaseExtended(s.now, s.token, s.leaseEnd))
	s.answer(time.Second, 10*time.Millisecond, works)
	if s.run.Health() != service.Healthy {
		s.fail("not verified")
	}
}
