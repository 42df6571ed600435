package main

import (
	"context"
	"fmt"
	"os/exec"
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
	root, err := moduleRoot()
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
	}
	r := &runner{root: root, timeout: 3 * time.Second, log: func(v verdict) {
		got := v.fault
		if got == "" {
			got = "caught by " + v.caughtBy
		}
		if got != want[v.mutant.Name] {
			t.Errorf("%s: %s; want %s\n%s", v.mutant.Name, got, want[v.mutant.Name], v.output)
		}
		delete(want, v.mutant.Name)
	}}
	faults := r.tryAll(context.Background(), mutants)
	if faults != 6 || len(want) != 0 {
		t.Errorf("%d faults, no verdict on %v", faults, want)
	}
}

// loaded returns the mutants of the module.
func loaded(t *testing.T) (root string, mutants []Mutant) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	mutants, err = loadMutants(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, mutants
}

// TestNoneIsStale looks whether the text of each is in the code. Whether the
// tests catch it is for the command to find out.
func TestNoneIsStale(t *testing.T) {
	root, mutants := loaded(t)
	r := &runner{root: root, log: func(v verdict) { t.Errorf("%s: %s", v.mutant.at, v.fault) }}
	r.reportStale(mutants)
}

func TestSharesCoverAllOnce(t *testing.T) {
	_, mutants := loaded(t)
	seen := make(map[string]int)
	for k := 1; k <= 4; k++ {
		mine, err := takeShare(mutants, fmt.Sprintf("%d/4", k))
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
		if _, err := takeShare(mutants, bad); err == nil {
			t.Errorf("share %q was taken", bad)
		}
	}
}
