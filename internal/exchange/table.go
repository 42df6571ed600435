package exchange

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/epidemic"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Table is a Set of which the newest entries hold, in memory. All methods may be used
// concurrently; what it calls is called under its lock.
type Table[K cmp.Ordered, V, E any] struct {
	News  notify.Bell // some entries are to be handed on: see TakeNews
	Heard notify.Bell // entries of others have changed

	now     func() time.Duration
	believe func() func(wire.KeySum[K, V]) bool

	mu    sync.Mutex
	table *epidemic.Table[K, V, E] // guarded by mu
}

// NewTable returns an empty table. Now is this node's run time. Believe is called for
// each message and returns which of its entries may be taken in, by the roster for
// instance: entries that anybody may make up would fill the memory of every node.
func NewTable[K cmp.Ordered, V, E any](rule epidemic.Rule[K, V, E], now func() time.Duration, believe func() func(wire.KeySum[K, V]) bool) *Table[K, V, E] {
	return &Table[K, V, E]{
		News: notify.NewBell(), Heard: notify.NewBell(), now: now, believe: believe, table: epidemic.New(rule),
	}
}

// Change puts what this node says anew of a key, unless change says that it is nothing
// new. The held entry is zero if there is none.
func (t *Table[K, V, E]) Change(key K, change func(now time.Duration, held E) (E, bool)) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	h, _ := t.table.Get(key)
	if e, ok := change(now, h.Entry); ok && t.table.Put(now, e) {
		t.News.Ring()
	}
}

// Get returns what is held of a key.
func (t *Table[K, V, E]) Get(key K) epidemic.Held[E] {
	return withLock(&t.mu, func() epidemic.Held[E] { h, _ := t.table.Get(key); return h })
}

// All returns what is held of each key.
func (t *Table[K, V, E]) All() map[K]epidemic.Held[E] { return withLock(&t.mu, t.table.All) }

// Forget drops the entries of keys that are gone.
func (t *Table[K, V, E]) Forget(gone func(K) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.table.Forget(gone)
}

// TakeNews returns what is to be handed on, once.
func (t *Table[K, V, E]) TakeNews() []E { return withLock(&t.mu, t.table.News) }

// Digest is part of Set.
func (t *Table[K, V, E]) Digest() uint64 { return withLock(&t.mu, t.table.Digest) }

// Sums is part of Set.
func (t *Table[K, V, E]) Sums() []wire.KeySum[K, V] { return withLock(&t.mu, t.table.Sums) }

// Missing is part of Set.
func (t *Table[K, V, E]) Missing(_ context.Context, _ view.NodeID, theirs []wire.KeySum[K, V]) (wire.TableSwap[K, E], error) {
	return withLock(&t.mu, func() wire.TableSwap[K, E] { return t.table.Missing(theirs) }), nil
}

// Sieve is part of Set.
func (t *Table[K, V, E]) Sieve() func(wire.KeySum[K, V]) bool {
	keep := t.table.Sieve(t.believe())
	return func(s wire.KeySum[K, V]) bool { return withLock(&t.mu, func() bool { return keep(s) }) }
}

// Take is part of Set.
func (t *Table[K, V, E]) Take(_ context.Context, _ view.NodeID, said []E) error {
	t.takeIn(said, t.table.Hear)
	return nil
}

// takeIn takes in what a peer says, by a method of the table.
func (t *Table[K, V, E]) takeIn(said []E, hear func(time.Duration, []E, func(wire.KeySum[K, V]) bool) bool) {
	now, believe := t.now(), t.believe()
	t.mu.Lock()
	defer t.mu.Unlock()
	if hear(now, said, believe) {
		t.News.Ring()
		t.Heard.Ring()
	}
}

// Answer is part of Set.
func (t *Table[K, V, E]) Answer(ctx context.Context, peer view.NodeID, asked wire.TableSwap[K, E]) ([]E, error) {
	return answerBy(ctx, t, t, peer, asked)
}

// answerBy has the table answer once set has taken in what the peer says.
func answerBy[K cmp.Ordered, V, E any](ctx context.Context, t *Table[K, V, E], set Set[K, V, E], peer view.NodeID, asked wire.TableSwap[K, E]) ([]E, error) {
	if err := set.Take(ctx, peer, asked.Have); err != nil {
		return nil, err
	}
	return withLock(&t.mu, func() []E { return t.table.Some(asked.Want) }), nil
}

// Bulk returns the table as it takes in many entries: see Exchanger.
func (t *Table[K, V, E]) Bulk() Set[K, V, E] { return bulk[K, V, E]{t} }

type bulk[K cmp.Ordered, V, E any] struct{ *Table[K, V, E] }

// Take is part of Set.
func (b bulk[K, V, E]) Take(_ context.Context, _ view.NodeID, said []E) error {
	b.takeIn(said, b.table.HearMany)
	return nil
}

// Answer is part of Set.
func (b bulk[K, V, E]) Answer(ctx context.Context, peer view.NodeID, asked wire.TableSwap[K, E]) ([]E, error) {
	return answerBy(ctx, b.Table, b, peer, asked)
}

func withLock[T any](mu *sync.Mutex, do func() T) T {
	mu.Lock()
	defer mu.Unlock()
	return do()
}
