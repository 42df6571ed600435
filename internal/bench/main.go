// Command bench measures Skein side by side with its peers and compares the
// figures with their budgets.
//
//	go run . -json          the full run, about seven minutes after the builds
//	go run . -quick         a rough run of two minutes
//	go run . -only 'get_.*' some figures, as ^ae_ for those of anti-entropy
//
// Every peer is a module and a binary of its own under peers/, holds its three
// nodes in one process together with the clients that load it, and keeps to
// loopback. Where a figure is about what happens to one of three nodes, each has a
// process of its own. All of them run at once but are loaded one at a time, in rounds; a
// figure is the median over the rounds of the ratio within one round, so that a
// slow moment of the host falls on both sides. Flushes and compactions that a
// load leaves behind are waited for and charged to it.
//
// Bytes on disk are write_bytes of /proc/PID/io: what the process made dirty in
// the page cache, a page counted again whenever it is dirtied after a flush. The
// file system's own journal comes on top and is not seen. Heap is HeapAlloc after
// two collections, without CGO, so that no cache hides outside of the Go heap.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"time"
)

type options struct {
	json, quick, strict, install bool
	only                         string
	settings                     settings
}

func main() {
	var o options
	flag.BoolVar(&o.json, "json", false, "print one object with all figures as the last line")
	flag.BoolVar(&o.quick, "quick", false, "a rough run of about two minutes")
	flag.BoolVar(&o.strict, "strict", false, "exit with 2 when a must is missed")
	flag.BoolVar(&o.install, "install", false, "where redis-server is missing, install it with apt-get (as root)")
	flag.StringVar(&o.only, "only", "", "measure the figures whose `name` matches this regular expression")
	flag.StringVar(&o.settings.source, "source", ".", "`directory` of this module's source")
	flag.StringVar(&o.settings.work, "dir", "", "`directory` for binaries and data, on a real disk (default: a temporary one)")
	flag.StringVar(&o.settings.profiles, "profile", "", "write CPU profiles of every load's first round to this `directory`")
	flag.IntVar(&o.settings.rounds, "rounds", 0, "rounds (default 15, quick 3)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, err := runBench(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	stop()
	os.Exit(code)
}

// runBench carries out one whole run and returns the exit code: 1 when a figure
// could not be measured on this host though it should, 2 when a must is missed
// and that is asked for.
func runBench(ctx context.Context, o options, out io.Writer) (int, error) {
	chosen, cells, err := choose(o.only)
	if err != nil {
		return 1, err
	}
	if o.install {
		if err := installRedis(ctx); err != nil {
			return 1, err
		}
	}
	o.settings.fillIn(o.quick)
	work, err := os.MkdirTemp(o.settings.work, "skein-bench-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(work)
	o.settings.work, o.settings.progress = work, os.Stderr

	all, err := measureAll(ctx, o.settings, cells)
	if err != nil {
		return 1, err
	}
	list := outcomes(chosen, all)
	if err := report(out, o, cells, list, all); err != nil {
		return 1, err
	}
	return exitCode(list, all, o.strict), nil
}

func (s *settings) fillIn(quick bool) {
	s.keys, s.size = 10_000, 1024
	s.entropyKeys, s.healKeys, s.calm = 1_000_000, 20_000, 5*time.Second
	rounds := 15
	s.cell, s.idle = time.Second, 30*time.Second
	if quick {
		s.entropyKeys, s.healKeys, s.calm = 100_000, 5_000, 2*time.Second
		rounds, s.cell, s.idle = 3, 300*time.Millisecond, 10*time.Second
	}
	if s.rounds <= 0 {
		s.rounds = rounds
	}
}

// choose returns the figures that match and the cells they need; a run of
// everything also measures the context.
func choose(only string) ([]figure, []cell, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, nil, err
	}
	var chosen []figure
	var cells []cell
	for _, f := range figures() {
		if !pattern.MatchString(f.name) {
			continue
		}
		chosen = append(chosen, f)
		cells = append(cells, f.measure.neededCells()...)
	}
	if len(chosen) == 0 {
		return nil, nil, fmt.Errorf("no figure matches %q", only)
	}
	if only == "" {
		cells = append(cells, contextCells()...)
	}
	return chosen, distinct(cells), nil
}

func distinct(cells []cell) []cell {
	var kept []cell
	for _, c := range cells {
		if !slices.Contains(kept, c) {
			kept = append(kept, c)
		}
	}
	return kept
}

func report(out io.Writer, o options, cells []cell, list []outcome, all results) error {
	if err := writeConfigs(out, o.settings, all); err != nil {
		return err
	}
	for _, write := range []func() error{
		func() error { return writeCells(out, cells, all) },
		func() error { return writeMemory(out, cells, all) },
		func() error { return writeExtras(out, distinct(cells), all) },
		func() error { return writeFigures(out, list) },
	} {
		fmt.Fprintln(out)
		if err := write(); err != nil {
			return err
		}
	}
	if !o.json {
		return nil
	}
	line, err := figuresJSON(list)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}

func exitCode(list []outcome, all results, strict bool) int {
	for _, o := range list {
		if o.fault != nil && !excused(o, all) {
			return 1
		}
		if o.fault == nil && strict && o.failsMust(o.measured) {
			return 2
		}
	}
	return 0
}

// excused tells whether a figure is missing only because an optional system is
// not installed here.
func excused(o outcome, all results) bool {
	for _, c := range o.measure.neededCells() {
		if s, ok := systemNamed(c.system); ok && s.optional && errors.Is(all.absent[c.system], errNotOnHost) {
			return true
		}
	}
	return false
}

// installRedis installs redis-server where it is missing and may be installed.
func installRedis(ctx context.Context) error {
	if _, err := exec.LookPath("redis-server"); err == nil {
		return nil
	}
	if os.Getuid() != 0 {
		return errors.New("-install needs root")
	}
	cmd := exec.CommandContext(ctx, "apt-get", "install", "-y", "--no-install-recommends", "redis-server")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
