package replica

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/placement"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// layout is who there is and what belongs where, as of one view. It is never
// changed.
type layout struct {
	roster  uint64        // digest of what placement depends on
	storing [16]byte      // digest of who must agree to a purge
	members []view.NodeID // storing members that are not gone, sorted: those who must
	shards  *placement.Map
	placed  []view.NodeID        // storing members that hold data by the roster, sorted
	inMesh  map[view.NodeID]bool // members that are not gone; value: in contact, or maybe
	live    func(view.NodeID) bool
	lost    map[view.NodeID]bool // in whose place copies are made; see replicate.Healer
}

// isKeeper tells whether a store is to keep a shard of a bucket: as a home, or in
// the place of one that is lost.
func (l *layout) isKeeper(b *bucket, shard int, id view.NodeID) bool {
	r := l.routeOf(b, shard)
	if r.isHome(id) || len(l.lost) == 0 {
		return r.isHome(id)
	}
	return slices.Contains(l.listKeepers(r), id)
}

// listKeepers lists who is to keep what a route is about.
func (l *layout) listKeepers(r *route) []view.NodeID {
	if len(l.lost) == 0 {
		return r.order[:r.homes]
	}
	return replicate.Keepers(r.order, r.homes, func(id view.NodeID) bool { return l.lost[id] })
}

// makeLayout works out the layout of v; before, if not nil, spares it what
// has not changed. leaving is taken for gone already.
func makeLayout(before *layout, v view.View, shards int, leaving view.NodeID) (*layout, error) {
	l := &layout{roster: v.Roster, storing: v.Storing, inMesh: make(map[view.NodeID]bool, len(v.Members))}
	l.live = func(id view.NodeID) bool { return l.inMesh[id] }
	var nodes []placement.Node
	for i := range v.Members {
		m := &v.Members[i]
		if m.Status.Gone() {
			continue
		}
		l.inMesh[m.ID] = m.State == view.Alive || m.State == view.Suspect
		if m.Storing {
			l.members = append(l.members, m.ID)
		}
		if m.Storing && m.Status < view.Leaving {
			if m.ID == leaving {
				l.roster = ^l.roster // as it will be, not as it is: routes are kept by it
				continue
			}
			l.placed = append(l.placed, m.ID)
			nodes = append(nodes, placement.Node{ID: m.ID, Name: m.Name, Zone: m.Zone, Weight: m.Weight})
		}
	}
	if before != nil {
		l.lost = before.lost
	}
	if leaving == 0 && before != nil && before.roster == l.roster {
		l.shards, l.placed = before.shards, before.placed
		return l, nil
	}
	var err error
	if before != nil && leaving == 0 {
		l.shards = before.shards.With(nodes)
	} else if l.shards, err = placement.New(nodes, shards); err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	return l, nil
}

// bucket is what a store knows of a bucket, its own or another's.
type bucket struct {
	id     uint64
	def    wire.BucketDef
	system bool // holds the definitions of all others; every storing node is a home

	routes atomic.Pointer[routes]
	ready  readiness
}

// routes are the bucket's homes for one roster.
type routes struct {
	roster  uint64
	byShard []atomic.Pointer[route] // by shard, worked out when first needed
}

type route struct {
	order []view.NodeID // homes, then stand-ins
	homes int
	lead  view.NodeID
}

// meetsStores tells whether any storing node is in contact.
func (l *layout) meetsStores() bool { return slices.ContainsFunc(l.placed, l.live) }

func (r *route) isHome(id view.NodeID) bool { return slices.Contains(r.order[:r.homes], id) }

// routeOf returns where the shard of a bucket belongs.
func (l *layout) routeOf(b *bucket, shard int) *route {
	t := b.routes.Load()
	if t == nil || t.roster != l.roster {
		t = &routes{roster: l.roster, byShard: make([]atomic.Pointer[route], l.shards.Shards())}
		b.routes.Store(t)
	}
	if r := t.byShard[shard].Load(); r != nil {
		return r
	}
	r := l.computeRoute(b, shard)
	t.byShard[shard].Store(r)
	return r
}

// computeRoute computes a route.
func (l *layout) computeRoute(b *bucket, shard int) *route {
	r := &route{}
	if b.system {
		r.order, r.homes = l.placed, len(l.placed)
	} else {
		r.order = l.shards.Order(shard, b.def.Zones)
		r.homes = min(b.def.Copies, len(r.order))
	}
	r.lead = l.shards.Lead(shard, r.order[:r.homes])
	return r
}

// makePlan describes a key's stores to the cores. Stores that were silent lately
// are left out as long as there are others to take their part.
func (s *Store) makePlan(l *layout, r *route) replicate.Plan {
	p := replicate.Plan{Self: s.id, Order: r.order, Homes: r.homes, Live: l.live}
	if !s.peering.Silence.Any() {
		return p
	}
	heard := func(id view.NodeID) bool { return l.inMesh[id] && !s.peering.Silence.Has(id) }
	n := 0
	for _, id := range r.order {
		if heard(id) || id == s.id {
			n++
		}
	}
	if n >= r.homes {
		p.Live = heard
	}
	return p
}

// orderCoordinators lists the stores to try, those that were silent lately last. A
// node that holds nothing takes any living store when no home lives.
func (s *Store) orderCoordinators(plan replicate.Plan, rt *route) []view.NodeID {
	out := replicate.Route(plan, rt.lead, s.disk != nil)
	if s.disk == nil {
		for _, id := range rt.order[rt.homes:] {
			if len(out) < 4 && plan.Live(id) {
				out = append(out, id)
			}
		}
	}
	if s.peering.Silence.Any() {
		slices.SortStableFunc(out, func(a, b view.NodeID) int {
			return cmp.Compare(boolToInt(s.peering.Silence.Has(a)), boolToInt(s.peering.Silence.Has(b)))
		})
	}
	return out
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
