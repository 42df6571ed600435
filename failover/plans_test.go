package failover

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

// isAlarm tells whether an event is one.
func isAlarm(e Event) bool { return e.What == Alarm }

// TestAPlanReachesAllNodes sets a plan at a node that does not run the service, while another
// one cannot reach the records.
func TestAPlanReachesAllNodes(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, c := r.nodes[0], r.nodes[2]
		r.serveAll()
		r.wait(5 * time.Second)
		away := errors.New("away")
		a.kept.setAway(away)
		p := r.plan
		p.Primary, p.Backups, p.FailBack, p.After = "c", []string{"a", "b"}, service.FailBackAfter, 2*time.Second
		if warnings, err := c.SetPlan(r.t.Context(), p); err != nil || len(warnings) > 0 {
			t.Fatalf("%v, %v", warnings, err)
		}
		r.wait(10 * time.Minute)
		r.wantRunsAt("a")
		if got := a.logged("records are not followed"); got < 10 || got > 20 {
			t.Errorf("%d attempts in ten minutes", got)
		}
		if _, err := a.SetPlan(r.t.Context(), p); !errors.Is(err, away) || errors.Is(err, ErrPlan) {
			t.Errorf("without records: %v", err)
		}
		if _, err := a.SetPlan(r.t.Context(), service.Plan{}); errors.Is(err, away) || !errors.Is(err, ErrPlan) {
			t.Errorf("without records and a name: %v", err)
		}
		a.kept.setAway(nil)
		r.wait(2 * time.Minute)
		r.wantRunsAt("c")
		if got := a.Status()[0].Plan; got.Primary != "c" || got.FailBack != service.FailBackAfter {
			t.Errorf("%+v", got)
		}
		if got, err := a.Plans(r.t.Context()); err != nil || len(got) != 1 || got[0].Primary != "c" {
			t.Errorf("%+v, %v", got, err)
		}
		if err := a.DropPlan(r.t.Context(), "press", p.Mode); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Minute)
		r.wantRunsAt("c")
		if got, err := a.Plans(r.t.Context()); err != nil || len(got) > 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestANodeBeginsWithThePlanInTheRecords serves with a plan that is out of date.
func TestANodeBeginsWithThePlanInTheRecords(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.plan
		p.Primary, p.Backups = "b", nil
		if _, err := r.nodes[0].SetPlan(r.t.Context(), p); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Second)
		r.serveAll()
		r.wait(5 * time.Second)
		r.wantRunsAt("b")
	})
}

func TestAPlanThatIsRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.nodes[0]
		n.serve()
		p := r.plan
		p.Primary, p.Mode, p.Restarts = "zoe", service.PerComponent, -1
		if _, err := n.SetPlan(r.t.Context(), p); !errors.Is(err, ErrPlan) || !errors.Is(err, service.ErrUnknownNode) || !strings.Contains(err.Error(), "restarts") || !strings.Contains(err.Error(), "served as exclusive") {
			t.Errorf("%v", err)
		}
		if got := r.kept.keys(planPrefix); len(got) > 0 {
			t.Errorf("written: %q", got)
		}
		for _, c := range []struct {
			name string
			mode service.Mode
			want error
		}{
			{"pump", service.PerComponent, nil}, {"pump", service.Exclusive, ErrPlan}, {"pump", service.PerComponent, nil},
			{"fan", service.Exclusive, nil}, {"fan", service.PerComponent, ErrPlan}, {"fan", service.Exclusive, nil},
		} {
			if _, err := r.nodes[1].SetPlan(r.t.Context(), service.Plan{Service: c.name, Mode: c.mode}); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v", c.name, c.mode, err)
			}
		}
		f, err := Open(r.t.Context(), Config{Mesh: r.mesh.node(1), Elections: r.mesh.node(1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.SetPlan(r.t.Context(), r.plan); !errors.Is(err, ErrNoRecords) {
			t.Errorf("without records: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.Plans(r.t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// TestAPlanThatCannotBeRead is ignored, and said once; the one before goes on.
func TestAPlanThatCannotBeRead(t *testing.T) {
	inBubble(t, func(r *rig) {
		n, key := r.nodes[0], planKey("press", service.Exclusive)
		r.serveAll()
		p := r.plan
		p.Restarts = 7
		if _, err := n.SetPlan(r.t.Context(), p); err != nil {
			t.Fatal(err)
		}
		for i, text := range []string{`{`, `{"Service":"press","Colour":"red"}`, `{"Service":"press","Restarts":99}`, `{"Service":"pump"}`, `{"Service":"press","Mode":"per component"}`, strings.Repeat(" ", maxPlan) + `{"Service":"press"}`} {
			r.wait(time.Second)
			r.kept.put(key, text)
			r.wait(time.Second)
			n.kept.setAway(errors.New("away"))
			n.kept.setAway(nil) // all is told again
			r.wait(time.Minute)
			if got := n.logged("is ignored"); got != i+1 {
				t.Errorf("%.60s: said %d times", text, got-i)
			}
			if got := n.Status()[0].Plan.Restarts; got != 7 {
				t.Errorf("%.60s: restarts %d", text, got)
			}
		}
		r.wantRunsAt("a")
		if got, err := n.Plans(r.t.Context()); err != nil || len(got) > 0 {
			t.Errorf("%+v, %v", got, err)
		}
		for i := range maxPlans {
			if _, err := n.plans.noteValue(planKey(strconv.Itoa(i), 0), []byte("{")); err != nil && strings.Contains(err.Error(), "more than") {
				return
			}
		}
		t.Error("more plans are kept than are looked at")
	})
}

// TestPlansOfBothModes has two sides of a cut give a service both modes: when they have met
// the exclusive one counts, and that is said.
func TestPlansOfBothModes(t *testing.T) {
	for _, mode := range []service.Mode{service.Exclusive, service.PerComponent} {
		inBubble(t, func(r *rig) {
			r.plan.Mode = mode
			r.serveAll()
			n := r.nodes[0]
			if _, err := n.SetPlan(r.t.Context(), r.plan); err != nil {
				t.Fatal(err)
			}
			r.wait(5 * time.Second)
			r.wantRunsAt("a")
			p := r.plan
			p.Mode = service.PerComponent - mode
			for p.Restarts = range 2 { // it is said once
				text, _ := json.Marshal(p)
				r.kept.put(planKey("press", p.Mode), string(text))
				r.wait(5 * time.Second)
			}
			for _, n := range r.nodes {
				if got, want := n.seen(isAlarm), []string{"alarm  there is a plan of the other mode, and the exclusive one counts"}; !slices.Equal(got, want) {
					t.Errorf("%s: %q", n.name, got)
				}
			}
			if mode == service.Exclusive {
				r.wantRunsAt("a")
			} else if s := n.Status()[0]; len(r.runs) > 0 || s.Stands || len(s.Lacks) != 1 || s.Lacks[0].Kind != service.LackPlan {
				t.Errorf("%v runs, %+v", r.runs, s)
			}
			if got, err := n.Plans(r.t.Context()); err != nil || len(got) != 2 || got[0].Mode != service.Exclusive {
				t.Errorf("%+v, %v", got, err)
			}
			if mode == service.PerComponent {
				if _, err := n.SetPlan(r.t.Context(), r.plan); !errors.Is(err, ErrPlan) {
					t.Errorf("the one that does not count is set: %v", err)
				}
				// One node does not hear of it, and finds out later.
				r.nodes[1].kept.setAway(errors.New("away"))
				if err := n.DropPlan(r.t.Context(), "press", service.Exclusive); err != nil {
					t.Error(err)
				}
				r.wait(5 * time.Second)
				if s := r.nodes[1].Status()[0]; s.Stands {
					t.Errorf("%+v", s)
				}
				r.nodes[1].kept.setAway(nil)
				r.wait(time.Minute)
				if s := r.nodes[1].Status()[0]; !s.Stands {
					t.Errorf("%+v", s)
				}
			} else if _, err := n.SetPlan(r.t.Context(), r.plan); err != nil {
				t.Errorf("the one that counts: %v", err)
			}
			r.wait(5 * time.Second)
			r.wantRunsAt("a")
			if got := r.kept.keys(planPrefix); !slices.Equal(got, []string{planKey("press", mode)}) {
				t.Errorf("left: %q", got)
			}
		})
	}
}
