package mesh

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh/view"
)

// What each profile promises for 5 nodes, in a few rounds each.
func TestProfilesKeepTheirBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		profile Profile
		path    memnet.Path
		form    time.Duration
		silent  time.Duration
		killed  time.Duration
	}{
		{LAN, memnet.Path{Delay: time.Millisecond}, 10 * time.Second, 8 * time.Second, 500 * time.Millisecond},
		{WAN, memnet.Path{Delay: 120 * time.Millisecond, Jitter: 30 * time.Millisecond}, 30 * time.Second, 40 * time.Second, 1200 * time.Millisecond},
		{Edge, memnet.Path{Delay: 100 * time.Millisecond, Jitter: 100 * time.Millisecond, Loss: 0.02}, 60 * time.Second, 25 * time.Second, 2500 * time.Millisecond},
	} {
		t.Run(c.profile.String(), func(t *testing.T) {
			bubble(t, 5, func(t *testing.T, w *world) {
				w.net.SetPaths(c.path)
				for _, b := range w.boxes {
					b.cfg.Profile = c.profile
				}
				w.form(c.form)
				for i := range 3 {
					time.Sleep(2 * time.Minute) // everybody has a connection to everybody
					b := w.boxes[1+i]
					n := b.node
					id := b.silence()
					took := w.eventually(c.silent, "silent node is failed by all", func() bool { return w.everySees(id, view.Failed) })
					w.net.Restore(b.addr)
					b.node = n
					back := w.eventually(2*time.Minute, "it is back", w.whole)
					t.Logf("failed by the last after %v, back after %v", took, back)
				}
				time.Sleep(2 * time.Minute)
				b := w.boxes[4]
				id := b.node.ID()
				w.net.Kill(b.addr)
				b.node = nil
				took := w.eventually(c.killed, "killed node is suspected by all", func() bool {
					return w.everySees(id, view.Suspect, view.Failed)
				})
				t.Logf("killed node suspected by the last after %v", took)
			})
		})
	}
}

// A starved gateway that stands still for 10 s now and then is not failed.
func TestEdgeBearsStalls(t *testing.T) {
	bubble(t, 6, func(t *testing.T, w *world) {
		for _, b := range w.boxes {
			b.cfg.Profile = Edge
		}
		w.form(time.Minute)
		time.Sleep(time.Minute)
		for round := range 12 {
			w.net.Stall(w.boxes[round%2].addr, 10*time.Second)
			for range 40 {
				time.Sleep(500 * time.Millisecond)
				for _, n := range w.running() {
					if n.View().Count(view.Failed) > 0 {
						w.dump()
						t.Fatalf("round %d: a stalled node is failed", round)
					}
				}
			}
		}
	})
}

// By satellite a round trip takes 2.2 s and more.
func TestLongRoundTrips(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		w.net.SetPaths(memnet.Path{Delay: 1200 * time.Millisecond, Jitter: 50 * time.Millisecond})
		for _, b := range w.boxes {
			b.cfg.Profile = Edge
		}
		t.Logf("formed after %v", w.form(2*time.Minute))
		lost := 0
		for range 600 {
			time.Sleep(time.Second)
			for _, n := range w.running() {
				lost += n.View().Count(view.Failed)
			}
		}
		if lost > 0 || !w.whole() {
			w.dump()
			t.Errorf("for %d node seconds of 10 minutes a member counted as failed", lost)
		}
	})
}
