package mesh

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/link"
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
	mu sync.Mutex
	by map[string]*trouble
}

type trouble struct {
	is        view.Problem
	first, at time.Time // when it was seen first and last
	shown     bool
}

// note notes a trouble, and tells whether it is a new one, and whether it is to be
// shown from now on: once it has been seen for so long.
func (s *troubles) note(key string, is view.Problem, lasts time.Duration) (fresh, show bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.by[key]
	if fresh = t == nil; fresh {
		if len(s.by) >= maxTroubles {
			return false, false
		}
		if s.by == nil {
			s.by = map[string]*trouble{}
		}
		t = &trouble{is: is, first: time.Now()}
		s.by[key] = t
	}
	t.at = time.Now()
	show = !t.shown && t.at.Sub(t.first) >= lasts
	t.shown = t.shown || show
	return fresh, show
}

// clear notes that a trouble has passed, and tells whether there was one.
func (s *troubles) clear(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.by[key]
	delete(s.by, key)
	return ok
}

// expire forgets what was not seen again for long, and tells whether there was any.
func (s *troubles) expire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.by)
	maps.DeleteFunc(s.by, func(_ string, t *trouble) bool { return time.Since(t.at) > troubleLasts })
	return len(s.by) < before
}

// list returns what there is to tell.
func (s *troubles) list() []view.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []view.Problem
	for _, key := range slices.Sorted(maps.Keys(s.by)) {
		if t := s.by[key]; t.shown {
			out = append(out, t.is)
		}
	}
	return out
}

// has tells whether a trouble has been noted and has not passed.
func (s *troubles) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[key] != nil
}

// troubleFull is the key of what refusedForRoom says.
const troubleFull = "full"

// refusedForRoom says that this node is kept out since the mesh is full.
func (n *Node) refusedForRoom() {
	n.passed(troubleSeeds)
	n.trouble(troubleFull, view.Problem{Kind: view.ProblemNotLetIn}, 0)
}

// toldOfTooMany says that others name more nodes that are gone than this one takes
// in.
func (n *Node) toldOfTooMany() {
	n.trouble("told", view.Problem{Kind: view.ProblemMadeUp}, strangerComesBack)
}

// narrow is told by the link whether large packets get to a host.
func (n *Node) narrow(host netip.Addr, narrow bool) {
	key := "narrow " + host.String()
	if !narrow {
		n.passed(key)
		return
	}
	p := view.Problem{Kind: view.ProblemNarrowPath, Where: []string{host.String()}, Bytes: link.NarrowPath}
	for _, m := range n.View().Members {
		if m.Addr.Addr() == host {
			p.Nodes = append(p.Nodes, view.Named{ID: m.ID, Name: m.Name})
		}
	}
	n.trouble(key, p, narrowLasts)
}

// crowded says why a mesh takes in nobody any more, if that is so.
func crowded(r roster.Roster) (p view.Problem, full bool) {
	switch {
	case r.Full() == nil:
		return p, false
	case r.Living() >= roster.Limit:
		return view.Problem{Kind: view.ProblemMeshFull, Count: r.Living()}, true
	}
	return view.Problem{Kind: view.ProblemMeshWorn, Count: roster.MaxGone}, true
}

// trouble notes what keeps this node, or another, from the mesh. Views show it once
// it has lasted for so long.
func (n *Node) trouble(key string, is view.Problem, lasts time.Duration) {
	fresh, show := n.troubles.note(key, is, lasts)
	if fresh {
		n.log.Warn(is.String())
	}
	if show {
		n.inbox.put(event{shown: true})
	}
}

// passed notes that it does not any more.
func (n *Node) passed(key string) {
	if n.troubles.clear(key) {
		n.inbox.put(event{shown: true})
	}
}
