// Package roster holds who belongs to the mesh, alive or not (protocol B.1).
//
// A Roster is a state-based CRDT: a map from NodeID to Entry that merges
// entry by entry, each part of an entry by a maximum:
//
//   - status along joining < active < leaving < left < evicted, so left and
//     evicted are final;
//   - attributes, as one block, by their HLC, ties by their content;
//   - (Boot, Instance), as a pair.
//
// Hence Merge is commutative, associative, idempotent and monotone, as long
// as no roster is at Limit. Everything else here is a question about the map
// or a step that only moves it up.
package roster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Limit is how many entries a roster holds, gone ones included. At the limit
// new nodes are not taken in; known ones are never pushed out, for whoever is
// forgotten is not asked before data is dropped for good.
const Limit = 10_000

var (
	// ErrInvalid: the entry breaks a bound of this package.
	ErrInvalid = errors.New("roster: invalid entry")
	// ErrFull: the roster is at Limit.
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
	entries []Entry // sorted by ID, each valid; never written to after it is shared
}

// Len returns the number of entries, gone ones included.
func (r Roster) Len() int { return len(r.entries) }

// Get returns the entry of a node.
func (r Roster) Get(id view.NodeID) (Entry, bool) {
	i, ok := r.find(id)
	if !ok {
		return Entry{}, false
	}
	return r.entries[i], true
}

// Entries returns all entries sorted by ID, gone ones included. The slice is
// the caller's.
func (r Roster) Entries() []Entry { return slices.Clone(r.entries) }

// With returns the roster with e merged in, and whether that changed it.
func (r Roster) With(e Entry) (Roster, bool, error) {
	if err := e.Validate(); err != nil {
		return r, false, err
	}
	e = e.canonical()
	i, ok := r.find(e.ID)
	switch {
	case ok:
		m := mergeEntry(r.entries[i], e)
		if m == r.entries[i] {
			return r, false, nil
		}
		next := slices.Clone(r.entries)
		next[i] = m
		return Roster{next}, true, nil
	case len(r.entries) >= Limit:
		return r, false, fmt.Errorf("%w: %d entries, %v is not taken in", ErrFull, Limit, e.ID)
	}
	return Roster{slices.Insert(slices.Clone(r.entries), i, e)}, true, nil
}

// Without returns the roster without what it says of one node: for one whose own
// word on that is not to be believed, and will be heard from others.
func (r Roster) Without(id view.NodeID) Roster {
	i, ok := r.find(id)
	if !ok {
		return r
	}
	return Roster{slices.Delete(slices.Clone(r.entries), i, i+1)}
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
// which it knows more than r did, sorted. Nodes beyond Limit are refused and
// counted.
func (r Roster) Merge(o Roster) (merged Roster, changed []view.NodeID, refused int) {
	out := make([]Entry, 0, max(len(r.entries), len(o.entries)))
	room := Limit - len(r.entries)
	a, b := r.entries, o.entries
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].ID < b[0].ID:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0].ID < a[0].ID:
			if room > 0 {
				out, changed = append(out, b[0]), append(changed, b[0].ID)
				room--
			} else {
				refused++
			}
			b = b[1:]
		default:
			m := mergeEntry(a[0], b[0])
			if m != a[0] {
				changed = append(changed, m.ID)
			}
			out, a, b = append(out, m), a[1:], b[1:]
		}
	}
	if len(changed) == 0 {
		return r, nil, refused
	}
	return Roster{out}, changed, refused
}

func (r Roster) find(id view.NodeID) (int, bool) {
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
