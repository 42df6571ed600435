package layout

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/placement"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Layout is who there is and what belongs where, as of one view. It is never
// changed.
type Layout struct {
	Roster   uint64                 // digest of what placement depends on
	Storing  [16]byte               // digest of who must agree to a purge
	Members  []view.NodeID          // storing members that are not gone, sorted: those who must
	Placed   []view.NodeID          // storing members that hold data by the roster, sorted
	InMesh   map[view.NodeID]bool   // members that are not gone; value: in contact, or maybe
	Live     func(view.NodeID) bool // tells whether a member is in contact, or maybe
	SameZone map[view.NodeID]bool   // members in the zone of this node
	Lost     map[view.NodeID]bool   // in whose place copies are made; see replicate.Healer

	shards *placement.Map
}

// IsKeeper tells whether a store is to keep a shard of a bucket: as a home, or in
// the place of one that is lost.
func (l *Layout) IsKeeper(b *Bucket, shard int, id view.NodeID) bool {
	r := l.RouteOf(b, shard)
	if r.IsHome(id) || len(l.Lost) == 0 {
		return r.IsHome(id)
	}
	return slices.Contains(l.ListKeepers(r), id)
}

// ListKeepers lists who is to keep what a route is about.
func (l *Layout) ListKeepers(r *Route) []view.NodeID {
	if len(l.Lost) == 0 {
		return r.Order[:r.Homes]
	}
	return replicate.Keepers(r.Order, r.Homes, func(id view.NodeID) bool { return l.Lost[id] })
}

// makeLayout works out the layout of v; before, if not nil, spares it what
// has not changed. leaving is taken for gone already.
func makeLayout(before *Layout, v view.View, shards int, leaving view.NodeID) (*Layout, error) {
	l := &Layout{Roster: v.Roster, Storing: v.Storing, InMesh: make(map[view.NodeID]bool, len(v.Members)), SameZone: make(map[view.NodeID]bool)}
	self, _ := v.Member(v.Self)
	l.Live = func(id view.NodeID) bool { return l.InMesh[id] }
	var nodes []placement.Node
	for i := range v.Members {
		m := &v.Members[i]
		if m.Status.Gone() {
			continue
		}
		l.InMesh[m.ID] = m.State == view.Alive || m.State == view.Suspect
		if m.Zone == self.Zone {
			l.SameZone[m.ID] = true
		}
		if m.Storing {
			l.Members = append(l.Members, m.ID)
		}
		if m.Storing && m.Status < view.Leaving {
			if m.ID == leaving {
				l.Roster = ^l.Roster // as it will be, not as it is: routes are kept by it
				continue
			}
			l.Placed = append(l.Placed, m.ID)
			nodes = append(nodes, placement.Node{ID: m.ID, Name: m.Name, Zone: m.Zone, Weight: m.Weight})
		}
	}
	if before != nil {
		l.Lost = before.Lost
	}
	if leaving == 0 && before != nil && before.Roster == l.Roster {
		l.shards, l.Placed = before.shards, before.Placed
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

// Bucket is what a store knows of a bucket, its own or another's. What is public of it
// never changes.
type Bucket struct {
	ID     uint64
	Def    wire.BucketDef
	System bool // holds the definitions of all others; every storing node is a home

	routes atomic.Pointer[routes]
	readiness
}

// routes are the bucket's homes for one roster.
type routes struct {
	roster  uint64
	byShard []atomic.Pointer[Route] // by shard, worked out when first needed
}

// Route is where a shard of a bucket belongs. It is never changed.
type Route struct {
	Order []view.NodeID // homes, then stand-ins
	Homes int           // how many are homes
	Lead  view.NodeID   // the home that coordinates writes first; 0 where there is none
}

// MeetsStores tells whether any storing node is in contact.
func (l *Layout) MeetsStores() bool { return slices.ContainsFunc(l.Placed, l.Live) }

// IsHome tells whether a node is one of the homes.
func (r *Route) IsHome(id view.NodeID) bool { return slices.Contains(r.Order[:r.Homes], id) }

// RouteOf returns where the shard of a bucket belongs.
func (l *Layout) RouteOf(b *Bucket, shard int) *Route {
	t := b.routes.Load()
	if t == nil || t.roster != l.Roster {
		t = &routes{roster: l.Roster, byShard: make([]atomic.Pointer[Route], l.shards.Shards())}
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
func (l *Layout) computeRoute(b *Bucket, shard int) *Route {
	r := &Route{}
	if b.System {
		r.Order, r.Homes = l.Placed, len(l.Placed)
	} else {
		r.Order = l.shards.Order(shard, b.Def.Zones)
		r.Homes = min(b.Def.Copies, len(r.Order))
	}
	r.Lead = l.shards.Lead(shard, r.Order[:r.Homes])
	return r
}
