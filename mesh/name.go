package mesh

import (
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// nameCheck is how often a node looks after those that have its name, as long as
// there are any.
const nameCheck = time.Second

// nameContest settles who bears the name of this node.
type nameContest struct {
	*ground
	own    *ownEntry
	prober *prober
}

// keepName settles who bears the name of this node, as long as the roster holds
// others that do: on another side of a cut a node was let in under it, or this
// node was let in by some that had not heard of the store before it.
func (c *nameContest) keepName(ctx context.Context) {
	news := c.book.watch.Watch(ctx)
	said := map[view.NodeID]bool{}
	since := map[view.NodeID]time.Time{} // when others first reached one that this node does not
	for {
		rivals := c.book.snapshot().Namesakes(c.id)
		for _, id := range rivals {
			if !said[id] {
				c.log.Warn("another node has the name of this one", "name", c.own.name, "other", id)
				said[id] = true
			}
			c.contestName(ctx, id, since)
		}
		if len(rivals) > 0 {
			if !clock.Sleep(ctx, nameCheck) {
				return
			}
			continue
		}
		if _, ok := <-news; !ok {
			return
		}
	}
}

// contestName finds out whether another node of our name runs. If it is down, this
// one takes its place; if it runs, one of the two stops.
func (c *nameContest) contestName(ctx context.Context, id view.NodeID, since map[view.NodeID]time.Time) {
	asking, cancel := context.WithTimeout(ctx, c.pace.dial)
	defer cancel()
	if c.prober.tryReach(asking, id) == wire.Reached {
		c.own.yieldName(id)
		return
	}
	if m, _ := c.views.Get().Member(id); m.State != view.Failed {
		return // the detector decides who is down
	}
	w, err := c.prober.confirm(ctx, id)
	switch {
	case err != nil:
	case w.Reached > 0:
		// Whoever has been heard lately is called reached. One that is reached for
		// longer than that runs, though not from here.
		if since[id].IsZero() {
			since[id] = time.Now()
		}
		if time.Since(since[id]) > 3*c.pace.detect.Watch {
			c.own.yieldName(id)
		}
		return
	case w.Confirmed && c.mayOust():
		c.warnOnError("could not take the place of a node that is down", c.own.evictNamesake(ctx, id))
	}
	delete(since, id)
}

// mayOust tells whether this node may take the place of others of its name. Putting
// a new disk under an old name is a decision of whoever runs the box, so it waits
// for no majority; a store that has run before may be the older one.
func (c *nameContest) mayOust() bool {
	return c.boot == 1 || c.book.snapshot().Majority(c.isAlive)
}
