package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
	"github.com/skeinmesh/skein/replica"
)

const (
	largeRounds = 3                      // each number of clients has its turn in each
	largeWarmUp = 2 * time.Second        // a load goes on before it is measured
	largeRest   = 2 * time.Second        // between two loads
	largeRetry  = 100 * time.Millisecond // before a client that was refused for no stated time asks again
)

// largeClients are how many clients put large values at once.
func largeClients() []int { return []int{4, 64, 200} }

// largeCounts are what the clients of one node came to.
type largeCounts struct {
	mu                       sync.Mutex
	acked, degraded, refused float64
	failed                   float64
	failure                  error
	slowest                  time.Duration // until the answer, whatever it was
	ackedTook                []time.Duration
}

func (c *largeCounts) noteAnswer(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slowest = max(c.slowest, took)
	switch {
	case err == nil:
		c.acked++
		c.ackedTook = append(c.ackedTook, took)
	case errors.Is(err, replica.ErrDegraded):
		c.degraded++
	case errors.Is(err, replica.ErrOverloaded):
		c.refused++
	default:
		c.failed++
		c.failure = err
	}
}

func (c *largeCounts) values() map[string]float64 {
	out := map[string]float64{"acked": c.acked, "degraded": c.degraded, "refused": c.refused, "failed": c.failed, "slowest": c.slowest.Seconds()}
	if n := len(c.ackedTook); n > 0 {
		slices.Sort(c.ackedTook)
		out["p50"] = c.ackedTook[n/2].Seconds()
	}
	return out
}

// putLarge has clients put values, each the next one when the last one is
// answered, for the time that the command says.
func (s *single) putLarge(ctx context.Context, cmd load.Command) (map[string]float64, error) {
	if s.values.size != cmd.Size {
		s.values = newStock(cmd.Size)
	}
	values := s.values
	keys := load.Keys(cmd.Keys)
	var counts, before largeCounts
	start := time.Now()
	measured, end := start.Add(largeWarmUp), start.Add(largeWarmUp+cmd.Duration)
	var group sync.WaitGroup
	for n := range cmd.Clients {
		group.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(n), uint64(start.UnixNano())))
			for time.Now().Before(end) && ctx.Err() == nil {
				begun := time.Now()
				_, err := s.bucket.Put(ctx, keys[chance.IntN(len(keys))], values.cutValue(chance.IntN(1<<16)), nil)
				now := time.Now()
				switch {
				case now.Before(measured):
					before.noteAnswer(now.Sub(begun), err)
				case now.Before(end) || err != nil:
					counts.noteAnswer(now.Sub(begun), err)
				}
				if errors.Is(err, replica.ErrOverloaded) {
					time.Sleep(cmp.Or(replica.RetryAfter(err), largeRetry))
				}
			}
		})
	}
	group.Wait()
	if counts.failed > 0 {
		fmt.Fprintln(os.Stderr, "large values:", counts.failure)
	}
	out := counts.values()
	var err error
	out["peak"], err = peakBytes()
	return out, err
}

// peakBytes is the most memory that this process has held in RAM since the last
// call, and begins anew.
func peakBytes() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib * 1024, errors.Join(err, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
		}
	}
	return 0, errors.New("the peak of memory is not told")
}

// measureLarge puts large values into a mesh of three nodes, each in a process of
// its own, through all of them: as few clients as it takes to find out what the
// nodes can do, then many more than they can serve.
func measureLarge(ctx context.Context, dir string, cmd load.Command) (values map[string]float64, err error) {
	h := &healing{dir: dir, command: cmd}
	defer func() { err = errors.Join(err, h.closeNodes()) }()
	if h.ports, err = load.FreePorts(nodes); err != nil {
		return nil, err
	}
	for i := range nodes {
		if err := h.startNode(ctx, i); err != nil {
			return nil, err
		}
	}
	for _, n := range h.nodes {
		if _, err := n.sendCommand(load.Command{Level: askTogether}); err != nil {
			return nil, err
		}
	}
	sums := map[int][]map[string]float64{}
	for range largeRounds {
		for _, clients := range largeClients() {
			sum, err := h.putLarge(ctx, clients)
			if err != nil {
				return nil, err
			}
			sums[clients] = append(sums[clients], sum)
		}
	}
	return sumUpLarge(sums, cmd), nil
}

// sumUpLarge tells what each number of clients came to: the median of its rounds,
// and of faults, waits and memory the most. The rounds go in turn and medians are
// compared, for a store that is new does more than one that compacts, and the host
// does more in one moment than in the next.
func sumUpLarge(sums map[int][]map[string]float64, cmd load.Command) map[string]float64 {
	values := map[string]float64{}
	var goodput []float64
	for clients, rounds := range sums {
		name := func(what string) string { return fmt.Sprintf("%s, %d clients", what, clients) }
		list := func(what string) []float64 {
			var all []float64
			for _, sum := range rounds {
				all = append(all, sum[what])
			}
			return slices.Sorted(slices.Values(all))
		}
		median := func(what string) float64 { return list(what)[len(rounds)/2] }
		rate := median("acked") * float64(cmd.Size) / (1 << 20) / cmd.Duration.Seconds()
		goodput = append(goodput, rate)
		values[name("MiB/s acknowledged")] = rate
		values[name("refused/s")] = median("refused") / cmd.Duration.Seconds()
		for _, what := range []string{"degraded", "failed"} {
			values[name(what+"/s")] = slices.Max(list(what)) / cmd.Duration.Seconds()
		}
		values[name("p50 of those acknowledged, ms")] = median("p50") * 1e3
		values[name("longest wait for an answer, ms")] = slices.Max(list("slowest")) * 1e3
		values[name("peak memory of a node, MiB")] = slices.Max(list("peak")) / (1 << 20)
		values["peak_mib"] = max(values["peak_mib"], slices.Max(list("peak"))/(1<<20))
	}
	values["best_mib_per_s"] = slices.Max(goodput)
	values["goodput_ratio"] = slices.Min(goodput) / slices.Max(goodput)
	return values
}

// putLarge has all nodes put at once. Of what they tell it returns the sum, and of
// times and memory the most.
func (h *healing) putLarge(ctx context.Context, clients int) (map[string]float64, error) {
	sum := map[string]float64{}
	var mu sync.Mutex
	err := forEachUpTo(len(h.nodes), len(h.nodes), func(i int) error {
		cmd := h.commandFor(askLarge)
		cmd.Clients = (clients + i) / len(h.nodes)
		got, err := h.nodes[i].sendCommand(cmd)
		mu.Lock()
		defer mu.Unlock()
		for name, value := range got {
			switch name {
			case "p50", "slowest", "peak":
				sum[name] = max(sum[name], value)
			default:
				sum[name] += value
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(largeRest):
	case <-ctx.Done():
	}
	return sum, ctx.Err()
}
