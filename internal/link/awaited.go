package link

import (
	"sync"

	"github.com/skeinmesh/skein/mesh/view"
)

// pendingAnswers holds what waits for an answer by packet, by the number that the answer
// repeats. An answer counts once, and only from whom was asked.
type pendingAnswers[T any] struct {
	mu      sync.Mutex
	waiting map[uint64]waiter[T]
}

type waiter[T any] struct {
	from   view.NodeID
	answer chan T // capacity 1
}

// expectAnswer returns where the answer of a node arrives. It needs an end.
func (a *pendingAnswers[T]) expectAnswer(from view.NodeID, number uint64) <-chan T {
	w := waiter[T]{from, make(chan T, 1)}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[uint64]waiter[T]{}
	}
	a.waiting[number] = w
	return w.answer
}

func (a *pendingAnswers[T]) dropWaiter(number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, number)
}

// deliverAnswer hands an answer to whoever waits for it. It never blocks.
func (a *pendingAnswers[T]) deliverAnswer(from view.NodeID, number uint64, answer T) {
	a.mu.Lock()
	w, ok := a.waiting[number]
	if ok = ok && w.from == from; ok {
		delete(a.waiting, number)
	}
	a.mu.Unlock()
	if ok {
		w.answer <- answer
	}
}
