package partition

import (
	"slices"
	"testing"
	"time"
)

// A node that was killed and is back within a second, while the rows of the others
// have it as not reached, belongs to their component as soon as they reach it, and
// takes the lead from nobody.
func TestQuickRestartKeepsTheLeader(t *testing.T) {
	inWorld(t, 5, lan, nil, func(w *world) {
		old := w.agreed(w.boxes...)
		old.kill()
		rest := w.without(old)
		w.until(LAN().Lease+time.Second, "another leads", func() bool { return w.agreed(rest...) != nil })
		leader := w.agreed(rest...)
		old.start()
		back := time.Now()
		w.until(5*time.Second, "all are in one component", func() bool {
			return !slices.ContainsFunc(w.boxes, func(b *box) bool { return len(b.part.Status().Component) != len(w.boxes) })
		})
		for time.Since(back) < 20*time.Second {
			for _, b := range w.boxes {
				if b.leads() != (b == leader) {
					w.dump()
					t.Fatalf("%v after the restart %s leads: %v; %s did before", time.Since(back), b.mesh.Name, b.leads(), leader.mesh.Name)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}
