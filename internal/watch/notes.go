package watch

import (
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// What a watcher remembers of the keys that it was told of. A key takes 32 bytes for each
// birth in its context, its own length, and what noteBytes says.
const (
	MostNotes     = 64 << 10
	MostNoteBytes = 16 << 20
)

const (
	noteBytes  = 200 // of a note, and its places in the order and in the map; an end takes 24 more
	birthBytes = 32
)

// State is a key as a reader would see it.
type State struct {
	Key   string
	Shard int
	Ctx   version.Context
	Live  bool
	Due   version.HLC // when the last of its values ends; 0: never
}

// Notes tell what is new to a watcher. Make them with NewNotes.
type Notes struct {
	byKey map[string]*note
	order note // the ends of the list: behind it the one told last
	bytes int
	round int // of fills
	ends  ends
}

// note is what was told of a key last.
type note struct {
	State
	seen  version.Context // all that was ever told of the key
	round int             // in which the key was met last

	before, behind *note // in the order of telling
}

func (n *note) size() int {
	size := noteBytes + len(n.Key) + birthBytes*len(n.Ctx)
	if len(n.seen) > 0 && (len(n.seen) != len(n.Ctx) || &n.seen[0] != &n.Ctx[0]) {
		size += birthBytes * len(n.seen)
	}
	return size
}

// NewNotes returns the notes of a watcher that was told nothing.
func NewNotes() *Notes {
	ns := &Notes{byKey: make(map[string]*note)}
	ns.order.before, ns.order.behind = &ns.order, &ns.order
	return ns
}

// putFirst makes a note that of the key told last.
func (ns *Notes) putFirst(n *note) {
	n.before, n.behind = &ns.order, ns.order.behind
	n.before.behind, n.behind.before = n, n
}

func (n *note) takeOut() { n.before.behind, n.behind.before = n.behind, n.before }

// Admit takes in a state and tells whether the watcher is to be told of it. quietly: the
// end of a key of which the watcher knows nothing is no news.
func (ns *Notes) Admit(s State, quietly bool) (tell bool) {
	n := ns.byKey[s.Key]
	if n == nil {
		if s.Live || !quietly {
			ns.addNote(s)
			return true
		}
		return false
	}
	n.round = ns.round
	if !n.isNews(&s) {
		return false
	}
	tell = s.Live || n.Live // that what is gone goes again is no news
	ns.bytes -= n.size()
	n.seen = n.seen.Join(s.Ctx)
	if n.seen.Includes(s.Ctx) && s.Ctx.Includes(n.seen) {
		n.seen = s.Ctx // shared
	}
	n.State = s
	ns.noteEnd(&s)
	ns.bytes += n.size()
	n.takeOut()
	ns.putFirst(n)
	ns.forgetOldest()
	return tell
}

// isNews tells whether a state does not lie before one that was told.
func (n *note) isNews(s *State) bool {
	if !n.seen.Includes(s.Ctx) {
		return true
	}
	if !s.Ctx.Includes(n.Ctx) {
		return false
	}
	// It is the last one told, or has seen more. The same one is news when it has ended.
	return !n.Ctx.Includes(s.Ctx) || n.Live && !s.Live
}

func (ns *Notes) addNote(s State) {
	n := &note{State: s, seen: s.Ctx, round: ns.round}
	ns.byKey[s.Key] = n
	ns.putFirst(n)
	ns.bytes += n.size()
	ns.noteEnd(&s)
	ns.forgetOldest()
}

func (ns *Notes) forgetOldest() {
	for len(ns.byKey) > MostNotes || ns.bytes > MostNoteBytes && len(ns.byKey) > 1 {
		ns.removeNote(ns.order.before)
	}
}

func (ns *Notes) removeNote(n *note) {
	n.takeOut()
	delete(ns.byKey, n.Key)
	ns.bytes -= n.size()
}

// BeginFill notes that shards are read anew from here on.
func (ns *Notes) BeginFill() { ns.round++ }

// Sweep returns the keys of some shards that the watcher believes to be there, and that
// were not met since BeginFill.
func (ns *Notes) Sweep(in func(shard int) bool) (out []State) {
	for n := ns.order.behind; n != &ns.order; n = n.behind {
		if n.Live && n.round != ns.round && in(n.Shard) {
			out = append(out, n.State)
		}
	}
	return out
}

// Forget takes in that a key of Sweep does not exist, and tells whether the watcher is to be
// told: not if the key was met since, or has ended. Nothing is remembered of it: should it
// come to light again, that is news.
func (ns *Notes) Forget(key string) (tell bool) {
	n := ns.byKey[key]
	if n == nil || !n.Live || n.round == ns.round {
		return false
	}
	ns.removeNote(n)
	return true
}

// Place is where a watcher stands in the changes of a store.
type Place struct {
	Store view.NodeID // 0: nowhere
	At    Position
}

// Position is where a watcher stands in one ring.
type Position struct {
	Epoch uint64 // of the ring: another one after each restart. 0: nowhere yet
	Seq   uint64 // number of the last change that was told
}
