package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

// verb is what stands in the source where the README has three dots.
var verb = regexp.MustCompile(`%[dsv]`)

// kind is a kind of problem, in the source.
var kind = regexp.MustCompile(`(?m)^\tProblem\w+ +(?:ProblemKind )?= "([a-z-]+)"`)

// What the README tells operators to look for is what a node says, and of each problem
// that it tells of there is a row.
func TestREADMEQuotesHealth(t *testing.T) {
	source := verb.ReplaceAllString(readFile(t, "../../mesh/view/sentences.go"), "...")
	_, table, ok := strings.Cut(readFile(t, "README.md"), "| it says | what to do |\n|---|---|\n")
	if !ok {
		t.Fatal("the table is not there")
	}
	var rows [][]string
	for row := range strings.Lines(table) {
		words, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		rows = append(rows, strings.Split(words, "..."))
		for part := range strings.SplitSeq(words, "...") {
			if part = strings.TrimSpace(part); part != "" && !strings.Contains(source, part) {
				t.Errorf("no node says %q, of %q", part, words)
			}
		}
	}
	kinds := kind.FindAllStringSubmatch(source, -1)
	if len(kinds) < 40 {
		t.Fatalf("%d kinds are found", len(kinds))
	}
	for _, k := range kinds {
		says := view.Problem{Kind: view.ProblemKind(k[1]), Text: "text"}.String()
		if !slices.ContainsFunc(rows, func(parts []string) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(says, strings.TrimSpace(part)) })
		}) {
			t.Errorf("no row tells what to do about %s: %q", k[1], says)
		}
	}
}
