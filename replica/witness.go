package replica

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// inquests ask other nodes, one question at a time, whether they reach a store
// that is down as seen from here. The watching goroutine asks and is answered
// through it, and waits for nothing.
type inquests struct {
	s       *Store
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

func newInquests(s *Store) *inquests {
	return &inquests{s: s, asked: make(chan view.NodeID, 1), answers: make(chan answer, 1)}
}

func (q *inquests) keepAsking(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-q.asked:
			w, err := q.s.mesh.Confirm(ctx, id)
			if err != nil {
				q.s.log.Debug("nobody could say whether a store is down", "member", id, "error", err)
				w = view.Witnesses{}
			}
			q.answers <- answer{id, w}
		}
	}
}

// askNext has the healer's next question asked, if there is one. There is room for
// it: the healer has one question at a time.
func (q *inquests) askNext() {
	if id, ok := q.s.homes.NextInquest(); ok {
		q.asked <- id
	}
	said := q.s.homes.Unconfirmed()
	q.unconfirmed.Store(&said)
}

// goneAfter is longer than nodes take to hear that one is down: until then that
// others list it says nothing.
const goneAfter = 30 * time.Second

// contact is what this node may say of a member to which attempts fail while nobody
// has told that it is down.
type contact uint8

const (
	brokenLink contact = iota // others have reached it all the while
	lostNow                   // they may not know yet
	lostAlone                 // there are no others
)

// contactOf judges a member that is unreachable.
func (s *Store) contactOf(all []view.Member, m view.Member) contact {
	witness := func(o view.Member) bool {
		return o.ID != s.id && o.ID != m.ID && o.State == view.Alive && !o.Unreachable && !o.Status.Gone()
	}
	switch {
	case !slices.ContainsFunc(all, witness):
		return lostAlone
	case s.cfg.clock.Wall().Sub(m.Since) < goneAfter:
		return lostNow
	}
	return brokenLink
}

// reportSilent tells of members that do not answer although they are not known to be
// down.
func (q *inquests) reportSilent(add func(view.Problem)) {
	var cut, fresh, alone []view.NodeID
	all := q.s.mesh.View().Members
	for _, m := range all {
		if !m.Unreachable || m.Status.Gone() {
			continue
		}
		switch q.s.contactOf(all, m) {
		case lostAlone:
			alone = append(alone, m.ID)
		case lostNow:
			fresh = append(fresh, m.ID)
		default:
			cut = append(cut, m.ID)
		}
	}
	if len(cut) > 0 {
		add(view.Problem{Kind: view.ProblemCut, Nodes: q.s.nameAll(cut)})
	}
	if len(fresh) > 0 {
		add(view.Problem{Kind: view.ProblemSilent, Nodes: q.s.nameAll(fresh)})
	}
	if len(alone) > 0 {
		add(view.Problem{Kind: view.ProblemSilentAlone, Nodes: q.s.nameAll(alone)})
	}
}

// reportProblems tells of stores that are down as seen from here, and why no copies are
// made in their place.
func (q *inquests) reportProblems(add func(view.Problem)) {
	s := q.s
	q.reportSilent(add)
	said := q.unconfirmed.Load()
	if said == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(*said)) {
		w, node := (*said)[id], s.nameAll([]view.NodeID{id})
		by := slices.DeleteFunc(slices.Clone(w.By), func(id view.NodeID) bool { return id == s.id })
		switch {
		case len(by) > 0:
			add(view.Problem{Kind: view.ProblemReached, Nodes: node, By: s.nameAll(by)})
		case w.Reached == 0 && !w.Confirmed:
			add(view.Problem{Kind: view.ProblemUnconfirmed, Nodes: node, Count: w.Failed, Of: w.Need})
		}
	}
}
