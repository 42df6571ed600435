package view

import (
	"net/netip"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/golden"
)

func TestJSONOfViews(t *testing.T) {
	named := []Named{{ID: 1<<63 + 1, Name: "press-1"}}
	problem := Problem{
		Kind: ProblemFewCopies, Nodes: named, Cut: named, Silent: named, By: named, Where: []string{"10.0.0.7:7800"},
		Shards: 1, Count: 2, Of: 3, Bytes: 4, For: time.Minute, Text: "no such host",
	}
	member := Member{
		ID: 1<<63 + 1, Name: "press-1", Zone: "line-a", Addr: netip.MustParseAddrPort("10.0.0.7:7800"), Weight: 2, Storing: true,
		Status: Leaving, State: Suspect, Boot: 3, Since: time.Date(2026, 11, 30, 5, 0, 0, 0, time.UTC), RTT: time.Millisecond, Unreachable: true,
		Tags: map[string]string{"line": "3"}, Capabilities: []string{"plc"},
	}
	golden.CheckJSON(t, "view", View{
		Mesh: MeshID{1, 2, 3}, Self: 1<<63 + 1, Version: 7, Roster: 1<<63 + 2, Storing: [16]byte{4, 5}, Members: []Member{member}, Problems: []Problem{problem},
	})
	golden.CheckJSON(t, "witnesses", Witnesses{Need: 3, Asked: 4, Failed: 2, Reached: 1, By: []NodeID{1 << 63}, Confirmed: true})
}

func TestStatesAreReadFromTheirWords(t *testing.T) {
	for s := Unknown; s <= Departed; s++ {
		var got State
		if text, err := s.MarshalText(); err != nil || got.UnmarshalText(text) != nil || got != s {
			t.Errorf("%v is read as %v", s, got)
		}
	}
	for s := Joining; s <= Evicted; s++ {
		var got Status
		if text, err := s.MarshalText(); err != nil || got.UnmarshalText(text) != nil || got != s {
			t.Errorf("%v is read as %v", s, got)
		}
	}
	if new(State).UnmarshalText([]byte("well")) == nil || new(Status).UnmarshalText([]byte("status(7)")) == nil {
		t.Error("words that are none are read")
	}
}
