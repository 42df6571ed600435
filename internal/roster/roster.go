// Package roster holds who belongs to the mesh, alive or not (protocol B.1 in
// internal/README.md).
//
// A Roster is a state-based CRDT: a map from NodeID to Entry that merges
// entry by entry, each part of an entry by a maximum:
//
//   - status along joining < active < leaving < left < evicted, so left and
//     evicted are final;
//   - attributes, as one block, by their HLC, ties by their content;
//   - (Boot, Instance), as a pair.
//
// Of those that are gone for long a relic stands for the entry: see relic.go.
//
// Hence Merge is commutative, associative, idempotent and monotone, as long
// as no roster is at Limit. Everything else here is a question about the map
// or a step that only moves it up.
package roster

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Limit is how many nodes a roster holds that are not gone, and how many entries
// once it was put in order by Reduce. At the limit new nodes are not taken in; known
// ones are never pushed out, for whoever is forgotten is not asked before data is
// dropped for good.
const Limit = 10_000

var (
	// ErrInvalid: the entry breaks a bound of this package.
	ErrInvalid = errors.New("roster: invalid entry")
	// ErrFull: the roster is at Limit, or remembers as many as it can.
	ErrFull = errors.New("roster: full")
	// ErrUnknown: the roster holds no such node.
	ErrUnknown = errors.New("roster: unknown node")
	// ErrGone: the node left or was evicted, for good.
	ErrGone = errors.New("roster: node is gone")
	// ErrNameTaken: another node that is not gone has that name.
	ErrNameTaken = errors.New("roster: name is taken")
	// ErrClone: the node runs twice under one identity.
	ErrClone = errors.New("roster: identity is in use")
	// ErrOldBoot: the node was seen with a higher boot counter; its disk was
	// rolled back or copied.
	ErrOldBoot = errors.New("roster: boot counter went back")
)

// Roster is who belongs to the mesh. It is a value: no method changes it, and
// it may be shared freely. The zero value is empty.
type Roster struct {
	entries []Entry      // sorted by ID, each valid; never written to after it is shared
	relics  []wire.Relic // likewise, of nodes without an entry
}

// Len returns the number of entries, gone ones included.
func (r Roster) Len() int { return len(r.entries) }

// Get returns the entry of a node. Of one that has but a relic it is evicted,
// and has no name: see Reduced.
func (r Roster) Get(id view.NodeID) (Entry, bool) {
	if i, ok := r.findEntry(id); ok {
		return r.entries[i], true
	}
	if i, ok := findRelic(r.relics, id); ok {
		return Entry{ID: id, Storing: r.relics[i].Storing, Status: view.Evicted}, true
	}
	return Entry{}, false
}

// All yields all entries in the order of their IDs, gone ones included.
func (r Roster) All() iter.Seq[Entry] { return slices.Values(r.entries) }

// Entries returns what All yields. The slice is the caller's.
func (r Roster) Entries() []Entry { return slices.Clone(r.entries) }

// Living returns the number of nodes that are not gone.
func (r Roster) Living() int {
	n := 0
	for i := range r.entries {
		if !r.entries[i].Status.Gone() {
			n++
		}
	}
	return n
}

// Full says why a node that is not known would not be taken in, nil if it would.
func (r Roster) Full() error {
	switch {
	case r.Living() >= Limit:
		return fmt.Errorf("%w: %d members that are not gone", ErrFull, Limit)
	case r.freeRoom() == 0:
		return fmt.Errorf("%w: %d nodes, gone ones included", ErrFull, Limit+MaxGone)
	}
	return nil
}

// With returns the roster with e merged in, and whether that changed it.
func (r Roster) With(e Entry) (Roster, bool, error) {
	if r.Reduced(e.ID) {
		return r, false, nil
	}
	if err := e.Validate(); err != nil {
		return r, false, err
	}
	e = e.canonical()
	i, ok := r.findEntry(e.ID)
	switch {
	case ok:
		m := mergeEntry(r.entries[i], e)
		if m == r.entries[i] {
			return r, false, nil
		}
		next := slices.Clone(r.entries)
		next[i] = m
		return Roster{entries: next, relics: r.relics}, true, nil
	case !r.isToOust(e):
		if err := r.Full(); err != nil {
			return r, false, fmt.Errorf("%w: %v is not taken in", err, e.ID)
		}
	}
	return Roster{entries: slices.Insert(slices.Clone(r.entries), i, e), relics: r.relics}, true, nil
}

// Without returns the roster without what it says of one node: for one whose own
// word on that is not to be believed, and will be heard from others.
func (r Roster) Without(id view.NodeID) Roster {
	if i, ok := r.findEntry(id); ok {
		r.entries = slices.Delete(slices.Clone(r.entries), i, i+1)
	}
	if i, ok := findRelic(r.relics, id); ok {
		r.relics = slices.Delete(slices.Clone(r.relics), i, i+1)
	}
	return r
}

// Move returns the roster with the status of a node moved forward to s. Going
// back, or staying, changes nothing.
func (r Roster) Move(id view.NodeID, s view.Status) (Roster, error) {
	e, ok := r.Get(id)
	if !ok {
		return r, fmt.Errorf("%w: %v", ErrUnknown, id)
	}
	e.Status = s
	next, _, err := r.With(e)
	return next, err
}

// Write returns the roster with self as the node itself wants to be known
// now. The attributes are dated above now and above whatever the roster says
// of the node, so they win everywhere; they are not written again while they
// are the ones in force.
//
// ErrGone: the roster says that the node left or was evicted; it must take a
// new identity.
func (r Roster) Write(self Entry, now version.HLC) (Roster, error) {
	self = self.canonical()
	old, known := r.Get(self.ID)
	if known && old.Status.Gone() {
		return r, fmt.Errorf("%w: %v is %v", ErrGone, self.ID, old.Status)
	}
	self.HLC = old.HLC
	if !known || attributes(self) != attributes(old) {
		self.HLC = min(max(now, old.HLC)+1, MaxHLC)
	}
	next, _, err := r.With(self)
	return next, err
}

// Merge returns the least roster that is at least r and o, and the nodes of
// which it knows more than r did, sorted. Nodes for which there is no room are
// refused and counted.
func (r Roster) Merge(o Roster) (merged Roster, changed []view.NodeID, refused int) {
	in, refused := r.admitRelics(o)
	relics, changed := joinRelics(r.relics, in)
	reduced := risingRelics(relics)
	out := make([]Entry, 0, max(len(r.entries), len(o.entries)))
	living, room := Limit-r.Living(), Limit+MaxGone-len(r.entries)-len(relics)
	a, b := r.entries, o.entries
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].ID < b[0].ID:
			if _, ok := reduced(a[0].ID); !ok {
				out = append(out, a[0])
			}
			a = a[1:]
		case len(a) == 0 || b[0].ID < a[0].ID:
			e := b[0]
			b = b[1:]
			if _, ok := reduced(e.ID); ok {
				continue
			}
			if room <= 0 || !e.Status.Gone() && living <= 0 {
				refused++
				continue
			}
			if room--; !e.Status.Gone() {
				living--
			}
			out, changed = append(out, e), append(changed, e.ID)
		default:
			m := mergeEntry(a[0], b[0])
			if _, ok := reduced(m.ID); !ok {
				if m != a[0] {
					changed = append(changed, m.ID)
				}
				out = append(out, m)
			}
			a, b = a[1:], b[1:]
		}
	}
	if len(changed) == 0 {
		return r, nil, refused
	}
	slices.Sort(changed)
	return Roster{entries: out, relics: relics}, changed, refused
}

func (r Roster) findEntry(id view.NodeID) (int, bool) {
	return slices.BinarySearchFunc(r.entries, id, func(e Entry, id view.NodeID) int {
		switch {
		case e.ID < id:
			return -1
		case e.ID > id:
			return 1
		}
		return 0
	})
}
