package wire

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

func adminPartitionSamples() []sample {
	look := AdminLook{Image: true}
	e, at := Election{Name: "mesh"}, time.UnixMilli(1<<41).UTC()
	led := AdminLeadership{Election: e, Token: token.Token{Term: 70000, Node: 9}, Here: true}
	full := AdminPartition{
		Node: 9, Component: []view.NodeID{9, 1 << 63}, Members: 5, Storing: 4, Reached: 2,
		Situation: 2, Since: at, Lost: []view.NodeID{3, 4}, Unmet: []view.NodeID{7}, Evidence: []string{"zone b lost", "2 of 5 lost"},
		Verdicts: []AdminVerdict{{Node: 3, Cause: 1, At: at, Outage: 90 * time.Second}}, Leader: led,
		Elections: []AdminLeadership{led, {Election: Election{Name: "plc", Scope: 1}}}, Voters: []view.NodeID{3, 4, 9},
		Cloud: 2, Mode: 3, ModeSince: time.UnixMilli(-5).UTC(), Merges: []AdminMerge{{At: at, Met: []view.NodeID{3}, Text: "one item"}},
		Text: "mesh\n", Image: []byte("<svg/>"),
	}
	bare := AdminPartition{Node: 1, Since: time.Time{}, ModeSince: time.Time{}, Leader: AdminLeadership{Election: e}, Image: []byte{}}
	told := full
	told.Problems, told.Leader.Problem, told.Elections = true, "its disk is full", []AdminLeadership{{Election: e, Problem: "no voters are known"}}
	both := AdminLook{Image: true, Problems: true}
	all, scored := told, AdminLook{Problems: true, Scored: true}
	all.Scored, all.Scores = true, []AdminScore{{Node: 3, Score: 77}, {Node: 1 << 63, Score: 1 << 40}}
	stood, stands := all, AdminLook{Problems: true, Scored: true, Stands: true}
	stood.Stands, stood.Elections = true, []AdminLeadership{{Election: e, Stands: []AdminCandidate{{Node: 3, Preference: 1<<32 - 1}, {Node: 1 << 63}}}}
	return []sample{
		{"look-stands", AppendAdminLook(nil, stands), stands, as(DecodeAdminLook)},
		{"partition-stands", AppendAdminPartition(nil, &stood), stood, as(DecodeAdminPartition)},
		{"look-scored", AppendAdminLook(nil, scored), scored, as(DecodeAdminLook)},
		{"partition-scored", AppendAdminPartition(nil, &all), all, as(DecodeAdminPartition)},
		{"look-problems", AppendAdminLook(nil, both), both, as(DecodeAdminLook)},
		{"partition-problems", AppendAdminPartition(nil, &told), told, as(DecodeAdminPartition)},
		{"look", AppendAdminLook(nil, look), look, as(DecodeAdminLook)},
		{"partition", AppendAdminPartition(nil, &full), full, as(DecodeAdminPartition)},
		{"partition-bare", AppendAdminPartition(nil, &bare), bare, as(DecodeAdminPartition)},
	}
}

func TestAdminPartitionRefusesWhatCannotBe(t *testing.T) {
	e := AdminLeadership{Election: Election{Name: "mesh"}}
	verdicts := slices.Repeat([]AdminVerdict{{Node: 1}}, maxAdminReports+1)
	for name, bad := range map[string]AdminPartition{
		"no node":                  {Leader: e},
		"a leader of nothing":      {Node: 1},
		"half a token":             {Node: 1, Leader: AdminLeadership{Election: e.Election, Token: token.Token{Term: 1}}},
		"nobody in the component":  {Node: 1, Leader: e, Component: []view.NodeID{0}},
		"too many verdicts":        {Node: 1, Leader: e, Verdicts: verdicts},
		"more members than may be": {Node: 1, Leader: e, Members: MaxMembers + 1},
		"an endless drawing":       {Node: 1, Leader: e, Text: strings.Repeat("x", maxAdminDrawing+1)},
	} {
		if _, err := DecodeAdminPartition(AppendAdminPartition(nil, &bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeAdminLook(f *testing.F) {
	fuzzAdmin(f, "look", DecodeAdminLook, func(m *AdminLook) []byte { return AppendAdminLook(nil, *m) })
}

func FuzzDecodeAdminPartition(f *testing.F) {
	fuzzAdmin(f, "partition", DecodeAdminPartition, func(m *AdminPartition) []byte { return AppendAdminPartition(nil, m) })
}
