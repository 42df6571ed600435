package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Cast is the processes that run. The zero Cast is empty. All methods may be used concurrently.
type Cast[Q, A, E any] struct {
	mu      sync.Mutex
	running map[string]*Process[Q, A, E] // by name
}

// Add makes a process a part of the cast.
func (c *Cast[Q, A, E]) Add(p *Process[Q, A, E]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running = make(map[string]*Process[Q, A, E])
	}
	c.running[p.Role.Name] = p
}

// Remove takes a process out of the cast; its end is the caller's business. Nil: there is none.
func (c *Cast[Q, A, E]) Remove(name string) *Process[Q, A, E] {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.running[name]
	delete(c.running, name)
	return p
}

// Running lists the processes of the given names, or all, by name.
func (c *Cast[Q, A, E]) Running(names ...string) (all []*Process[Q, A, E]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, p := range c.running {
		if len(names) == 0 || slices.Contains(names, name) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *Process[Q, A, E]) int { return cmp.Compare(a.Role.Name, b.Role.Name) })
	return all
}

// Ask asks the process of a name; see Process.Ask.
func (c *Cast[Q, A, E]) Ask(ctx context.Context, name string, ask Q) (say A, err error) {
	ps := c.Running(name)
	if len(ps) == 0 {
		return say, fmt.Errorf("%s does not run", name)
	}
	if say, err = ps[0].Ask(ctx, ask); err != nil {
		err = fmt.Errorf("ask %s: %w", name, err)
	}
	return say, err
}

// AskAll asks all processes at once. An error may come beside the answers, by name, of those that
// have answered.
func (c *Cast[Q, A, E]) AskAll(ctx context.Context, ask Q) (map[string]A, error) {
	said := make(map[string]A)
	var errs []error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range c.Running() {
		wg.Go(func() {
			say, err := c.Ask(ctx, p.Role.Name, ask)
			mu.Lock()
			defer mu.Unlock()
			if errs = append(errs, err); err == nil {
				said[p.Role.Name] = say
			}
		})
	}
	wg.Wait()
	return said, errors.Join(errs...)
}

// KillAll ends what still runs.
func (c *Cast[Q, A, E]) KillAll() {
	for _, p := range c.Running() {
		c.Remove(p.Role.Name)
		p.Kill()
	}
}

// AwaitUntil polls until ready says so. What it waits for is named in the error.
func AwaitUntil(ctx context.Context, within time.Duration, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !ready() {
		if SleepFor(ctx, 25*time.Millisecond) != nil {
			return fmt.Errorf("waited %s for this in vain: %s", within, what)
		}
	}
	return nil
}
