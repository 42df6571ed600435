package split

import (
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// seenIn is node 1's view of others in given states; unreached ones are Suspect.
func seenIn(states map[view.NodeID]view.State) view.View {
	v := view.View{Self: 1, Members: []view.Member{{ID: 1, State: view.Alive, Status: view.Active}}}
	for id := view.NodeID(2); id <= 40; id++ {
		s, ok := states[id]
		if !ok {
			s = view.Alive
		}
		v.Members = append(v.Members, view.Member{ID: id, State: s, Status: view.Active, Unreachable: s == view.Suspect})
	}
	return v
}

func inState(state view.State, ids ...view.NodeID) map[view.NodeID]view.State {
	out := map[view.NodeID]view.State{}
	for _, id := range ids {
		out[id] = state
	}
	return out
}

// First doubts wait for others, longer rows follow soon, others keep their distance,
// and what is not so any more is taken back at once.
func TestRowsKeepTheirPace(t *testing.T) {
	d := NewDoubts(Params{Window: time.Minute})
	d.Step(0, seenIn(nil))
	const ms = time.Millisecond
	for i, s := range []struct {
		at         time.Duration
		unreached  []view.NodeID
		told, next time.Duration // how many the told row lists
	}{
		{10_000 * ms, []view.NodeID{2}, 0, 11_500 * ms},
		{10_500 * ms, []view.NodeID{2, 3}, 0, 11_500 * ms},
		{11_500 * ms, []view.NodeID{2, 3}, 2, Never},
		{12_000 * ms, []view.NodeID{2, 3, 4}, 2, 21_500 * ms},    // one more may wait
		{12_500 * ms, []view.NodeID{2, 3, 4, 5}, 2, 14_500 * ms}, // twice as many are told soon
		{14_500 * ms, []view.NodeID{2, 3, 4, 5}, 4, Never},
		{14_600 * ms, []view.NodeID{2, 3, 4}, 4, 15_500 * ms}, // taken back
		{15_500 * ms, []view.NodeID{2, 3, 4}, 3, Never},
	} {
		row, told, _ := d.Step(s.at, seenIn(inState(view.Suspect, s.unreached...)))
		if !slices.Equal(row.Unreachable, s.unreached) || len(told.Unreachable) != int(s.told) || d.Next() != s.next {
			t.Errorf("step %d: %v, told %v, next at %v, want %d and %v", i, row.Unreachable, told.Unreachable, d.Next(), s.told, s.next)
		}
	}
}

// Who was given up stays in the row for twice the window, unless it is back.
func TestRowsKeepThoseGivenUp(t *testing.T) {
	d := NewDoubts(Params{Window: time.Minute})
	d.Step(0, seenIn(nil))
	d.Step(time.Second, seenIn(inState(view.Failed, 7, 8)))
	if row, _, _ := d.Step(2*time.Minute, seenIn(inState(view.Failed, 7))); !slices.Equal(row.Unreachable, []view.NodeID{7}) {
		t.Errorf("one is back: %v", row)
	}
	if row, _, _ := d.Step(2*time.Minute+time.Second, seenIn(inState(view.Failed, 7))); len(row.Unreachable) > 0 {
		t.Errorf("long after: %v", row)
	}
}

// Who was just met may still say that it does not reach this node; soon it is heeded.
func TestRowsFromBeforeTheMeeting(t *testing.T) {
	d := NewDoubts(Params{})
	said := Row{Unreachable: []view.NodeID{1, 3}}
	if _, _, met := d.Step(0, seenIn(nil)); !met {
		t.Error("nobody was met")
	}
	if got := d.Heed(metGrace, 1, 2, said); !slices.Equal(got.Unreachable, []view.NodeID{3}) {
		t.Errorf("at the meeting: %v", got)
	}
	if _, _, met := d.Step(metGrace, seenIn(nil)); met {
		t.Error("met twice")
	}
	if got := d.Heed(metGrace+1, 1, 2, said); !slices.Equal(got.Unreachable, said.Unreachable) {
		t.Errorf("later: %v", got)
	}
	d.Step(time.Hour, seenIn(inState(view.Failed, 2)))
	if _, _, met := d.Step(2*time.Hour, seenIn(nil)); !met || len(d.Heed(2*time.Hour, 1, 2, said).Unreachable) != 1 {
		t.Errorf("met again: %t", met)
	}
}
