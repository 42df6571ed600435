package mesh

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// ownEntry is what this node says of itself by the roster.
type ownEntry struct {
	*ground
	name, zone string
	weight     int
	storing    bool
	addr       atomic.Pointer[netip.AddrPort] // where this node wants to be reached
}

// wallDate returns the wall clock as a date of attributes. Whatever it says, dates
// only grow: roster.Write goes above the last one.
func (o *ownEntry) wallDate() version.HLC {
	return version.HLC(max(o.clock.Wall().UnixMilli(), 0)) << 16
}

// fillIn returns e as this node wants to be known.
func (o *ownEntry) fillIn(e roster.Entry, at netip.AddrPort) roster.Entry {
	e.ID, e.Name, e.Zone, e.Addr = o.id, o.name, o.zone, at
	e.Weight, e.Storing, e.Status = o.weight, o.storing, max(e.Status, view.Active)
	e.Boot, e.Instance = o.boot, o.instance
	return e
}

// writeFirst makes the roster say of this node what it is now, at an address, before the
// book runs.
func (o *ownEntry) writeFirst(at netip.AddrPort) error {
	o.addr.Store(&at)
	r := o.book.snapshot().Roster
	e, known := r.Get(o.id)
	if !known {
		// A new disk under an old name replaces the node that had it.
		e.Predecessor, _ = r.Predecessor(o.id, o.name)
	}
	r, err := r.Write(o.fillIn(e, at), o.wallDate())
	if err != nil {
		return err
	}
	return o.book.adoptRoster(r)
}

// updateSelf makes the roster say of this node what it is now and, unless
// old is zero, that it replaces that node.
func (o *ownEntry) updateSelf(ctx context.Context, old view.NodeID) error {
	return o.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) {
		e, _ := r.Get(o.id)
		e = o.fillIn(e, *o.addr.Load())
		if old != 0 {
			e.Predecessor = old
		}
		return r.Write(e, o.wallDate())
	})
}

// nameReplaced makes our entry name the node whose place we take. That node gave
// no sign of life to the one that told us.
func (o *ownEntry) nameReplaced(old view.NodeID) bool {
	ctx, cancel := context.WithTimeout(o.work.Context(), o.pace.dial)
	defer cancel()
	err := o.updateSelf(ctx, old)
	o.warnOnError("could not name the node that this one replaces", err)
	return err == nil
}

// evictNamesake evicts a node of our name that is down.
func (o *ownEntry) evictNamesake(ctx context.Context, old view.NodeID) error {
	err := o.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) {
		e, _ := r.Get(o.id)
		if e.Predecessor == 0 {
			e.Predecessor = old
		}
		r, err := r.Write(o.fillIn(e, *o.addr.Load()), o.wallDate())
		if err == nil {
			r, _ = r.Oust(o.id, func(id view.NodeID) bool { return id == old })
		}
		return r, err
	})
	if err == nil {
		o.log.Warn("node is evicted: this one took over its name", "member", old, "name", o.name)
	}
	return err
}

// inspectRoster looks for news of this node itself in the roster.
func (o *ownEntry) inspectRoster(s *snapshot, leaving bool) {
	e, ok := s.Get(o.id)
	if !ok {
		return
	}
	switch {
	case o.isLaterLife(e):
		o.stopWithError(fmt.Errorf("%w: boot %d was seen, this is %d", ErrRolledBack, e.Boot, o.boot), wire.EndRolled)
		return
	case e.Status.Gone() && !leaving:
		o.stopWithError(fmt.Errorf("%w: it is %v", ErrEvicted, e.Status), wire.EndEvicted)
		return
	}
	if want := o.fillIn(e, *o.addr.Load()); want != e && !e.Status.Gone() {
		// A copy of this node, now gone, spoke in its name.
		o.work.Go(func(ctx context.Context) {
			o.warnOnError("could not put right what the roster says of this node", o.updateSelf(ctx, 0))
		})
	}
}

// isLaterLife tells whether e, of this node's id, is a later life than this run.
func (o *ownEntry) isLaterLife(e roster.Entry) bool {
	return e.IsLater(roster.Entry{Boot: o.boot, Instance: o.instance})
}

// prevails tells whether this node goes on where another runs under its name.
func (o *ownEntry) prevails(id view.NodeID) bool { return roster.Prevails(o.id, id) }

// yieldName stops this node if another, which runs, goes on under its name.
func (o *ownEntry) yieldName(to view.NodeID) {
	if !o.prevails(to) {
		o.stopWithError(fmt.Errorf("%w: node %v runs under the name %q", ErrIdentityConflict, to, o.name), wire.Running)
	}
}
