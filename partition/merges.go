package partition

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh/view"
)

// merges has the hook tell what came together, and keeps what it said.
type merges struct {
	*ground
	returned chan []view.NodeID // capacity 1: members that are back, to be reported

	mu   sync.Mutex
	list []Merge
}

func newMerges(g *ground) *merges { return &merges{ground: g, returned: make(chan []view.NodeID, 1)} }

func (r *merges) addMerge(m Merge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, m)
	if n := len(r.list) - maxMerges; n > 0 {
		r.list = slices.Delete(r.list, 0, n)
	}
}

func (r *merges) allMerges() []Merge {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// reportMerges has the hook tell what came together. Members that return a moment
// apart make one report.
func (r *merges) reportMerges(ctx context.Context) {
	for {
		var met []view.NodeID
		select {
		case <-ctx.Done():
			return
		case met = <-r.returned:
		}
		if !clock.Sleep(ctx, 2*time.Second) {
			return
		}
		select {
		case more := <-r.returned:
			met = append(met, more...)
			slices.Sort(met)
			met = slices.Compact(met)
		default:
		}
		m := Merge{At: r.cfg.clock.Wall(), Met: met}
		if r.cfg.Merged != nil {
			m.Text = r.cfg.Merged(ctx, met)
		}
		r.addMerge(m)
		r.lookBell.Ring()
	}
}
