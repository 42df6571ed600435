package takeover

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// preferring returns a shell at the node a of a plan that prefers b, which has told of itself
// what is said.
func preferring(t *testing.T, b Preference) *testShell {
	t.Helper()
	plan := pressPlan()
	plan.Primary, plan.Backups = "b", []string{"a"}
	s := newTestShell(t, plan)
	s.take("facts", s.run.FactsChanged(0, threeNodes[0], []Peer{{2, "b", b}}))
	return s
}

// The first lead goes to a node that the plan prefers, if that stands, and once only: it may
// be unable to take it.
func TestTheFirstLeadGoesToThePreferredOne(t *testing.T) {
	idle := preferenceOf(preferring(t, 0).plan, threeNodes[1])
	s := preferring(t, idle)
	s.led(time.Hour)
	if g, ok := last[GiveBack](s); !ok || g.Why != Deferred || g.To != 2 || s.begins(service.Prepare) > 0 {
		s.fail("%+v", g)
	}
	s.led(time.Hour)
	if s.begins(service.Prepare) != 1 {
		s.fail("it does not begin when it leads again")
	}

	s = preferring(t, 0)
	s.led(time.Hour)
	s.tick(900 * time.Millisecond)
	s.take("facts", s.run.FactsChanged(s.now, threeNodes[0], []Peer{{2, "b", idle}}))
	if g, ok := last[GiveBack](s); !ok || g.To != 2 {
		s.fail("it has begun while the preferred one had the time to stand")
	}
}

// Among those that the plan prefers it goes to the first: it is not given to another one that
// was heard sooner, which would begin at once.
func TestTheFirstLeadWaitsForTheFirstOfThePreferred(t *testing.T) {
	idle := preferenceOf(preferring(t, 0).plan, threeNodes[1])
	for name, c := range map[string]struct {
		primary Preference
		wantTo  view.NodeID
	}{"it stands in time": {idle, 3}, "it does not": {0, 2}} {
		plan := pressPlan()
		plan.Primary, plan.Backups = "c", []string{"b", "a"}
		s := newTestShell(t, plan)
		s.take("facts", s.run.FactsChanged(0, threeNodes[0], []Peer{{2, "b", idle}, {3, "c", 0}}))
		s.led(time.Hour)
		if g, ok := last[GiveBack](s); ok {
			s.fail("%s: given back before the first was heard: %+v", name, g)
		}
		s.take("facts", s.run.FactsChanged(s.now, threeNodes[0], []Peer{{2, "b", idle}, {3, "c", c.primary}}))
		s.tick(hearFor)
		if g, ok := last[GiveBack](s); !ok || g.Why != Deferred || g.To != c.wantTo || s.begins(service.Prepare) > 0 {
			s.fail("%s: %+v", name, g)
		}
	}
}

// Where the primary stands nobody else is waited for.
func TestTheFirstLeadDoesNotWaitBehindTheBest(t *testing.T) {
	plan := pressPlan()
	plan.Primary, plan.Backups = "b", []string{"c", "a"}
	s := newTestShell(t, plan)
	s.take("facts", s.run.FactsChanged(0, threeNodes[0], []Peer{{2, "b", preferenceOf(plan, threeNodes[1])}, {3, "c", 0}}))
	s.led(time.Hour)
	if g, ok := last[GiveBack](s); !ok || g.To != 2 {
		s.fail("%+v", g)
	}
}

// One that does not stand in time is not waited for.
func TestThePreferredOneIsWaitedForAMoment(t *testing.T) {
	s := preferring(t, 0)
	s.led(time.Hour)
	if s.begins(service.Prepare) > 0 || s.run.NextDue() != hearFor {
		s.fail("begun, or due at %v", s.run.NextDue())
	}
	s.tick(hearFor)
	if s.begins(service.Prepare) != 1 {
		s.fail("not begun")
	}
	s.answer(s.now+deferFor, 10*time.Millisecond, works)
	s.take("facts", s.run.FactsChanged(s.now, threeNodes[0], []Peer{{2, "b", preferenceOf(s.plan, threeNodes[1])}}))
	if s.run.Health() != service.Healthy {
		s.fail("what runs was given away")
	}
}

// A service that was seen to run somewhere is begun at once: its leader has died, and what it
// has told is still known, or has handed it over.
func TestAfterAFailoverNobodyIsWaitedFor(t *testing.T) {
	runs := threeNodes[1]
	runs.Runs = true
	plan := preferring(t, 0).plan
	for name, b := range map[string]Preference{"dead": preferenceOf(plan, runs), "handed over": preferenceOf(plan, threeNodes[1]), "not standing": 0} {
		s := preferring(t, preferenceOf(plan, runs))
		s.take("facts", s.run.FactsChanged(0, threeNodes[0], []Peer{{2, "b", b}}))
		s.led(time.Hour)
		if s.begins(service.Prepare) != 1 {
			s.fail("%s: not begun", name)
		}
	}
}

// A lead that was handed over is kept, as by a move a moment after the service was started: what
// the former leader has told of that may not have come.
func TestALeadThatWasHandedOverIsKept(t *testing.T) {
	s := preferring(t, preferenceOf(preferring(t, 0).plan, threeNodes[1]))
	s.token, s.lead, s.leaseEnd = token.Token{Term: 7, Node: 1}, true, time.Hour
	s.take("led", s.run.Led(s.now, s.token, s.leaseEnd, true))
	if s.begins(service.Prepare) != 1 {
		s.fail("not begun")
	}
}
