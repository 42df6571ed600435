package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
	"github.com/skeinmesh/skein/replica"
)

const (
	watchStores  = 3
	watchRounds  = 3
	watchWriters = 64
	fewWatchers  = 10
	manyWatchers = 1000
)

// measureWatch puts n values of 1 KB a round, each under a key of its own: while ten watch
// all of them, until each of these was told of each key, and while a thousand watch a
// thousandth each, in turn with puts that nobody watches. Three stores, the watchers and
// the writers are in one process.
func measureWatch(ctx context.Context, dir string, n int) (values map[string]float64, err error) {
	ports, err := load.FreePorts(watchStores)
	if err != nil {
		return nil, err
	}
	var all trio
	defer func() { err = errors.Join(err, all.Close()) }()
	for i, port := range ports {
		name := fmt.Sprintf("n%d", i)
		m, err := openMember(ctx, meshConfig(filepath.Join(dir, name), name, fmt.Sprintf("127.0.0.1:%d", port), []string{fmt.Sprintf("127.0.0.1:%d", ports[0])}))
		if all = append(all, m); err != nil {
			return nil, err
		}
	}
	for _, m := range all {
		if err := m.awaitAll(ctx, watchStores); err != nil {
			return nil, err
		}
	}
	w := watchBench{all: all, value: make([]byte, 1<<10)}
	var alone, many, events, over []float64
	for round := range watchRounds + 1 {
		without, _, err := w.putWatched(ctx, n, 0, func(int) string { return "" })
		if err != nil {
			return nil, err
		}
		with, _, err := w.putWatched(ctx, n, manyWatchers, func(i int) string { return fmt.Sprintf("%03d/", i) })
		if err != nil {
			return nil, err
		}
		puts, told, err := w.putWatched(ctx, n, fewWatchers, func(int) string { return "" })
		if err != nil {
			return nil, err
		}
		if round > 0 { // the first one fills caches
			alone, many, events, over = append(alone, without), append(many, with), append(events, told), append(over, told/puts)
		}
	}
	return map[string]float64{
		"events_per_s": middleOf(events), "events_vs_puts": middleOf(over), "puts_beside_1000": middleOf(many) / middleOf(alone),
	}, nil
}

func middleOf(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

type watchBench struct {
	all   trio
	value []byte
	round int
}

// putWatched puts n values while so many watch, of whom the i-th watches a prefix. It returns
// the puts a second, and how many changes a second all watchers together were told of until
// they were told of all.
func (w *watchBench) putWatched(ctx context.Context, n, watchers int, prefix func(i int) string) (puts, events float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	w.round++
	var told, ready atomic.Int64
	var failed atomic.Pointer[error]
	for i := range watchers {
		group.Go(func() {
			begun := false
			for c, err := range w.all[i%watchStores].bucket.Watch(ctx, replica.WatchOptions{Prefix: prefix(i)}) {
				switch {
				case err != nil && ctx.Err() == nil:
					failed.Store(&err)
				case c.Kind == replica.ChangePut:
					told.Add(1)
				case c.Kind == replica.ChangeCurrent && c.Open == 0 && !begun:
					begun = true
					ready.Add(1)
				}
			}
		})
	}
	done := func(count *atomic.Int64, of int) func() (bool, error) {
		return func() (bool, error) {
			if err := failed.Load(); err != nil {
				return false, *err
			}
			return count.Load() >= int64(of), nil
		}
	}
	if err := awaitTrue(ctx, "watches that are current", time.Minute, done(&ready, watchers)); err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	err = forEachUpTo(n, watchWriters, func(i int) error {
		_, err := w.all[i%watchStores].bucket.Put(ctx, fmt.Sprintf("%03d/%d/%d", i%manyWatchers, w.round, i), w.value, nil)
		if errors.Is(err, replica.ErrDegraded) {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	puts = float64(n) / time.Since(begun).Seconds()
	sum := n * watchers
	if watchers == manyWatchers {
		sum = n
	}
	if err := awaitTrue(ctx, fmt.Sprintf("%d changes of %d puts told", sum, n), time.Minute, done(&told, sum)); err != nil {
		return 0, 0, err
	}
	return puts, float64(sum) / time.Since(begun).Seconds(), nil
}
