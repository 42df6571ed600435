package mesh

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// News for a partner that hangs do not pile up, the others are told of each round, and it is
// told again once it answers.
func TestTellsDoNotPileUp(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		n, hung := w.boxes[0].node, w.boxes[1].node.ID()
		var waiting, told atomic.Int32
		tell := func(ctx context.Context, id view.NodeID) error {
			if id != hung {
				told.Add(1)
				return nil
			}
			waiting.Add(1)
			defer waiting.Add(-1)
			<-ctx.Done()
			return ctx.Err()
		}
		const rounds = 5 * maxTells
		for range rounds {
			n.spreading.tellPartners(tell)
			synctest.Wait()
		}
		if waiting.Load() != maxTells || told.Load() != rounds {
			t.Errorf("%d tells wait for the partner that hangs, the other was told %d times", waiting.Load(), told.Load())
		}
		time.Sleep(n.pace.dial)
		synctest.Wait()
		if waiting.Load() != 0 {
			t.Errorf("%d tells wait yet", waiting.Load())
		}
		n.spreading.tellPartners(tell)
		if synctest.Wait(); waiting.Load() != 1 {
			t.Error("who hung for a while is not told any more")
		}
	})
}
