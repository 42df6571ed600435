package mesh

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

var hours = flag.Float64("hours", 0.25, "with -long: virtual hours of TestLongStalls")

// accusations counts how often nodes said of another that it had failed, by
// whether that one was healthy.
type accusations struct{ ofHealthy, ofStalled atomic.Int64 }

// listen counts what a healthy node says until ctx ends.
func (a *accusations) listen(ctx context.Context, n *Node, stalled map[view.NodeID]bool) {
	was := map[view.NodeID]view.State{}
	for v := range n.Watch(ctx) {
		for _, m := range v.Members {
			if m.State == view.Failed && was[m.ID] != view.Failed {
				if stalled[m.ID] {
					a.ofStalled.Add(1)
				} else {
					a.ofHealthy.Add(1)
				}
			}
			was[m.ID] = m.State
		}
	}
}

// Nodes that starve, a fifth of all, do not make healthy ones give each other up:
// the experiment of Lifeguard (Dadgar, Phillips and Currey 2018), with stalls of
// 16 s and 2 s between them.
func TestLongStalls(t *testing.T) {
	if !*long {
		t.Skip("run with -long")
	}
	const boxes, starved = 64, 12
	bubble(t, boxes, func(t *testing.T, w *world) {
		w.hasty = true
		for _, b := range w.boxes {
			b.cfg.Profile = Edge
		}
		w.form(5 * time.Minute)
		time.Sleep(time.Minute)
		if !w.whole() {
			t.Fatal("the mesh fell apart by itself")
		}
		stalled := map[view.NodeID]bool{}
		for _, b := range w.boxes[boxes-starved:] {
			stalled[b.node.ID()] = true
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		var heard accusations
		for _, b := range w.boxes[:boxes-starved] {
			all.Go(func() { heard.listen(ctx, b.node, stalled) })
		}
		const seed = 1
		rng := rand.New(rand.NewPCG(seed, 7))
		for _, b := range w.boxes[boxes-starved:] {
			begin := time.Duration(rng.Int64N(int64(18 * time.Second)))
			all.Go(func() {
				timer := time.NewTimer(begin)
				defer timer.Stop()
				for {
					select {
					case <-ctx.Done():
						return
					case <-timer.C:
						w.net.Stall(b.addr, 16*time.Second)
						timer.Reset(18 * time.Second)
					}
				}
			})
		}
		length := time.Duration(*hours * float64(time.Hour))
		for begin := time.Now(); time.Since(begin) < length; {
			time.Sleep(min(10*time.Minute, length))
			t.Logf("%v: healthy nodes gave up healthy ones %d times, starved ones %d times", time.Since(begin), heard.ofHealthy.Load(), heard.ofStalled.Load())
		}
		if n := heard.ofHealthy.Load(); n > 0 {
			t.Errorf("healthy nodes gave up healthy ones %d times in %v", n, length)
		}
	})
}
