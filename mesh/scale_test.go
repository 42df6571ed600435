package mesh

import (
	"flag"
	"net/netip"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

var long = flag.Bool("long", false, "run the tests of large meshes")

// large forms a mesh and measures what the profile promises.
func large(t *testing.T, boxes int, form, detect, heal time.Duration, cut time.Duration) {
	bubble(t, boxes, func(t *testing.T, w *world) {
		w.hasty = true
		t.Logf("%d nodes formed after %v", boxes, w.form(form))
		time.Sleep(30 * time.Second)
		if !w.whole() {
			t.Fatal("the mesh fell apart by itself")
		}
		id := w.boxes[boxes-1].silence()
		took := w.eventually(detect, "silent node is failed by all", func() bool { return w.everySees(id, view.Failed) })
		t.Logf("silent node failed by the last after %v", took)
		var sides [2][]netip.Addr
		for i, b := range w.boxes {
			sides[i%2] = append(sides[i%2], b.addr)
		}
		w.net.Partition(sides[0], sides[1])
		time.Sleep(cut)
		for _, n := range w.running() {
			if alive := n.View().Count(view.Alive); alive > boxes/2+1 {
				t.Fatalf("after %v of a cut through the middle a node sees %d of %d alive", cut, alive, boxes)
			}
		}
		w.net.HealAll()
		t.Logf("whole after %v", w.eventually(heal, "mesh heals", w.whole))
	})
}

func TestFiftyNodes(t *testing.T) {
	t.Parallel()
	cut := 90 * time.Second // memberlist forgets the dead after 30 s
	if *long {
		cut = 10 * time.Minute
	}
	large(t, 50, 30*time.Second, 11*time.Second, 30*time.Second, cut)
}

func TestLongThreeHundredNodes(t *testing.T) {
	if !*long {
		t.Skip("run with -long")
	}
	t.Parallel()
	large(t, 300, 2*time.Minute, 16*time.Second, time.Minute, 3*time.Minute)
}
