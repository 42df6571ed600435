package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
)

func testEvict(t *testing.T, nodes []*mesh.Node) {
	id := nodes[1].ID()
	if err := nodes[1].Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the other node is seen to be down", func() bool {
		m, _ := nodes[0].View().Member(id)
		return m.State != view.Alive && m.State != view.Suspect
	})
	if got := ctl("", at("health")...).want(t, exitProblems, "press-2 ("+id.String()+") is down", ""); got.err != "" {
		t.Errorf("health says beside its problems: %q", got.err)
	}
	if code := ctl("", at("health", "-json")...).code; code != exitProblems {
		t.Errorf("health -json exits with %d", code)
	}
	waitFor(t, "it is drawn apart", func() bool {
		_, drawn, _ := strings.Cut(ctl("", at("status")...).want(t, exitOK, "", "").out, "component 1")
		ours, lost, found := strings.Cut(drawn, "out of contact")
		return found && strings.Contains(ours, "press-1") && strings.Contains(lost, "press-2")
	})
	// What is to be had is exported, and that it is not all is all that is said.
	file := filepath.Join(t.TempDir(), "lines")
	got := ctl("", at("export", "-bucket", "readings", "-level", "quorum", "-o", file)...).want(t, exitFailed, "", errIncomplete.Error())
	if strings.Contains(got.err, "file") || readFile(t, file) == "" {
		t.Errorf("an incomplete export said %q", got.err)
	}
	for _, typed := range []string{"", "\n", "press-1\n", "y\n"} {
		ctl(typed, at("evict", "press-2")...).want(t, exitFailed, "", "not confirmed")
	}
	if m, _ := nodes[0].View().Member(id); m.Status.Gone() {
		t.Fatal("given up without a word")
	}
	ctl("press-2\n", at("evict", "press-2")...).want(t, exitOK, "press-2 ("+id.String()+") is given up for good", "Type press-2")
	ctl("", at("evict", "press-2")...).want(t, exitFailed, "", "no member has the name")
	waitFor(t, "nothing is left to be said of it", func() bool {
		got := ctl("", at("health")...)
		return strings.Contains(got.out, "all is well") && got.code == exitOK
	})
}
