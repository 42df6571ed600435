// Package layout knows what belongs where: which buckets there are, which stores are the
// homes of each of their shards by the newest view of the mesh, who of them is in contact
// or lost, and in which shards this store may say that a key does not exist. It is told of
// views, definitions, comparisons and losses, and answers questions. It neither reads
// records nor talks to anybody.
package layout

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/placement"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Options describe the homes as one node sees them. All fields must be set, but for
// HealAfter and Added.
type Options struct {
	Self    view.NodeID
	Shards  int
	Stores  bool             // this node stores
	Silence *peering.Silence // who was silent lately is asked last
	// HealAfter is after what time copies are made in the place of a store that is down;
	// zero: the default of the healer, negative: never.
	HealAfter time.Duration
	// Added is told of a bucket after it has become known. No lock is held.
	Added func(b *Bucket)
	Log   *slog.Logger
}

// Homes are what belongs where, by the newest view. All methods may be used concurrently,
// but for those that say otherwise.
type Homes struct {
	opts    Options
	now     atomic.Pointer[Layout]
	Buckets *Buckets

	// following is held while verdicts of readiness are made from the layout, so that an
	// older layout never has the last word.
	following sync.Mutex
	losses    atomic.Uint64 // parts of the disk that were given up; grows while following is held

	healer *replicate.Healer // the goroutine's that applies views
	forced atomic.Bool       // an operator's word that this side of a cut heals
}

// New returns the homes by a first view.
func New(opts Options, v view.View) (*Homes, error) {
	lay, err := makeLayout(nil, v, opts.Shards, 0)
	if err != nil {
		return nil, err
	}
	h := &Homes{opts: opts, Buckets: newBuckets(opts.Added, opts.Log), healer: replicate.NewHealer(opts.HealAfter)}
	h.now.Store(lay)
	return h, nil
}

// Now returns the layout by the newest view. Who asks twice may be told two things.
func (h *Homes) Now() *Layout { return h.now.Load() }

// LayoutWithout works out what would belong where if this store had left already.
func (h *Homes) LayoutWithout(v view.View) (*Layout, error) {
	return makeLayout(nil, v, h.opts.Shards, h.opts.Self)
}

// LocateKey returns where a key's record lies.
func (h *Homes) LocateKey(bucket uint64, key string) Place {
	at := Slice{bucket, h.ShardOf(bucket, key)}
	return Place{at, key, wire.RecordKey(at.Shard, bucket, key)}
}

// ShardOf returns the shard that a key lies in.
func (h *Homes) ShardOf(bucket uint64, key string) int {
	if bucket == SystemBucket {
		return 0
	}
	return placement.ShardOf(bucket, key, h.opts.Shards)
}

// ShardsOf returns how many shards a bucket lies in.
func (h *Homes) ShardsOf(b *Bucket) int {
	if b.System {
		return 1
	}
	return h.opts.Shards
}

// IsHome tells whether this store is a home of a slice. What it cannot tell
// it treats as its own: nothing is dropped on a guess.
func (h *Homes) IsHome(at Slice) bool {
	b := h.Buckets.FindByID(at.Bucket)
	return b == nil || h.Now().RouteOf(b, at.Shard).IsHome(h.opts.Self)
}

// Keeps tells whether this store is to keep a slice. What it cannot tell it
// keeps.
func (h *Homes) Keeps(at Slice) bool {
	b := h.Buckets.FindByID(at.Bucket)
	return b == nil || h.Now().IsKeeper(b, at.Shard, h.opts.Self)
}

// ListShared lists the shards of a bucket that one store is to keep, who begins the
// comparison, and of which another is a home.
func (h *Homes) ListShared(lay *Layout, b *Bucket, keeper, home view.NodeID) []Slice {
	var out []Slice
	for shard := range h.ShardsOf(b) {
		if lay.RouteOf(b, shard).IsHome(home) && lay.IsKeeper(b, shard, keeper) {
			out = append(out, Slice{b.ID, shard})
		}
	}
	return out
}

// IsPeer tells whether a store can be compared with now.
func (h *Homes) IsPeer(id view.NodeID) bool {
	lay := h.Now()
	_, placed := slices.BinarySearch(lay.Placed, id)
	return placed && lay.InMesh[id] && id != h.opts.Self
}

// PeersInContact lists the storing members in contact, this one left out.
func (h *Homes) PeersInContact() []view.NodeID {
	lay := h.Now()
	out := make([]view.NodeID, 0, len(lay.Placed))
	for _, id := range lay.Placed {
		if id != h.opts.Self && lay.InMesh[id] {
			out = append(out, id)
		}
	}
	return out
}
