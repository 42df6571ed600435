package watching

import (
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/mesh/view"
)

// plan is whom the watches of a bucket may follow by a layout.
type plan struct {
	bucket *layout.Bucket
	lay    *layout.Layout
	watch.Plan
}

// planFor says whom the core may follow. Watches of the same bucket share it.
func (r *Reader) planFor(lay *layout.Layout) watch.Plan {
	w := r.w
	if p := w.planned.Load(); p != nil && p.bucket == r.q.Bucket && p.lay == lay {
		return p.Plan
	}
	p := &plan{r.q.Bucket, lay, w.makePlan(r.q.Bucket, lay)}
	w.planned.Store(p)
	return p.Plan
}

// makePlan says whom watches of a bucket may follow. This node is the best one: it is near.
func (w *Watches) makePlan(b *layout.Bucket, lay *layout.Layout) watch.Plan {
	plan := make(watch.Plan, w.opts.Homes.ShardsOf(b))
	live := func(id view.NodeID) bool { return id == w.opts.Self || lay.Live(id) }
	for shard := range plan {
		rt := lay.RouteOf(b, shard)
		add := func(id view.NodeID) { plan[shard] = append(plan[shard], id) }
		if rt.IsHome(w.opts.Self) {
			add(w.opts.Self)
		}
		if rt.Lead != 0 && rt.Lead != w.opts.Self && live(rt.Lead) {
			add(rt.Lead)
		}
		for _, id := range rt.Order[:rt.Homes] {
			if id != w.opts.Self && id != rt.Lead && live(id) {
				add(id)
			}
		}
		for _, id := range rt.Order[rt.Homes:] {
			if len(plan[shard]) == 0 && live(id) {
				add(id) // it keeps what is written for the homes
			}
		}
	}
	return plan
}
