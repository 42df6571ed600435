package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/partition/token"
)

func openPartition(t *testing.T, n *mesh.Node) *partition.Partition {
	t.Helper()
	p, err := partition.Open(t.Context(), partition.Config{Mesh: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func testDraw(t *testing.T, nodes []*mesh.Node) {
	var out string
	waitFor(t, "both are in one component, and one of them leads", func() bool {
		out = ctl("", at("status")...).want(t, exitOK, "", "").out
		return strings.Contains(out, "component 1 (this node's), 2 nodes") && strings.Contains(out, "leads mesh (term ")
	})
	rows := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{"of mesh (component): press-", "mode normal", "cloud unknown", "situation whole since 20", "* press-1 line-0 alive stores", "press-2 line-1 alive stores"} {
		if !strings.Contains(rows, want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	var leader token.Token
	if _, words, ok := strings.Cut(rows, "leader "); ok {
		word, _, _ := strings.Cut(words, " ")
		leader, _ = token.Parse(word)
	}
	if leader.Node != nodes[0].ID() && leader.Node != nodes[1].ID() {
		t.Errorf("no token of a leader in\n%s", out)
	}
	svg := ctl("", at("draw")...).want(t, exitOK, "<svg ", "").out
	path := filepath.Join(t.TempDir(), "mesh.svg")
	for range 2 { // over what is there already
		ctl("", at("draw", "-o", path)...).want(t, exitOK, "sees it to "+path, "")
	}
	for _, drawn := range []string{svg, readFile(t, path)} {
		if !strings.HasPrefix(drawn, "<svg ") || !strings.HasSuffix(drawn, "</svg>\n") || !strings.Contains(drawn, "press-2") {
			t.Errorf("drawn was %q", drawn)
		}
	}
	ctl("", at("draw", "-o", filepath.Join(path, "x"))...).want(t, exitFailed, "", path)
	ctl("", at("draw", "-addr", nodes[1].Addr().String())...).want(t, exitFailed, "", "AllowAdmin")
}
