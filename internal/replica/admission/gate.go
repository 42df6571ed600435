// Package admission decides what a store lets in: operations until it closes, what others
// send until it leaves, and no more writes at once than there is room for and than
// disks and peers get done.
package admission

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
)

// ErrOverloaded: too many operations wait, in the words of package replica.
var ErrOverloaded = errors.New("replica: overloaded")

// RetryAfter is when a write for which there is no room may be tried again.
const RetryAfter = 50 * time.Millisecond

// Overload is ErrOverloaded, and tells when to try again.
type Overload struct{ After time.Duration }

func (o Overload) Error() string        { return fmt.Sprintf("%v, retry after %v", ErrOverloaded, o.After) }
func (o Overload) Is(target error) bool { return target == ErrOverloaded }

// Gate counts the operations within, so that closing can wait for them, and what is
// taken in, so that leaving can; and it bounds those that wait. All methods may be used
// concurrently.
type Gate struct {
	Ops *lifecycle.Gate // shut for good by closing
	// Taking is what others have sent and is not yet synced. It is shut once the store has
	// handed over for good: then what it took in would go with it.
	Taking *lifecycle.Gate

	Clients Budget // writes that this store coordinates
	Peers   Budget // what others have this store merge: it must go on when clients are refused
}

// NewGate returns an open gate. Each of its budgets holds so many writes, and so many
// bytes of them.
func NewGate(most int, mostBytes int64) *Gate {
	return &Gate{
		Ops: lifecycle.NewGate(), Taking: lifecycle.NewGate(),
		Clients: Budget{most: int64(most), mostBytes: mostBytes}, Peers: Budget{most: int64(most), mostBytes: mostBytes},
	}
}

// HasPending tells whether clients' writes are under way here.
func (g *Gate) HasPending() bool { return g.Clients.Pending() > 0 || g.Peers.Pending() > 0 }

// Budget counts what waits and its bytes.
type Budget struct {
	most, mostBytes int64
	pending, bytes  atomic.Int64
}

// MakeRoom takes room for a write of so many bytes; false: there is none. Each MakeRoom
// that took some needs a ReleaseBytes.
func (in *Budget) MakeRoom(bytes int) bool {
	n, b := in.pending.Add(1), in.bytes.Add(int64(bytes))
	if n > in.most || b > in.mostBytes && n > 1 {
		in.ReleaseBytes(bytes)
		return false
	}
	return true
}

// ReleaseBytes gives back the room of a write of so many bytes.
func (in *Budget) ReleaseBytes(bytes int) {
	in.pending.Add(-1)
	in.bytes.Add(-int64(bytes))
}

// Pending returns how many writes have room.
func (in *Budget) Pending() int64 { return in.pending.Load() }
