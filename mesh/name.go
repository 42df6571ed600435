package mesh

import (
	"context"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// nameCheck is how often a node looks after those that have its name, as long as
// there are any.
const nameCheck = time.Second

// keepName settles who bears the name of this node, as long as the roster holds
// others that do: on another side of a cut a node was let in under it, or this
// node was let in by some that had not heard of the store before it.
func (n *Node) keepName(ctx context.Context) {
	news := n.book.watch.Watch(ctx)
	said := map[view.NodeID]bool{}
	since := map[view.NodeID]time.Time{} // when others first reached one that this node does not
	for {
		rivals := n.book.snapshot().Namesakes(n.id)
		for _, id := range rivals {
			if !said[id] {
				n.log.Warn("another node has the name of this one", "name", n.cfg.Name, "other", id)
				said[id] = true
			}
			n.contestName(ctx, id, since)
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
func (n *Node) contestName(ctx context.Context, id view.NodeID, since map[view.NodeID]time.Time) {
	asking, cancel := context.WithTimeout(ctx, n.pace.dial)
	defer cancel()
	if n.tryReach(asking, id) == wire.Reached {
		n.yieldName(id)
		return
	}
	if m, _ := n.View().Member(id); m.State != view.Failed {
		return // the detector decides who is down
	}
	w, err := n.Confirm(ctx, id)
	switch {
	case err != nil:
	case w.Reached > 0:
		// Whoever has been heard lately is called reached. One that is reached for
		// longer than that runs, though not from here.
		if since[id].IsZero() {
			since[id] = time.Now()
		}
		if time.Since(since[id]) > 3*n.pace.detect.Watch {
			n.yieldName(id)
		}
		return
	case w.Confirmed && n.mayOust():
		n.warnOnError("could not take the place of a node that is down", n.evictNamesake(ctx, id))
	}
	delete(since, id)
}

// meetNamesake decides between this node and another that says hello under its name
// and is not of the roster. One that others have admitted goes before one that
// nobody knows, the longer run goes on among the unknown, and among those admitted
// the one that prevails. The other is not let in meanwhile. One that is to give way
// looks around first: where others have let it in, the roster decides.
func (n *Node) meetNamesake(e roster.Entry, h wire.Hello) error {
	met, prevails := n.wasAdmitted.Load(), n.prevails(e.ID)
	yield := h.Met
	switch {
	case met && h.Met:
		yield = !prevails
	case !met && !h.Met:
		yield = n.yieldsByRun(h, prevails)
	}
	text := fmt.Sprintf("node %v runs under the name %q", n.id, n.cfg.Name)
	if !yield && n.rivals.decideRival(e.ID, e.Instance, true) {
		return refuseHello(errNameInUse, text)
	}
	if yield {
		n.examineDoubt(e.ID, fmt.Errorf("%w: node %v runs under the name %q", ErrIdentityConflict, e.ID, e.Name), wire.Running)
	}
	return refuseHello(errBusy, text+", and may give way")
}

// prevails tells whether this node goes on where another runs under its name.
func (n *Node) prevails(id view.NodeID) bool { return roster.Prevails(n.id, id) }

// mayOust tells whether this node may take the place of others of its name. Putting
// a new disk under an old name is a decision of whoever runs the box, so it waits
// for no majority; a store that has run before may be the older one.
func (n *Node) mayOust() bool {
	return n.dir.id.Boot == 1 || n.book.snapshot().Majority(n.isAlive)
}

// yieldName stops this node if another, which runs, goes on under its name.
func (n *Node) yieldName(to view.NodeID) {
	if !n.prevails(to) {
		n.stopWithError(fmt.Errorf("%w: node %v runs under the name %q", ErrIdentityConflict, to, n.cfg.Name), wire.Running)
	}
}

// evictNamesake evicts a node of our name that is down.
func (n *Node) evictNamesake(ctx context.Context, old view.NodeID) error {
	err := n.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) {
		e, _ := r.Get(n.id)
		if e.Predecessor == 0 {
			e.Predecessor = old
		}
		r, err := r.Write(n.ownEntry(e, *n.ownAddr.Load()), n.wallDate())
		if err == nil {
			r, _ = r.Oust(n.id, func(id view.NodeID) bool { return id == old })
		}
		return r, err
	})
	if err == nil {
		n.log.Warn("node is evicted: this one took over its name", "member", old, "name", n.cfg.Name)
	}
	return err
}
