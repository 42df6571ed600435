package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// rig is three nodes that serve "press", and what its hooks have been called for.
type rig struct {
	t     *testing.T
	mesh  *fakeMesh
	kept  *fakeRecords
	nodes []*rigNode
	plan  service.Plan
	// address is where nodes say that it is found, with their names behind it.
	address string

	mu    sync.Mutex
	calls []string // "a start", "a stop", "a stop forced"
	runs  map[view.NodeID]token.Token
	late  bool // a start that was given up may succeed
}

type rigNode struct {
	*Failover
	name        string
	r           *rig
	kept        *fakeRecordsAt
	log         strings.Builder
	mu          sync.Mutex
	fails       map[string]error         // by the name of the hook
	hangs       map[string]chan struct{} // until closed, whatever the context says
	events      []Event
	holds       bool          // the condition "worn"
	slow        time.Duration // how long recording takes
	procedures  []string
	rehearse    Hook         // nil: it is noted, and ends as the test says
	beforeStart func()       // nil: nothing
	answer      func() bool  // of the condition, in place of holds; nil: that is it
	use         func() []int // nil: little
}

// inBubble runs a test of three nodes in virtual time. What the test leaves is closed.
func inBubble(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, mesh: newFakeMesh("a", "b", "c"), kept: newFakeRecords(), runs: map[view.NodeID]token.Token{}}
		ctx, cancel := context.WithCancel(context.Background())
		var mesh sync.WaitGroup
		mesh.Go(func() { r.mesh.run(ctx) })
		for i, name := range r.mesh.names {
			n := &rigNode{name: name, r: r, kept: r.kept.at(), fails: map[string]error{}, hangs: map[string]chan struct{}{}}
			f, err := Open(ctx, Config{
				Mesh: r.mesh.node(i + 1), Elections: r.mesh.node(i + 1), Record: n.record, Records: n.kept,
				Logger:     slog.New(slog.NewTextHandler(n, nil)),
				Conditions: map[string]func(ctx context.Context) bool{"worn": n.isWorn}, Used: n.used,
			})
			if err != nil {
				t.Fatal(err)
			}
			n.Failover = f
			r.nodes = append(r.nodes, n)
		}
		r.plan = service.Plan{Service: "press", Primary: "a", Backups: []string{"b", "c"}, Conditions: []string{"worn"}}
		for k := range r.plan.Steps {
			r.plan.Steps[k].Timeout = time.Second
		}
		nodes := r.nodes
		defer func() {
			for _, n := range nodes {
				for _, hang := range n.hangs {
					close(hang)
				}
				_ = n.Close()
			}
			cancel()
			mesh.Wait()
			if len(r.runs) > 0 {
				t.Errorf("after all was closed %v run", r.runs)
			}
		}()
		test(r)
	})
}

func (n *rigNode) record(ctx context.Context, e Event) {
	clock.Sleep(ctx, n.slow)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
}

// Write notes what is logged.
func (n *rigNode) Write(text []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(text)
}

// logged counts the lines with these words.
func (n *rigNode) logged(words string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.log.String(), words)
}

func (n *rigNode) isWorn(context.Context) bool {
	n.mu.Lock()
	holds, answer := n.holds, n.answer
	n.mu.Unlock()
	if answer != nil {
		return answer()
	}
	return holds
}

func (n *rigNode) used() []int {
	n.mu.Lock()
	use := n.use
	n.mu.Unlock()
	if use != nil {
		return use()
	}
	return []int{100}
}

func (n *rigNode) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// seen returns the events that fit, in words.
func (n *rigNode) seen(fits func(e Event) bool) (out []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		if fits(e) {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.What, e.Step, e.Why)))
		}
	}
	return out
}

// hook returns a hook that notes its call, and ends as the test has said.
func (n *rigNode) hook(name string, do func(run Run)) Hook {
	return func(ctx context.Context, run Run) error {
		n.mu.Lock()
		hang := n.hangs[name]
		n.mu.Unlock()
		word := n.name + " " + name
		if run.Forced {
			word += " forced"
		}
		n.r.mu.Lock()
		n.r.calls = append(n.r.calls, word)
		n.r.mu.Unlock()
		if hang != nil {
			<-hang
		}
		n.mu.Lock()
		err := n.fails[name]
		n.mu.Unlock()
		if err != nil && err.Error() == "panic" {
			panic("as the test has said")
		}
		if err == nil && do != nil {
			do(run)
		}
		return err
	}
}

func (n *rigNode) serve() {
	n.r.t.Helper()
	id := n.cfg.Mesh.ID()
	s := Service{
		Plan: n.r.plan, Prepare: n.hook("prepare", nil), Sync: n.hook("sync", nil), Route: n.hook("route", nil), Verify: n.hook("verify", nil), Check: n.hook("check", nil), Rehearse: n.hook("rehearse", nil),
		UndoPrepare: n.hook("unprepare", nil), UndoSync: n.hook("unsync", nil), UndoRoute: n.hook("unroute", nil),
		Start: n.hook("start", func(run Run) {
			if n.beforeStart != nil {
				n.beforeStart()
			}
			n.r.mu.Lock()
			defer n.r.mu.Unlock()
			if len(n.r.runs) > 0 && !n.r.late {
				n.r.t.Errorf("%s starts while %v run", n.name, n.r.runs)
			}
			n.r.runs[id] = run.Began()
		}),
		Stop: n.hook("stop", func(Run) {
			n.r.mu.Lock()
			defer n.r.mu.Unlock()
			delete(n.r.runs, id)
		}),
	}
	if n.rehearse != nil {
		s.Rehearse = n.rehearse
	}
	for _, name := range n.procedures {
		if s.Procedures == nil {
			s.Procedures = map[string]Hook{}
		}
		s.Procedures[name] = n.hook(name, nil)
	}
	if n.r.address != "" {
		s.Address = n.r.address + "/" + n.name
	}
	if err := n.Serve(s); err != nil {
		n.r.t.Fatal(err)
	}
}

func (r *rig) serveAll() {
	r.t.Helper()
	for _, n := range r.nodes {
		n.serve()
	}
}

// wait lets time go by.
func (r *rig) wait(d time.Duration) {
	time.Sleep(d) // virtual
	synctest.Wait()
}

// wantRunsAt fails unless the service runs, verified, at one node alone.
func (r *rig) wantRunsAt(name string) {
	r.t.Helper()
	r.mu.Lock()
	var runs []string
	for id := range r.runs {
		runs = append(runs, r.mesh.names[id-1])
	}
	r.mu.Unlock()
	if !slices.Equal(runs, []string{name}) {
		r.t.Fatalf("it runs at %v, not at %s: %v", runs, name, r.allCalls())
	}
	for _, n := range r.nodes {
		s := n.Status()
		if len(s) == 0 {
			continue
		}
		if here := n.name == name; s[0].Here != here || (s[0].Health == service.Healthy) != here {
			r.t.Fatalf("%s says %+v", n.name, s[0])
		}
	}
}

// allCalls returns the hooks called so far without checks, and forgets them.
func (r *rig) allCalls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.DeleteFunc(r.calls, func(c string) bool { return strings.HasSuffix(c, "check") })
	r.calls = nil
	return out
}

func TestThePrimaryRunsItAfterFiveSteps(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.serveAll()
		r.wait(5 * time.Second)
		r.wantRunsAt("a")
		calls := r.allCalls()
		left := calls[:3]
		slices.Sort(left)
		if want := []string{"a stop forced", "b stop forced", "c stop forced"}; !slices.Equal(left, want) {
			t.Errorf("what a process before may have left: %v", left)
		}
		if got, want := calls[3:], []string{"a prepare", "a sync", "a start", "a route", "a verify"}; !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		got := r.nodes[0].seen(func(e Event) bool { return !e.Token.IsZero() && e.Node == 1 && e.Service == "press" && !e.At.IsZero() })
		if want := []string{"led", "step ended prepare", "step ended sync", "step ended start", "step ended route", "step ended verify", "health changed"}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

func TestACutNodeIsStoppedBeforeAnotherStarts(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.serveAll()
		r.wait(5 * time.Second)
		r.allCalls()
		r.mesh.setCut(1, true)
		r.wait(2 * fakeLease)
		r.wantRunsAt("b")
		if got, want := r.allCalls()[:3], []string{"a stop forced", "a unroute", "a unsync"}; got[0] != want[0] {
			t.Errorf("%v", got)
		}
		r.mesh.setCut(1, false) // nothing healthy is restarted
		r.wait(time.Minute)
		r.wantRunsAt("b")
		if got := r.allCalls(); len(got) > 0 {
			t.Errorf("after the heal: %v", got)
		}
	})
}

func TestAMoveIsMadeInOrder(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.serveAll()
		r.wait(5 * time.Second)
		r.allCalls()
		for _, c := range []struct {
			at       int
			name, to string
			want     error
		}{{1, "press", "c", ErrNotHere}, {0, "pump", "c", ErrUnknownService}, {0, "press", "zoe", ErrUnknownNode}, {0, "press", "c", nil}} {
			if err := r.nodes[c.at].Move(c.name, c.to); !errors.Is(err, c.want) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		r.wait(time.Second)
		r.wantRunsAt("c")
		want := []string{"a unroute", "a stop", "a unsync", "a unprepare", "c prepare", "c sync", "c start", "c route", "c verify"}
		if got := r.allCalls(); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	})
}

func TestWhoCannotRunItGivesItToAnother(t *testing.T) {
	for name, fault := range map[string]error{"fails": errors.New("no"), "panics": errors.New("panic")} {
		inBubble(t, func(r *rig) {
			r.nodes[0].fails["verify"] = fault
			r.serveAll()
			r.wait(5 * time.Second)
			r.wantRunsAt("b")
			got := r.nodes[0].seen(func(e Event) bool { return e.What == Alarm || e.What == GivenBack })
			if want := []string{"alarm verify a step has failed for the last time", "given back verify a step has failed for the last time"}; !slices.Equal(got, want) {
				t.Errorf("it %s: %q", name, got)
			}
			failed := r.nodes[0].seen(func(e Event) bool { return e.What == StepEnded && e.Step == "verify" && e.Error != "" })
			if len(failed) != 1 {
				t.Errorf("it %s: %q", name, failed)
			}
		})
	}
}

// TestAHookThatHangs has a start that ignores its context: nobody else starts before the
// lease has ended, and then another does; the node stands no more until the hook returns.
func TestAHookThatHangs(t *testing.T) {
	inBubble(t, func(r *rig) {
		hang := make(chan struct{})
		r.nodes[0].hangs["start"] = hang
		r.serveAll()
		r.wait(10 * time.Second)
		r.wantRunsAt("b")
		if s := r.nodes[0].Status()[0]; s.Stands || len(s.Lacks) != 1 || s.Lacks[0].Kind != service.LackStop {
			t.Errorf("while it hangs: %+v", s)
		}
		if got := r.allCalls(); !slices.Contains(got, "a stop forced") {
			t.Errorf("%v", got)
		}
		if got := r.nodes[0].seen(func(e Event) bool { return e.What == Alarm }); !slices.Contains(got, "alarm  it does not stop") {
			t.Errorf("%q", got)
		}
		r.nodes[0].set(func() { r.nodes[0].fails["start"] = errors.New("late"); delete(r.nodes[0].hangs, "start") })
		close(hang)
		r.wait(time.Minute)
		if s := r.nodes[0].Status()[0]; !s.Stands || len(s.Lacks) > 0 {
			t.Errorf("when the hook has returned: %+v", s)
		}
		r.wantRunsAt("b")
	})
}

// TestAStartThatEndsAfterTheStop has a start that ignores its context succeed after the lead was
// lost, and Stop was called: it is stopped all the same.
func TestAStartThatEndsAfterTheStop(t *testing.T) {
	inBubble(t, func(r *rig) {
		hang := make(chan struct{})
		r.nodes[0].hangs["start"] = hang
		r.serveAll()
		r.wait(2 * fakeLease / 4) // it starts
		r.mesh.setCut(1, true)
		r.wait(2 * fakeLease)
		r.nodes[0].set(func() { delete(r.nodes[0].hangs, "start") })
		r.mu.Lock()
		r.late = true // b runs, rightly, when the late start of a is through
		r.mu.Unlock()
		close(hang)
		r.wait(5 * time.Second)
		r.wantRunsAt("b")
	})
}

func TestCloseEndsServicesInOrder(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.serveAll()
		r.wait(5 * time.Second)
		r.allCalls()
		if err := r.nodes[0].Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := r.allCalls(), []string{"a unroute", "a stop", "a unsync", "a unprepare"}; !slices.Equal(got[:4], want) {
			t.Errorf("%v", got)
		}
		r.wait(5 * time.Second)
		r.nodes = r.nodes[1:]
		r.wantRunsAt("b")
	})
}

// TestCloseOfWhatDoesNotStop has Stop fail for ever: Close ends all the same, and says so.
func TestCloseOfWhatDoesNotStop(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.nodes[0].serve()
		r.wait(5 * time.Second)
		r.nodes[0].set(func() { r.nodes[0].fails["stop"] = errors.New("no") })
		began := time.Now()
		err := r.nodes[0].Close()
		if took := time.Since(began); !errors.Is(err, ErrStopHangs) || took > r.plan.UndoBound()+closeGrace+100*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
		if again := r.nodes[0].Close(); !errors.Is(again, ErrStopHangs) {
			t.Errorf("closed again: %v", again)
		}
		if err := r.nodes[0].Serve(Service{Plan: service.Plan{Service: "x"}, Start: r.nodes[0].hook("", nil), Stop: r.nodes[0].hook("", nil)}); !errors.Is(err, ErrClosed) {
			t.Errorf("served after Close: %v", err)
		}
		clear(r.runs) // it is known to be left
	})
}

// TestAPlanWhileItCloses has a plan come while a service ends in order: it does not begin anew.
func TestAPlanWhileItCloses(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.serveAll()
		r.wait(5 * time.Second)
		hang := make(chan struct{})
		r.nodes[0].set(func() { r.nodes[0].hangs["unroute"] = hang })
		closed := make(chan error, 1)
		go func() { closed <- r.nodes[0].withdrawAll(context.Background()) }() // as when the node leaves
		r.wait(100 * time.Millisecond)
		if _, err := r.nodes[0].UsePlan(r.plan); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
		r.nodes[0].set(func() { delete(r.nodes[0].hangs, "unroute") })
		close(hang)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		r.wait(5 * time.Second)
		r.nodes = r.nodes[1:]
		r.wantRunsAt("b")
	})
}

func TestAConditionMovesIt(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.serveAll()
		r.wait(5 * time.Second)
		r.nodes[0].set(func() { r.nodes[0].holds = true })
		r.wait(5 * time.Second)
		r.wantRunsAt("b")
		r.nodes[1].set(func() { r.nodes[1].holds = true })
		r.mesh.setRefuses(3, true)
		r.wait(10 * time.Second)
		r.wantRunsAt("b") // nobody else fits: it goes on
		if got := r.nodes[1].seen(func(e Event) bool { return e.What == Alarm }); len(got) != 1 || !strings.Contains(got[0], "no other one does") {
			t.Errorf("%q", got)
		}
		r.mesh.setRefuses(3, false)
		r.wait(10 * time.Second)
		r.wantRunsAt("c")
	})
}

func TestASlowRecordHoldsNothingUp(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.nodes[0].slow = time.Hour
		r.nodes[1].serve()
		for range maxEvents + 10 {
			r.nodes[0].reportEvent(Event{Service: "press", What: Alarm})
		}
		r.wait(5 * time.Second)
		r.wantRunsAt("b")
		if got := r.nodes[0].journal.countDropped(); got < 9 || got > 10 {
			t.Errorf("%d dropped", got)
		}
	})
}

func TestWhatIsRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.nodes[0]
		hook := n.hook("x", nil)
		for name, s := range map[string]Service{
			"no words": {Plan: service.Plan{Service: "x\xff"}, Start: hook, Stop: hook}, "no address": {Plan: service.Plan{Service: "x"}, Address: "\xff:80", Start: hook, Stop: hook},
			"no name": {Start: hook, Stop: hook}, "long name": {Plan: service.Plan{Service: strings.Repeat("n", 57)}, Start: hook, Stop: hook},
			"no start": {Plan: service.Plan{Service: "x"}, Stop: hook}, "no stop": {Plan: service.Plan{Service: "x"}, Start: hook}, "mode": {Plan: service.Plan{Service: "x", Mode: 2}, Start: hook, Stop: hook},
		} {
			if err := n.Serve(s); !errors.Is(err, ErrConfig) {
				t.Errorf("%s: %v", name, err)
			}
		}
		n.serve()
		if err := n.Serve(Service{Plan: service.Plan{Service: "press"}, Start: hook, Stop: hook}); !errors.Is(err, ErrServed) {
			t.Errorf("served twice: %v", err)
		}
		p := r.plan
		p.Primary, p.Mode, p.Restarts = "zoe", service.PerComponent, -1
		if _, err := n.UsePlan(p); !errors.Is(err, ErrPlan) || !errors.Is(err, service.ErrUnknownNode) || !strings.Contains(err.Error(), "restarts") || !strings.Contains(err.Error(), "per component") {
			t.Errorf("%v", err)
		}
		p = r.plan
		p.Needs.Capabilities = []string{"laser"}
		if warnings, err := n.UsePlan(p); err != nil || len(warnings) != 1 || !errors.Is(warnings[0], service.ErrNobodyMeets) {
			t.Errorf("%v, %v", warnings, err)
		}
		if _, err := Open(r.t.Context(), Config{Conditions: map[string]func(context.Context) bool{"": nil}}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "no Mesh") || !strings.Contains(err.Error(), "condition") {
			t.Errorf("%v", err)
		}
	})
}
