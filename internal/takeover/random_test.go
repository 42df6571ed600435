package takeover

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

var (
	long = flag.Bool("long", false, "run 200 000 schedules")
	seed = flag.Uint64("seed", 0, "run this schedule only")
)

// TestOneNodeOverRandomSchedules has leads come and go, hooks fail, hang and answer late,
// facts and plans change in any order. The shell checks each action: nothing is begun without
// a lead, never are there two runs, all is undone in reverse order, attempts are bounded, each
// run is stopped with the lead's loss, each token is the newest. In the end, hooks work, the
// node fits and leads: the service must be verified within the bound.
func TestOneNodeOverRandomSchedules(t *testing.T) {
	first, last := uint64(1), uint64(2000)
	if *long {
		last = 200_000
	}
	if *seed != 0 {
		first, last = *seed, *seed
	}
	var sum randomTally
	for n := first; n <= last && !t.Failed(); n++ {
		runRandomSchedule(t, n, &sum)
	}
	t.Logf("%+v", sum)
	if s := int(last); *seed == 0 && (sum.verified < s || sum.stops < s || sum.undone < s || sum.given < s || sum.restarted < s/10 || sum.lapsed < s/20) {
		t.Errorf("hardly anything has happened: %+v", sum)
	}
}

type randomTally struct{ verified, stops, undone, given, restarted, lapsed int }

func runRandomSchedule(t *testing.T, n uint64, sum *randomTally) {
	rng := rand.New(rand.NewPCG(n, 15))
	s := newTestShell(t, randomPlan(rng, "x"))
	s.log = append(s.log, testEvent{event: "-seed " + strconv.FormatUint(n, 10)})
	if rng.IntN(3) == 0 {
		s.alive = true
		s.take("left", s.run.RunLeft(0))
	}
	for range 60 {
		takeRandomEvent(s, rng)
	}
	for _, a := range s.did {
		switch a := a.(type) {
		case Stop:
			sum.stops++
		case Undo:
			sum.undone++
		case GiveBack:
			sum.given++
			if a.Lapse {
				sum.lapsed++
			}
		case Begin:
			if a.Step == service.Start && a.Try == 1 {
				sum.restarted++
			}
		case Record:
			if a.What == HealthChanged && a.Health == service.Healthy {
				sum.verified++
			}
		}
	}
	s.takeFacts("facts", threeNodes[0], threeNodes[1:])
	s.take("plan", s.run.PlanChanged(s.now, s.plan))
	s.lose()
	for _, id := range s.openIDs() { // what has hung goes on at last
		s.end(id, nil)
	}
	s.led(time.Hour)
	began := s.now
	for s.run.Health() != service.Healthy {
		s.answer(s.now+5*time.Millisecond, 5*time.Millisecond, works)
		if s.now-began > s.plan.UndoBound()+restMax+s.plan.StartBound() {
			s.fail("not verified within the bound")
		}
	}
	sum.verified++
}

func randomPlan(rng *rand.Rand, runs string) service.Plan {
	p := service.Plan{Service: "press", Runs: runs, Conditions: []string{"worn"}, Primary: "a", Backups: []string{"b"}, FailBack: service.FailBack(rng.IntN(3)), After: time.Second, Restarts: rng.IntN(3)}
	if rng.IntN(2) == 0 {
		p.Primary, p.Backups = "c", []string{"b", "a"}
	}
	for k := range p.Steps {
		p.Steps[k] = service.Limits{Timeout: time.Duration(20+rng.IntN(100)) * time.Millisecond, Retries: rng.IntN(3)}
	}
	p.Check = service.Check{Interval: time.Duration(50+rng.IntN(200)) * time.Millisecond, Timeout: 50 * time.Millisecond}
	return p.Complete()
}

func takeRandomEvent(s *testShell, rng *rand.Rand) {
	s.t.Helper()
	switch e := rng.IntN(40); {
	case e < 2 || !s.lead && e < 8:
		s.led(time.Duration(rng.IntN(5000)+1) * time.Millisecond)
	case e == 2:
		if s.lead {
			s.leaseEnd = max(s.leaseEnd, s.now+time.Duration(rng.IntN(5000)+1)*time.Millisecond)
		}
		s.token.Term += uint64(rng.IntN(2))
		if !s.lead { // the core knows no more than the tokens of its own leads
			s.token = s.run.token
		}
		s.take("extended", s.run.LeaseExtended(s.now, s.token, s.leaseEnd))
	case e == 3:
		s.lose()
	case e == 4:
		s.take("late loss", s.run.LeadLost(s.now, token.Token{Term: s.token.Term - 1, Node: 1}))
	case e == 5:
		own := threeNodes[0]
		own.Conditions, own.Used = slices.Repeat([]string{"worn"}, rng.IntN(8)/7), []int{rng.IntN(1000)}
		others := slices.Clone(threeNodes[1 : 1+rng.IntN(3)])
		s.takeFacts("facts", own, others)
	case e == 6:
		s.take("move", s.run.MoveAsked(s.now, view.NodeID(rng.IntN(4))))
	case e == 7:
		plan := randomPlan(rng, []string{"x", "y"}[rng.IntN(2)])
		for k := range plan.Steps { // the shell judges tries by the plan's retries
			plan.Steps[k].Retries = s.plan.Steps[k].Retries
		}
		s.plan = plan
		s.take("plan", s.run.PlanChanged(s.now, plan))
	case e == 8 && rng.IntN(10) == 0:
		s.take("withdrawn", s.run.Withdraw(s.now))
	case e < 12:
		s.tick(min(s.run.NextDue(), s.now+time.Minute))
	case e < 14:
		s.tick(s.now + time.Duration(rng.IntN(100))*time.Millisecond)
	default:
		ids := s.openIDs()
		if len(ids) == 0 {
			return
		}
		id := ids[len(ids)-1]
		if rng.IntN(6) == 0 {
			id = ids[rng.IntN(len(ids))]
		}
		var err error
		if rng.IntN(8) == 0 || isCheck(s.open[id]) && rng.IntN(2) == 0 || isStop(s.open[id]) && rng.IntN(2) == 0 {
			err = errHook
		}
		s.tick(s.now + time.Duration(rng.IntN(15))*time.Millisecond)
		s.end(id, err)
	}
}
