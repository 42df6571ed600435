// Package replicate decides where copies of an item go: who is sent a write,
// who keeps it for a home that is down, when the client is told, what a read
// may conclude from its replies, and what two stores exchange to become
// equal. It is the pure core of what internal/README.md says in protocol B.2, B.3,
// B.5 and D.3: step machines that take events and return effects.
//
// Times are readings of a clock that never goes back (time since the process
// started, say). No machine here may be used concurrently.
//
// # Duties of the caller
//
//   - Perform effects in order. A send may fail at once; report it by Failed.
//   - Report every event, also after the operation has finished: late acks
//     settle what is owed.
//   - Call Tick when the time that Next returns has come.
//   - An ack may be sent only after the item, merged into the receiver's
//     record together with its role, is synced there.
package replicate

import (
	"errors"
	"time"
)

// DefaultAckTimeout is how long a live store may be silent before its part is
// given to the next one.
const DefaultAckTimeout = 500 * time.Millisecond

// ErrDegraded: the write is kept, or the item was read, but fewer stores took
// part than was asked for. It comes together with a result.
var ErrDegraded = errors.New("fewer stores than asked for")
