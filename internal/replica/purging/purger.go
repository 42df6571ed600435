// Package purging forgets tombs for good, with the acknowledgement of all members: it
// proposes rounds for the shards that a store leads, takes part in those of others, lets
// go of what was purged once a round is committed, catches up with rounds that the store
// has missed, and sets aside what nobody can vouch for any more. The rules are those of
// internal/purge; records are changed in updates of package keep.
package purging

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/mesh/view"
)

// Options describe the purges of one store. All fields must be set.
type Options struct {
	Self    view.NodeID
	Shards  int
	Records *keep.Records
	Disk    *storage.Store // that the records are on, to be read
	Damaged *DamagedLog    // is told by the disk
	Homes   *layout.Homes
	Clocks  *clocks.Clocks
	Every   time.Duration        // between two passes, about
	Uptime  func() time.Duration // of the store
	Log     *slog.Logger
	// Ask asks a peer and waits long for its answer.
	Ask func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error)
}

// Purger is one store's part in the purges of a mesh. All methods may be used
// concurrently, but KeepPurging and PurgeShards by one goroutine at a time.
type Purger struct {
	opts    Options
	records *keep.Records
	disk    *storage.Store
	homes   *layout.Homes
	clocks  *clocks.Clocks
	log     *slog.Logger
	id      view.NodeID
	shards  int

	searches searches
	waiting  purgeWait

	purged, aside atomic.Uint64

	// after is where the next pass begins in the index of graves, so that those that
	// cannot be purged do not keep out the rest.
	after  []byte
	passes int
}

// New returns a purger that has not begun.
func New(opts Options) *Purger {
	return &Purger{
		opts: opts, records: opts.Records, disk: opts.Disk, homes: opts.Homes, clocks: opts.Clocks, log: opts.Log,
		id: opts.Self, shards: opts.Shards,
	}
}

// Purged counts the records that were forgotten since the store was opened.
func (pg *Purger) Purged() uint64 { return pg.purged.Load() }

// Aside counts the records that were set aside since the store was opened.
func (pg *Purger) Aside() uint64 { return pg.aside.Load() }
