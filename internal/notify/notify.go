// Package notify tells many watchers the latest value of something. Watchers
// that are slow miss values in between, never the last one.
package notify

import (
	"context"
	"sync"
)

// Value holds the latest value and tells watchers of it. The zero Value
// holds the zero T. All methods may be used concurrently. T is shared
// between the setter and all readers: nobody may change what it refers to.
type Value[T any] struct {
	mu       sync.Mutex
	latest   T
	closed   bool
	watchers map[*watcher[T]]struct{}
	wg       sync.WaitGroup // one per watcher not yet released
}

type watcher[T any] struct {
	ch   chan T // capacity 1
	stop func() bool
}

// New returns a Value that holds initial.
func New[T any](initial T) *Value[T] { return &Value[T]{latest: initial} }

// Get returns the latest value.
func (v *Value[T]) Get() T {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.latest
}

// Set makes t the latest value and tells the watchers. It never blocks.
// After Close it only stores t.
func (v *Value[T]) Set(t T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.latest = t
	for w := range v.watchers {
		w.offerValue(t)
	}
}

// offerValue replaces an unread value. Only holders of the Value's mutex put into
// ch, so that after taking out there is room: it cannot block.
func (w *watcher[T]) offerValue(t T) {
	select {
	case <-w.ch:
	default:
	}
	w.ch <- t
}

// Watch returns a channel that carries the latest value: the present one at
// once, later ones as they are set; an unread value is replaced by a newer
// one. The channel is closed when ctx ends or the Value is closed; a value
// not yet read can still be read then.
func (v *Value[T]) Watch(ctx context.Context) <-chan T {
	w := &watcher[T]{ch: make(chan T, 1)}
	v.mu.Lock()
	defer v.mu.Unlock()
	w.offerValue(v.latest)
	if v.closed {
		close(w.ch)
		return w.ch
	}
	if v.watchers == nil {
		v.watchers = make(map[*watcher[T]]struct{})
	}
	v.watchers[w] = struct{}{}
	v.wg.Add(1)
	w.stop = context.AfterFunc(ctx, func() {
		defer v.wg.Done()
		v.dropWatcher(w)
	})
	return w.ch
}

func (v *Value[T]) dropWatcher(w *watcher[T]) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.watchers[w]; ok {
		delete(v.watchers, w)
		close(w.ch)
	}
}

// Close closes the channels of all watchers and joins what serves them. It
// may be called more than once.
func (v *Value[T]) Close() {
	v.mu.Lock()
	v.closed = true
	for w := range v.watchers {
		delete(v.watchers, w)
		close(w.ch)
		if w.stop() {
			v.wg.Done()
		}
	}
	v.mu.Unlock()
	v.wg.Wait()
}
