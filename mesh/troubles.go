package mesh

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// maxTroubles bounds what is remembered, for strangers may cause it.
	maxTroubles = 16
	// troubleLasts is how long what was not seen again is still told.
	troubleLasts = 10 * time.Minute
	// strangerComesBack is how long one who does not belong here must go on knocking
	// before views show it: a node with a wrong secret does, a person who mistyped a
	// command does not.
	strangerComesBack = 5 * time.Second
	// narrowLasts is how long large packets alone must fail to arrive: on a path that
	// loses many the same happens by chance.
	narrowLasts = 5 * time.Second
	// seedPatience is how long a node that has met nobody says nothing of its
	// seeds: they may be started together.
	seedPatience = 15 * time.Second
)

// troubles are what keeps a node from others, for an operator: logged
// once, when they begin, and shown in each view until they have passed.
type troubles struct {
	log   *slog.Logger
	inbox *inbox
	views *notify.Value[view.View]

	mu    sync.Mutex
	byKey map[string]*trouble
}

type trouble struct {
	is                  view.Problem
	firstSeen, lastSeen time.Time // when it was seen first and last
	shown               bool
}

// noteTrouble notes a trouble, and tells whether it is a new one, and whether it is to be
// shown from now on: once it has been seen for so long.
func (s *troubles) noteTrouble(key string, is view.Problem, lasts time.Duration) (fresh, show bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.byKey[key]
	if fresh = t == nil; fresh {
		if len(s.byKey) >= maxTroubles {
			return false, false
		}
		if s.byKey == nil {
			s.byKey = map[string]*trouble{}
		}
		t = &trouble{is: is, firstSeen: time.Now()}
		s.byKey[key] = t
	}
	t.lastSeen = time.Now()
	show = !t.shown && t.lastSeen.Sub(t.firstSeen) >= lasts
	t.shown = t.shown || show
	return fresh, show
}

// clearTrouble notes that a trouble has passed, and tells whether there was one.
func (s *troubles) clearTrouble(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.byKey[key]
	delete(s.byKey, key)
	return ok
}

// expireOld forgets what was not seen again for long.
func (s *troubles) expireOld() {
	s.mu.Lock()
	before := len(s.byKey)
	maps.DeleteFunc(s.byKey, func(_ string, t *trouble) bool { return time.Since(t.lastSeen) > troubleLasts })
	fewer := len(s.byKey) < before
	s.mu.Unlock()
	if fewer {
		s.inbox.putEvent(event{viewChanged: true})
	}
}

// shownTexts returns what there is to tell.
func (s *troubles) shownTexts() []view.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []view.Problem
	for _, key := range slices.Sorted(maps.Keys(s.byKey)) {
		if t := s.byKey[key]; t.shown {
			out = append(out, t.is)
		}
	}
	return out
}

// isNoted tells whether a trouble has been noted and has not passed.
func (s *troubles) isNoted(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byKey[key] != nil
}

// troubleFull is the key of what refusedForRoom says.
const troubleFull = "full"

// refusedForRoom says that this node is kept out since the mesh is full.
func (s *troubles) refusedForRoom() {
	s.endTrouble(troubleSeeds)
	s.raiseTrouble(troubleFull, view.Problem{Kind: view.ProblemNotLetIn}, 0)
}

// toldOfTooMany says that others name more nodes that are gone than this one takes
// in.
func (s *troubles) toldOfTooMany() {
	s.raiseTrouble("told", view.Problem{Kind: view.ProblemMadeUp}, strangerComesBack)
}

// onNarrow is told by the link whether large packets get to a host.
func (s *troubles) onNarrow(host netip.Addr, narrow bool) {
	key := "narrow " + host.String()
	if !narrow {
		s.endTrouble(key)
		return
	}
	p := view.Problem{Kind: view.ProblemNarrowPath, Where: []string{host.String()}, Bytes: link.NarrowPath}
	for _, m := range s.views.Get().Members {
		if m.Addr.Addr() == host {
			p.Nodes = append(p.Nodes, view.Named{ID: m.ID, Name: m.Name})
		}
	}
	s.raiseTrouble(key, p, narrowLasts)
}

// crowdedText says why a mesh takes in nobody any more, if that is so.
func crowdedText(r roster.Roster) (p view.Problem, full bool) {
	switch {
	case r.Full() == nil:
		return p, false
	case r.Living() >= roster.Limit:
		return view.Problem{Kind: view.ProblemMeshFull, Count: r.Living()}, true
	}
	return view.Problem{Kind: view.ProblemMeshWorn, Count: roster.MaxGone}, true
}

// raiseTrouble notes what keeps this node, or another, from the mesh. Views show it once
// it has lasted for so long.
func (s *troubles) raiseTrouble(key string, is view.Problem, lasts time.Duration) {
	fresh, show := s.noteTrouble(key, is, lasts)
	if fresh {
		s.log.Warn(is.String())
	}
	if show {
		s.inbox.putEvent(event{viewChanged: true})
	}
}

// endTrouble notes that it does not any more.
func (s *troubles) endTrouble(key string) {
	if s.clearTrouble(key) {
		s.inbox.putEvent(event{viewChanged: true})
	}
}

// strangerAt says that somebody at an address, or who dials from there, runs this
// program for another mesh.
func (s *troubles) strangerAt(addr netip.Addr, kind view.ProblemKind) {
	s.raiseTrouble("stranger "+addr.String(), view.Problem{Kind: kind, Where: []string{addr.String()}}, strangerComesBack)
}

// onStranger is told by the link of one that dials us.
func (s *troubles) onStranger(from netip.AddrPort) { s.strangerAt(from.Addr(), view.ProblemStranger) }
