package mesh

import (
	"net/netip"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestZZHeal(t *testing.T) {
	bubble(t, 50, func(t *testing.T, w *world) {
		w.hasty = true
		w.form(30 * time.Second)
		var sides [2][]netip.Addr
		for i, b := range w.boxes {
			sides[i%2] = append(sides[i%2], b.addr)
		}
		w.net.Partition(sides[0], sides[1])
		time.Sleep(5 * time.Minute)
		w.net.HealAll()
		for s := range 40 {
			time.Sleep(time.Second)
			min, max, sum := 99, 0, 0
			ml := 0
			for _, n := range w.running() {
				a := n.View().Count(view.Alive)
				if a < min {
					min = a
				}
				if a > max {
					max = a
				}
				sum += a
				ml += n.gossip.serf.Memberlist().NumMembers()
			}
			t.Logf("%ds: min %d max %d mean %.1f memberlist %.1f", s+1, min, max, float64(sum)/50, float64(ml)/50)
			if min == 50 {
				break
			}
		}
	})
}
