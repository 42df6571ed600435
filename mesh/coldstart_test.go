package mesh

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh/view"
)

// intact checks that no running node holds a member of the mesh for anything
// but active: nobody was given up, evicted or taken for gone.
func (w *world) intact(members int) {
	w.t.Helper()
	for _, n := range w.running() {
		v := n.View()
		if len(v.Members) != members {
			w.t.Errorf("node %v knows %d members, want %d", n.ID(), len(v.Members), members)
		}
		for _, m := range v.Members {
			if m.Status != view.Active || m.State == view.Departed {
				w.t.Errorf("node %v holds %v for %v, %v", n.ID(), m.Name, m.Status, m.State)
			}
		}
	}
}

// F2.7, as far as the mesh is concerned: all gateways were off for weeks and
// are started one a minute. The first must not give up the others.
func TestF2_07_MonthInTheDark_Mesh(t *testing.T) {
	t.Parallel()
	const boxes = 20
	bubble(t, boxes, func(t *testing.T, w *world) {
		w.form(20 * time.Second)
		roster := w.boxes[0].node.View().Roster
		for _, b := range w.boxes {
			b.kill()
		}
		time.Sleep(30 * 24 * time.Hour)
		for i, b := range w.boxes {
			b.cfg.Seeds = nil // nothing but what the nodes remember
			n := b.start()
			if err := n.Ready(t.Context()); err != nil {
				t.Fatalf("box %d is not ready: %v", i, err)
			}
			time.Sleep(time.Minute)
			w.intact(boxes)
			if !w.whole() {
				w.dump()
				t.Fatalf("%d nodes that run are not one mesh", i+1)
			}
		}
		w.eventually(time.Minute, "rosters agree", w.agreed)
		if got := w.boxes[0].node.View().Roster; got != roster {
			t.Errorf("placement depends on roster %x, before the night on %x", got, roster)
		}
	})
}

// F1.18, as far as the mesh is concerned: started in any order, in any
// subset, over any network, nobody is evicted, and every node is ready and
// serves.
func TestF1_18_ColdStartInAnyOrder_Mesh(t *testing.T) {
	t.Parallel()
	const boxes = 5
	for seed := range uint64(4) {
		bubble(t, boxes, func(t *testing.T, w *world) {
			rng := rand.New(rand.NewPCG(seed, 18))
			w.form(20 * time.Second)
			for _, b := range w.boxes {
				b.kill()
			}
			time.Sleep(time.Duration(rng.Int64N(int64(1000 * time.Hour))))
			w.net.SetPaths(memnet.Path{
				Delay: time.Duration(rng.Int64N(int64(20 * time.Millisecond))), Loss: rng.Float64() / 20,
			})
			order := rng.Perm(boxes)[:1+rng.IntN(boxes)]
			for _, i := range order {
				time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Second))))
				n := w.boxes[i].start()
				if err := n.Handle("echo", echo); err != nil {
					t.Fatal(err)
				}
				if err := n.Ready(t.Context()); err != nil {
					t.Fatalf("box %d is not ready: %v", i, err)
				}
				if _, err := n.Call(t.Context(), n.ID(), "echo", nil); err != nil {
					t.Errorf("box %d does not serve: %v", i, err)
				}
				w.intact(boxes)
			}
			w.eventually(time.Minute, "all that were started meet", w.whole)
			time.Sleep(3 * time.Minute)
			w.intact(boxes)
		})
	}
}

// F2.6, as far as the mesh is concerned: gateways whose clocks say 1970 and
// 2106 take part like all others, and what they say of themselves counts.
func TestF2_06_RolledBackClock_Mesh(t *testing.T) {
	t.Parallel()
	at := func(year int) time.Duration { return time.Until(time.Date(year, 1, 1, 0, 0, 5, 0, time.UTC)) }
	bubble(t, 3, func(t *testing.T, w *world) {
		w.boxes[1].skew, w.boxes[2].skew = at(2106), at(1970)
		w.form(10 * time.Second)
		zones := func(want string) func() bool {
			return func() bool {
				for _, n := range w.running() {
					if m, _ := n.View().Member(w.boxes[1].node.ID()); m.Zone != want {
						return false
					}
				}
				return w.whole()
			}
		}
		for i, year := range []int{1970, 2000, 2106, 1970} {
			b := w.boxes[1]
			b.kill()
			b.skew = at(year)
			b.cfg.Zone = "moved-" + string(rune('a'+i))
			b.start()
			w.eventually(20*time.Second, "a box with its clock elsewhere is heard", zones(b.cfg.Zone))
		}
		time.Sleep(time.Hour)
		w.intact(3)
	})
}

func TestLossyNetworkHasNoFalseFailures(t *testing.T) {
	t.Parallel()
	bubble(t, 5, func(t *testing.T, w *world) {
		w.net.SetPaths(memnet.Path{Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1, Duplicate: 0.05, Reorder: 0.05})
		w.form(20 * time.Second)
		for range 300 {
			time.Sleep(time.Second)
			for _, n := range w.running() {
				if failed := n.View().Count(view.Failed); failed > 0 {
					w.dump()
					t.Fatalf("node %v calls %d members failed", n.ID(), failed)
				}
			}
		}
	})
}
