package main

import (
	"regexp"
	"strings"
	"testing"
)

// verb is what stands in the source where the README has three dots.
var verb = regexp.MustCompile(`%[dsv]`)

// What the README tells operators to look for is what a node says.
func TestREADMEQuotesHealth(t *testing.T) {
	source := verb.ReplaceAllString(readFile(t, "../../mesh/view/sentences.go"), "...")
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
