package replica

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/mesh/view"
)

// inquests ask other nodes, one question at a time, whether they reach a store
// that is down as seen from here. The watching goroutine asks and is answered
// through it, and waits for nothing.
type inquests struct {
	homes   *layout.Homes
	mesh    Mesh
	log     *slog.Logger
	asked   chan view.NodeID // capacity 1
	answers chan answer      // capacity 1

	// unconfirmed are those that would be replaced if others had confirmed that
	// they are down, with what they said; never changed once it is there.
	unconfirmed atomic.Pointer[map[view.NodeID]view.Witnesses]
}

// answer is what was said of a store; zero: nothing.
type answer struct {
	id view.NodeID
	view.Witnesses
}

func newInquests(homes *layout.Homes, mesh Mesh, log *slog.Logger) *inquests {
	return &inquests{homes: homes, mesh: mesh, log: log, asked: make(chan view.NodeID, 1), answers: make(chan answer, 1)}
}

func (q *inquests) keepAsking(ctx context.Context) {
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
			q.answers <- answer{id, w}
		}
	}
}

// askNext has the healer's next question asked, if there is one. There is room for
// it: the healer has one question at a time.
func (q *inquests) askNext() {
	if id, ok := q.homes.NextInquest(); ok {
		q.asked <- id
	}
	said := q.homes.Unconfirmed()
	q.unconfirmed.Store(&said)
}

// reportProblems tells of stores that are down as seen from here, and why no copies are
// made in their place.
func (q *inquests) reportProblems(at sight, add func(view.Problem)) {
	at.reportSilent(add)
	said := q.unconfirmed.Load()
	if said == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(*said)) {
		w, node := (*said)[id], at.nameAll([]view.NodeID{id})
		by := slices.DeleteFunc(slices.Clone(w.By), func(id view.NodeID) bool { return id == at.self })
		switch {
		case len(by) > 0:
			add(view.Problem{Kind: view.ProblemReached, Nodes: node, By: at.nameAll(by)})
		case w.Reached == 0 && !w.Confirmed:
			add(view.Problem{Kind: view.ProblemUnconfirmed, Nodes: node, Count: w.Failed, Of: w.Need})
		}
	}
}
