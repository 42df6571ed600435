package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

const (
	healRounds  = 3
	steadyPause = 40 * time.Millisecond // between two puts of a client of the steady load
)

// healing is a mesh of which one store's disk is lost over and over.
type healing struct {
	trio   trio
	dir    string
	ports  []int
	keys   []string
	values []byte // stock of random bytes
	size   int
	lives  int // of the store that is lost
	ledger *ledger
}

// measureHealing loses the disk of one of three stores and times how long a new
// one under its name takes to hold all copies: without other load, then beside a
// steady load of puts, which is measured without any healing just before and
// after. Each value is the median over the rounds.
func measureHealing(ctx context.Context, dir string, cmd load.Command, rounds int) (values map[string]float64, err error) {
	h, err := openHealing(ctx, dir, cmd)
	defer func() { err = errors.Join(err, h.trio.Close()) }()
	if err != nil {
		return nil, err
	}
	series := map[string][]float64{}
	for round := range rounds {
		if err := h.round(ctx, cmd, series); err != nil {
			return nil, fmt.Errorf("round %d: %w", round, err)
		}
	}
	values = map[string]float64{}
	for name, list := range series {
		values[name] = slices.Sorted(slices.Values(list))[len(list)/2]
	}
	return values, nil
}

func openHealing(ctx context.Context, dir string, cmd load.Command) (*healing, error) {
	h := &healing{dir: dir, keys: load.Keys(cmd.Keys), size: cmd.Size, values: make([]byte, cmd.Size+1<<16)}
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range h.values {
		h.values[i] = byte(chance.Uint32())
	}
	var err error
	if h.ports, err = load.FreePorts(nodes); err != nil {
		return h, err
	}
	for i := range nodes {
		m, err := h.open(ctx, i, nil)
		h.trio = append(h.trio, m)
		if err != nil {
			return h, err
		}
	}
	for _, m := range h.trio {
		if err := m.awaitAll(ctx, nodes); err != nil {
			return h, err
		}
	}
	err = each(len(h.keys), 64, func(i int) (err error) {
		for range 10 {
			if err = h.trio.Put(ctx, i, h.keys[i], h.value(i)); err == nil {
				return nil
			}
			time.Sleep(100 * time.Millisecond) // a patient caller: loading is no measurement
		}
		return err
	})
	if err != nil {
		return h, fmt.Errorf("load: %w", err)
	}
	return h, h.awaitEqual(ctx)
}

// open opens a member; all is default.
func (h *healing) open(ctx context.Context, i int, wrap func(replica.Mesh) replica.Mesh) (*member, error) {
	name := fmt.Sprintf("n%d", i)
	seed := fmt.Sprintf("127.0.0.1:%d", h.ports[0])
	dir := filepath.Join(h.dir, fmt.Sprintf("%s-%d", name, h.lives))
	return setup{mesh: meshConfig(dir, name, fmt.Sprintf("127.0.0.1:%d", h.ports[i]), []string{seed}), wrap: wrap}.open(ctx)
}

func (h *healing) value(n int) []byte {
	at := n * 61 % (len(h.values) - h.size)
	return h.values[at : at+h.size]
}

// awaitEqual waits until all stores hold the same.
func (h *healing) awaitEqual(ctx context.Context) error {
	return await(ctx, "equal stores", time.Minute, func() (bool, error) {
		want, err := h.trio[0].bucket.Digests(ctx)
		for _, m := range h.trio[1:] {
			if err != nil {
				return false, err
			}
			var got map[int][16]byte
			if got, err = m.bucket.Digests(ctx); !maps.Equal(got, want) {
				return false, err
			}
		}
		return true, err
	})
}

// round heals a store twice, and notes how that went.
func (h *healing) round(ctx context.Context, cmd load.Command, series map[string][]float64) error {
	note := func(name string, value float64) { series[name] = append(series[name], value) }
	megabytes := float64(len(h.keys)*h.size) / 1e6

	start, err := h.heal(ctx, nil)
	if err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	first := h.ledger.firstMove().Sub(start).Seconds()
	note("mb_per_s", megabytes/took)
	note("seconds to heal", took)
	note("of that seconds before the first items are asked for", first)
	note("MB/s from the first items on", megabytes/(took-first))

	// Half of the load without healing comes before, half of it after, so that
	// a host that slows down or speeds up does not count for or against.
	without, err := h.calm(ctx, cmd)
	if err != nil {
		return err
	}
	var during steadyResult
	var puts *steadyLoad
	start, err = h.heal(ctx, func() { puts = h.steady(ctx, cmd.Clients) })
	took = time.Since(start).Seconds()
	if puts != nil {
		var fault error
		during, fault = puts.end()
		err = errors.Join(err, fault)
	}
	if err != nil {
		return err
	}
	after, err := h.calm(ctx, cmd)
	if err != nil {
		return err
	}
	without = without.add(after)
	note("put_p99_ratio", during.micros(0.99)/without.micros(0.99))
	for name, r := range map[string]steadyResult{"without": without, "during": during} {
		note("put p50 "+name+", us", r.micros(0.5))
		note("put p99 "+name+", us", r.micros(0.99))
		note("puts/s "+name, float64(len(r.took))/r.elapsed.Seconds())
	}
	note("MB/s beside puts", megabytes/took)
	return nil
}

// calm puts for half of the command's duration, while nothing is healed.
func (h *healing) calm(ctx context.Context, cmd load.Command) (steadyResult, error) {
	if err := h.awaitEqual(ctx); err != nil {
		return steadyResult{}, err
	}
	puts := h.steady(ctx, cmd.Clients)
	select {
	case <-time.After(cmd.Duration / 2):
	case <-ctx.Done():
	}
	return puts.end()
}

// lose ends the last store and its disk, and waits until the others have given
// it up: how long that takes is another figure.
func (h *healing) lose(ctx context.Context) error {
	last := len(h.trio) - 1
	lost := h.trio[last]
	h.trio = h.trio[:last]
	id, dir := lost.node.ID(), lost.node.Dir()
	if err := errors.Join(lost.close(), os.RemoveAll(dir)); err != nil {
		return err
	}
	h.lives++
	for _, m := range h.trio {
		err := await(ctx, "a lost node is given up", time.Minute, func() (bool, error) {
			v := m.node.View()
			gone, ok := v.Member(id)
			return !ok || gone.State == view.Failed, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// heal loses a store, then starts a new one in its place, and with it what is to
// run meanwhile, and waits until that holds all it is a home of. It returns when
// the new one was started.
func (h *healing) heal(ctx context.Context, meanwhile func()) (start time.Time, err error) {
	if err := h.lose(ctx); err != nil {
		return start, err
	}
	h.ledger = newLedger(func() int64 { return 0 }) // only the time is of interest
	start = time.Now()
	if meanwhile != nil {
		meanwhile()
	}
	m, err := h.open(ctx, len(h.trio), func(inner replica.Mesh) replica.Mesh { return meteredMesh{inner, h.ledger, nil} })
	h.trio = append(h.trio, m)
	if err != nil {
		return start, err
	}
	if err := m.awaitAll(ctx, nodes); err != nil {
		return start, err
	}
	err = await(ctx, "a healed store", time.Minute, func() (bool, error) {
		st, err := m.store.Status(ctx)
		return st.Syncing == 0, err
	})
	if err != nil || meanwhile != nil {
		return start, err // puts make the stores differ for a moment all the time
	}
	return start, h.awaitEqual(ctx)
}

// steadyLoad is a number of clients that each put one value every steadyPause,
// through the two stores that stay.
type steadyLoad struct {
	cancel context.CancelFunc
	start  time.Time
	group  sync.WaitGroup

	mu      sync.Mutex
	took    []time.Duration // from when a put was due until it was acknowledged
	failed  int
	failure error
}

type steadyResult struct {
	took    []time.Duration // in rising order
	elapsed time.Duration
}

func (r steadyResult) add(other steadyResult) steadyResult {
	return steadyResult{slices.Sorted(slices.Values(slices.Concat(r.took, other.took))), r.elapsed + other.elapsed}
}

// micros is a quantile, in microseconds.
func (r steadyResult) micros(q float64) float64 {
	return float64(r.took[int(q*float64(len(r.took)))].Nanoseconds()) / 1e3
}

func (h *healing) steady(ctx context.Context, clients int) *steadyLoad {
	s := &steadyLoad{start: time.Now()}
	stayers := h.trio[:nodes-1]
	ctx, s.cancel = context.WithCancel(ctx)
	for n := range clients {
		s.group.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(n), uint64(s.start.UnixNano())))
			to := stayers[n%len(stayers)].bucket
			due := s.start.Add(steadyPause * time.Duration(n) / time.Duration(clients))
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(due)):
				}
				i := chance.IntN(len(h.keys))
				_, err := to.Put(context.WithoutCancel(ctx), h.keys[i], h.value(chance.IntN(1<<16)), nil)
				s.note(time.Since(due), err)
				due = due.Add(steadyPause)
			}
		})
	}
	return s
}

func (s *steadyLoad) note(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.took = append(s.took, took); err != nil {
		s.failed, s.failure = s.failed+1, err
	}
}

// end ends the load. A load of which more than one put in a hundred failed is
// no measurement.
func (s *steadyLoad) end() (steadyResult, error) {
	elapsed := time.Since(s.start)
	s.cancel()
	s.group.Wait()
	if s.failed*100 > len(s.took) || len(s.took) == 0 {
		return steadyResult{}, fmt.Errorf("%d of %d puts failed: %w", s.failed, len(s.took), cmp.Or(s.failure, errors.New("none was made")))
	}
	slices.Sort(s.took)
	return steadyResult{s.took, elapsed}, nil
}
