package replica

import (
	"context"

	"github.com/skeinmesh/skein/internal/replica/antientropy"
	"github.com/skeinmesh/skein/mesh/view"
)

// comparing is what anti-entropy has this store do.
type comparing struct{ s *Store }

func (s *Store) newEntropy() *antientropy.Comparisons {
	return antientropy.New(antientropy.Options{Work: comparing{s}, Every: s.cfg.SyncEvery, Now: s.uptime, Log: s.log})
}

func (c comparing) Peers() []view.NodeID { return c.s.homes.PeersInContact() }

func (c comparing) IsPeer(id view.NodeID) bool { return c.s.homes.IsPeer(id) }

func (c comparing) Answers(ctx context.Context, id view.NodeID) bool {
	return c.s.peering.Answers(ctx, id)
}

func (c comparing) Compare(ctx context.Context, id view.NodeID) error {
	return c.s.compareWith(ctx, id)
}

func (c comparing) HandOver(ctx context.Context) error {
	return c.s.carrier.HandOver(ctx, c.s.homes.Now(), false)
}
