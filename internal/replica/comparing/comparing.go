// Package comparing makes a store equal with a peer in what both are to keep: digests tell
// which shards differ, sketches which records, and these are brought here and there. It
// answers peers that do the same. The order of the steps is that of replicate.Exchange; when
// a store is compared, and with whom, is decided in package antientropy.
package comparing

import (
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/handover"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/mesh/view"
)

// Options describe the comparisons of one store. All fields must be set.
type Options struct {
	Self    view.NodeID
	Shards  int
	Records *keep.Records
	Disk    *storage.Store // that the records are on, to be read
	Homes   *layout.Homes
	Purging *purging.Purger
	Carrier *handover.Carrier
	Peers   *peering.Peers
	Group   *lifecycle.Group
	Uptime  func() time.Duration // of the store

	// Writing tells whether clients' writes are under way.
	Writing func() bool
}

// Comparer compares one store with its peers. All methods may be used concurrently.
type Comparer struct {
	opts    Options
	records *keep.Records
	disk    *storage.Store
	homes   *layout.Homes
	carrier *handover.Carrier
	id      view.NodeID

	inventories     inventories
	synced          lastSynced
	compared, moved atomic.Uint64
}

// New returns a comparer that has compared nothing yet.
func New(opts Options) *Comparer {
	return &Comparer{opts: opts, records: opts.Records, disk: opts.Disk, homes: opts.Homes, carrier: opts.Carrier, id: opts.Self}
}

// Compared counts the comparisons that ended since the store was opened.
func (c *Comparer) Compared() uint64 { return c.compared.Load() }

// Moved counts the records that comparisons have brought here or to a peer since the store
// was opened.
func (c *Comparer) Moved() uint64 { return c.moved.Load() }

// SinceSync tells how long ago this store was made equal with a peer in a bucket, and
// whether it was.
func (c *Comparer) SinceSync(bucket uint64, peer view.NodeID) (time.Duration, bool) {
	return c.synced.sinceSync(bucket, peer, c.opts.Uptime())
}
