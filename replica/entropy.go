package replica

import (
	"context"
	"slices"

	"github.com/skeinmesh/skein/internal/replica/antientropy"
	"github.com/skeinmesh/skein/mesh/view"
)

// comparing is what anti-entropy has this store do.
type comparing struct{ s *Store }

func (s *Store) newEntropy() *antientropy.Comparisons {
	return antientropy.New(antientropy.Options{Work: comparing{s}, Every: s.cfg.SyncEvery, Now: s.uptime, Log: s.log})
}

func (c comparing) Peers() []view.NodeID { return c.s.peersInContact() }

func (c comparing) IsPeer(id view.NodeID) bool { return c.s.isPeer(id) }

func (c comparing) Answers(ctx context.Context, id view.NodeID) bool {
	return c.s.peering.Answers(ctx, id)
}

func (c comparing) Compare(ctx context.Context, id view.NodeID) error {
	return c.s.compareWith(ctx, id)
}

func (c comparing) HandOver(ctx context.Context) error {
	return c.s.handOver(ctx, c.s.layout.Load(), false)
}

// isPeer tells whether a store can be compared with now.
func (s *Store) isPeer(id view.NodeID) bool {
	lay := s.layout.Load()
	_, placed := slices.BinarySearch(lay.placed, id)
	return placed && lay.inMesh[id] && id != s.id
}

// peersInContact lists the storing members in contact, this one left out.
func (s *Store) peersInContact() []view.NodeID {
	lay := s.layout.Load()
	out := make([]view.NodeID, 0, len(lay.placed))
	for _, id := range lay.placed {
		if id != s.id && lay.inMesh[id] {
			out = append(out, id)
		}
	}
	return out
}
