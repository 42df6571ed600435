package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// errNotOnHost marks a system this host does not have, which is no fault.
var errNotOnHost = errors.New("not on this host")

// settings say how long and how much to measure.
type settings struct {
	source     string // directory of this module
	work       string // directory for binaries and data
	rounds     int
	cell       time.Duration // of one load
	idle       time.Duration // of the idle measurement
	keys, size int
	// Keys of each store whose anti-entropy is measured, and of those that are
	// healed, and for how long puts are measured without healing.
	entropyKeys, healKeys int
	calm                  time.Duration
	profiles              string // directory for CPU profiles of the first round; empty: none
	progress              io.Writer
}

// driver runs the peers and collects what they measure.
type driver struct {
	settings
	results   results
	processes map[string]*process
}

// measureAll runs every cell: those of the rounds interleaved over all systems,
// then those that need one run only.
func measureAll(ctx context.Context, s settings, cells []cell) (all results, err error) {
	d := &driver{settings: s, results: newResults(), processes: map[string]*process{}}
	var repeated, single []cell
	for _, c := range cells {
		if c == idleCell || c == binaryCell || c.op == load.OpExtra || slices.Contains(workshopCells(), c) {
			single = append(single, c)
		} else {
			repeated = append(repeated, c)
		}
	}
	d.results.loadBefore = loadAverage()
	defer func() { all.loadAfter = loadAverage() }()
	binaries, err := d.buildPeers(ctx, cells)
	if err != nil {
		return d.results, err
	}
	err = d.measureRunning(ctx, binaries, repeated, single)
	if slices.Contains(single, idleCell) && err == nil && d.results.absent["skein"] == nil {
		d.printProgress("idle mesh of three processes, %v", s.idle)
		err = d.measureIdle(ctx, binaries["skein"])
	}
	for _, c := range workshopCells() {
		if slices.Contains(single, c) && err == nil && d.results.absent["skein"] == nil {
			d.printProgress("%s", c)
			err = d.measureApart(ctx, binaries["skein"], c)
		}
	}
	if slices.Contains(single, binaryCell) && err == nil && d.results.absent["skein"] == nil {
		d.printProgress("size of a binary with everything")
		d.measureBinary()
	}
	return d.results, err
}

func (d *driver) printProgress(format string, args ...any) {
	fmt.Fprintf(d.progress, "bench: "+format+"\n", args...)
}

// buildPeers builds the binary of every system that the cells need. A system
// that does not build is absent.
func (d *driver) buildPeers(ctx context.Context, cells []cell) (map[string]string, error) {
	binaries := map[string]string{}
	built := map[string]error{}
	for _, s := range systems() {
		if !slices.ContainsFunc(cells, func(c cell) bool { return c.system == s.name }) {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		binary := filepath.Join(d.work, "peer-"+s.peer)
		fault, done := built[s.peer]
		if !done {
			d.printProgress("build %s", s.peer)
			_, fault = buildPeer(filepath.Join(d.source, "peers", s.peer), binary)
			built[s.peer] = fault
		}
		if fault != nil {
			d.results.absent[s.name] = fault
			continue
		}
		binaries[s.name] = binary
	}
	return binaries, nil
}

// measureRunning starts the systems, runs the rounds and the extra
// measurements of the running peers, and ends the systems.
func (d *driver) measureRunning(ctx context.Context, binaries map[string]string, repeated, single []cell) (err error) {
	defer func() { err = errors.Join(err, d.closeAll()) }()
	inMesh := slices.Concat(repeated, slices.DeleteFunc(slices.Clone(single), func(c cell) bool { return c.op != load.OpExtra }))
	for _, s := range systems() {
		if binaries[s.name] == "" || !slices.ContainsFunc(inMesh, func(c cell) bool { return c.system == s.name }) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.printProgress("start %s", s.name)
		if err := d.startSystem(s, binaries[s.name]); err != nil {
			d.results.absent[s.name] = err
		}
	}
	for round := range d.rounds {
		if len(repeated) == 0 {
			break
		}
		for _, c := range schedule(repeated, round) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			d.measureCell(c, round)
		}
		d.printProgress("round %d of %d", round+1, d.rounds)
	}
	d.verify(repeated)
	for _, c := range single {
		if c.op == load.OpExtra && d.processes[c.system] != nil {
			d.printProgress("%s", c)
			d.measureCell(c, 0)
		}
	}
	return nil
}

// startSystem runs one system and gives it all keys.
func (d *driver) startSystem(s system, binary string) error {
	dir := filepath.Join(d.work, "data-"+s.name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	p, err := startPeer(s.name, binary, append([]string{"-dir", dir}, s.args...)...)
	if err != nil {
		return err
	}
	hello, err := p.readHello(90 * time.Second)
	if err == nil && hello.Absent != "" {
		err = fmt.Errorf("%w: %s", errNotOnHost, hello.Absent)
	}
	if err == nil {
		_, err = p.runCommand(d.command(cell{s.name, load.OpFill, "", 64}))
	}
	if err != nil {
		return errors.Join(err, p.closeAndWait())
	}
	d.results.hello[s.name] = hello
	d.processes[s.name] = p
	return nil
}

func (d *driver) command(c cell) load.Command {
	cmd := load.Command{Op: c.op, Level: c.level, Clients: c.clients, Keys: d.keys, Size: d.size, Duration: d.cell}
	if c.op == load.OpList || c.op == load.OpWatch {
		cmd.Duration *= 4 // few of them fit into the time of a load
	}
	return cmd
}

func (d *driver) measureCell(c cell, round int) {
	p := d.processes[c.system]
	if p == nil || d.results.faults[c] != nil {
		return
	}
	cmd := d.command(c)
	if d.profiles != "" && round == 0 {
		cmd.Profile = filepath.Join(d.profiles, fmt.Sprintf("%s-%s%s-%d.pprof", c.system, c.op, c.level, c.clients))
	}
	result, err := p.runCommand(cmd)
	d.results.addResult(c, round, result, err)
	// What a system leaves in the page cache must not be written out during the
	// next one's flushes.
	syscall.Sync()
}

// verify checks of every replicated system under put load that its copies are
// equal; puts that did not reach all copies are not the load that was asked for.
func (d *driver) verify(repeated []cell) {
	verified := map[string]error{}
	for _, c := range repeated {
		p := d.processes[c.system]
		if c.op != load.OpPut && c.op != load.OpBatch || p == nil || d.results.hello[c.system].Copies < 2 {
			continue
		}
		fault, done := verified[c.system]
		if !done {
			d.printProgress("compare the copies of %s", c.system)
			_, fault = p.runCommand(load.Command{Op: load.OpVerify, Clients: d.results.hello[c.system].Copies, Keys: d.keys})
			verified[c.system] = fault
		}
		if fault != nil {
			d.results.faults[c] = fault
		}
	}
}

// schedule groups the cells of one round by load, so that the two sides of a
// ratio run within seconds of each other, and lets a different system go first
// in every round.
func schedule(cells []cell, round int) []cell {
	var order []cell
	groups := map[cell][]cell{}
	for _, c := range cells {
		kind := c
		kind.system = ""
		if groups[kind] == nil {
			order = append(order, kind)
		}
		groups[kind] = append(groups[kind], c)
	}
	var scheduled []cell
	for _, kind := range order {
		group := groups[kind]
		first := round % len(group)
		scheduled = append(scheduled, group[first:]...)
		scheduled = append(scheduled, group[:first]...)
	}
	return scheduled
}

func (d *driver) closeAll() error {
	var faults []error
	for name, p := range d.processes {
		if err := p.closeAndWait(); err != nil {
			faults = append(faults, err)
		}
		delete(d.processes, name)
	}
	return errors.Join(faults...)
}
