package failover

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
)

// TestProceduresOfAPlan has a plan put procedures into a start: they run in order, behind the
// hook of their step, and are told of. One that fails fails the step, and one that panics too.
func TestProceduresOfAPlan(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.plan.Procedures = []string{service.ProcedureSync, "restore", "warm", service.ProcedureRestart, "greet"}
		for _, n := range r.nodes[:2] { // the third one has none
			n.procedures = []string{"restore", "warm", "greet", "unused"}
		}
		a, c := r.nodes[0], r.nodes[2]
		r.serveAll()
		r.wait(5 * time.Second)
		r.wantRunsAt("a")
		var got []string
		for _, call := range r.allCalls() {
			if name, ok := strings.CutPrefix(call, "a "); ok && !strings.Contains(name, "forced") {
				got = append(got, name)
			}
		}
		if want := []string{"prepare", "sync", "restore", "warm", "start", "greet", "route", "verify"}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		ended := func(e Event) bool { return e.What == ProcedureEnded }
		if got := a.seen(ended); !slices.Equal(got, []string{"procedure ended  restore", "procedure ended  warm", "procedure ended  greet"}) {
			t.Errorf("told %q", got)
		}
		if s := c.Status()[0]; s.Stands || len(s.Lacks) != 3 || s.Lacks[0] != (service.Lack{Kind: service.LackProcedure, What: "restore"}) {
			t.Errorf("%+v", s)
		}

		b := r.nodes[1]
		b.set(func() { b.fails["sync"] = errors.New("no link") })
		if err := a.Move("press", "b"); err != nil {
			t.Fatal(err)
		}
		r.wait(20 * time.Second)
		r.wantRunsAt("a")
		if got := r.allCalls(); !slices.Contains(got, "b sync") || slices.Contains(got, "b restore") {
			t.Errorf("behind a hook that has failed: %q", got)
		}
		r.wait(time.Hour) // it is nobody's turn before b's for long
		b.set(func() { delete(b.fails, "sync") })
		b.set(func() { b.fails["warm"] = errors.New("panic") })
		if err := a.Move("press", "b"); err != nil {
			t.Fatal(err)
		}
		r.wait(20 * time.Second)
		r.wantRunsAt("a")
		failed := func(e Event) bool { return ended(e) && strings.Contains(e.Error, ErrPanic.Error()) }
		if got := b.seen(failed); len(got) == 0 {
			t.Error("it is not told that a procedure has panicked")
		}
	})
}

// TestAProcedureIsGivenUp where its step is undone, also without anything that undoes it: another
// node may begin the same.
func TestAProcedureIsGivenUp(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.plan.Procedures = []string{service.ProcedureSync, "restore"}
		r.plan.Steps[service.Sync].Timeout = time.Hour
		hook := func(context.Context, Run) error { return nil }
		under := map[view.NodeID]bool{}
		restore := func(ctx context.Context, run Run) error {
			r.mu.Lock()
			if len(under) > 0 {
				t.Errorf("node %v restores beside %v", run.Node, under)
			}
			under[run.Node] = true
			r.mu.Unlock()
			<-ctx.Done()
			time.Sleep(200 * time.Millisecond) // virtual
			r.mu.Lock()
			delete(under, run.Node)
			r.mu.Unlock()
			return ctx.Err()
		}
		for _, n := range r.nodes {
			if err := n.Serve(Service{Plan: r.plan, Start: hook, Stop: hook, Procedures: map[string]Hook{"restore": restore}}); err != nil {
				t.Fatal(err)
			}
		}
		r.wait(5 * time.Second)
		if err := r.nodes[0].Move("press", "b"); err != nil {
			t.Fatal(err)
		}
		r.wait(5 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		if !under[2] {
			t.Errorf("%v restore", under)
		}
	})
}

// TestBadProcedures are refused when the service is served.
func TestBadProcedures(t *testing.T) {
	inBubble(t, func(r *rig) {
		hook := func(context.Context, Run) error { return nil }
		for _, procedures := range []map[string]Hook{{"": hook}, {"x": nil}} {
			err := r.nodes[0].Serve(Service{Plan: r.plan, Start: hook, Stop: hook, Procedures: procedures})
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "procedure") {
				t.Errorf("%v: %v", procedures, err)
			}
		}
	})
}

// TestAServiceThatRequiresAnother begins once that is led somewhere, and is not ended for it.
func TestAServiceThatRequiresAnother(t *testing.T) {
	inBubble(t, func(r *rig) {
		hook := func(context.Context, Run) error { return nil }
		r.plan.Requires = []string{"scale"}
		r.serveAll()
		r.wait(30 * time.Second)
		if s := r.nodes[0].Status()[0]; s.Stands || !slices.Contains(s.Lacks, service.Lack{Kind: service.LackService, What: "scale"}) {
			t.Fatalf("%+v", s)
		}
		scale := service.Plan{Service: "scale", Mode: service.PerComponent}
		if err := r.nodes[2].Serve(Service{Plan: scale, Start: hook, Stop: hook}); err != nil {
			t.Fatal(err)
		}
		r.wait(10 * time.Second)
		if s := r.nodes[0].Status()[0]; s.Health != service.Healthy {
			t.Fatalf("%+v", s)
		}
		if err := r.nodes[2].Close(); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Minute)
		if s := r.nodes[0].Status()[0]; s.Health != service.Healthy {
			t.Errorf("%+v", s)
		}
		a := r.nodes[0]
		if _, err := a.SetPlan(r.t.Context(), r.plan); err != nil {
			t.Fatal(err)
		}
		scale.Requires = []string{"press"}
		if _, err := a.SetPlan(r.t.Context(), scale); !errors.Is(err, service.ErrCycle) {
			t.Errorf("a cycle: %v", err)
		}
	})
}

// TestAnOverloadedNode has hardly anything be free for a while: the service goes elsewhere, and
// a short peak moves nothing.
func TestAnOverloadedNode(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.nodes[0]
		use := func(most int) { a.set(func() { a.use = func() []int { return []int{100, most} } }) }
		r.plan.Conditions = []string{service.ConditionNode, service.ConditionOverload}
		r.serveAll()
		r.wait(5 * time.Second)
		use(990)
		r.wait(20 * time.Second)
		use(500)
		r.wait(10 * time.Second)
		use(990)
		r.wait(20 * time.Second)
		r.wantRunsAt("a")
		r.wait(20 * time.Second)
		r.wantRunsAt("b")
		use(900) // not enough
		r.wait(time.Minute)
		if own, _ := a.facts.ofService("press", electionOf("press", service.Exclusive)); !slices.Equal(own.Conditions, []string{service.ConditionOverload}) {
			t.Errorf("%+v", own)
		}
		use(500)
		r.wait(time.Minute)
		if own, _ := a.facts.ofService("press", electionOf("press", service.Exclusive)); len(own.Conditions) > 0 {
			t.Errorf("%+v", own)
		}
	})
}
