package replica

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// gate counts the operations within, so that closing can wait for them, and
// bounds those that wait.
type gate struct {
	inside atomic.Int64
	closed atomic.Bool
	once   sync.Once
	empty  chan struct{} // closed when closed and nobody is inside any more

	clients budget // writes that this store coordinates
	peers   budget // what others have this store merge: it must go on when clients are refused
}

// budget counts what waits and its bytes.
type budget struct{ pending, bytes atomic.Int64 }

// enter lets an operation in unless the store is closed. Each enter needs a
// leave.
func (s *Store) enter() bool {
	s.gate.inside.Add(1)
	if s.gate.closed.Load() {
		s.leave()
		return false
	}
	return true
}

// stay lets an operation that is within go on in another goroutine. Each stay
// needs a leave.
func (s *Store) stay() { s.gate.inside.Add(1) }

func (s *Store) leave() {
	if s.gate.inside.Add(-1) == 0 && s.gate.closed.Load() {
		s.gate.once.Do(func() { close(s.gate.empty) })
	}
}

// shut lets nobody in any more.
func (s *Store) shut() {
	s.gate.inside.Add(1)
	s.gate.closed.Store(true)
	s.leave()
}

// makeRoom takes room in a budget for a write of so many bytes; false: there is
// none. Each makeRoom needs a release.
func (s *Store) makeRoom(in *budget, bytes int) bool {
	n, b := in.pending.Add(1), in.bytes.Add(int64(bytes))
	if n > int64(s.cfg.MaxPending) || b > s.cfg.MaxPendingBytes && n > 1 {
		in.release(bytes)
		return false
	}
	return true
}

func (in *budget) release(bytes int) {
	in.pending.Add(-1)
	in.bytes.Add(-int64(bytes))
}

func tooLarge(what string, n, limit int) error {
	return fmt.Errorf("%w: %s of %d bytes, limit %d", ErrTooLarge, what, n, limit)
}
