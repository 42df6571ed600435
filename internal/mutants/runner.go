package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// runner tries mutants of the module at root.
type runner struct {
	root    string
	timeout time.Duration
	log     func(verdict) // told of each verdict, one at a time
	sound   bool          // all tests pass without a mutant
}

// verdict is what became of one mutant. Either caughtBy or fault is set.
type verdict struct {
	mutant   Mutant
	caughtBy string
	fault    string
	output   string // of the tests
	took     time.Duration
}

// tryMutant runs the tests of a mutant without it and with it.
func (r *runner) tryMutant(ctx context.Context, m Mutant) (v verdict) {
	start := time.Now()
	v.mutant = m
	defer func() { v.took = time.Since(start) }()
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		v.fault = err.Error()
		return v
	}
	defer os.RemoveAll(dir)
	overlay, err := r.overlay(dir, m)
	if err != nil {
		v.fault = err.Error()
		return v
	}
	if !r.sound {
		if v.output, err = r.runTests(ctx, m); err != nil {
			v.fault = "the tests fail without the mutant"
			return v
		}
	}
	v.output, err = r.runTests(ctx, m, "-overlay", overlay, "-count=1", "-failfast")
	switch {
	case ctx.Err() != nil:
		v.fault = ctx.Err().Error()
	case err == nil && !ran.MatchString(v.output):
		v.fault = "there are no such tests"
	case err == nil:
		v.fault = "no test caught it"
	case notBuilt.MatchString(v.output):
		v.fault = "the mutant does not compile"
	default:
		v.caughtBy = catcher(v.output)
	}
	return v
}

// checkSound runs the tests of all mutants together, without any mutant: tests
// that fail anyway would catch everything. If one fails, try looks at each
// mutant's own.
func (r *runner) checkSound(ctx context.Context, mutants []Mutant) {
	var packages, tests []string
	for _, m := range mutants {
		packages = append(packages, strings.Fields(m.Packages)...)
		tests = append(tests, "(?:"+m.Tests+")")
	}
	slices.Sort(packages)
	_, err := r.runTests(ctx, Mutant{
		Packages: strings.Join(slices.Compact(packages), " "),
		Tests:    strings.Join(tests, "|"),
	}, "-timeout", (5 * r.timeout).String())
	r.sound = err == nil
}

// overlay writes the edited file and the description of it for the compiler.
func (r *runner) overlay(dir string, m Mutant) (name string, err error) {
	original := filepath.Join(r.root, filepath.FromSlash(m.File))
	text, err := r.originalText(m)
	if err != nil {
		return "", err
	}
	edited := filepath.Join(dir, filepath.Base(m.File))
	if err := os.WriteFile(edited, []byte(strings.Replace(text, m.Old, m.New, 1)), 0o600); err != nil {
		return "", err
	}
	description, err := json.Marshal(map[string]map[string]string{"Replace": {original: edited}})
	if err != nil {
		return "", err
	}
	name = filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, description, 0o600)
}

// originalText returns the file that a mutant edits, unless the mutant is stale.
func (r *runner) originalText(m Mutant) (string, error) {
	text, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(m.File)))
	if err != nil {
		return "", fmt.Errorf("stale: %w", err)
	}
	if n := strings.Count(string(text), m.Old); n != 1 {
		return "", fmt.Errorf("stale: the old text is in %s %d times, not once", m.File, n)
	}
	return string(text), nil
}

// runTests runs the tests of a mutant and returns what they printed.
func (r *runner) runTests(ctx context.Context, m Mutant, flags ...string) (string, error) {
	args := append([]string{"test", "-vet=off", "-ldflags=-s -w", "-timeout", r.timeout.String(), "-run", m.Tests}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, strings.Fields(m.Packages)...)...)
	cmd.Dir = r.root
	output, err := cmd.CombinedOutput()
	return string(output), err
}

var (
	failed   = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	running  = regexp.MustCompile(`(?m)^\s+running tests:\n\s+(\S+)`)
	crashed  = regexp.MustCompile(`(?m)^(?:panic|fatal error): .*`)
	notBuilt = regexp.MustCompile(`\[(build|setup) failed\]`)
	ran      = regexp.MustCompile(`(?m)^ok .*s$`)
)

// catcher names the test that failed, from what go test printed.
func catcher(output string) string {
	if m := failed.FindStringSubmatch(output); m != nil {
		return m[1]
	}
	crash := "a failed run"
	if m := crashed.FindString(output); m != "" {
		crash = m
	}
	if m := running.FindStringSubmatch(output); m != nil {
		return m[1] + " (" + crash + ")"
	}
	return crash
}
