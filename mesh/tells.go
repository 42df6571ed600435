package mesh

import (
	"sync"

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
