package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// results holds what was measured and what could not be.
type results struct {
	hello  map[string]load.Hello
	rounds map[cell]map[int]load.Result
	faults map[cell]error
	// absent tells why a whole system was not measured.
	absent map[string]error
	// loadBefore and loadAfter are the host's load average over a minute.
	loadBefore, loadAfter string
}

func newResults() results {
	return results{
		hello:  map[string]load.Hello{},
		rounds: map[cell]map[int]load.Result{},
		faults: map[cell]error{},
		absent: map[string]error{},
	}
}

// addResult records one result; a load of which more than one operation in a hundred
// failed is no measurement.
func (r results) addResult(c cell, round int, result load.Result, err error) {
	if err == nil && result.Failed*100 > result.Ops {
		err = fmt.Errorf("%d of %d operations failed: %s", result.Failed, result.Failed+result.Ops, result.FirstFailure)
	}
	if err != nil {
		r.faults[c] = fmt.Errorf("%s: %w", c, err)
		return
	}
	if r.rounds[c] == nil {
		r.rounds[c] = map[int]load.Result{}
	}
	r.rounds[c][round] = result
}

// faultOf tells why a cell has no usable results; nil when it has.
func (r results) faultOf(c cell) error {
	if r.absent[c.system] != nil {
		return fmt.Errorf("%s could not be run", c.system)
	}
	return r.faults[c]
}

func (r results) series(c cell, m metric) (map[int]float64, error) {
	if fault := r.faultOf(c); fault != nil {
		return nil, fault
	}
	series := map[int]float64{}
	for round, result := range r.rounds[c] {
		series[round] = m(result)
	}
	return series, nil
}

func (r results) values(c cell, m metric) []float64 {
	series, err := r.series(c, m)
	if err != nil {
		return nil
	}
	return slices.Collect(maps.Values(series))
}

// loadAverage is how many tasks of the host wanted to run over the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}
