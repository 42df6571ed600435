package split

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

// nodes makes a view of node 1 of a mesh: a letter for each node gives what it is
// seen as: me, alive, suspect, failed, unknown, gone. They are named a, b, c...
func nodes(letters string) view.View { return seenBy(1, letters) }

func seenBy(self view.NodeID, letters string) view.View {
	v := view.View{Self: self}
	states := map[rune]view.State{'m': view.Alive, 'a': view.Alive, 's': view.Suspect, 'f': view.Failed, 'u': view.Unknown, 'g': view.Alive}
	for i, l := range letters {
		m := view.Member{ID: view.NodeID(i + 1), Name: string(rune('a' + i%26)), Status: view.Active, State: states[l], Boot: 1}
		if l == 'g' {
			m.Status = view.Evicted
		}
		v.Members = append(v.Members, m)
	}
	return v
}

func ids(list ...view.NodeID) []view.NodeID { return list }

func span(from, to view.NodeID) (list []view.NodeID) {
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

func lists(list ...view.NodeID) Row { return NewRow(list) }

func TestNewRow(t *testing.T) {
	given := ids(3, 1, 3, 2)
	row := NewRow(given)
	if !reflect.DeepEqual(row, Row{Unreachable: ids(1, 2, 3)}) || !slices.Equal(given, ids(3, 1, 3, 2)) {
		t.Errorf("row %+v of %v", row, given)
	}
	if row := NewRow(ids()); !reflect.DeepEqual(row, Row{}) {
		t.Errorf("row without exceptions: %+v", row)
	}
	if row := NewRow(append(span(1, MaxExceptions), 1)); row.Isolated || len(row.Unreachable) != MaxExceptions {
		t.Errorf("row of %d exceptions: %+v", MaxExceptions, row)
	}
	if row := NewRow(span(1, MaxExceptions+1)); !reflect.DeepEqual(row, Row{Isolated: true}) {
		t.Errorf("row of %d exceptions: %+v", MaxExceptions+1, row)
	}
}

func TestComponent(t *testing.T) {
	isolated := Row{Isolated: true}
	for _, c := range []struct {
		name string
		view view.View
		rows Rows
		want []view.NodeID
	}{
		{"all alive", nodes("maaa"), nil, ids(1, 2, 3, 4)},
		{"alone", nodes("mfff"), nil, ids(1)},
		{"failed, unknown and gone are outside", nodes("mafug"), nil, ids(1, 2)},
		{"gone and suspect is outside", nodes("mag"), Rows{2: lists(1)}, ids(1)},
		{"self need not be in the middle", seenBy(3, "asma"), nil, ids(1, 2, 3, 4)},
		{"suspect, but others reach it", nodes("mas"), nil, ids(1, 2, 3)},
		{"suspect, and there is no other", nodes("mff" + "s"), nil, ids(1)},
		{"suspect, and all others do not reach it", nodes("maas"), Rows{2: lists(4), 3: lists(4)}, ids(1, 2, 3)},
		{"suspect, and it says it reaches no other", nodes("maas"), Rows{4: lists(2, 3)}, ids(1, 2, 3)},
		{"one of the others reaches it", nodes("maas"), Rows{2: lists(4)}, ids(1, 2, 3, 4)},
		{"two suspects that reach each other only", nodes("mass"), Rows{2: lists(3, 4)}, ids(1, 2)},
		{"a chain of relays", nodes("mass"), Rows{2: lists(4), 3: lists(1), 4: lists(1, 2)}, ids(1, 2, 3, 4)},
		{"alive, but it says it does not reach us", nodes("ma"), Rows{2: lists(1)}, ids(1)},
		{"what it says of others does not matter", nodes("maa"), Rows{2: lists(3)}, ids(1, 2, 3)},
		{"the view is newer than the own row", nodes("ma"), Rows{1: lists(2)}, ids(1, 2)},
		{"the own row isolated", nodes("maa"), Rows{1: isolated}, ids(1, 2, 3)},
		{"isolated, but seen from here", nodes("maa"), Rows{2: isolated}, ids(1, 2, 3)},
		{"isolated, and others do not list it", nodes("mas"), Rows{3: isolated}, ids(1, 2, 3)},
		{"isolated, and all others list it", nodes("maas"), Rows{2: lists(4), 3: lists(4), 4: isolated}, ids(1, 2, 3)},
		{"nobody is left to ask between two isolated", nodes("mas"), Rows{2: isolated, 3: isolated}, ids(1, 2)},
		{"a view without its node", view.View{Self: 9, Members: nodes("aa").Members}, nil, ids(9)},
		{"an empty view", view.View{Self: 9}, nil, ids(9)},
	} {
		if got := Component(c.view, c.rows); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A hears B, and B does not hear A: no request gets an answer either way, for
// both C must relay. Nobody is lost, so there is nothing to elect or to move.
func TestF2_09_OneWayLink_Split(t *testing.T) {
	// A has missed B and says so; B has not tried A, gossip says it lives.
	rows := Rows{1: lists(2)}
	views := map[view.NodeID]view.View{1: seenBy(1, "msa"), 2: seenBy(2, "ama"), 3: seenBy(3, "aam")}
	for self, v := range views {
		if got := Component(v, rows); !slices.Equal(got, ids(1, 2, 3)) {
			t.Errorf("%v sees %v", self, got)
		}
		if got := Links(v, rows); !slices.Equal(got, []Link{{A: 1, B: 2, FromA: true}}) {
			t.Errorf("%v sees in doubt %v", self, got)
		}
		w := New(Params{})
		w.Step(0, v, nil, nil)
		w.Step(at(1), v, rows, nil)
		if s := w.Situation(); s.Kind != Whole || s.Lost != nil || !slices.Equal(s.Evidence, []string{"a and b reach each other through c only"}) {
			t.Errorf("%v: %+v", self, s)
		}
	}
	// Without C, A and B are apart, though gossip of A still comes to B.
	if got := Component(seenBy(2, "smf"), rows); !slices.Equal(got, ids(2)) {
		t.Errorf("2 sees %v", got)
	}
	if got := Component(seenBy(1, "msf"), nil); !slices.Equal(got, ids(1)) {
		t.Errorf("1 sees %v", got)
	}
}

// Two sides that one node reaches are one component, as long as it is there,
// also where they are too many for rows.
func TestBridge(t *testing.T) {
	for _, n := range []int{3, MaxExceptions - 1, MaxExceptions + 10} {
		bridge := view.NodeID(2*n + 1)
		rows := Rows{}
		for i := range view.NodeID(n) {
			rows[i+1], rows[i+1+view.NodeID(n)] = NewRow(span(view.NodeID(n)+1, bridge-1)), NewRow(span(1, view.NodeID(n)))
		}
		left := strings.Repeat("a", n-1) + strings.Repeat("s", n)
		everybody := span(1, bridge)
		if got := Component(seenBy(1, "m"+left+"a"), rows); !slices.Equal(got, everybody) {
			t.Errorf("%d to a side: with the bridge %d are reached, want all", n, len(got))
		}
		if got := Component(seenBy(bridge, strings.Repeat("a", 2*n)+"m"), rows); !slices.Equal(got, everybody) {
			t.Errorf("%d to a side: the bridge reaches %d, want all", n, len(got))
		}
		if got := Component(seenBy(1, "m"+left+"f"), rows); !slices.Equal(got, span(1, view.NodeID(n))) {
			t.Errorf("%d to a side: without the bridge %v", n, got)
		}
	}
}

func TestComponents(t *testing.T) {
	for _, c := range []struct {
		letters string
		rows    Rows
		want    [][]view.NodeID
	}{
		{"maa", nil, [][]view.NodeID{{1, 2, 3}}},
		{"mafugs", Rows{2: lists(6)}, [][]view.NodeID{{1, 2}, {3, 4, 6}}},
	} {
		if got := Components(nodes(c.letters), c.rows); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.letters, got, c.want)
		}
	}
}

func TestLinks(t *testing.T) {
	rows := Rows{
		1: lists(2), // the view says otherwise
		2: lists(4, 5),
		3: lists(1, 3, 99),
		4: lists(2, 6),
		5: {Isolated: true},
		6: lists(1),
	}
	want := []Link{
		{A: 1, B: 3, FromB: true},
		{A: 1, B: 4, FromA: true},
		{A: 2, B: 4, FromA: true, FromB: true},
		{A: 2, B: 5, FromA: true},
	}
	if got := Links(nodes("maasaf"), rows); !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}
