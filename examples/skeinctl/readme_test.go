package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// verb is what stands in the source where the README has three dots.
var verb = regexp.MustCompile(`%[dsv]`)

// What the README tells operators to look for is what a node says.
func TestREADMEQuotesHealth(t *testing.T) {
	var said strings.Builder
	for _, dir := range []string{"../../mesh", "../../replica"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") {
				said.WriteString(readFile(t, f))
			}
		}
	}
	source := verb.ReplaceAllString(said.String(), "...")
	_, table, ok := strings.Cut(readFile(t, "README.md"), "| it says | what to do |\n|---|---|\n")
	if !ok {
		t.Fatal("the table is not there")
	}
	for row := range strings.Lines(table) {
		words, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		for part := range strings.SplitSeq(words, "...") {
			if part = strings.TrimSpace(part); part != "" && !strings.Contains(source, part) {
				t.Errorf("no node says %q, of %q", part, words)
			}
		}
	}
}
