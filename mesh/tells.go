package mesh

import (
	"context"
	"sync"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxTells is how many rounds of news may be on their way to one partner. There are about
// 20 rounds a second, so a partner that answers within some tenths misses none.
const maxTells = 8

// tells counts what is on its way to partners. The zero value is empty.
type tells struct {
	mu       sync.Mutex
	underWay map[view.NodeID]int // guarded by mu; none is zero
}

// beginTell tells whether one more may go to a partner. If so, it needs an endTell.
func (t *tells) beginTell(id view.NodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.underWay[id] >= maxTells {
		return false
	}
	if t.underWay == nil {
		t.underWay = map[view.NodeID]int{}
	}
	t.underWay[id]++
	return true
}

func (t *tells) endTell(id view.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.underWay[id]--; t.underWay[id] == 0 {
		delete(t.underWay, id)
	}
}

// tellPartners tells a few nodes at once, and waits for none of them. One that hangs is
// not told more: what it misses comes by a comparison.
func (n *Node) tellPartners(tell func(context.Context, view.NodeID) error) {
	for _, id := range roster.Partners(n.View()) {
		if !n.tells.beginTell(id) {
			continue
		}
		if !n.work.Go(func(ctx context.Context) {
			defer n.tells.endTell(id)
			ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
			defer cancel()
			_ = tell(ctx, id)
		}) {
			n.tells.endTell(id)
		}
	}
}
