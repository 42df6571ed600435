package failover

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

func isOfDrill(e Event) bool { return e.What == DrillBegan || e.What == DrillEnded || e.What == Alarm }

// ofDrills returns what a node has told of drills, and forgets it.
func (n *rigNode) ofDrills() []string {
	out := n.seen(func(e Event) bool { return isOfDrill(e) && (e.What != DrillEnded || e.Error == "") })
	out = append(out, n.seen(func(e Event) bool { return e.What == DrillEnded && e.Error != "" })...)
	n.set(func() { n.events = nil })
	return out
}

// count returns how many hooks with such a name were called.
func (r *rig) count(word string) (n int) {
	for _, c := range r.allCalls() {
		if strings.HasSuffix(c, word) {
			n++
		}
	}
	return n
}

func TestADrillMovesAServiceThereAndBack(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.nodes[0], r.nodes[1]
		r.plan.Drill.Schedule = "*/10 * * * *"
		r.serveAll()
		r.wait(9 * time.Minute)
		if got := append(a.ofDrills(), r.allCalls()...); slices.Contains(got, "b start") {
			t.Errorf("before it is due: %q", got)
		}
		r.wait(2 * time.Minute)
		r.wantRunsAt("a")
		if got := r.allCalls(); !slices.Contains(got, "b start") || slices.Contains(got, "c start") {
			t.Errorf("%q", got)
		}
		if got := append(a.ofDrills(), b.ofDrills()...); !slices.Equal(got, []string{"drill began", "drill ended"}) {
			t.Errorf("%q", got)
		}
		r.wait(20 * time.Minute)
		if got := append(a.ofDrills(), b.ofDrills()...); !slices.Equal(got, []string{"drill began", "drill began", "drill ended", "drill ended"}) {
			t.Errorf("%q", got)
		}
		if err := a.Drill("press"); err != nil {
			t.Error(err)
		}
		if err := b.Drill("press"); !errors.Is(err, ErrNotHere) {
			t.Errorf("where it does not run: %v", err)
		}
		if err := a.Drill("lathe"); !errors.Is(err, ErrUnknownService) {
			t.Errorf("unknown: %v", err)
		}
		r.wait(30 * time.Second)
		r.wantRunsAt("a")
		if got := r.count("b start"); got != 3 {
			t.Errorf("started %d times", got)
		}
	})
}

// TestADrillFails where the other node cannot verify the service, and where there is none.
func TestADrillFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b, c := r.nodes[0], r.nodes[1], r.nodes[2]
		b.set(func() { b.fails["verify"] = errors.New("no pressure") })
		r.serveAll()
		r.wait(5 * time.Second)
		if err := a.Drill("press"); err != nil {
			t.Fatal(err)
		}
		r.wait(2 * time.Minute)
		r.wantRunsAt("a")
		if got := append(a.ofDrills(), b.ofDrills()...); !slices.Equal(got, []string{"drill began", "alarm  a drill has failed", "drill ended", "alarm verify a step has failed for the last time"}) {
			t.Errorf("%q", got)
		}
		for _, n := range []*rigNode{b, c} {
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		}
		r.wait(time.Minute)
		if err := a.Drill("press"); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Second)
		if got := a.ofDrills(); !slices.Equal(got, []string{"drill began", "alarm  a drill has failed", "drill ended"}) {
			t.Errorf("%q", got)
		}
		r.wantRunsAt("a")
	})
}

// TestAShadowIsTried beside where the service runs, which goes on.
func TestAShadowIsTried(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.nodes[0], r.nodes[1]
		r.plan.Drill = service.Drill{Schedule: "*/10 * * * *", Shadow: true}
		r.serveAll()
		r.wait(11 * time.Minute)
		if got := r.allCalls(); !slices.Contains(got, "b rehearse") || slices.Contains(got, "b start") || slices.Contains(got, "c rehearse") {
			t.Errorf("%q", got)
		}
		if got := append(a.ofDrills(), b.ofDrills()...); !slices.Equal(got, []string{"drill began", "drill ended"}) {
			t.Errorf("%q", got)
		}
		b.set(func() { b.fails["rehearse"] = errors.New("no licence") })
		r.wait(10 * time.Minute)
		if got := append(a.ofDrills(), b.ofDrills()...); !slices.Equal(got, []string{"drill began", "alarm  a drill has failed", "drill ended"}) {
			t.Errorf("%q", got)
		}
		if got := r.count("b rehearse"); got != 1 {
			t.Errorf("tried %d times", got)
		}
		r.wantRunsAt("a")
	})
}

// TestAShadowIsTriedOnce though its end is overwritten by what was before.
func TestAShadowIsTriedOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.nodes[0]
		r.plan.Drill.Shadow = true
		r.serveAll()
		r.wait(5 * time.Second)
		if err := a.Drill("press"); err != nil {
			t.Fatal(err)
		}
		r.wait(5 * time.Second)
		key := drillKey("press", service.Exclusive)
		d := a.drills.drillOf(key).Drill
		if !d.Ended || d.Failure != "" {
			t.Fatalf("%+v", d)
		}
		d.Ended = false
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		r.kept.put(key, string(text))
		r.wait(30 * time.Second)
		if err := a.Drill("press"); !errors.Is(err, ErrDrilling) {
			t.Errorf("beside another one: %v", err)
		}
		r.wait(30 * time.Second)
		if got := r.count("b rehearse"); got != 1 {
			t.Errorf("tried %d times", got)
		}
		r.wait(3 * time.Minute)
		if err := a.Drill("press"); err != nil {
			t.Errorf("when its time is over: %v", err)
		}
		r.wait(5 * time.Second)
		if got := r.count("b rehearse"); got != 1 {
			t.Errorf("tried %d times", got)
		}
	})
}

// TestADrillDoesNotHoldUpClose, neither a rehearsal that takes long nor records that do, and what
// a rehearsal says is kept within bounds.
func TestADrillDoesNotHoldUpClose(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.nodes[0], r.nodes[1]
		r.plan.Drill.Shadow = true
		r.serveAll()
		r.wait(5 * time.Second)
		b.set(func() { b.fails["rehearse"] = errors.New(strings.Repeat("\u00e9", 5000)) })
		if err := a.Drill("press"); err != nil {
			t.Fatal(err)
		}
		r.wait(5 * time.Second)
		if d := a.drills.drillOf(drillKey("press", service.Exclusive)); !d.Ended || len(d.Failure) > maxFailure || !strings.HasPrefix(d.Failure, "\u00e9") {
			t.Errorf("%+v", d)
		}
		a.kept.setSlow(time.Hour)
		if err := a.Drill("press"); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Second)
		begin := time.Now()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > restGrace+5*time.Second {
			t.Errorf("closed in %v", took)
		}
	})
}

// TestADrillThatCannotBeWritten moves nothing.
func TestADrillThatCannotBeWritten(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.nodes[0]
		r.serveAll()
		r.wait(5 * time.Second)
		a.kept.setFailing(errors.New("away"))
		if err := a.Drill("press"); err != nil {
			t.Fatal(err)
		}
		r.wait(10 * time.Minute) // longer than one may take
		if got := r.count("b start"); got != 0 {
			t.Error("it was moved, and nobody knows what for")
		}
		if got := a.ofDrills(); !slices.Equal(got, []string{"drill began", "alarm  a drill has failed", "drill ended"}) {
			t.Errorf("%q", got)
		}
		f, err := Open(context.Background(), Config{Mesh: r.mesh.node(1), Elections: r.mesh.node(1)})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Drill("press"); !errors.Is(err, ErrNoRecords) {
			t.Errorf("without records: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestARehearsalEndsBeforeAStart has the node that rehearses get the service itself.
func TestARehearsalEndsBeforeAStart(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.nodes[0], r.nodes[1]
		r.plan.Drill.Shadow = true
		rehearses, ended := make(chan struct{}), false
		b.rehearse = func(ctx context.Context, _ Run) error {
			close(rehearses)
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond) // virtual: to undo what it has done
			ended = true
			return ctx.Err()
		}
		b.beforeStart = func() {
			if !ended {
				t.Error("the service starts beside its rehearsal")
			}
		}
		r.serveAll()
		r.wait(5 * time.Second)
		if err := a.Drill("press"); err != nil {
			t.Fatal(err)
		}
		<-rehearses
		if err := a.Move("press", "b"); err != nil {
			t.Fatal(err)
		}
		r.wait(5 * time.Second)
		r.wantRunsAt("b")
	})
}
