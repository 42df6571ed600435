package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func toy(name, old, new, tests string) Mutant {
	return Mutant{
		Name: name, Rule: "for this test", File: "internal/mutants/testdata/toy/toy.go",
		Old: old, New: new, Packages: "./internal/mutants/testdata/toy", Tests: tests,
	}
}

func TestVerdicts(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	root, err := top()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"caught":       "caught by TestWithin",
		"by-panic":     "caught by TestEmpty",
		"by-timeout":   "caught by TestEmpty (panic: test timed out after 3s)",
		"uncaught":     "no test caught it",
		"stale":        "stale: the old text is in internal/mutants/testdata/toy/toy.go 0 times, not once",
		"ambiguous":    "stale: the old text is in internal/mutants/testdata/toy/toy.go 2 times, not once",
		"broken-build": "the mutant does not compile",
		"broken-tests": "the tests fail without the mutant",
		"no-tests":     "there are no such tests",
	}
	mutants := []Mutant{
		toy("caught", "n <= limit", "n < limit", "TestWithin"),
		toy("by-panic", "len(seen) == 0", "len(seen) == 9", "TestLast|TestEmpty"),
		toy("by-timeout", "return 0", "select {}", "TestEmpty"),
		toy("uncaught", "n <= limit", "n < limit", "TestLast"),
		toy("stale", "n << limit", "n < limit", "TestWithin"),
		toy("ambiguous", "int) ", "int64) ", "TestWithin"),
		toy("broken-build", "n <= limit", "n <= limits", "TestWithin"),
		toy("broken-tests", "n <= limit", "n < limit", "TestBroken"),
		toy("no-tests", "n <= limit", "n < limit", "TestAbsent"),
		toy("caught", "n <= limit", "n < limit", "TestWithin"),
	}
	twice := 0
	r := &runner{root: root, timeout: 3 * time.Second, log: func(v verdict) {
		got := v.fault
		if got == "" {
			got = "caught by " + v.caughtBy
		}
		if v.mutant.Name == "caught" && got == "another mutant has this name" {
			twice++
			return
		}
		if got != want[v.mutant.Name] {
			t.Errorf("%s: %s; want %s\n%s", v.mutant.Name, got, want[v.mutant.Name], v.output)
		}
		delete(want, v.mutant.Name)
	}}
	faults := r.run(context.Background(), mutants)
	if faults != 7 || twice != 1 || len(want) != 0 {
		t.Errorf("%d faults, %d double names, no verdict on %v", faults, twice, want)
	}
}

// TestTable holds every entry to the form that the rest relies on. Whether
// the tests catch it is for the command to find out.
func TestTable(t *testing.T) {
	root, err := top()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range all() {
		if names[m.Name] || m.Name == "" || m.Rule == "" || m.Old == m.New || m.Packages == "" || m.Tests == "" {
			t.Errorf("%q: a name used twice, or a field that says nothing", m.Name)
		}
		names[m.Name] = true
		text, err := os.ReadFile(root + "/" + m.File)
		if err != nil || strings.Count(string(text), m.Old) != 1 {
			t.Errorf("%s is stale: its old text is not in %s exactly once", m.Name, m.File)
		}
	}
}

func TestSharesCoverAllOnce(t *testing.T) {
	mutants := all()
	seen := make(map[string]int)
	for k := 1; k <= 4; k++ {
		mine, err := share(mutants, fmt.Sprintf("%d/4", k))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mine {
			seen[m.Name]++
		}
	}
	for _, m := range mutants {
		if seen[m.Name] != 1 {
			t.Errorf("%s is in %d shares", m.Name, seen[m.Name])
		}
	}
	for _, bad := range []string{"", "0/4", "5/4", "1/0", "x"} {
		if _, err := share(mutants, bad); err == nil {
			t.Errorf("share %q was taken", bad)
		}
	}
}
