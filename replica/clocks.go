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
		Peers: s.homes.PeersInContact,
		Ask:   func(ctx context.Context, id view.NodeID) error { return s.questions.AskClock(ctx, id) },
	})
}

// clockProblems tells of a clock that is off, or was.
func (s *Store) clockProblems(add func(view.Problem)) {
	off, known := s.clocks.Off()
	switch off = off.Round(time.Second); {
	case off == 0:
	case known:
		add(view.Problem{Kind: view.ProblemClockOff, For: off})
	default:
		add(view.Problem{Kind: view.ProblemClocksApart, For: off})
	}
	if s.disk == nil {
		return
	}
	if ahead := s.records.DatesAhead().Round(time.Second); ahead > 0 {
		add(view.Problem{Kind: view.ProblemDatesAhead, For: ahead})
	}
}
