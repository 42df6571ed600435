package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// outcome is a figure with what came of it.
type outcome struct {
	figure
	measured float64
	fault    error
	byCPU    string // a ratio of rates as CPU time sees it; else empty
}

func outcomes(chosen []figure, all results) []outcome {
	var list []outcome
	for _, f := range chosen {
		measured, err := f.measure.computeValue(all)
		if err == nil && (math.IsNaN(measured) || math.IsInf(measured, 0)) {
			err = errNothingMeasured
		}
		o := outcome{figure: f, measured: significant(measured, 4), fault: err}
		if m, ok := f.measure.(ratio); ok && f.larger && err == nil {
			if cpu, err := m.cpuRatio(all); err == nil {
				o.byCPU = number(significant(cpu, 3))
			}
		}
		list = append(list, o)
	}
	return list
}

// verdict compares with the must, the line a figure may not fall below.
func (o outcome) verdict() string {
	switch {
	case o.fault != nil:
		return "absent"
	case o.failsMust(o.measured):
		return "SHORT"
	case o.aim != 0 && o.meetsGoal(o.measured, o.aim):
		return "ok, aim reached"
	case o.must == 0 && o.aim != 0:
		return "short of the aim"
	}
	return "ok"
}

// writeFigures prints one line a figure, then why any is missing.
func writeFigures(w io.Writer, list []outcome) error {
	table := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tmust\taim\tmeasured\t\tby cpu/op\twhat")
	for _, o := range list {
		sign, must, aim, measured := "<= ", "-", "-", "-"
		if o.larger {
			sign = ">= "
		}
		if o.must != 0 {
			must = sign + number(o.must)
		}
		if o.aim != 0 {
			aim = sign + number(o.aim)
		}
		if o.fault == nil {
			measured = number(o.measured)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", o.name, must, aim, measured, o.verdict(), o.byCPU, o.what)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, o := range list {
		if o.fault != nil {
			fmt.Fprintf(w, "%s is absent: %v\n", o.name, o.fault)
		}
	}
	return nil
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func isLoad(c cell) bool {
	return c.op == load.OpPut || c.op == load.OpBatch || c.op == load.OpGet || c.op == load.OpList
}

func isMemory(c cell) bool { return c.op == load.OpMemory }

// writeCells prints the loads behind the figures: the median over the rounds.
func writeCells(w io.Writer, cells []cell, all results) error {
	if !slices.ContainsFunc(cells, isLoad) {
		return nil
	}
	table := tabwriter.NewWriter(w, 2, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "load\tops/s\tspread\tp50 us\tp99 us\tcpu us/op\tdisk B/op/copy\t")
	for _, c := range cells {
		if !isLoad(c) || len(all.rounds[c]) == 0 {
			continue
		}
		copies := float64(max(all.hello[c.system].Copies, 1))
		middle := func(m metric) float64 {
			v, err := median(all.values(c, m))
			if err != nil {
				return math.NaN()
			}
			return v
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.2f\t%.0f\t%.0f\t%.1f\t%.0f\t\n", c,
			middle(opsPerSecond), spread(all.values(c, opsPerSecond)), middle(medianLatency),
			middle(func(r load.Result) float64 { return r.P99 }),
			middle(func(r load.Result) float64 { return r.CPUPerOp }),
			middle(func(r load.Result) float64 { return float64(r.WriteBytes) / float64(r.WriteOps) / copies }))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, c := range cells {
		if fault := all.faults[c]; fault != nil {
			fmt.Fprintf(w, "not measured: %v\n", fault)
		}
	}
	return nil
}

// writeMemory prints what the systems hold after the load.
func writeMemory(w io.Writer, cells []cell, all results) error {
	if !slices.ContainsFunc(cells, isMemory) {
		return nil
	}
	table := tabwriter.NewWriter(w, 2, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "after load\theap MiB\theap per live byte\tRSS MiB\t")
	for _, c := range cells {
		values := all.values(c, heapPerLiveByte)
		perLive, err := median(values)
		if !isMemory(c) || err != nil {
			continue
		}
		heap, _ := median(all.values(c, func(r load.Result) float64 { return float64(r.HeapBytes) }))
		resident, _ := median(all.values(c, func(r load.Result) float64 { return float64(r.RSSBytes) }))
		fmt.Fprintf(table, "%s\t%.1f\t%.2f\t%.1f\t\n", c.system, heap/(1<<20), perLive, resident/(1<<20))
	}
	return table.Flush()
}

// writeExtras prints what the measurements that run once have to tell.
func writeExtras(w io.Writer, cells []cell, all results) error {
	table := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	for _, c := range cells {
		if c != placementCell && c != idleCell && !slices.Contains(workshopCells(), c) {
			continue
		}
		values := map[string][]string{}
		for _, round := range slices.Sorted(maps.Keys(all.rounds[c])) {
			for name, value := range all.rounds[c][round].Extra {
				values[name] = append(values[name], number(significant(value, 4)))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			fmt.Fprintf(table, "%s\t%s\t%s\n", c, name, strings.Join(values[name], ", "))
		}
	}
	return table.Flush()
}

// writeConfigs prints under what conditions all was measured.
func writeConfigs(w io.Writer, s settings, all results) error {
	fmt.Fprintf(w, "%s, %s/%s, %d CPUs; %d keys of %d B; %d rounds of %v a load; CGO off\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), s.keys, s.size, s.rounds, s.cell)
	fmt.Fprintf(w, "load average before %s and after %s; above %d before, others use the host and no figure is to be trusted\n",
		all.loadBefore, all.loadAfter, runtime.NumCPU())
	for _, sys := range systems() {
		if err := all.absent[sys.name]; err != nil {
			fmt.Fprintf(w, "%s: ABSENT: %v\n", sys.name, err)
			continue
		}
		hello, ok := all.hello[sys.name]
		if !ok {
			continue
		}
		config, err := json.Marshal(hello.Config)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %s %s\n", sys.name, hello.Version, config)
	}
	return nil
}

// figuresJSON is one object, its members in the order of the report; a figure
// that could not be measured is null.
func figuresJSON(list []outcome) ([]byte, error) {
	var line bytes.Buffer
	line.WriteByte('{')
	for i, o := range list {
		if i > 0 {
			line.WriteByte(',')
		}
		name, err := json.Marshal(o.name)
		if err != nil {
			return nil, err
		}
		line.Write(name)
		line.WriteByte(':')
		if o.fault != nil {
			line.WriteString("null")
			continue
		}
		value, err := json.Marshal(o.measured)
		if err != nil {
			return nil, err
		}
		line.Write(value)
	}
	line.WriteByte('}')
	return line.Bytes(), nil
}
