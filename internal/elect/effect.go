package elect

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Action says what an Effect asks for.
type Action uint8

const (
	// Save: write Durable down, and call Saved when that has ended, well or not. What
	// follows need not wait for it: what must, comes after Saved. The next one comes
	// after Saved, too.
	Save Action = iota
	// Send: send Ask to the node To, and bring its answer back to Answered with
	// the Ask and Sent, or tell Unanswered. To do neither is no fault.
	Send
	// GiveBack: tell To that all of this node's grants of terms up to Term are
	// free, in favour of Nominee if that is not 0. It may get lost. With Term 0 none are:
	// the lease of the leader that this node followed has run out, and Nominee may ask.
	GiveBack
	// Lead: this node leads with Token, as long as Leading says so: its work may
	// start.
	Lead
	// Renamed: it leads on, with a higher Token.
	Renamed
	// Stop: it leads no more, or shall not: its work must end, by Until at the
	// latest, and Drained be called when it has.
	Stop
	// Reply: give Answer to the one whose request Asked was called with, by Ref.
	Reply
)

// Why says why a leader stops.
type Why uint8

const (
	Expired   Why = iota // its lease could not be renewed
	Yielded              // it met a leader with a higher token
	HandsOver            // another was better for long
	Withdrawn            // it does not stand any more
	Told                 // somebody said so
	Lapses               // somebody said so, and what it began may run until its lease ends
)

var whys = [...]string{"its lease was not renewed", "it met a leader with a higher token", "another is better", "it does not stand any more",
	"it was told to hand over", "it lets its lease run out"}

// String says it in words.
func (w Why) String() string {
	if int(w) < len(whys) {
		return whys[w]
	}
	return "unknown reason"
}

// Effect is one output.
type Effect struct {
	Action  Action
	Durable Durable       // Save
	To      view.NodeID   // Send, GiveBack, Reply
	Ask     Ask           // Send, Reply
	Ref     uint64        // Reply
	Answer  Answer        // Reply
	Sent    time.Duration // Send: by this node's clock
	Renews  bool          // Send: what this node leads with: it may wait a moment for others to the same voter
	Term    uint64        // GiveBack
	Nominee view.NodeID   // GiveBack
	Token   token.Token   // Lead, Renamed, Stop
	Why     Why           // Stop
	Until   time.Duration // Stop
}

// Never is what Next returns when nothing is due.
const Never = time.Duration(1<<63 - 1)
