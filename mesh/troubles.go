package mesh

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
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

// troubles are what keeps a node from others, in words for an operator: logged
// once, when they begin, and shown in each view until they have passed.
type troubles struct {
	mu sync.Mutex
	by map[string]*trouble
}

type trouble struct {
	text      string
	first, at time.Time // when it was seen first and last
	shown     bool
}

// note notes a trouble, and tells whether it is a new one, and whether it is to be
// shown from now on: once it has been seen for so long.
func (s *troubles) note(key, text string, lasts time.Duration) (fresh, show bool) {
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
		t = &trouble{text: text, first: time.Now()}
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
func (s *troubles) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, key := range slices.Sorted(maps.Keys(s.by)) {
		if t := s.by[key]; t.shown {
			out = append(out, t.text)
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
	n.trouble(troubleFull, "this node is not let in, for the mesh is full: evict members that will not come back, at a node that is in; this one then gets in by itself", 0)
}

// toldOfTooMany says that others name more nodes that are gone than this one takes
// in.
func (n *Node) toldOfTooMany() {
	n.trouble("told", "members say of tens of thousands of nodes, unknown here, that they are gone, and this node takes in no more of that before it is started again: unless the mesh has had as many, a member is faulty", strangerComesBack)
}

// narrow is told by the link whether large packets get to a host.
func (n *Node) narrow(host netip.Addr, narrow bool) {
	key := "narrow " + host.String()
	if !narrow {
		n.passed(key)
		return
	}
	who := host.String()
	for _, m := range n.View().Members {
		if m.Addr.Addr() == host {
			who += " (" + m.Name + ")"
		}
	}
	n.trouble(key, fmt.Sprintf("large packets to %s do not arrive, and small ones do: the MTU of the path is smaller than %d bytes and nothing on the way says so; let ICMP through, or lower the MTU of the interfaces at both ends", who, link.NarrowPath), narrowLasts)
}

// crowded says why a mesh takes in nobody any more, or nothing.
func crowded(r roster.Roster) string {
	switch {
	case r.Full() == nil:
		return ""
	case r.Living() >= roster.Limit:
		return fmt.Sprintf("the mesh is full, with %d members, and takes in no new ones: evict those that will not come back", r.Living())
	}
	return fmt.Sprintf("the mesh has had %d nodes that are gone for good, and can remember no more of them: it takes in no new ones; set up another, with a new secret", roster.MaxGone)
}

// trouble notes what keeps this node, or another, from the mesh. Views show it once
// it has lasted for so long.
func (n *Node) trouble(key, text string, lasts time.Duration) {
	fresh, show := n.troubles.note(key, text, lasts)
	if fresh {
		n.log.Warn(text)
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
