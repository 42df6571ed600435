package mesh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/mesh/view"
)

// disksLost is one schedule: of five boxes some lose their disks at once, and
// start on empty ones under their old names, up to three times over.
func disksLost(t *testing.T, seed uint64) {
	bubble(t, 5, func(t *testing.T, w *world) {
		w.hasty = true
		rng := rand.New(rand.NewPCG(seed, 1))
		for _, b := range w.boxes {
			b.cfg.Seeds = nil
			for _, o := range w.boxes {
				b.cfg.Seeds = append(b.cfg.Seeds, o.cfg.Listen)
			}
		}
		w.form(20 * time.Second)
		for round := range 1 + rng.IntN(3) {
			time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Second))))
			lost := rng.Perm(len(w.boxes))[:1+rng.IntN(len(w.boxes)-1)]
			w.loseDisks(rng, lost)
			took := w.eventually(time.Minute, fmt.Sprintf("seed %d, round %d: %d lost disks are replaced", seed, round, len(lost)), w.oneEach)
			t.Logf("seed %d, round %d: %d disks, settled after %v", seed, round, len(lost), took)
		}
	})
}

// loseDisks takes the disks of some boxes away and starts them again, cut off
// from the others for a while or not. It returns after the last start and the
// end of the cut.
func (w *world) loseDisks(rng *rand.Rand, lost []int) {
	cut := rng.IntN(3) // 0: no cut; 1: together; 2: each alone
	if cut > 0 {
		w.cutOff(lost, cut == 2)
	}
	for _, i := range lost {
		w.boxes[i].kill()
		w.boxes[i].fs = vfs.NewMem()
	}
	together := rng.IntN(2) == 0
	time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Second))))
	for k, i := range lost {
		if k > 0 && !together {
			time.Sleep(time.Duration(rng.Int64N(int64(5 * time.Second))))
		}
		w.boxes[i].start()
	}
	if cut > 0 {
		time.Sleep(time.Duration(rng.Int64N(int64(10 * time.Second))))
		w.net.HealAll()
	}
}

// cutOff parts boxes from the rest, and from each other.
func (w *world) cutOff(boxes []int, apart bool) {
	sides := make([][]netip.Addr, 2)
	for i, b := range w.boxes {
		switch {
		case !slices.Contains(boxes, i):
			sides[0] = append(sides[0], b.addr)
		case apart:
			sides = append(sides, []netip.Addr{b.addr})
		default:
			sides[1] = append(sides[1], b.addr)
		}
	}
	w.net.Partition(sides...)
}

// oneEach tells whether what runs on the boxes is all there is: every box runs,
// all see all alive, of one roster, and each name has one member.
func (w *world) oneEach() bool {
	if len(w.running()) != len(w.boxes) || !w.whole() || !w.agreed() {
		return false
	}
	names := map[string]int{}
	for _, m := range w.boxes[0].node.View().Members {
		if m.Status < view.Left {
			names[m.Name]++
		}
	}
	for _, b := range w.boxes {
		if names[b.cfg.Name] != 1 {
			return false
		}
	}
	return len(names) == len(w.boxes)
}

func TestDisksLostAtOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		disksLost(t, seed)
	}
}

func TestLongDisksLostAtOnce(t *testing.T) {
	if !*long {
		t.Skip("run with -long")
	}
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { disksLost(t, seed) })
	}
}
