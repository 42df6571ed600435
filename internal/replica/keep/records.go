// Package keep is what one store keeps of items: the records on its disk, the log of what
// was purged and where the store stands in the rounds of purges, with the digests and the
// indexes that follow them. It is the only room that changes records: whoever has to do
// something to one does it in an Update, so that record, index, digest and standing
// change together or not at all. What is told to peers, and when, is not known here.
package keep

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Options describe the records of one store. All fields must be set, but for Machine,
// DistrustDisk and Watchers.
type Options struct {
	Self   view.NodeID
	Mesh   view.MeshID
	Shards int
	Disk   *storage.Store
	Dir    string // that it is in
	Homes  *layout.Homes
	Clocks *clocks.Clocks
	Group  *lifecycle.Group

	Machine      string // names this run of the machine; empty: the system does not tell
	DistrustDisk bool   // a session ends with each opening
	MaxSkew      time.Duration
	Boot         func() time.Duration // this machine's boot clock
	Uptime       func() time.Duration // of the store
	Log          *slog.Logger

	// Hinted is told, after a commit, that a record is kept for another store that was
	// not before; Strayed that a record has come that this store is not to keep; Damaged
	// of a record that does not read.
	Hinted, Strayed func()
	Damaged         func(at layout.Place)
	Watchers        Watchers // nil: nobody watches
}

// Records are what one store keeps. All methods may be used concurrently.
type Records struct {
	opts    Options
	disk    *storage.Store
	homes   *layout.Homes
	buckets *layout.Buckets
	clocks  *clocks.Clocks
	group   *lifecycle.Group
	log     *slog.Logger
	id      view.NodeID
	shards  int

	*digests
	rounds *rounds
	lapses lapses

	// CatchUps is what has been heard of rounds.
	CatchUps *CatchUps

	lastDate             atomic.Uint64 // version.HLC; what was dated here last
	startDate            version.HLC   // the ceiling of earlier runs
	alarmed              atomic.Int64  // uptime, when the last clock alarm was raised
	lostHints, indexGaps atomic.Uint64
	scrubs               atomic.Uint64

	// Only the committing goroutine touches these; see Update.
	writer  reconcile.Writer
	changes []change
	hinted  bool // a record is kept for another store that was not before
	strayed bool // a record has come that this store is not to keep
	watched bool // somebody wants to know of changes
	scratch []byte
}

// New returns the records of a disk. They are to be opened before anything else is done
// with them.
func New(opts Options) (*Records, error) {
	d, err := newDigests(opts.Mesh, opts.Shards)
	return &Records{
		opts: opts, disk: opts.Disk, homes: opts.Homes, buckets: opts.Homes.Buckets, clocks: opts.Clocks, group: opts.Group,
		log: opts.Log, id: opts.Self, shards: opts.Shards,
		digests: d, rounds: newRounds(opts.Shards), CatchUps: newCatchUps(),
	}, err
}

// Open goes on where the last run of the store has ended, and makes the buckets known of
// which definitions are stored here. The error is ErrNewerFormat or what WrapError makes
// of one of storage.
func (rs *Records) Open(ctx context.Context) error {
	if err := rs.openWriter(ctx); err != nil {
		return err
	}
	if err := rs.openRounds(ctx); err != nil {
		return err
	}
	return rs.LoadDefinitions(ctx)
}

// LostHints is how many copies that were kept for others the disk has lost since the
// store was opened.
func (rs *Records) LostHints() int { return int(rs.lostHints.Load()) }

// DatesAhead is by how much the last date that was given to a write here, or taken in, is
// ahead of the time, where the next write does not mend that. Zero: by nothing that matters.
func (rs *Records) DatesAhead() time.Duration {
	return rs.clocks.RanAhead(version.HLC(rs.lastDate.Load()), rs.startDate)
}

// Scrubs is how often all records were read through since the store was opened.
func (rs *Records) Scrubs() int { return int(rs.scrubs.Load()) }
