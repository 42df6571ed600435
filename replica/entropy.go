package replica

import (
	"context"

	"github.com/skeinmesh/skein/mesh/view"
)

// equalizing is what anti-entropy has this store do.
type equalizing struct{ s *Store }

func (e equalizing) Peers() []view.NodeID { return e.s.homes.PeersInContact() }

func (e equalizing) IsPeer(id view.NodeID) bool { return e.s.homes.IsPeer(id) }

func (e equalizing) Answers(ctx context.Context, id view.NodeID) bool {
	return e.s.peering.Answers(ctx, id)
}

func (e equalizing) Compare(ctx context.Context, id view.NodeID) error {
	return e.s.comparer.Compare(ctx, id)
}

func (e equalizing) HandOver(ctx context.Context) error {
	return e.s.carrier.HandOver(ctx, e.s.homes.Now(), false)
}
