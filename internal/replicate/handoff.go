package replicate

import (
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// HandoffKind is what a Handoff wants done.
type HandoffKind uint8

const (
	HandoffList  HandoffKind = iota + 1 // list the own marks after After (or from First on); report by Listed
	HandoffCover                        // ask To which of Marks it does not hold as they are; report by Covered
	HandoffPush                         // send the records of Keys to To; report by Pushed
	HandoffDrop                         // drop each of Marks whose record is still as marked, see MayDrop; report by Dropped
	HandoffDone                         // nothing is left but what was written meanwhile, or what could not be dropped
)

// HandoffStep is the next thing that a Handoff wants done.
type HandoffStep struct {
	Kind  HandoffKind
	To    view.NodeID
	After string
	First bool
	Marks []Mark
	Keys  []string
}

// Handoff brings what a store holds of a unit to the homes of the unit, and
// lets go of it: this store was a home before the roster changed, or stood in
// for one. A record goes only when every home has said that it holds it as it
// is here, or has acknowledged it (F1.15). Whatever is interrupted is begun
// anew: what has gone by then is not looked at again.
type Handoff struct {
	homes     []view.NodeID // to bring it to; those in reach
	all       bool          // these are all homes: what they cover may go
	batch     int
	after     string
	first     bool
	page      []Mark
	last      bool
	homeIndex int      // home that is being asked
	lacking   []string // keys of the page that it lacks
	asked     bool
	unvouched bool // one of the homes did not vouch
	moved     int
	dropped   int
}

// NewHandoff prepares a hand-off. homes are all homes of the unit by the
// roster; live tells which can be reached: those are brought what they lack,
// and if that is not all of them, everything stays here besides. batch is how
// many keys one step may name, 0 means 256.
func NewHandoff(homes []view.NodeID, live func(view.NodeID) bool, batch int) *Handoff {
	if batch <= 0 {
		batch = 256
	}
	h := &Handoff{batch: batch, first: true, all: true}
	for _, id := range homes {
		if live(id) {
			h.homes = append(h.homes, id)
		} else {
			h.all = false
		}
	}
	h.last = len(h.homes) == 0
	return h
}

// Step returns what to do now, the same until that is reported done. A
// hand-off that fails is dropped, and begun anew later.
func (h *Handoff) Step() HandoffStep {
	switch {
	case len(h.page) == 0 && h.last:
		return HandoffStep{Kind: HandoffDone}
	case len(h.page) == 0:
		return HandoffStep{Kind: HandoffList, After: h.after, First: h.first}
	case h.homeIndex == len(h.homes):
		return HandoffStep{Kind: HandoffDrop, Marks: h.page}
	case !h.asked:
		return HandoffStep{Kind: HandoffCover, To: h.homes[h.homeIndex], Marks: h.page}
	}
	return HandoffStep{Kind: HandoffPush, To: h.homes[h.homeIndex], Keys: h.lacking[:min(len(h.lacking), h.batch)]}
}

// Listed reports the own marks of the next stretch in the order of keys, at
// most as many as may be asked for at once, and whether they are the last.
func (h *Handoff) Listed(marks []Mark, last bool) {
	h.page, h.last = slices.Clone(marks), last || len(marks) == 0
	h.homeIndex, h.asked = 0, false
	if n := len(marks); n > 0 {
		h.after, h.first = marks[n-1].Key, false
	}
}

// Covered reports which marks of the page, by number, the home that was asked
// does not hold exactly as they are here, and whether it vouches for the rest.
// One that does not, because it knows another roster, is brought what it lacks,
// but then nothing goes from here.
func (h *Handoff) Covered(missing []int, vouches bool) {
	h.all, h.unvouched = h.all && vouches, h.unvouched || !vouches
	h.lacking = h.lacking[:0]
	for _, i := range missing {
		if i >= 0 && i < len(h.page) {
			h.lacking = append(h.lacking, h.page[i].Key)
		}
	}
	h.asked = true
	h.advanceHome()
}

// Pushed reports that the home has acknowledged the first n keys of the last
// Push step, in versions at least as new as the page's.
func (h *Handoff) Pushed(n int) {
	n = min(max(n, 0), len(h.lacking))
	h.moved += n
	h.lacking = h.lacking[n:]
	h.advanceHome()
}

func (h *Handoff) advanceHome() {
	if len(h.lacking) > 0 {
		return
	}
	h.homeIndex, h.asked = h.homeIndex+1, false
	if h.homeIndex == len(h.homes) && !h.all {
		h.page = nil
	}
}

// Dropped reports that the last Drop step is done, and how many records went.
func (h *Handoff) Dropped(n int) {
	h.dropped += n
	h.page = nil
}

// All tells whether all homes take part and vouch, Any whether one does.
func (h *Handoff) All() bool { return h.all }

// Any: see All.
func (h *Handoff) Any() bool { return len(h.homes) > 0 }

// Refused tells whether a home that takes part did not vouch. It may be letting
// go itself, by its own roster, so the hand-over is not done.
func (h *Handoff) Refused() bool { return h.unvouched }

// Moved returns how many records were brought to a home so far, and how many
// have gone from here.
func (h *Handoff) Moved() (moved, gone int) { return h.moved, h.dropped }

// MayDrop tells whether a store may let go of a record that a hand-off under
// the roster then found to be covered by all homes, in the version given by
// mark. now is the roster and hash the version of the record at this moment;
// keeper tells whether the store is to keep the unit by it. The homes have
// vouched under the same roster; under another one they may be letting go
// themselves.
func MayDrop(then, now uint64, keeper bool, mark, hash uint64) bool {
	return then == now && !keeper && mark == hash
}

// MayVouch tells whether a store may tell another that it holds records for
// good, when both know who belongs to the mesh by these rosters: it must be a
// home by the same one.
func MayVouch(asked, own uint64, home bool) bool { return asked == own && home }

// Covers tells whether a home that has a record in the version hash holds what another
// store has marked: as a home, and as it is there. Only that the other may let go of.
func Covers(r Record, hash, mark uint64) bool { return !r.Unknown() && r.Home && hash == mark }

// StandIn names the store to keep something for a home that is down, in place
// of self, which leaves: the n-th in reach of those that are no homes, so that
// the copies for several homes lie apart, or else one that is a home itself.
func StandIn(order []view.NodeID, homes, n int, home, self view.NodeID, live func(view.NodeID) bool) (view.NodeID, bool) {
	able := func(ids []view.NodeID) (out []view.NodeID) {
		for _, id := range ids {
			if id != home && id != self && live(id) {
				out = append(out, id)
			}
		}
		return out
	}
	ids := able(order[homes:])
	if len(ids) == 0 {
		ids = able(order[:homes])
	}
	if len(ids) == 0 {
		return 0, false
	}
	return ids[n%len(ids)], true
}
