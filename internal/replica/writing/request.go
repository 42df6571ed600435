package writing

import (
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/replica/version"
)

// Request is a write on its way to the store that will coordinate it. Ends and Until are for
// who routes it to set.
type Request struct {
	Bucket  *layout.Bucket
	At      layout.Place
	Write   reconcile.Write
	Level   replicate.Level
	Durable int           // least number of stores
	Ends    time.Duration // by the uptime, when the client is told how things stand
	Until   time.Time     // when the stores that it is forwarded to must have answered
	// by is until when, by this store's boot clock, the write may be committed
	// here, zero for ever. Who forwards a write turns to another store when no
	// answer comes. Were the first one to commit it after that, say because
	// the request hung in a cut until it healed, the write would return from
	// the past and cover what was written or deleted since.
	by time.Duration
	// covers are the live dots of what others have that the write replaces,
	// where this store keeps no record of the key itself.
	covers []version.Dot
	pass   admission.Pass // among the writes that this store coordinates
}

// Outcome is what the coordinator says.
type Outcome struct {
	Seen    reconcile.Seen
	Result  replicate.Result
	Dot     version.Dot
	Covered []version.Dot
}

// CheckSeen refuses a write that shows a lower token than its client has seen. Who coordinates
// it may know nothing of that one, and is not told of it.
func (q *Request) CheckSeen() error {
	if q.Write.Seen == nil {
		return nil
	}
	return PublicError(reconcile.CheckFence(q.Write.Token, q.Write.Seen.Fence))
}

// PendingBytes is what a write counts as of what is under way.
func (q *Request) PendingBytes() int { return len(q.At.Key) + len(q.Write.Value) }
