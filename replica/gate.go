package replica

import (
	"fmt"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/lifecycle"
)

// gate counts the operations within, so that closing can wait for them, and what is
// taken in, so that leaving can; and it bounds those that wait.
type gate struct {
	ops *lifecycle.Gate // shut for good by closing
	// taking is what others have sent and is not yet synced. It is shut once the store has
	// handed over for good: then what it took in would go with it.
	taking *lifecycle.Gate

	clients budget // writes that this store coordinates
	peers   budget // what others have this store merge: it must go on when clients are refused
}

// budget counts what waits and its bytes.
type budget struct{ pending, bytes atomic.Int64 }

// makeRoom takes room in a budget for a write of so many bytes; false: there is
// none. Each makeRoom needs a release.
func (s *Store) makeRoom(in *budget, bytes int) bool {
	n, b := in.pending.Add(1), in.bytes.Add(int64(bytes))
	if n > int64(s.cfg.MaxPending) || b > s.cfg.MaxPendingBytes && n > 1 {
		in.releaseBytes(bytes)
		return false
	}
	return true
}

func (in *budget) releaseBytes(bytes int) {
	in.pending.Add(-1)
	in.bytes.Add(-int64(bytes))
}

func tooLarge(what string, n, limit int) error {
	return fmt.Errorf("%w: %s of %d bytes, limit %d", ErrTooLarge, what, n, limit)
}
