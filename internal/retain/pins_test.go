package retain

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Pins hold up what is to go for three days, however long they are there, and whoever puts them.
func TestPinsHoldForDays(t *testing.T) {
	// Of two that say what time it is the earlier one counts, the point of an hour ago.
	h := Holdings{Keep: map[string]Keep{"a": {For: day, Every: time.Hour}}, Own: noon, Tier: noon}
	for i := range 10 * 24 {
		h.Points = append(h.Points, Point{PointID: PointID{1, 1, uint64(i + 1)}, Policy: "a", Time: noon.Add(time.Duration(i-10*24) * time.Hour)})
	}
	last := func(pins ...Pin) (hours int, out Pruning) {
		h.Pins = pins
		out, err := Prune(h)
		if err != nil {
			t.Fatal(err)
		}
		return 10*24 - len(out.Delete), out
	}
	free, _ := last()
	if free < 24 || free > 26 {
		t.Errorf("%d points stay without a pin", free)
	}
	for age, want := range map[time.Duration]int{0: 72, 24 * time.Hour: 72, 27 * time.Hour: 0, 52 * time.Hour: 0, -48 * time.Hour: 72, -50 * time.Hour: 0} {
		got, out := last(Pin{fmt.Sprint(age), noon.Add(-age)})
		if got-free != want || out.Held != (want > 0) {
			t.Errorf("a pin that was put %v ago holds %d points of %d, %v", age, got-free, want, out.Held)
		}
		if gone := age > 51*time.Hour || age < -49*time.Hour; slices.Contains(out.Unpin, fmt.Sprint(age)) != gone {
			t.Errorf("a pin that was put %v ago: %v", age, out.Unpin)
		}
	}
	if got, _ := last(Pin{"a", noon}, Pin{"b", noon.Add(-time.Hour)}); got-free != 72 {
		t.Errorf("two pins hold %d points", got-free)
	}
}

// A node that has left is held up as well, and what is kept for ever stays so.
func TestPinsHoldTheLost(t *testing.T) {
	h := Holdings{Keep: map[string]Keep{"b": {For: day, Lost: 10 * day}}, Own: noon, Tier: noon, Left: []view.NodeID{1, 2}}
	h.Points = []Point{{PointID: PointID{1, 1, 1}, Policy: "b", Time: noon.Add(-12 * day)}, {PointID: PointID{2, 2, 1}, Policy: "ever", Time: noon.Add(-100 * day)}}
	for gone, pins := range [][]Pin{{{"p", noon}}, nil} {
		h.Pins = pins
		if out, err := Prune(h); err != nil || len(out.Delete) != gone {
			t.Errorf("%d pins: %v, %v", len(h.Pins), out.Delete, err)
		}
	}
}
