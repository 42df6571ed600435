package roster

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Who is gone is gone for good, so all that must be known of it for ever is that it
// is: a roster that knew nothing would take it in again from one that was away as
// long. That much is a relic. In the order by which rosters merge it is above every
// entry of its node, and one of a node that stored above one of a node that did not.
//
// Whether the node stored is kept for the digest of the storing members. That does
// not change when an entry is reduced to a relic, so each node does it in its time.

// MaxGone is how many nodes a roster remembers beyond Limit, all of them gone: in
// 3 MB of memory, and 2 MB on disk. Thirty containers without a disk that restart
// daily need 18 years for so many.
const MaxGone = 200_000

// keepGone is how many of those that are gone have an entry still, for people and
// for views: nodes of releases without relics agree up to here.
const keepGone = 1_000

// Relics returns the relics sorted by ID. Nobody may change them.
func (r Roster) Relics() []wire.Relic { return r.relics }

// FromRelics returns the roster that holds exactly the given relics, sorted by
// ID.
func FromRelics(relics []wire.Relic) (Roster, error) {
	for i, t := range relics {
		if t.ID == 0 || i > 0 && t.ID <= relics[i-1].ID {
			return Roster{}, fmt.Errorf("%w: relic %d is out of order", ErrInvalid, i)
		}
	}
	if len(relics) > Limit+MaxGone {
		return Roster{}, fmt.Errorf("%w: %d relics", ErrFull, len(relics))
	}
	return Roster{relics: relics}, nil
}

// Reduced tells whether all that is left of a node is a relic.
func (r Roster) Reduced(id view.NodeID) bool {
	_, ok := findRelic(r.relics, id)
	return ok
}

// RelicSum is a digest of the relics.
func (r Roster) RelicSum() uint64 {
	sum := sha256.Sum256(wire.AppendRelicSwap(nil, wire.RelicSwap{Have: r.relics}))
	return binary.BigEndian.Uint64(sum[:])
}

// RelicsBeyond returns the relics that change o.
func (r Roster) RelicsBeyond(o Roster) []wire.Relic {
	next := risingRelics(o.relics)
	var out []wire.Relic
	for _, t := range r.relics {
		if old, ok := next(t.ID); !ok || t.Storing && !old.Storing {
			out = append(out, t)
		}
	}
	return out
}

// Rebut returns the entries of those that another says are members and that are relics
// here, as evicted: a node of a release without relics hears of it in no other way.
func (r Roster) Rebut(said Roster) (out []Entry) {
	for _, e := range said.entries {
		if !e.Status.Gone() && r.Reduced(e.ID) {
			e.Status = view.Evicted
			out = append(out, e)
		}
	}
	return out
}

// Reduce returns the roster in which few of those that are gone have an entry: the
// others are reduced to relics. It does that to many at once, for each time all
// nodes compare all relics.
func (r Roster) Reduce() Roster { return r.reduce(Limit, keepGone) }

func (r Roster) reduce(limit, most int) Roster {
	var gone []Entry
	for _, e := range r.entries {
		if e.Status.Gone() {
			gone = append(gone, e)
		}
	}
	if len(gone) <= most && len(r.entries) <= limit {
		return r
	}
	keep := min(most/2, max(0, limit-(len(r.entries)-len(gone))), len(gone))
	slices.SortFunc(gone, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(flagByte(r.isToOust(b)), flagByte(r.isToOust(a))), cmp.Compare(b.HLC, a.HLC), cmp.Compare(a.ID, b.ID))
	})
	var down []wire.Relic
	for _, e := range gone[keep:] {
		down = append(down, wire.Relic{ID: e.ID, Storing: e.Storing})
	}
	slices.SortFunc(down, func(a, b wire.Relic) int { return cmp.Compare(a.ID, b.ID) })
	relics, _ := joinRelics(r.relics, down)
	return Roster{entries: withoutRelics(r.entries, relics), relics: relics}
}

// isToOust tells whether e has yet to take the place of the node that it replaces: see
// Settle.
func (r Roster) isToOust(e Entry) bool {
	old, ok := r.Get(e.Predecessor)
	return ok && !old.Status.Gone() && old.Name == e.Name
}

// admitRelics returns those of o's relics for which r has room.
func (r Roster) admitRelics(o Roster) (in []wire.Relic, refused int) {
	room := r.freeRoom()
	if len(o.relics) <= room {
		return o.relics, 0
	}
	for _, t := range o.relics {
		if _, known := r.Get(t.ID); !known {
			if room == 0 {
				refused++
				continue
			}
			room--
		}
		in = append(in, t)
	}
	return in, refused
}

// freeRoom is for how many nodes that are not known there is room at all.
func (r Roster) freeRoom() int { return max(0, Limit+MaxGone-len(r.entries)-len(r.relics)) }

// joinRelics returns the least relics that are at least a and b, and the nodes
// of which b says more than a did, sorted. Where those are none it returns a.
func joinRelics(a, b []wire.Relic) (joined []wire.Relic, changed []view.NodeID) {
	next := risingRelics(a)
	for _, t := range b {
		if old, ok := next(t.ID); !ok || t.Storing && !old.Storing {
			changed = append(changed, t.ID)
		}
	}
	if len(changed) == 0 {
		return a, nil
	}
	joined = make([]wire.Relic, 0, len(a)+len(changed))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].ID < b[0].ID:
			joined, a = append(joined, a[0]), a[1:]
		case len(a) == 0 || b[0].ID < a[0].ID:
			joined, b = append(joined, b[0]), b[1:]
		default:
			joined = append(joined, wire.Relic{ID: a[0].ID, Storing: a[0].Storing || b[0].Storing})
			a, b = a[1:], b[1:]
		}
	}
	return joined, changed
}

// withoutRelics returns the entries of nodes without a relic.
func withoutRelics(entries []Entry, relics []wire.Relic) []Entry {
	next := risingRelics(relics)
	out := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if _, reduced := next(e.ID); !reduced {
			out = append(out, e)
		}
	}
	return out
}

// risingRelics returns a function that looks relics up, for ids that never fall.
func risingRelics(relics []wire.Relic) func(view.NodeID) (wire.Relic, bool) {
	return func(id view.NodeID) (wire.Relic, bool) {
		for len(relics) > 0 && relics[0].ID < id {
			relics = relics[1:]
		}
		if len(relics) == 0 || relics[0].ID != id {
			return wire.Relic{}, false
		}
		return relics[0], true
	}
}

func findRelic(relics []wire.Relic, id view.NodeID) (int, bool) {
	return slices.BinarySearchFunc(relics, id, func(t wire.Relic, id view.NodeID) int { return cmp.Compare(t.ID, id) })
}
