package roster

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// Predecessor returns the node that a newcomer under the given name replaces:
// the one of that name that is not gone, the lowest if there are several.
func (r Roster) Predecessor(self view.NodeID, name string) (view.NodeID, bool) {
	for _, e := range r.entries {
		if e.Name == name && e.ID != self && !e.Status.Gone() {
			return e.ID, true
		}
	}
	return 0, false
}

// Settle returns the roster with every node evicted that a successor of the
// same name replaces, and the nodes evicted. A predecessor that alive reports
// as running is left as it is: then the newcomer is the one to refuse (see
// Admit). Putting a new disk under an old name is a decision of whoever runs
// the box, so it waits for no majority. A successor that is gone itself counts
// as well: it was let in, so the store before it had lost its place by then.
func (r Roster) Settle(alive func(view.NodeID) bool) (Roster, []view.NodeID) {
	var evicted []view.NodeID
	for _, e := range r.entries {
		old, ok := r.Get(e.Predecessor)
		if !ok || old.Status == view.Evicted || old.Name != e.Name || alive(old.ID) {
			continue
		}
		evicted = append(evicted, old.ID)
	}
	slices.Sort(evicted)
	evicted = slices.Compact(evicted)
	return r.markEvicted(evicted), evicted
}

func (r Roster) markEvicted(ids []view.NodeID) Roster {
	if len(ids) == 0 {
		return r
	}
	next := slices.Clone(r.entries)
	for _, id := range ids {
		i, _ := r.findEntry(id)
		next[i].Status = view.Evicted
	}
	return Roster{entries: next, relics: r.relics}
}

// Admit tells whether a node that presents itself as e may be let in by a
// node with this roster that has contact with those that alive reports.
//
// ErrInvalid: e breaks a bound. ErrGone: e left or was evicted. ErrOldBoot: e
// was seen with a higher boot counter. ErrClone: e is in contact as another
// process of the same boot. ErrNameTaken: another node that is not gone has e's
// name and is in contact, or several have it and e names none of them as the one
// that it replaces. ErrFull.
func (r Roster) Admit(e Entry, alive func(view.NodeID) bool) error {
	if err := e.Validate(); err != nil {
		return err
	}
	old, known := r.Get(e.ID)
	switch {
	case known && old.Status.Gone():
		return fmt.Errorf("%w: %v is %v", ErrGone, e.ID, old.Status)
	case known && e.Boot < old.Boot:
		return fmt.Errorf("%w: %v has boot %d and was seen with %d", ErrOldBoot, e.ID, e.Boot, old.Boot)
	case known && e.Boot == old.Boot && e.Instance != old.Instance && old.Boot != 0 && alive(e.ID):
		return fmt.Errorf("%w: %v runs as another process", ErrClone, e.ID)
	case !known && !r.isToOust(e):
		if err := r.Full(); err != nil {
			return fmt.Errorf("%w: %v is not taken in", err, e.ID)
		}
	}
	return r.admitName(e, alive)
}

// Storing returns the storing nodes that are joining, active or leaving,
// sorted by ID: those whose acknowledgement a purge needs and over whom
// majorities are counted.
func (r Roster) Storing() []Entry {
	return r.filterEntries(func(e Entry) bool { return e.Storing && !e.Status.Gone() })
}

// Placed returns the storing nodes that hold data by the roster, sorted by
// ID: joining and active ones. A leaving node hands over to those.
func (r Roster) Placed() []Entry {
	return r.filterEntries(func(e Entry) bool { return e.Storing && e.Status < view.Leaving })
}

func (r Roster) filterEntries(keep func(Entry) bool) []Entry {
	var out []Entry
	for _, e := range r.entries {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}

// Majority tells whether strictly more than half of the storing nodes that
// are not gone are in contact. contact must answer true for the node that
// asks. Eviction by time, healing and purging wait for it, so a node started
// alone after a month in the dark decides none of them. No storing nodes, no
// majority.
func (r Roster) Majority(contact func(view.NodeID) bool) bool {
	met, all := 0, 0
	for _, e := range r.entries {
		if e.Storing && !e.Status.Gone() {
			all++
			if contact(e.ID) {
				met++
			}
		}
	}
	return 2*met > all
}

// Digest is a digest of what placement depends on: the storing nodes that are
// not gone, with their names, zones, weights and whether they are leaving. It
// depends on the set only.
func (r Roster) Digest() uint64 {
	h := sha256.New()
	for _, e := range r.Storing() {
		hashWords(h, uint64(e.ID), uint64(e.Weight), uint64(flagByte(e.Status == view.Leaving)), uint64(len(e.Name)), uint64(len(e.Zone)))
		h.Write([]byte(e.Name + e.Zone))
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// StoringDigest is a digest of the storing nodes ever met and whether each is
// in or out, and of nothing else (protocol A.7, rosterDigest).
func (r Roster) StoringDigest() [16]byte {
	h := sha256.New()
	relics := r.relics
	addUntil := func(until view.NodeID) {
		for len(relics) > 0 && relics[0].ID <= until {
			if relics[0].Storing {
				hashWords(h, uint64(relics[0].ID), 1)
			}
			relics = relics[1:]
		}
	}
	for _, e := range r.entries {
		addUntil(e.ID)
		if e.Storing {
			hashWords(h, uint64(e.ID), uint64(flagByte(e.Status.Gone())))
		}
	}
	addUntil(1<<64 - 1)
	return [16]byte(h.Sum(nil))
}

// Sum is a digest of all that the roster says: rosters with equal sums need
// not be exchanged.
func (r Roster) Sum() uint64 {
	sum := sha256.Sum256(Encode(r))
	return binary.BigEndian.Uint64(sum[:])
}

func hashWords(h hash.Hash, words ...uint64) {
	var b [8]byte
	for _, w := range words {
		binary.BigEndian.PutUint64(b[:], w)
		h.Write(b[:])
	}
}
