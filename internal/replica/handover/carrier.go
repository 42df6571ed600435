// Package handover brings records to other stores in the background: what is kept for a
// store that was down when it should have got it, and what this store is not to keep, or
// not any more. It lets go of them only when those who are to have them said that they
// do. How fast that may go is held back by a pace. What the stores' records have in common
// is compared elsewhere.
package handover

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/antientropy"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Options describe what one store brings to others. All fields must be set.
type Options struct {
	Self       view.NodeID
	Records    *keep.Records
	Disk       *storage.Store // that the records are on, to be read
	Homes      *layout.Homes
	Purging    *purging.Purger
	Entropy    *antientropy.Comparisons
	Pace       *Pace
	Taking     *lifecycle.Gate // of what others send; shut when the store has handed over for good
	AckTimeout time.Duration
	Uptime     func() time.Duration // of the store
	Log        *slog.Logger

	// Ask asks a peer and waits long for its answer.
	Ask func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error)
	// Offer has a peer take items in, and returns once they are synced there. stale are
	// those, by their place, that were too old to be taken in: the peer has taken part in a
	// purge that this store has not.
	Offer func(ctx context.Context, peer view.NodeID, offers []wire.Offer) (stale []int, err error)
}

// Carrier brings one store's records to others. All methods may be used concurrently.
type Carrier struct {
	opts    Options
	records *keep.Records
	disk    *storage.Store
	homes   *layout.Homes
	purging *purging.Purger
	log     *slog.Logger
	id      view.NodeID

	Pace  *Pace
	Hints *Hints

	progress                  progress
	delivered, moved, dropped atomic.Uint64
}

// New returns a carrier that has brought nothing yet.
func New(opts Options) *Carrier {
	c := &Carrier{
		opts: opts, records: opts.Records, disk: opts.Disk, homes: opts.Homes, purging: opts.Purging,
		log: opts.Log, id: opts.Self, Pace: opts.Pace,
	}
	c.Hints, c.progress.turn = newHints(c), make(chan struct{}, 1)
	return c
}

// SlicesLeft is how many slices the hand-over that is under way has still to look at.
func (c *Carrier) SlicesLeft() int { return c.progress.slicesLeft() }

// Delivered counts the records that have reached the stores that they were kept for, since
// this one was opened; Moved those that were brought to homes, and Dropped those that
// were let go of then.
func (c *Carrier) Delivered() uint64 { return c.delivered.Load() }

// Moved counts records; see Delivered.
func (c *Carrier) Moved() uint64 { return c.moved.Load() }

// Dropped counts records; see Delivered.
func (c *Carrier) Dropped() uint64 { return c.dropped.Load() }
