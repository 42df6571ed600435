package replicate

import (
	"maps"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// DefaultHealAfter is for how long a home must have been seen to be down
// before other stores make copies in its place.
const DefaultHealAfter = 10 * time.Minute

// Healer decides which stores count as down for so long that their copies are
// to be made elsewhere. Downtime is what this store has seen of it while it
// ran and had contact with others: a store that is alone, or was off, learns
// nothing about them. Times are readings of a clock that never goes back and
// stands still while the store does not run. Where it goes on, because the
// process is held while the machine is not, one look counts for half of the time
// to heal after at most: callers look more often than that.
//
// Down as seen from here is not enough: other nodes must have failed to reach it
// too, no longer ago than half of that time. The caller asks whom Ask names, and
// says what was Heard.
type Healer struct {
	after time.Duration
	last  time.Duration
	seen  bool
	down  map[view.NodeID]time.Duration
	lost  map[view.NodeID]bool

	inquests map[view.NodeID]*inquest
	due      []view.NodeID // they wait for nothing but to be confirmed, as of the last look
	asking   bool
}

// NewHealer returns a healer; after 0 means DefaultHealAfter.
func NewHealer(after time.Duration) *Healer {
	if after == 0 {
		after = DefaultHealAfter
	}
	return &Healer{
		after: after, down: map[view.NodeID]time.Duration{}, lost: map[view.NodeID]bool{},
		inquests: map[view.NodeID]*inquest{},
	}
}

// Look takes in who is in contact at a time: members are the storing ones that
// are not gone, self among them. It reports whether the stores in whose place
// copies are to be made have changed.
//
// New ones count only while more than half of the members are in contact:
// several components of a mesh must not all fill their disks with copies of
// the others' data. forced, an operator's word, goes without that, but not
// without witnesses: what others reach has not lost its copies.
func (h *Healer) Look(now time.Duration, self view.NodeID, members []view.NodeID, live func(view.NodeID) bool, forced bool) (changed bool) {
	passed := min(now-h.last, h.after/2)
	if !h.seen {
		passed = 0
	}
	h.last, h.seen = now, true
	h.due = h.due[:0]
	met := 0
	for _, id := range members {
		if id == self || live(id) {
			met++
		}
	}
	major := MayHeal(met, len(members), forced)
	known := map[view.NodeID]bool{}
	for _, id := range members {
		known[id] = true
		switch {
		case id == self || live(id):
			changed = changed || h.lost[id]
			delete(h.down, id)
			delete(h.lost, id)
			delete(h.inquests, id)
			continue
		case met < 2:
		default:
			h.down[id] += passed
		}
		if h.down[id] < h.after || !major || h.lost[id] {
			continue
		}
		if h.isConfirmed(id) {
			h.lost[id] = true
			changed = true
			continue
		}
		if h.inquests[id] == nil {
			h.inquests[id] = &inquest{next: now}
		}
		h.due = append(h.due, id)
	}
	changed = forgetGone(h.lost, known) || changed
	maps.DeleteFunc(h.down, func(id view.NodeID, _ time.Duration) bool { return !known[id] })
	maps.DeleteFunc(h.inquests, func(id view.NodeID, _ *inquest) bool { return !known[id] })
	return changed
}

// MayHeal tells whether copies may be made elsewhere where so many of the storing
// members are in contact.
func MayHeal(met, members int, forced bool) bool { return forced || 2*met > members }

// forgetGone drops members that are gone.
func forgetGone(lost, known map[view.NodeID]bool) (changed bool) {
	for id := range lost {
		if !known[id] {
			delete(lost, id)
			changed = true
		}
	}
	return changed
}

// Lost tells whether copies are to be made in a store's place.
func (h *Healer) Lost(id view.NodeID) bool { return h.lost[id] }

// Down returns for how long a store has been seen to be down.
func (h *Healer) Down(id view.NodeID) time.Duration { return h.down[id] }

// Keepers lists the stores that are to keep a unit: its homes, those that are
// lost included, and for each of these the next store in the order that is
// not lost, an adopter.
func Keepers(order []view.NodeID, homes int, lost func(view.NodeID) bool) []view.NodeID {
	out := order[:homes:homes]
	missing := 0
	for _, id := range out {
		if lost(id) {
			missing++
		}
	}
	for _, id := range order[homes:] {
		if missing == 0 {
			break
		}
		if !lost(id) {
			out = append(out, id)
			missing--
		}
	}
	return out
}
