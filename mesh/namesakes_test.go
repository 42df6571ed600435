package mesh

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
)

// namesakes starts two new nodes of one name at about the same time, beside up to
// two others, new or not. Exactly one of the two goes on.
func namesakes(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	bubble(t, 2+rng.IntN(3), func(t *testing.T, w *world) {
		w.hasty = true
		w.net.SetPaths(memnet.Path{Delay: time.Duration(rng.Int64N(int64(50 * time.Millisecond)))})
		for _, b := range w.boxes {
			b.cfg.Seeds = nil
			for _, o := range w.boxes {
				b.cfg.Seeds = append(b.cfg.Seeds, o.cfg.Listen)
			}
		}
		x, y := w.boxes[len(w.boxes)-1], w.boxes[len(w.boxes)-2]
		x.cfg.Name, y.cfg.Name = "twin", "twin"
		for _, b := range w.boxes[:len(w.boxes)-2] {
			b.start()
		}
		time.Sleep(time.Duration(rng.Int64N(2)) * 10 * time.Second)
		x.start()
		time.Sleep(time.Duration(rng.Int64N(int64([]time.Duration{1, time.Second, 10 * time.Second}[rng.IntN(3)]))))
		y.start()
		time.Sleep(2 * time.Minute)
		if x.node.hasStopped() == y.node.hasStopped() {
			t.Fatalf("seed %d, %d boxes: of two namesakes these stopped: %v and %v", seed, len(w.boxes), x.node.Err(), y.node.Err())
		}
		if err := errors.Join(x.node.Err(), y.node.Err()); !errors.Is(err, ErrIdentityConflict) {
			t.Errorf("seed %d: stopped with %v", seed, err)
		}
		if !w.whole() || !w.agreed() {
			w.dump()
			t.Errorf("seed %d: the mesh is not whole", seed)
		}
	})
}

func TestTwoNewNodesOfOneName(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		namesakes(t, seed)
	}
}

func TestLongTwoNewNodesOfOneName(t *testing.T) {
	if !*long {
		t.Skip("run with -long")
	}
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { namesakes(t, seed) })
	}
}

// Of two that have refused each other one gives way: which one, both know.
func TestRivals(t *testing.T) {
	prevails := func(instance uint64) bool { return instance == 5 }
	for _, c := range []struct {
		name     string
		refused  uint64 // the other's instance; 0: it was not refused
		gaveWay  bool
		givesWay bool
	}{
		{"the one that prevails", 5, false, false},
		{"the other one", 4, false, true},
		{"one that refused nobody", 0, false, true},
		{"one that gave way before", 0, true, true},
	} {
		var r rivals
		if c.gaveWay {
			r.decideRival(8, 1, false)
		}
		if c.refused != 0 && !r.decideRival(7, c.refused, true) {
			t.Errorf("%s: cannot go on", c.name)
		}
		if got := r.giveWay(7, prevails); got != c.givesWay {
			t.Errorf("%s: gives way is %t", c.name, got)
		}
		if got := r.decideRival(9, 2, true); got == c.givesWay {
			t.Errorf("%s: refuses others after that: %t", c.name, got)
		}
	}
}
