package failover

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/golden"
	"github.com/skeinmesh/skein/partition/token"
)

func TestEventAndStatusAsJSON(t *testing.T) {
	of := token.Token{Term: 7, Node: 1}
	golden.CheckJSON(t, "event", Event{
		At: time.Date(2026, 8, 1, 9, 0, 0, 5, time.UTC), Service: "press", Node: 1, Token: of, What: StepEnded, Step: "start", Took: 1500 * time.Millisecond,
		Health: service.Degraded, Why: "it does not stop", Other: 2, Error: "no",
	})
	plan := service.Plan{Service: "press", Mode: service.PerComponent, Runs: "v2", Primary: "a", Backups: []string{"b"}, FailBack: service.FailBackAfter, After: time.Minute, Conditions: []string{"worn"}, Restarts: 1, Requires: []string{"scale"}, Procedures: []string{"restore_from_backup"}, Drill: service.Drill{Schedule: "weekly", Shadow: true}}
	plan.Needs = service.Needs{Capabilities: []string{"plc"}, Zones: []string{"line"}, Data: []string{"recipes"}, Headroom: 50}
	plan = plan.Complete()
	golden.CheckJSON(t, "status", Status{
		Service: "press", Mode: service.PerComponent, Leader: 1, Token: of, Here: true, Health: service.Healthy, Stands: true,
		Lacks: []service.Lack{{Kind: service.LackHeadroom, What: "x", Used: 950}}, Plan: plan,
	})
}

// readHistory returns what a node reads of it, in words.
func (n *rigNode) readHistory(since time.Time, limit int) (out []string) {
	n.r.t.Helper()
	events, err := n.History(n.r.t.Context(), "press", since, limit)
	if err != nil {
		n.r.t.Error(err)
	}
	for _, e := range events {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", n.r.mesh.names[e.Node-1], e.What, e.Step)))
	}
	return out
}

func TestTheHistoryOfAService(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, c := r.nodes[0], r.nodes[2]
		r.serveAll()
		r.wait(5 * time.Second)
		start := []string{"a led", "a step ended prepare", "a step ended sync", "a step ended start", "a step ended route", "a step ended verify", "a health changed"}
		if got := c.readHistory(time.Time{}, 0); !slices.Equal(got, start) {
			t.Errorf("%q", got)
		}
		if got := c.readHistory(time.Time{}, 2); !slices.Equal(got, start[5:]) {
			t.Errorf("the last two: %q", got)
		}
		began := time.Now()
		if err := a.Move("press", "b"); err != nil {
			t.Fatal(err)
		}
		r.wait(5 * time.Second)
		if got := c.readHistory(began, 0); len(got) != 7+7 || got[0] != "a health changed" || got[len(got)-1] != "b health changed" {
			t.Errorf("the move: %q", got)
		}
		for _, key := range r.kept.keys(historyPrefix) {
			if got := r.kept.values["ttl "+key]; got != keepDefault.String() {
				t.Fatalf("kept for %s", got)
			}
		}
		r.kept.put(historyOf("press")+"99", "{")
		a.reportEvent(Event{Service: "press/x", Node: 1, At: time.Now(), Error: strings.Repeat("n", 1<<20)})
		r.wait(time.Second)
		if got := c.readHistory(began, 0); len(got) != 7+7 {
			t.Errorf("what is of no event, or of another service: %q", got)
		}
		if got, err := c.History(r.t.Context(), "press/x", began, 0); err != nil || len(got) != 1 || len(got[0].Error) != maxError {
			t.Errorf("%d, %v", len(got), err)
		}
		// What happens at the end is kept, too.
		began = time.Now()
		r.nodes[1].kept.setSlow(100 * time.Millisecond)
		if err := r.nodes[1].Close(); err != nil {
			t.Fatal(err)
		}
		if got := c.readHistory(began, 0); !slices.Contains(got, "b given back") {
			t.Errorf("the end: %q", got)
		}
		c.kept.setAway(errors.New("away"))
		if _, err := c.History(r.t.Context(), "press", began, 0); !errors.Is(err, c.kept.away) {
			t.Error(err)
		}
	})
}

// TestRecordsThatFailHoldNothingUp has them fail, and hang: the service is started and moved
// all the same, and what has happened is kept in order once they are back, oldest first lost.
func TestRecordsThatFailHoldNothingUp(t *testing.T) {
	for _, slow := range []time.Duration{0, time.Hour} {
		inBubble(t, func(r *rig) {
			a := r.nodes[0]
			a.kept.setAway(errors.New("away"))
			a.kept.setSlow(slow)
			r.serveAll()
			r.wait(5 * time.Second)
			r.wantRunsAt("a")
			if err := a.Move("press", "b"); err != nil {
				t.Fatal(err)
			}
			r.wait(5 * time.Second)
			r.wantRunsAt("b")
			a.kept.setSlow(0)
			a.kept.setAway(nil)
			r.wait(2 * time.Minute)
			if got := a.readHistory(time.Time{}, 0); len(got) < 20 || got[0] != "a led" || a.Dropped() > 0 {
				t.Errorf("%q, %d dropped", got, a.Dropped())
			}
			a.kept.setAway(errors.New("away"))
			for i := range maxEvents + 10 {
				a.reportEvent(Event{Service: "press", Node: 1, At: time.Now().Add(time.Duration(i)), What: Alarm, Why: fmt.Sprint(i)})
			}
			r.wait(5 * time.Minute)
			if got := a.history.countDropped(); got != 10 {
				t.Errorf("%d dropped", got)
			}
			began := time.Now()
			if err := a.Close(); err != nil || time.Since(began) > 2*restGrace {
				t.Errorf("closed after %v, %v", time.Since(began), err)
			}
			if got := a.history.countDropped(); got != maxEvents+10 {
				t.Errorf("%d dropped in the end", got)
			}
		})
	}
}
