package split

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// rowPause is the least time between two rows of a node (protocol E.3), but for
	// one of at least twice the length, of which there can be few, and for one that
	// only takes back what the last said: whoever is listed takes itself as cut off,
	// and may come to lead alone.
	rowPause      = 10 * time.Second
	growPause     = 3 * time.Second
	takeBackPause = time.Second
	// gatherPause is for how long first doubts wait for others: after a cut there are
	// many.
	gatherPause = 1500 * time.Millisecond
	// metGrace is for how long after a meeting the other's row may still list this
	// node: until it has been taken back, and that has been handed on.
	metGrace = 3 * time.Second
)

// Doubts decides what a node says of its reach, and what it heeds of what others
// say. It is a step machine like Watcher, and not safe for concurrent use.
type Doubts struct {
	keep    time.Duration // for how long a member that was given up stays in the row
	states  map[view.NodeID]view.State
	doubted map[view.NodeID]time.Duration // when gossip said last that one lives who was not reached
	metAt   map[view.NodeID]time.Duration // when one that is alive was met, or met again

	row     Row  // as the others are told
	told    bool // a row was told before, last at rowAt
	rowAt   time.Duration
	fresh   bool // there are doubts that it does not tell of, since freshAt
	freshAt time.Duration
	due     time.Duration // when the row will be told anew; Never
}

// NewDoubts returns the doubts of a node that has met nobody. Members that were
// given up stay in its row for twice the window of par: others may hear of their
// end much later, and would take them as reached from here.
func NewDoubts(par Params) *Doubts {
	return &Doubts{
		keep: 2 * par.withDefaults().Window, due: Never, states: map[view.NodeID]view.State{},
		doubted: map[view.NodeID]time.Duration{}, metAt: map[view.NodeID]time.Duration{},
	}
}

// Step takes the view of time now. It returns the row as it is, and that which the
// others are to be told, which may be older; and whether somebody was met.
func (d *Doubts) Step(now time.Duration, v view.View) (row, told Row, met bool) {
	var unreached []view.NodeID
	for _, m := range v.Members {
		was, known := d.states[m.ID]
		d.states[m.ID] = m.State
		if m.State == view.Alive && m.ID != v.Self && (!known || was != view.Alive) {
			met, d.metAt[m.ID] = true, now
		}
		switch {
		case m.Unreachable || m.State == view.Failed && (was == view.Alive || was == view.Suspect):
			d.doubted[m.ID] = now
		case m.State == view.Alive || m.Status.Gone():
			delete(d.doubted, m.ID)
		}
		if at, ok := d.doubted[m.ID]; ok && now-at < d.keep {
			unreached = append(unreached, m.ID)
		}
	}
	row = NewRow(unreached)
	if d.due = d.nextTellAt(now, row); now >= d.due {
		d.row, d.told, d.rowAt, d.due, d.fresh = row, true, now, Never, false
	}
	return row, d.row, met
}

// Next returns the time by which Step must be called again if the view does not
// change before.
func (d *Doubts) Next() time.Duration { return d.due }

// nextTellAt is when a row may replace the last one.
func (d *Doubts) nextTellAt(now time.Duration, row Row) time.Duration {
	if row.Isolated == d.row.Isolated && slices.Equal(row.Unreachable, d.row.Unreachable) {
		return Never
	}
	pause := takeBackPause
	more := row.Isolated || slices.ContainsFunc(row.Unreachable, func(id view.NodeID) bool { return !slices.Contains(d.row.Unreachable, id) })
	switch {
	case more && (row.Isolated || len(row.Unreachable) >= 2*len(d.row.Unreachable)):
		pause = growPause
	case more:
		pause = rowPause
	}
	at := now
	if d.told {
		at = d.rowAt + pause
	}
	if !more {
		d.fresh = false
		return at
	}
	if !d.fresh {
		d.fresh, d.freshAt = true, now
	}
	return max(at, d.freshAt+gatherPause)
}

// Heed returns what a row of another node says that is to be believed: nothing of
// this node, self, if the two have just met, for the row may be from before.
func (d *Doubts) Heed(now time.Duration, self, by view.NodeID, row Row) Row {
	if at, ok := d.metAt[by]; !ok || now-at > metGrace {
		return row
	}
	row.Unreachable = slices.DeleteFunc(slices.Clone(row.Unreachable), func(id view.NodeID) bool { return id == self })
	return row
}
