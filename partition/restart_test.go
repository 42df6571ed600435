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

// A node whose Partition is opened a while after the others have met it, because its store takes
// long to open, knows at once who leads, and does not ask for a term.
func TestPartitionThatIsOpenedLate(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, voting, func(w *world) {
		leader, of := w.stands(job)
		defer w.sendHome(of)
		// Who stood beside the leader may have asked for a higher term: it takes that into its own.
		time.Sleep(lan.pace.Settle + lan.pace.Lease)
		late := w.without(leader)[0]
		late.kill()
		of[late].cancel()
		time.Sleep(time.Second)
		late.opensLate = 2 * time.Second
		late.start()
		w.until(500*time.Millisecond, "it knows who leads", func() bool {
			at, all := late.part.Standing(job)
			return at.Node == leader.node.ID() && len(all) >= 4
		})
		took := leader.token(job)
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease)
		if now := leader.token(job); now != took {
			t.Errorf("the token was %v and is %v", took, now)
		}
	})
}
