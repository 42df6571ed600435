package split

import (
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// scene is one step of a watcher of node 1 that looks at node 2; node 3 is alive.
type scene struct {
	at   float64 // seconds
	see  byte    // as in nodes
	boot uint64
	life Life // last report
}

func said(boot uint64, uptime, at float64) Life {
	return Life{Boot: boot, Uptime: seconds(uptime), At: seconds(at)}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func TestVerdict(t *testing.T) {
	before := scene{0, 'a', 1, said(1, 1000, 0)}
	lost := scene{100, 'f', 1, before.life}
	none := Life{}
	for _, c := range []struct {
		name   string
		scenes []scene
		want   []Verdict // Node left out
	}{
		{"cut off", []scene{before, lost, {150, 'a', 1, said(1, 1150, 150)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"restarted, by the view", []scene{before, lost, {150, 'a', 2, before.life}}, []Verdict{{0, WasRestarted, seconds(100), seconds(50)}}},
		{"restarted, by the report", []scene{before, lost, {150, 'a', 1, said(2, 10, 150)}}, []Verdict{{0, WasRestarted, seconds(100), seconds(50)}}},
		{"restarted, a report that came before it was found back", []scene{before, lost, {150, 'a', 1, said(2, 10, 120)}}, []Verdict{{0, WasRestarted, seconds(100), seconds(50)}}},
		{"the hello comes just before the step", []scene{before, lost, {150, 'a', 1, said(1, 1149.9, 149.9)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"the boot comes just after the step", []scene{before, lost, {150, 'a', 1, before.life}, {150.2, 'a', 2, before.life}}, []Verdict{{0, WasRestarted, seconds(100), seconds(50)}}},
		{"the report of before proves nothing", []scene{before, lost, {150, 'a', 1, before.life}, {209, 'a', 1, before.life}}, nil},
		{"a report from within the outage proves nothing", []scene{before, lost, {150, 'a', 1, said(1, 1140, 150)}}, nil},
		{"nor does an old one that came late", []scene{before, lost, {150, 'a', 1, before.life}, {155, 'a', 1, said(1, 1090, 155)}}, nil},
		{"the report comes later", []scene{before, lost, {150, 'a', 1, before.life}, {170, 'a', 1, said(1, 1170, 170)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"no report ever", []scene{before, lost, {150, 'a', 1, before.life}, {210, 'a', 1, before.life}}, []Verdict{{0, Unsure, seconds(100), seconds(50)}}},
		{"a machine suspended for a moment looks cut off", []scene{before, lost, {150, 'a', 1, said(1, 1100, 150)}, {210, 'a', 1, said(1, 1160, 210)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"a machine suspended for long is neither", []scene{before, lost, {900, 'a', 1, said(1, 1100, 900)}, {960, 'a', 1, said(1, 1160, 960)}}, []Verdict{{0, Unsure, seconds(100), seconds(800)}}},
		{"and judged anew the next time", []scene{before, lost, {900, 'a', 1, said(1, 1100, 900)}, {960, 'a', 1, said(1, 1160, 960)}, {970, 'f', 1, said(1, 1160, 960)}, {980, 'a', 1, said(1, 1180, 980)}},
			[]Verdict{{0, Unsure, seconds(100), seconds(800)}, {0, WasCut, seconds(970), seconds(10)}}},
		{"clocks drift over a month", []scene{before, lost, {2_600_000, 'a', 1, said(1, 2_600_000, 2_600_000)}}, []Verdict{{0, WasCut, seconds(100), seconds(2_599_900)}}},
		{"no report before the loss", []scene{{0, 'a', 1, none}, {100, 'f', 1, none}, {150, 'a', 1, said(1, 51, 150)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"no report before the loss, one of less than the outage", []scene{{0, 'a', 1, none}, {100, 'f', 1, none}, {150, 'a', 1, said(1, 49, 150)}}, nil},
		{"no report before the loss, one that came late", []scene{{0, 'a', 1, none}, {100, 'f', 1, none}, {101, 'f', 1, said(1, 1100, 101)}, {150, 'a', 1, said(1, 1100, 101)}}, nil},
		{"a report of an earlier process before the loss", []scene{{0, 'a', 2, said(1, 1000, 0)}, lost, {150, 'a', 2, said(2, 120, 150)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"no boot known before the loss", []scene{{0, 'a', 0, none}, {100, 'f', 0, none}, {150, 'a', 2, said(2, 10, 150)}}, []Verdict{{0, Unsure, seconds(100), seconds(50)}}},
		{"the boot known from a report", []scene{{0, 'a', 0, said(1, 1000, 0)}, lost, {150, 'a', 1, said(1, 1150, 150)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"the boot heard of while it is lost", []scene{before, lost, {120, 'f', 2, before.life}, {150, 'a', 2, before.life}}, []Verdict{{0, WasRestarted, seconds(100), seconds(50)}}},
		{"a restart that went unnoticed before", []scene{before, {50, 'a', 2, before.life}, {100, 'f', 2, before.life}, {150, 'a', 2, said(2, 120, 150)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"a restart heard of with the loss", []scene{before, {100, 'f', 2, before.life}, {150, 'a', 2, said(2, 120, 150)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"restarted after it was back", []scene{before, lost, {150, 'a', 1, before.life}, {170, 'a', 2, before.life}, {171, 'a', 2, said(2, 5, 171)}}, nil},
		{"and no proof that it was cut off comes", []scene{before, lost, {150, 'a', 1, before.life}, {170, 'a', 2, said(2, 4, 170)}, {210, 'a', 2, said(2, 44, 210)}}, []Verdict{{0, Unsure, seconds(100), seconds(50)}}},
		{"restarted after it was back, no report before", []scene{{0, 'a', 1, none}, {100, 'f', 1, none}, {110, 'a', 1, none}, {140, 'a', 1, said(2, 20, 140)}}, nil},
		{"a report of a process before the last", []scene{{0, 'a', 2, none}, {100, 'f', 2, none}, {150, 'a', 2, said(1, 1000, 150)}}, nil},
		{"after it was back, but its word was there", []scene{before, lost, {150, 'a', 1, before.life}, {170, 'a', 2, said(1, 1160, 160)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"lost again before the verdict", []scene{before, lost, {150, 'a', 1, before.life}, {160, 'f', 1, before.life}, {180, 'a', 1, said(1, 1180, 180)}}, []Verdict{{0, WasCut, seconds(100), seconds(80)}}},
		{"lost again after the verdict", []scene{before, lost, {150, 'a', 1, said(1, 1150, 150)}, {160, 'f', 1, said(1, 1150, 150)}, {180, 'a', 2, said(2, 5, 180)}},
			[]Verdict{{0, WasCut, seconds(100), seconds(50)}, {0, WasRestarted, seconds(160), seconds(20)}}},
		{"back by relays", []scene{before, lost, {150, 's', 1, before.life}, {160, 's', 1, said(1, 1160, 160)}}, []Verdict{{0, WasCut, seconds(100), seconds(50)}}},
		{"seemingly back, then restarted", []scene{before, lost, {150, 's', 1, before.life}, {160, 'a', 2, said(2, 5, 160)}}, []Verdict{{0, WasRestarted, seconds(100), seconds(60)}}},
		{"seemingly back, then restarted and back by relays", []scene{before, lost, {150, 's', 1, before.life}, {160, 's', 1, said(2, 5, 160)}}, []Verdict{{0, WasRestarted, seconds(100), seconds(60)}}},
		{"back by relays, then in contact", []scene{before, lost, {150, 's', 1, before.life}, {160, 'a', 1, said(1, 1155, 160)}}, nil},
		{"evicted while lost", []scene{before, lost, {150, 'g', 1, before.life}}, nil},
		{"never lost", []scene{before, {100, 'a', 2, said(2, 3, 100)}}, nil},
		{"first seen after a loss of others", []scene{{0, 'f', 0, none}, {150, 'a', 1, said(1, 3, 150)}}, nil},
	} {
		w := New(tenSeconds)
		var got []Verdict
		for _, s := range c.scenes {
			v := nodes("m" + string(s.see) + "a")
			v.Members[1].Boot = s.boot
			for _, ch := range w.Step(seconds(s.at), v, nil, map[view.NodeID]Life{2: s.life}) {
				if ch.Kind == VerdictReached {
					got = append(got, ch.Verdict)
				}
			}
		}
		for i := range got {
			if got[i].Node != 2 {
				t.Errorf("%s: a verdict on %v", c.name, got[i].Node)
			}
			got[i].Node = 0
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestNextIsTheEndOfTheWait(t *testing.T) {
	w := watch("", look{0, "maa"}, look{10, "mff"}, look{20, "maf"}, look{30, "maa"})
	if got := w.Next(); got != at(80) {
		t.Fatalf("next at %v", got)
	}
	if got := w.Step(at(80)-1, nodes("maa"), nil, nil); got != nil {
		t.Errorf("before its time: %+v", got)
	}
	got := w.Step(at(80), nodes("maa"), nil, nil)
	if len(got) != 1 || got[0].Verdict != (Verdict{Node: 2, Kind: Unsure, Since: at(10), Outage: at(10)}) || w.Next() != at(90) {
		t.Errorf("%+v, next %v", got, w.Next())
	}
	if w.Step(at(85), nodes("maf"), nil, nil); w.Next() != Never {
		t.Errorf("lost again, next %v", w.Next())
	}
}

// Situation first, then verdicts by node.
func TestOrderOfChanges(t *testing.T) {
	w := watch("", look{0, "maaa"}, look{10, "mfff"})
	v := nodes("maaa")
	for i := range v.Members {
		v.Members[i].Boot = 2
	}
	got := w.Step(at(20), v, nil, nil)
	if len(got) != 4 || got[0].Kind != SituationChanged || got[1].Verdict.Node != 2 || got[2].Verdict.Node != 3 || got[3].Verdict.Node != 4 {
		t.Errorf("%+v", got)
	}
}
