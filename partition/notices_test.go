package partition

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
)

// uncompared is a node that asks in vain whether others have heard the same.
type uncompared struct{ *mesh.Node }

func (m uncompared) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	if method == methodSums {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m.Node.Call(ctx, to, method, req)
}

// News are told at once, also while a peer that they are compared with is silent.
func TestNewsDoNotWait(t *testing.T) {
	t.Parallel()
	onEach := func(_ int, c *Config) { c.Mesh = uncompared{c.Mesh.(*mesh.Node)} }
	inWorld(t, 5, lan, onEach, func(w *world) {
		for round := range 60 {
			from, code := w.boxes[round%len(w.boxes)], uint32(round/len(w.boxes)%2+1)
			from.part.report(code)
			w.until(500*time.Millisecond, "all have heard the news", func() bool {
				for _, b := range w.boxes {
					if b.part.notices.all()[from.node.ID()].Cloud != uint8(code) {
						return false
					}
				}
				return true
			})
			time.Sleep(rand.N(2 * time.Second))
		}
	})
}
