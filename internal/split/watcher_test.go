package split

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

var tenSeconds = Params{Window: at(10), VerdictWait: at(60)}

// look is one step of a watcher.
type look struct {
	at      int
	letters string
}

// watch lets a watcher of node 1 see one thing after the other.
func watch(zones string, looks ...look) *Watcher {
	w := New(tenSeconds)
	for _, l := range looks {
		w.Step(at(l.at), zoned(zones, l.letters), nil, nil)
	}
	return w
}

// zoned makes a view like nodes; a letter for each node names its zone, a dash
// is no zone.
func zoned(zones, letters string) view.View {
	v := nodes(letters)
	for i, z := range zones {
		if z != '-' {
			v.Members[i].Zone = string(z)
		}
	}
	return v
}

func TestSituation(t *testing.T) {
	for _, c := range []struct {
		name, zones string
		looks       []look
		kind        Kind
		evidence    string
	}{
		{"all well", "", []look{{0, "maaaa"}}, Whole, ""},
		{"one is down", "", []look{{0, "maaaa"}, {5, "maaaf"}}, MembersDown, "1 of 5 members is lost"},
		{"the only other is down", "", []look{{0, "ma"}, {5, "mf"}}, MembersDown, "1 of 2 members is lost"},
		{"two of five at once", "", []look{{0, "maaaa"}, {5, "maaff"}}, PartitionSuspected, "2 of 5 members were lost within 1s"},
		{"three of five in four seconds", "", []look{{0, "maaaa"}, {5, "maaaf"}, {7, "maaff"}, {9, "mafff"}}, PartitionSuspected, "3 of 5 members were lost within 4s"},
		{"the window is inclusive", "", []look{{0, "maaaa"}, {5, "maaaf"}, {15, "maaff"}}, PartitionSuspected, "2 of 5 members were lost within 10s"},
		{"one after the other", "", []look{{0, "maaaa"}, {5, "maaaf"}, {16, "maaff"}}, MembersDown, "2 of 5 members are lost"},
		{"a pair among many losses", "", []look{{0, "maaaa"}, {5, "maaaf"}, {25, "maaff"}, {30, "mafff"}}, PartitionSuspected, "2 of 5 members were lost within 5s"},
		{"two of ten", "", []look{{0, "maaaaaaaaa"}, {5, "maaaaaaaff"}}, PartitionSuspected, "2 of 10 members were lost within 1s"},
		{"two of eleven", "", []look{{0, "maaaaaaaaaa"}, {5, "maaaaaaaaff"}}, MembersDown, "2 of 11 members are lost"},
		{"three of eleven", "", []look{{0, "maaaaaaaaaa"}, {5, "maaaaaaafff"}}, PartitionSuspected, "3 of 11 members were lost within 1s"},
		{"gone ones are no part of the roster", "", []look{{0, "maaaaaaaaag"}, {5, "maaaaaaaffg"}}, PartitionSuspected, "2 of 10 members were lost within 1s"},
		{"a zone, slowly", "xxxxxxxxxyy", []look{{0, "maaaaaaaaaa"}, {5, "maaaaaaaaaf"}, {90, "maaaaaaaaff"}}, PartitionSuspected, "all 2 members of zone y are lost, nobody else is"},
		{"a zone at once", "xxyyx", []look{{0, "maaaa"}, {5, "maffa"}}, PartitionSuspected, "2 of 5 members were lost within 1s; all 2 members of zone y are lost, nobody else is"},
		{"a zone in part", "xxxxxxxxyyy", []look{{0, "maaaaaaaaaa"}, {5, "maaaaaaaaff"}}, MembersDown, "2 of 11 members are lost"},
		{"a zone, and one that is down elsewhere", "xxxxxxxxxyy", []look{{0, "maaaaaaaaaa"}, {5, "mfaaaaaaaaa"}, {90, "mfaaaaaaaff"}}, PartitionSuspected, "all 2 members of zone y are lost"},
		{"two zones", "xxxxxxxxxxxxxxxxxyyzz", []look{{0, "maaaaaaaaaaaaaaaaaaaa"}, {5, "maaaaaaaaaaaaaaaaffff"}}, PartitionSuspected, "all 2 members of zone y are lost; all 2 members of zone z are lost, nobody else is"},
		{"a zone of one member", "xxxxy", []look{{0, "maaaa"}, {5, "maaaf"}}, MembersDown, "1 of 5 members is lost"},
		{"a zone of which one was met", "xxxyy", []look{{0, "maaau"}, {5, "maafu"}}, MembersDown, "1 of 5 members is lost"},
		{"a zone of which not all were met", "xxxxxxxxyyy", []look{{0, "maaaaaaaaau"}, {5, "maaaaaaaffu"}}, PartitionSuspected, "all 2 members of zone y that were met are lost, nobody else is"},
		{"no zone is no place", "xxxxxxxxx--", []look{{0, "maaaaaaaaaa"}, {5, "maaaaaaaaff"}}, MembersDown, "2 of 11 members are lost"},
		{"a zone that lost a member for good", "xxxxxxxxxyyy", []look{{0, "maaaaaaaaaag"}, {5, "maaaaaaaaffg"}}, PartitionSuspected, "all 2 members of zone y are lost, nobody else is"},
		{"cold start", "", []look{{0, "muuuu"}, {5, "muuff"}, {9, "mafff"}}, Whole, ""},
		{"suspect and reached by nobody", "", []look{{0, "maa"}, {5, "mfs"}}, PartitionSuspected, "2 of 3 members were lost within 1s"},
		{"suspect and reached by others", "", []look{{0, "maa"}, {5, "mas"}}, Whole, "a and c reach each other through b only"},
		{"met through others only", "", []look{{0, "mas"}, {5, "maf"}}, MembersDown, "1 of 3 members is lost"},
		{"all are back", "", []look{{0, "maaaa"}, {5, "mffff"}, {9, "maaaa"}}, Whole, ""},
		{"some are back", "", []look{{0, "maaaa"}, {5, "mafff"}, {90, "maaaf"}}, PartitionSuspected, "3 of 5 members were lost within 1s"},
		{"some are back, another goes", "", []look{{0, "maaaa"}, {5, "mafff"}, {70, "maaaf"}, {130, "maaaf"}, {190, "mafaf"}}, MembersDown, "2 of 5 members are lost"},
		{"more go with them", "", []look{{0, "maaaa"}, {5, "maaff"}, {9, "mafff"}}, PartitionSuspected, "3 of 5 members were lost within 4s"},
		{"the last of them is evicted", "", []look{{0, "maaaa"}, {5, "maaff"}, {9, "maagg"}}, Whole, ""},
	} {
		s := watch(c.zones, c.looks...).Situation()
		if got := strings.Join(s.Evidence, "; "); s.Kind != c.kind || got != c.evidence {
			t.Errorf("%s: %v: %s\nwant %v: %s", c.name, s.Kind, got, c.kind, c.evidence)
		}
	}
}

func TestColdStartLosesNobody(t *testing.T) {
	w := watch("", look{0, "muuu"}, look{5, "mafu"})
	if s := w.Situation(); s.Lost != nil || !slices.Equal(s.Unmet, ids(3, 4)) || len(w.metMembers) != 1 {
		t.Errorf("%+v", s)
	}
	w.Step(at(6), nodes("mafu"), nil, nil)
	w.Step(at(7), nodes("mfaf"), nil, nil)
	if s := w.Situation(); !slices.Equal(s.Lost, ids(2)) || !slices.Equal(s.Unmet, ids(4)) {
		t.Errorf("%+v", s)
	}
}

func TestChangesAreReportedOnce(t *testing.T) {
	w := New(tenSeconds)
	step := func(now int, letters string) []Change { return w.Step(at(now), nodes(letters), nil, nil) }
	if got := append(step(7, "maaau"), step(8, "maaaf")...); got != nil {
		t.Errorf("changes of a mesh that is well: %+v", got)
	}
	got := step(9, "mfaau")
	want := []Change{{Kind: SituationChanged, Situation: Situation{
		Kind: MembersDown, Lost: ids(2), Unmet: ids(5), Since: at(9), Evidence: []string{"1 of 5 members is lost"},
	}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := append(step(10, "mfaau"), step(5, "mfaau")...); got != nil {
		t.Errorf("nothing changed, yet %+v", got)
	}
	// Another lost, no other kind: since when it is so stays.
	if got := step(30, "mffau"); len(got) != 1 || got[0].Situation.Since != at(9) || !slices.Equal(got[0].Situation.Lost, ids(2, 3)) {
		t.Errorf("%+v", got)
	}
	// An earlier time counts as the latest.
	if got := step(20, "mfffu"); len(got) != 1 || got[0].Situation.Kind != PartitionSuspected || got[0].Situation.Since != at(30) {
		t.Errorf("%+v", got)
	}
}

func TestSituationOfTheStart(t *testing.T) {
	w := New(Params{})
	if w.Step(at(100), nodes("ma"), nil, nil); w.Situation().Since != at(100) || w.Next() != Never {
		t.Errorf("%+v, next %v", w.Situation(), w.Next())
	}
	if p := w.params; p.Window != 30*time.Second || p.VerdictWait != 2*time.Minute {
		t.Errorf("defaults %+v", p)
	}
}

func TestEvidenceOfBridges(t *testing.T) {
	for _, c := range []struct {
		name, letters string
		rows          Rows
		want          []string
	}{
		{"two relays", "maas", nil, nil},
		{"this node is the bridge", "maaaaaa", Rows{2: lists(4, 5, 6, 7), 3: lists(4, 5, 6, 7)}, []string{"(b c) and (d e f and 1 more) reach each other through a only"}},
		{"three sides", "maaa", Rows{2: lists(3, 4), 3: lists(4)}, []string{"b, c and d reach each other through a only"}},
		{"a chain", "mass", Rows{2: lists(4)}, []string{"a and (c d) reach each other through b only", "(a b) and d reach each other through c only"}},
		{"a long chain", "masssssss", Rows{
			2: NewRow(span(4, 9)), 3: NewRow(span(5, 9)), 4: NewRow(span(6, 9)), 5: NewRow(span(7, 9)), 6: NewRow(span(8, 9)), 7: lists(9),
		}, nil},
		{"far sides", "masfs", Rows{2: lists(3, 5)}, []string{}},
		{"isolated", "maaaa", Rows{2: {Isolated: true}, 3: lists(4)}, []string{"1 of 5 nodes in contact do not reach more than 64 others each"}},
	} {
		w := New(tenSeconds)
		w.Step(0, nodes(c.letters), c.rows, nil)
		got := w.Situation().Evidence
		if c.name == "a long chain" {
			if len(got) != maxBridges+1 || !strings.HasPrefix(got[maxBridges], "there are more") {
				t.Errorf("%s: %q", c.name, got)
			}
			continue
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		Whole.String(): "whole", MembersDown.String(): "members down", PartitionSuspected.String(): "partition suspected", Kind(9).String(): "situation(9)",
		Unsure.String(): "unsure", WasCut.String(): "was cut off", WasRestarted.String(): "was restarted", VerdictKind(9).String(): "verdict(9)",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := nameList(view.View{}, ids(255)); got != "00000000000000ff" {
		t.Errorf("a node without a name is called %s", got)
	}
}
