package partition

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/golden"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

func TestJSONOfStatus(t *testing.T) {
	ids, at := []view.NodeID{1<<63 + 1, 2}, time.Date(2026, 11, 30, 5, 0, 0, 0, time.UTC)
	l := Leadership{Election: Election{Name: "line", Scope: ScopeMajority}, Token: token.Token{Term: 1<<63 + 1, Node: 2}, Here: true, Problem: "no voters", Candidates: []Candidate{{Node: 2, Preference: 1<<32 - 1}}}
	golden.CheckJSON(t, "status", Status{
		Node: 1<<63 + 1, Component: ids, Members: 5, Storing: 4, Reached: 3, Situation: PartitionSuspected, Since: at, Lost: ids, Unmet: ids,
		Evidence: []string{"three at once"}, Verdicts: []Verdict{{Node: 2, Cause: WasCut, At: at, Outage: time.Minute}},
		Leader: l, Elections: []Leadership{l}, Voters: ids, Cloud: CloudReachable, Mode: Minority, ModeSince: at,
		Merges: []Merge{{At: at, Met: ids, Text: "merged"}},
		Scores: map[view.NodeID]uint64{1<<63 + 1: 4096, 2: 77},
	})
	golden.CheckJSON(t, "resources", Resources{
		Node: 1<<63 + 1, Score: 4096, CPU: 4000, FreeCPU: 1500, Memory: 1 << 31, FreeMemory: 1 << 30, Storage: 1 << 36, FreeStorage: 1 << 35,
		Mains: true, Battery: 80, Uptime: time.Hour,
	})
}

func TestWordsAreReadBack(t *testing.T) {
	for m := Normal; m <= Alone; m++ {
		var got Mode
		if got.UnmarshalText([]byte(m.String())) != nil || got != m {
			t.Errorf("%v is read as %v", m, got)
		}
	}
	for c := CloudUnknown; c <= CloudUnreachable; c++ {
		var got Cloud
		if got.UnmarshalText([]byte(c.String())) != nil || got != c {
			t.Errorf("%v is read as %v", c, got)
		}
	}
	for s := Whole; s <= PartitionSuspected; s++ {
		var got Situation
		if got.UnmarshalText([]byte(s.String())) != nil || got != s {
			t.Errorf("%v is read as %v", s, got)
		}
	}
	for c := Unsure; c <= WasRestarted; c++ {
		var got Cause
		if got.UnmarshalText([]byte(c.String())) != nil || got != c {
			t.Errorf("%v is read as %v", c, got)
		}
	}
	if err := new(Mode).UnmarshalText([]byte("majority")); err == nil {
		t.Error("the word of a scope is read as a mode")
	}
}
