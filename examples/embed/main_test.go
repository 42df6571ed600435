package main

import (
	"os"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/identity"
)

func TestRunAlone(t *testing.T) {
	if err := run(t.Context(), t.TempDir(), "127.0.0.1:0", identity.NewSecret(), nil); err != nil {
		t.Fatal(err)
	}
}

// What the README shows is what stands here, and so compiles and runs.
func TestREADMEShowsTheseLines(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(source), "// README begins\n")
	here, _, ok := strings.Cut(rest, "\t// README ends")
	_, rest, _ = strings.Cut(string(readme), "```go\n")
	there, _, also := strings.Cut(rest, "```")
	if !ok || !also {
		t.Fatal("the lines are marked neither here nor there")
	}
	here = strings.ReplaceAll("\n"+here, "\n\t", "\n")[1:]
	if here != there {
		t.Errorf("README shows:\n%s\nthe program says:\n%s", there, here)
	}
	if n := strings.Count(here, "\n"); n < 20 || n > 26 {
		t.Errorf("%d lines; a reader was promised 20 to 25", n)
	}
}
