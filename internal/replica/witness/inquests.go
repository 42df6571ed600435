package witness

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/mesh/view"
)

// Confirmer asks other nodes whether they reach a member; see replica.Mesh.
type Confirmer interface {
	Confirm(ctx context.Context, id view.NodeID) (view.Witnesses, error)
}

// Inquests ask other nodes, one question at a time, whether they reach a store
// that is down as seen from here. The watching goroutine asks and is answered
// through it, and waits for nothing.
type Inquests struct {
	homes   *layout.Homes
	mesh    Confirmer
	log     *slog.Logger
	asked   chan view.NodeID // capacity 1
	answers chan Answer      // capacity 1

	// unconfirmed are those that would be replaced if others had confirmed that
	// they are down, with what they said; never changed once it is there.
	unconfirmed atomic.Pointer[map[view.NodeID]view.Witnesses]
}

// Answer is what was said of a store; zero: nothing.
type Answer struct {
	ID view.NodeID
	view.Witnesses
}

// NewInquests returns inquests that have asked nothing.
func NewInquests(homes *layout.Homes, mesh Confirmer, log *slog.Logger) *Inquests {
	return &Inquests{homes: homes, mesh: mesh, log: log, asked: make(chan view.NodeID, 1), answers: make(chan Answer, 1)}
}

// KeepAsking asks until ctx ends.
func (q *Inquests) KeepAsking(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-q.asked:
			w, err := q.mesh.Confirm(ctx, id)
			if err != nil {
				q.log.Debug("nobody could say whether a store is down", "member", id, "error", err)
				w = view.Witnesses{}
			}
			q.answers <- Answer{id, w}
		}
	}
}

// AskNext has the healer's next question asked, if there is one. There is room for
// it: the healer has one question at a time.
func (q *Inquests) AskNext() {
	if id, ok := q.homes.NextInquest(); ok {
		q.asked <- id
	}
	said := q.homes.Unconfirmed()
	q.unconfirmed.Store(&said)
}

// Answers delivers what was said.
func (q *Inquests) Answers() <-chan Answer { return q.answers }

// Unconfirmed returns those that would be replaced if others had confirmed that they are down,
// with what they said. It may be called at any time; the map is not to be changed.
func (q *Inquests) Unconfirmed() map[view.NodeID]view.Witnesses {
	if said := q.unconfirmed.Load(); said != nil {
		return *said
	}
	return nil
}
