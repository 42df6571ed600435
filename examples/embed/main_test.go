package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/identity"
)

func TestRunAlone(t *testing.T) {
	if err := runNode(t.Context(), t.TempDir(), "127.0.0.1:0", identity.NewSecret(), nil); err != nil {
		t.Fatal(err)
	}
}

// What the README shows is what Example runs: the lines, and what they print.
func TestREADMEShowsTheseLines(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(source), "// README begins\n")
	here, rest, ok := strings.Cut(rest, "\t// README ends")
	_, output, _ := strings.Cut(rest, "// Output: ")
	_, rest, _ = strings.Cut(string(readme), "```go\n")
	there, rest, also := strings.Cut(rest, "```")
	if !ok || !also {
		t.Fatal("the lines are marked neither here nor there")
	}
	here = strings.ReplaceAll("\n"+here, "\n\t", "\n")[1:]
	if here != there {
		t.Errorf("README shows:\n%s\nthe example runs:\n%s", there, here)
	}
	if n := strings.Count(here, "\n"); n > 12 {
		t.Errorf("%d lines; a reader was promised 12", n)
	}
	output, _, _ = strings.Cut(output, "\n")
	if !strings.Contains(rest, "`"+output+"`") {
		t.Errorf("README does not say that this is printed: %s", output)
	}
}

// The README is what a reader finishes.
func TestREADMEIsShort(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(string(readme))); n > 1000 {
		t.Errorf("%d words; 1 000 at most, the rest belongs to packages and their documents", n)
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)

// What documents point at is there.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	for _, doc := range []string{"README.md", "examples/skeinctl/README.md", "internal/README.md", "internal/TESTING.md", "internal/bench/README.md"} {
		doc = filepath.Join("../..", doc)
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s: %v", doc, err)
			}
		}
	}
}
