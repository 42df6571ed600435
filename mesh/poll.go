package mesh

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxAsked is how many other members a node asks that one member has refused for
// good.
const maxAsked = 3

// exchangesRosters exchanges rosters with a member and tells whether it was there.
func (s *rosters) exchangesRosters(ctx context.Context, id view.NodeID) bool {
	ctx, cancel := context.WithTimeout(ctx, s.pace.dial)
	defer cancel()
	err := s.exchanger.With(ctx, id)
	var refused *link.RefusedError
	return err == nil || errors.As(err, &refused) || errors.Is(err, link.ErrNotAccepted)
}

// otherStoring returns some members that store, in contact or not, other than one.
func (s *rosters) otherStoring(but view.NodeID) (out []view.NodeID) {
	var rest []view.NodeID
	for _, e := range s.book.snapshot().Storing() {
		switch {
		case e.ID == s.id || e.ID == but:
		case s.isAlive(e.ID):
			out = append(out, e.ID)
		default:
			rest = append(rest, e.ID)
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	out = append(out, rest...)
	return out[:min(len(out), maxAsked)]
}

// pollMembers exchanges rosters with members, and tells who takes this node for what it
// says that it is and who refuses it for good.
func (s *rosters) pollMembers(ctx context.Context, members []view.NodeID) (accept, refuse []view.NodeID) {
	var all sync.WaitGroup
	errs := make([]error, len(members))
	for i, id := range members {
		all.Go(func() { errs[i] = s.exchanger.With(ctx, id) })
	}
	all.Wait()
	for i, err := range errs {
		var refused *link.RefusedError
		if err == nil {
			accept = append(accept, members[i])
		} else if errors.As(err, &refused) {
			if _, why := endingOf(faults.FromWord(refused.Code, refused.Text)); why != nil {
				refuse = append(refuse, members[i])
			}
		}
	}
	return accept, refuse
}
