package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Watcher is a System whose keys can be watched.
type Watcher interface {
	// WatchKeys calls ready once it is told of all changes from then on, and seen with each
	// change, until ctx ends.
	WatchKeys(ctx context.Context, client int, ready, seen func()) error
}

const (
	watchers    = 10
	watchersMet = 30 * time.Second       // until they are ready
	watchQuiet  = 500 * time.Millisecond // without a change: all have been told
	watchLimit  = 20 * time.Second       // for that
)

// runWatched has clients put for a while, and measures how many changes a second all
// watchers together are told of, from the first put until the last change.
func runWatched(ctx context.Context, sys System, cmd Command) (Result, error) {
	w, ok := sys.(Watcher)
	if !ok {
		return Result{}, ErrUnsupported
	}
	put := cmd
	put.Op = OpPut
	operation, err := operationOf(sys, put)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	var ready, told, last, failed atomic.Int64
	for n := range watchers {
		all.Go(func() {
			err := w.WatchKeys(ctx, n, func() { ready.Add(1) }, func() {
				told.Add(1)
				last.Store(time.Now().UnixNano())
			})
			if ctx.Err() == nil {
				cancel(fmt.Errorf("load: watcher %d: %w", n, err))
			}
		})
	}
	for deadline := time.Now().Add(watchersMet); ready.Load() < watchers; time.Sleep(10 * time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(deadline) {
			return Result{}, fmt.Errorf("load: %d of %d watchers are ready: %w", ready.Load(), watchers, context.Cause(ctx))
		}
	}
	stopProfile, err := startProfile(cmd.Profile)
	if err != nil {
		return Result{}, err
	}
	begin := time.Now()
	var clients sync.WaitGroup
	for n := range cmd.Clients {
		clients.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(n), uint64(begin.UnixNano())))
			for time.Since(begin) < cmd.Duration && ctx.Err() == nil {
				if operation(ctx, n, chance) != nil {
					failed.Add(1)
				}
			}
		})
	}
	clients.Wait()
	last.CompareAndSwap(0, begin.UnixNano())
	for end := time.Now(); time.Since(time.Unix(0, last.Load())) < watchQuiet && time.Since(end) < watchLimit; {
		time.Sleep(10 * time.Millisecond)
	}
	if err := errors.Join(stopProfile(), context.Cause(ctx)); err != nil {
		return Result{}, err
	}
	took := time.Unix(0, last.Load()).Sub(begin)
	return Result{Ops: told.Load(), Failed: failed.Load(), OpsPerSecond: float64(told.Load()) / took.Seconds()}, settle(sys.Children(), 5*time.Second)
}
