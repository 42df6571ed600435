package layout

import (
	"maps"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Change is what a new view has changed.
type Change struct {
	Now    *Layout
	Back   []view.NodeID // members that are in contact and were not
	Lost   []view.NodeID // members that were in contact and are not
	Roster bool          // what placement depends on is another
	Healed bool          // copies are to be made in the place of other stores than before
}

// Apply takes in a view at a time, by a clock that only goes on, and looks at who is down.
// After an error, the view's, nothing has changed. One goroutine at a time calls it and the
// other methods of healing.
func (h *Homes) Apply(v view.View, now time.Duration) (Change, error) {
	old := h.Now()
	lay, err := makeLayout(old, v, h.opts.Shards, 0)
	if err != nil {
		return Change{Now: old}, err
	}
	c := Change{Now: lay, Roster: lay.Roster != old.Roster, Healed: h.lookDown(lay, now)}
	h.now.Store(lay)
	for id, in := range lay.InMesh {
		switch {
		case in && !old.InMesh[id]:
			c.Back = append(c.Back, id)
		case !in && old.InMesh[id]:
			c.Lost = append(c.Lost, id)
		}
	}
	return c, nil
}

// LookAgain looks at who is down although no view has come. It tells whether copies are to
// be made in the place of other stores than before.
func (h *Homes) LookAgain(now time.Duration) (healed bool) {
	lay := *h.Now()
	if healed = h.lookDown(&lay, now); healed {
		h.now.Store(&lay)
	}
	return healed
}

// lookDown has the healer look at who is down, and puts the verdict into a layout that
// nobody else knows yet.
func (h *Homes) lookDown(lay *Layout, now time.Duration) (changed bool) {
	if h.opts.HealAfter < 0 || !h.healer.Look(now, h.opts.Self, lay.Members, lay.Live, h.forced.Load()) {
		return false
	}
	lost := make(map[view.NodeID]bool)
	for _, id := range lay.Members {
		if h.healer.Lost(id) {
			lost[id] = true
		}
	}
	if maps.Equal(lost, lay.Lost) {
		return false
	}
	lay.Lost = lost
	return true
}

// ForceHeal has this side of a cut heal, or no longer, although it is the smaller one. It
// counts from the next look on, and may be called by anybody.
func (h *Homes) ForceHeal(on bool) { h.forced.Store(on) }

// IsHealForced tells what ForceHeal was told last.
func (h *Homes) IsHealForced() bool { return h.forced.Load() }

// NextInquest names a store of which others are to say whether they reach it. There is one
// such question at a time: the next comes after the answer was Heard.
func (h *Homes) NextInquest() (id view.NodeID, ok bool) { return h.healer.Ask() }

// Heard takes in what others have said of a store.
func (h *Homes) Heard(now time.Duration, id view.NodeID, w view.Witnesses) {
	h.healer.Heard(now, id, w)
}

// Unconfirmed returns the stores that would be replaced if others had confirmed that they
// are down, with what they said.
func (h *Homes) Unconfirmed() map[view.NodeID]view.Witnesses { return h.healer.Unconfirmed() }
