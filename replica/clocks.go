package replica

import (
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/mesh/view"
)

// newClocks returns what this store dates by.
func (s *Store) newClocks(storing bool) *clocks.Clocks {
	return clocks.New(clocks.Options{
		Clock: s.cfg.clock, MaxSkew: s.cfg.MaxSkew, Votes: storing, Group: s.group, Silence: s.peering.Silence, Patience: s.patience,
		Peers: s.peers,
		Ask: func(ctx context.Context, id view.NodeID) error {
			_, err := s.sendRead(ctx, id, nil)
			return err
		},
	})
}

// clockProblems tells of a clock that is off.
func (s *Store) clockProblems(say func(string, ...any)) {
	off, known := s.clocks.Off()
	way := "ahead of"
	if off < 0 {
		off, way = -off, "behind"
	}
	switch off = off.Round(time.Second); {
	case off == 0:
	case known:
		say("the clock is %v %s those of the other nodes, which count here as long as that is so: set it right", off, way)
	default:
		say("the clock is %v %s that of the other node, and no third one tells which of them is wrong: set the wrong one right", off, way)
	}
}
