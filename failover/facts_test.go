package failover

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

// TestWhatIsAskedPanicsOrHangs has what tells of a node panic and then hang: what is known stays
// as it was, the service runs on, and who has never answered gets no service.
func TestWhatIsAskedPanicsOrHangs(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.nodes[0], r.nodes[1]
		hang := make(chan struct{})
		a.set(func() { a.hangs["facts"] = hang })
		r.serveAll()
		r.wait(5 * time.Second)
		r.wantRunsAt("a")

		a.set(func() {
			a.answer = func() bool { panic("no sensor") }
			a.use = func() []int { panic("no meter") }
		})
		r.wait(time.Minute)
		if got := a.logged("no sensor"); got != 1 {
			t.Errorf("a panic of the condition was logged %d times", got)
		}
		if got := a.logged("no meter"); got != 1 {
			t.Errorf("a panic of the use was logged %d times", got)
		}
		var asked atomic.Int32
		a.set(func() { a.answer = func() bool { asked.Add(1); <-hang; return true } })
		b.set(func() { b.holds = true })
		r.wait(time.Minute)
		r.wantRunsAt("a")
		if n := asked.Load(); n != 1 {
			t.Errorf("a condition that has not answered was asked %d times", n)
		}
		if s := b.Status()[0]; s.Stands {
			t.Errorf("what else is asked was held up: %+v", s)
		}
		a.set(func() { a.use = func() []int { return []int{400} } })
		r.wait(time.Minute)
		if own, _ := a.facts.ofService("press", electionOf("press", service.Exclusive)); len(own.Used) != 1 || own.Used[0] != 400 || len(own.Conditions) > 0 {
			t.Errorf("%+v", own)
		}
	})
}

// TestNothingBeginsBeforeTheNodeIsKnown has two nodes never tell of themselves.
func TestNothingBeginsBeforeTheNodeIsKnown(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := newFacts(r.nodes[0].cfg, r.nodes[0].Failover.log), r.nodes[1]
		own, _ := a.ofService("press", electionOf("press", service.Exclusive))
		if len(own.Conditions) != 1 || own.MostUsed() != 1000 {
			t.Errorf("before anything was asked: %+v", own)
		}
		r.wait(time.Second)
		if own, _ = b.facts.ofService("press", electionOf("press", service.Exclusive)); len(own.Conditions) > 0 || own.MostUsed() != 100 {
			t.Errorf("once it has answered: %+v", own)
		}
	})
}
