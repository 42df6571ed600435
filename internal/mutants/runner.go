package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// runner tries mutants of the module at root.
type runner struct {
	root    string
	timeout time.Duration
	log     func(verdict) // told of each verdict, one at a time
}

// verdict is what became of one mutant. Either caughtBy or fault is set.
type verdict struct {
	mutant   Mutant
	caughtBy string
	fault    string
	output   string // of the tests
	took     time.Duration
}

// try runs the tests of a mutant without it and with it.
func (r *runner) try(ctx context.Context, m Mutant) (v verdict) {
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
	// Tests that fail anyway would catch everything. When they pass, this run
	// is mostly answered by the test cache.
	output, err := r.test(ctx, m)
	if v.fault = sound(output, err); v.fault != "" {
		v.output = output
		return v
	}
	output, err = r.test(ctx, m, "-overlay", overlay, "-count=1", "-failfast")
	v.output = output
	switch {
	case ctx.Err() != nil:
		v.fault = ctx.Err().Error()
	case err == nil:
		v.fault = "no test caught it"
	case notBuilt.MatchString(output):
		v.fault = "the mutant does not compile"
	default:
		v.caughtBy = catcher(output)
	}
	return v
}

// overlay writes the edited file and the description of it for the compiler.
func (r *runner) overlay(dir string, m Mutant) (name string, err error) {
	original := filepath.Join(r.root, filepath.FromSlash(m.File))
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("stale: %w", err)
	}
	if n := strings.Count(string(text), m.Old); n != 1 {
		return "", fmt.Errorf("stale: the old text is in %s %d times, not once", m.File, n)
	}
	edited := filepath.Join(dir, filepath.Base(m.File))
	if err := os.WriteFile(edited, []byte(strings.Replace(string(text), m.Old, m.New, 1)), 0o600); err != nil {
		return "", err
	}
	description, err := json.Marshal(map[string]map[string]string{"Replace": {original: edited}})
	if err != nil {
		return "", err
	}
	name = filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, description, 0o600)
}

// test runs the tests of a mutant and returns what they printed.
func (r *runner) test(ctx context.Context, m Mutant, flags ...string) (string, error) {
	args := append([]string{"test", "-vet=off", "-timeout", r.timeout.String(), "-run", m.Tests}, flags...)
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
	ran      = regexp.MustCompile(`(?m)^ok .*s$|^ok .*\(cached\)$`)
)

// sound says what is wrong with the tests themselves.
func sound(output string, err error) string {
	switch {
	case err != nil:
		return "the tests fail without the mutant"
	case !ran.MatchString(output):
		return "there are no such tests"
	}
	return ""
}

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
