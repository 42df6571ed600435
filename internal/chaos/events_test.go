package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

func tok(term uint64, node view.NodeID) token.Token { return token.Token{Term: term, Node: node} }

func TestSpans(t *testing.T) {
	one, two := tok(1, 7).String(), tok(2, 7).String()
	events := []Event{
		{At: 1, Kind: Begin, Token: one}, {At: 2, Kind: Act, Token: one}, {At: 3, Kind: End, Token: one}, {At: 4, Kind: Died},
		{At: 5, Kind: Begin, Token: two}, {At: 6, Kind: Died}, {At: 7, Kind: Begin, Token: one},
	}
	spans, err := Spans("n1", events)
	want := []Span{{"n1", tok(1, 7), 1, 3}, {"n1", tok(2, 7), 5, 6}, {"n1", tok(1, 7), 7, Open}}
	if err != nil || !slices.Equal(spans, want) {
		t.Errorf("%v, %v; want %v", spans, err, want)
	}
	for _, wrong := range [][]Event{
		{{Kind: Begin, Token: "1"}},
		{{Kind: End, Token: one}},
		{{Kind: Begin, Token: one}, {Kind: Begin, Token: two}},
		{{Kind: Begin, Token: one}, {Kind: Act, Token: two}},
		{{Kind: Begin, Token: one}, {Kind: "what", Token: two}},
	} {
		if spans, err := Spans("n1", wrong); err == nil {
			t.Errorf("%v reads as %v", wrong, spans)
		}
	}
}

func TestOverlapsAreFound(t *testing.T) {
	for _, c := range []struct {
		spans  []Span
		faults int
	}{
		{nil, 0},
		{[]Span{{"a", tok(1, 1), 0, 9}, {"b", tok(2, 2), 10, 19}, {"a", tok(3, 1), 20, Open}}, 0},
		{[]Span{{"a", tok(3, 1), 20, Open}, {"a", tok(1, 1), 0, 9}, {"b", tok(2, 2), 10, 19}}, 0},
		{[]Span{{"a", tok(1, 1), 0, 10}, {"b", tok(2, 2), 10, Open}}, 1},
		{[]Span{{"a", tok(1, 1), 0, Open}, {"b", tok(2, 2), 10, 19}, {"b", tok(3, 2), 30, 40}}, 2},
		{[]Span{{"a", tok(2, 1), 0, 9}, {"b", tok(2, 1), 10, 19}}, 1},
		{[]Span{{"a", tok(3, 1), 0, 9}, {"b", tok(1, 2), 10, 19}, {"c", tok(2, 3), 20, 29}}, 2},
	} {
		if faults := Overlaps(c.spans); len(faults) != c.faults {
			t.Errorf("of %v: %q, want %d", c.spans, faults, c.faults)
		}
	}
}

func TestRefusedAreTheLate(t *testing.T) {
	one, two := tok(1, 7).String(), tok(2, 3).String()
	late := Event{At: 5, Kind: Act, Token: one}
	refused, err := Refused([]Event{
		{At: 1, Kind: Begin, Token: one}, {At: 2, Kind: Act, Token: one}, late,
		{At: 3, Kind: Begin, Token: two}, {At: 4, Kind: Died}, {At: 6, Kind: Act, Token: two},
	})
	if err != nil || !slices.Equal(refused, []Event{late}) {
		t.Errorf("%v, %v; want %v", refused, err, late)
	}
	if _, err := Refused([]Event{{Kind: Act, Token: "none"}}); err == nil {
		t.Error("what is no token is let pass")
	}
}

func TestTwoLeadIsFound(t *testing.T) {
	both := []string{"a", "b"}
	lead := func(at int64, node string, here bool, alive ...string) State {
		return State{AtMS: at, Node: node, Here: here, Alive: alive}
	}
	for i, c := range []struct {
		a, b   []State
		faults int
	}{
		{nil, nil, 0},
		// They meet at 200, and a yields at 1100 or later.
		{[]State{lead(0, "a", true, "a"), lead(100, "a", true, both...), lead(1100, "a", false, both...)}, []State{lead(0, "b", true, "b"), lead(200, "b", true, both...)}, 0},
		{[]State{lead(0, "a", true, "a"), lead(100, "a", true, both...), lead(1300, "a", false, both...)}, []State{lead(0, "b", true, "b"), lead(200, "b", true, both...)}, 1},
		// They part in between.
		{[]State{lead(0, "a", true, both...), lead(900, "a", true, "a"), lead(950, "a", true, both...), lead(1800, "a", false, both...)}, []State{lead(0, "b", true, both...)}, 0},
		// One does not see the other.
		{[]State{lead(0, "a", true, both...), lead(5000, "a", false, both...)}, []State{lead(0, "b", true, "b")}, 0},
		// One after the other.
		{[]State{lead(0, "a", true, both...), lead(3000, "a", false, both...)}, []State{lead(0, "b", false, both...), lead(3001, "b", true, both...), lead(4000, "b", false, both...)}, 0},
	} {
		if faults := TwoLead([][]State{c.a, c.b}, time.Second); len(faults) != c.faults {
			t.Errorf("%d: %q, want %d", i, faults, c.faults)
		}
	}
	if n := Leaderships([]State{{Here: true}, {Here: true}, {}, {Here: true}}); n != 2 {
		t.Errorf("%d leaderships, want 2", n)
	}
}
