package mesh

import (
	"net/netip"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// A member says of all others that they are gone, or have lived on, or are going.
// They run, and say otherwise.
func TestHearsayDoesNotEvict(t *testing.T) {
	for what, change := range map[string]func(*roster.Entry){
		"evicted":           func(e *roster.Entry) { e.Status = view.Evicted },
		"left":              func(e *roster.Entry) { e.Status = view.Left },
		"leaving":           func(e *roster.Entry) { e.Status = view.Leaving },
		"another life":      func(e *roster.Entry) { e.Boot++ },
		"a life beyond all": func(e *roster.Entry) { e.Boot = 1 << 63 },
		"another run":       func(e *roster.Entry) { e.Instance = 1<<64 - 1 },
	} {
		for _, storing := range []bool{false, true} {
			bubble(t, 4, func(t *testing.T, w *world) {
				w.boxes[3].cfg.Storing = storing
				w.form(10 * time.Second)
				liar := w.boxes[3].node
				var lies wire.RosterSwap
				for _, e := range liar.book.snapshot().Entries() {
					if e.ID != liar.ID() {
						change(&e)
						lies.Have = append(lies.Have, wire.Member(e))
					}
				}
				for range 3 {
					for _, b := range w.boxes[:3] {
						if _, err := liar.link.Call(t.Context(), b.node.ID(), methodSwap, wire.AppendRosterSwap(nil, lies)); err != nil {
							t.Logf("%s: %v", what, err)
						}
					}
					time.Sleep(20 * time.Second)
				}
				for _, b := range w.boxes[:3] {
					if b.node.hasStopped() {
						t.Errorf("%s, liar stores %v: %v", what, storing, b.node.Err())
					}
					for _, m := range b.node.View().Members {
						if m.Status != view.Active || m.Boot != 1 {
							t.Errorf("%s, liar stores %v: box %d holds %v for %v, boot %d", what, storing, b.n, m.Name, m.Status, m.Boot)
						}
					}
				}
			})
		}
	}
}

// What an operator did in one part of a cut mesh holds in all of it.
func TestEvictedInAPartOfACut(t *testing.T) {
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		var sides [2][]netip.Addr
		for i, b := range w.boxes {
			sides[i/2%2] = append(sides[i/2%2], b.addr) // 0, 1 and 4 beside 2 and 3
		}
		w.net.Partition(sides[0], sides[1])
		by, b := w.boxes[2].node, w.boxes[4]
		w.eventually(time.Minute, "the other side is given up", func() bool {
			m, _ := by.View().Member(b.node.ID())
			return m.State == view.Failed
		})
		if err := by.Evict(t.Context(), b.node.ID()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.net.HealAll()
		w.eventually(2*time.Minute, "it stops", b.node.hasStopped)
		w.stopsWith(b.node, ErrEvicted)
		w.eventually(time.Minute, "all hold it for evicted", func() bool { return w.agreed() && w.whole() })
	})
}
