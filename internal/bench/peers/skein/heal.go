package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
)

const healRounds = 5

// healing is a mesh of which one store's disk is lost over and over. Each node
// has a process of its own.
type healing struct {
	nodes   []*child // the last one is lost
	dir     string
	ports   []int
	command load.Command // keys, size and clients
	lives   int          // of the store that is lost
}

// measureHealing loses the disk of one of three stores and times how long a new
// one under its name takes to hold all copies: without other load, then beside a
// steady load of puts, which is measured without any healing just before and
// after. Each value is the median over the rounds.
func measureHealing(ctx context.Context, dir string, cmd load.Command, rounds int) (values map[string]float64, err error) {
	h := &healing{dir: dir, command: cmd}
	defer func() { err = errors.Join(err, h.closeNodes()) }()
	if err := h.openNodes(ctx); err != nil {
		return nil, err
	}
	series := map[string][]float64{}
	for round := range rounds {
		if err := h.healTwice(ctx, series); err != nil {
			return nil, fmt.Errorf("round %d: %w", round, err)
		}
	}
	values = map[string]float64{}
	for name, list := range series {
		values[name] = slices.Sorted(slices.Values(list))[len(list)/2]
	}
	return values, nil
}

func (h *healing) openNodes(ctx context.Context) (err error) {
	if h.ports, err = load.FreePorts(nodes); err != nil {
		return err
	}
	for i := range nodes {
		if err := h.startNode(ctx, i); err != nil {
			return err
		}
	}
	for _, n := range h.nodes {
		if _, err := n.sendCommand(load.Command{Level: askTogether}); err != nil {
			return err
		}
	}
	if _, err := h.nodes[0].sendCommand(h.commandFor(askFill)); err != nil {
		return err
	}
	return h.awaitEqual(ctx)
}

func (h *healing) commandFor(level string) load.Command {
	cmd := h.command
	cmd.Level = level
	return cmd
}

// startNode starts a node; all is default.
func (h *healing) startNode(ctx context.Context, i int) error {
	name, dir := fmt.Sprintf("n%d", i), fmt.Sprintf("n%d", i)
	if i == nodes-1 {
		name, dir = lostName, fmt.Sprintf("%s-%d", lostName, h.lives)
	}
	address := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", h.ports[i]) }
	c, err := startSingle(ctx, filepath.Join(h.dir, dir), name, address(i), address(0))
	if err != nil {
		return err
	}
	h.nodes = append(h.nodes, c)
	return nil
}

func (h *healing) closeNodes() error {
	var faults []error
	for _, n := range h.nodes {
		faults = append(faults, n.closeAndWait())
	}
	return errors.Join(faults...)
}

// awaitEqual waits until all stores hold the same.
func (h *healing) awaitEqual(ctx context.Context) error {
	return awaitTrue(ctx, "equal stores", time.Minute, func() (bool, error) {
		var all []float64
		for _, n := range h.nodes {
			got, err := n.sendCommand(load.Command{Level: askContent})
			if err != nil {
				return false, err
			}
			all = append(all, got[askContent])
		}
		return slices.Min(all) == slices.Max(all), nil
	})
}

// healTwice heals a store twice, and notes how that went.
func (h *healing) healTwice(ctx context.Context, series map[string][]float64) error {
	note := func(name string, value float64) { series[name] = append(series[name], value) }
	megabytes := float64(h.command.Keys*h.command.Size) / 1e6

	if err := h.loseStore(ctx); err != nil {
		return err
	}
	begin := time.Now()
	moved, err := h.healStore(ctx)
	if err == nil {
		err = h.awaitEqual(ctx)
	}
	if err != nil {
		return err
	}
	took, first := time.Since(begin).Seconds(), moved.Sub(begin).Seconds()
	note("mb_per_s", megabytes/took)
	note("seconds to heal", took)
	note("of that seconds before the first items are asked for", first)
	note("MB/s from the first items on", megabytes/(took-first))

	// Half of the load without healing comes before, half of it after, so that
	// a host that slows down or speeds up does not count for or against.
	before, err := h.putUnhealed(ctx)
	if err != nil {
		return err
	}
	if err := h.loseStore(ctx); err != nil {
		return err
	}
	begin = time.Now()
	during, err := h.loadBeside(func() error { _, err := h.healStore(ctx); return err })
	took = time.Since(begin).Seconds()
	if err != nil {
		return err
	}
	after, err := h.putUnhealed(ctx)
	if err != nil {
		return err
	}
	without := before.mergeWith(after)
	note("put_p99_ratio", during.micros(0.99)/without.micros(0.99))
	for name, r := range map[string]steadyResult{"without": without, "during": during} {
		note("put p50 "+name+", us", r.micros(0.5))
		note("put p99 "+name+", us", r.micros(0.99))
		note("puts/s "+name, float64(len(r.took))/r.elapsed.Seconds())
	}
	note("MB/s beside puts", megabytes/took)
	return nil
}

// putUnhealed puts for half of the command's duration, while nothing is healed.
func (h *healing) putUnhealed(ctx context.Context) (steadyResult, error) {
	if err := h.awaitEqual(ctx); err != nil {
		return steadyResult{}, err
	}
	return h.loadBeside(func() error {
		select {
		case <-time.After(h.command.Duration / 2):
		case <-ctx.Done():
		}
		return ctx.Err()
	})
}

// loadBeside runs do beside a steady load of all clients, which is put through the
// nodes that stay.
func (h *healing) loadBeside(do func() error) (total steadyResult, err error) {
	stay := h.nodes[:nodes-1]
	for i, n := range stay {
		cmd := h.commandFor(askSteady)
		cmd.Clients = (cmd.Clients + i) / len(stay)
		if _, err := n.sendCommand(cmd); err != nil {
			return total, err
		}
	}
	faults := []error{do()}
	for _, n := range stay {
		counts, err := n.sendCommand(load.Command{Level: askCalm})
		part, malformed := steadyCounted(counts)
		faults = append(faults, err, malformed)
		total.took = append(total.took, part.took...)
		total.elapsed = max(total.elapsed, part.elapsed)
	}
	slices.Sort(total.took)
	return total, errors.Join(faults...)
}

// loseStore ends a store and its disk, and waits until the others have given it up:
// how long that takes is another figure.
func (h *healing) loseStore(ctx context.Context) error {
	lost := h.nodes[nodes-1]
	h.nodes = h.nodes[:nodes-1]
	dir := filepath.Join(h.dir, fmt.Sprintf("%s-%d", lostName, h.lives))
	if err := errors.Join(lost.closeAndWait(), os.RemoveAll(dir)); err != nil {
		return err
	}
	h.lives++
	for _, n := range h.nodes {
		if _, err := n.sendCommand(load.Command{Level: askGivenUp}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// healStore starts a new store in the place of a lost one, and waits until it holds
// all it is a home of. It returns when that first asked for items.
func (h *healing) healStore(ctx context.Context) (moved time.Time, err error) {
	if err := h.startNode(ctx, nodes-1); err != nil {
		return moved, err
	}
	answer, err := h.nodes[nodes-1].sendCommand(load.Command{Level: askHealed})
	return time.UnixMicro(int64(answer[askHealed] * 1e6)), err
}
