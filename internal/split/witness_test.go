package split

import (
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestWitnesses(t *testing.T) {
	for alive, want := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 2, 3: 3, 4: 3, 1555: 3} {
		if got := Witnesses(alive); got != want {
			t.Errorf("of %d alive %d, want %d", alive, got, want)
		}
	}
}

func TestEnough(t *testing.T) {
	type word struct {
		by      view.NodeID
		reached bool
	}
	for _, c := range []struct {
		name  string
		words []word
		alive int
		want  bool
	}{
		{"nobody asked", nil, 0, false},
		{"nobody answered", nil, 5, false},
		{"alone", []word{{1, false}}, 1, true},
		{"one of two", []word{{1, false}}, 2, false},
		{"both of two", []word{{1, false}, {2, false}}, 2, true},
		{"two of many", []word{{1, false}, {2, false}}, 9, false},
		{"three of many", []word{{1, false}, {2, false}, {3, false}}, 9, true},
		{"one that says it thrice", []word{{1, false}, {1, false}, {1, false}}, 9, false},
		{"one that reaches it", []word{{1, false}, {2, false}, {3, false}, {4, false}, {5, true}}, 9, false},
		{"one that reached it and then did not", []word{{1, true}, {1, false}, {2, false}, {3, false}}, 9, false},
	} {
		var tally Tally
		for _, w := range c.words {
			tally.Add(w.by, w.reached)
		}
		if got := Enough(tally, c.alive); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
