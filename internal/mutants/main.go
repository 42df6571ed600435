package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// parallel is how many mutants are tried at once.
const parallel = 2

func main() {
	pattern := flag.String("run", "", "try only mutants whose name matches this regular expression")
	verbose := flag.Bool("v", false, "print what the tests printed")
	timeout := flag.Duration("timeout", 2*time.Minute, "of the tests of one mutant; running into it counts as caught")
	part := flag.String("share", "1/1", "try the K-th of every N mutants: K/N")
	flag.Parse()
	wanted, err := regexp.Compile(*pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	root, err := moduleRoot()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &runner{root: root, timeout: *timeout, log: func(v verdict) { reportVerdict(v, *verbose) }}
	mutants, err := loadMutants(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	mutants = matching(mutants, wanted)
	mine, err := takeShare(mutants, *part)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	faults := r.reportStale(mutants)
	if faults += r.tryAll(ctx, mine); faults > 0 {
		fmt.Printf("%d faults\n", faults)
		os.Exit(1)
	}
}

func matching(mutants []Mutant, wanted *regexp.Regexp) []Mutant {
	return slices.DeleteFunc(mutants, func(m Mutant) bool { return !wanted.MatchString(m.Name) })
}

// takeShare returns every n-th of the mutants, beginning with the k-th, for "k/n".
func takeShare(mutants []Mutant, part string) ([]Mutant, error) {
	var k, n int
	if _, err := fmt.Sscanf(part, "%d/%d", &k, &n); err != nil || n < 1 || k < 1 || k > n {
		return nil, fmt.Errorf("mutants: -share %q: want K/N with 1 <= K <= N", part)
	}
	var mine []Mutant
	for i := k - 1; i < len(mutants); i += n {
		mine = append(mine, mutants[i])
	}
	return mine, nil
}

// reportStale reports the mutants whose text is not in the code exactly once.
func (r *runner) reportStale(mutants []Mutant) (faults int) {
	for _, m := range mutants {
		if _, err := r.originalText(m); err != nil {
			faults++
			r.log(verdict{mutant: m, fault: err.Error()})
		}
	}
	return faults
}

// moduleRoot returns the directory of the module around the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = parent
	}
}

func reportVerdict(v verdict, verbose bool) {
	outcome := "caught by " + v.caughtBy
	if v.fault != "" {
		outcome = "FAULT: " + v.fault
	}
	fmt.Printf("%6.1fs  %-40s %s\n", v.took.Seconds(), v.mutant.Name, outcome)
	if verbose || v.fault != "" {
		fmt.Printf("         rule: %s (%s)\n%s", v.mutant.Rule, v.mutant.at, v.output)
	}
}

// tryAll tries the mutants and returns how many faults it found.
func (r *runner) tryAll(ctx context.Context, mutants []Mutant) (faults int) {
	queue, verdicts := make(chan Mutant), make(chan verdict)
	r.checkSound(ctx, mutants)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for m := range queue {
				verdicts <- r.tryMutant(ctx, m)
			}
		})
	}
	go func() {
		for _, m := range mutants {
			queue <- m
		}
		close(queue)
		workers.Wait()
		close(verdicts)
	}()
	for v := range verdicts {
		if v.fault != "" {
			faults++
		}
		r.log(v)
	}
	return faults
}
