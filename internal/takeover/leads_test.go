package takeover

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

func TestTheTargetOfAMoveGoesMeanwhile(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.take("move", s.run.MoveAsked(s.now, 2))
	s.takeFacts("facts", threeNodes[0], threeNodes[2:])
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	if g, ok := last[GiveBack](s); !ok || g.Why != Moved || g.To != 0 {
		s.fail("%+v", g)
	}
}

func TestASpentTokenLeadsNoMore(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.take("move", s.run.MoveAsked(s.now, 2))
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	for _, end := range []time.Duration{s.now + time.Hour, s.now} {
		s.did = nil
		s.take("led again", s.run.Led(s.now-time.Millisecond, s.token, end, false))
		if len(s.did) > 0 || s.run.led {
			s.fail("%v: %+v", end, s.did)
		}
	}
	next := s.token
	next.Term++
	s.take("led, late", s.run.Led(s.now-time.Second, next, s.now-time.Millisecond, false))
	if s.run.led {
		s.fail("it leads under a lease that has ended")
	}
}

func TestTheNextLeadHasItsRestarts(t *testing.T) {
	s := verifiedShell(t, pressPlan())
	s.run.restarts = s.run.plan.Restarts
	s.lose()
	s.answer(s.now+time.Second, 10*time.Millisecond, works)
	if s.run.restarts != 0 {
		s.fail("%d of the restarts are used up before it leads", s.run.restarts)
	}
}

// However long a start may take, a stop that has failed is told, and demanded again, within
// a second; and no more often than that, however short a start may be.
func TestAStopThatFailsIsDemandedAgain(t *testing.T) {
	for _, limit := range []time.Duration{time.Millisecond, time.Hour} {
		plan := pressPlan()
		plan.Steps[service.Start].Timeout = limit
		s := newTestShell(t, plan)
		s.take("a run is left", s.run.RunLeft(s.now))
		stop, _ := last[Stop](s)
		s.end(stop.Attempt, errHook)
		if again := s.run.NextDue() - s.now; again > stopAgain {
			s.fail("with %v it is due in %v", limit, again)
		}
		s.tick(s.run.NextDue())
		if a, ok := last[Alarm](s); !ok || a.Why != StopHangs {
			s.fail("with %v it is not told", limit)
		}
		if again := s.run.NextDue() - s.now; again < stopAgain {
			s.fail("with %v it is due again in %v", limit, again)
		}
		s.end(stop.Attempt, nil)
		if pref, _ := s.run.Standing(); pref == 0 {
			s.fail("with %v it stands no more though the stop has ended", limit)
		}
	}
}
