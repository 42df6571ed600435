package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// workshop has no nodes of its own; its measurements open those that they need.
type workshop struct{ dir string }

func (w workshop) Extra(ctx context.Context, cmd load.Command) (map[string]float64, error) {
	switch cmd.Level {
	case "ae":
		return measureEntropy(ctx, filepath.Join(w.dir, "ae"), cmd.Keys, entropyRepeats)
	case "heal":
		return measureHealing(ctx, filepath.Join(w.dir, "heal"), cmd, healRounds)
	case "scan":
		return measureScan(ctx, filepath.Join(w.dir, "scan"), cmd.Keys)
	case "watch":
		return measureWatch(ctx, filepath.Join(w.dir, "watch"), cmd.Keys)
	case "large":
		return measureLarge(ctx, filepath.Join(w.dir, "large"), cmd)
	}
	return nil, load.ErrUnsupported
}

func (w workshop) Put(context.Context, int, string, []byte) error { return load.ErrUnsupported }

func (w workshop) Get(context.Context, int, string, string) ([]byte, error) {
	return nil, load.ErrUnsupported
}

func (w workshop) Children() []int { return nil }
func (w workshop) Close() error    { return nil }

// forEachUpTo runs do for 0 to n-1, so many at a time, and returns one of the errors.
func forEachUpTo(n, atOnce int, do func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// awaitTrue asks until it is so, up to limit.
func awaitTrue(ctx context.Context, what string, limit time.Duration, so func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := so()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %v", what, limit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
