package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Status is how a store is doing, in the words of an operator.
type Status struct {
	// Hints is how many copies this store keeps for others that were down
	// when they should have got them. They are delivered when those return.
	Hints int
	// Syncing is how many shards, counted per bucket, this store is a home of
	// but has not yet compared with enough of its other homes: there, what it
	// does not hold may still exist elsewhere.
	Syncing int

	// Delivered, Repaired, Compared and Moved count since the store was
	// opened: hints handed to those they were kept for, records mended after
	// a read, comparisons with a peer, and records that such a comparison
	// brought here or there.
	Delivered, Repaired, Compared, Moved uint64

	// The rest is about the outbox of a node that stores nothing.

	// OutboxOps is how many operations wait in it to be delivered, and
	// OutboxBytes how many bytes of Config.OutboxBytes they take.
	OutboxOps   int
	OutboxBytes int64
	// OutboxOldest is how long the oldest of them has waited, in time that
	// this node has run.
	OutboxOldest time.Duration
	// OutboxDelivered and OutboxDropped count since the store was opened:
	// operations that a store has taken, and operations that were given up
	// because of their age, for the room of others of higher priority, or
	// because they were damaged on disk.
	OutboxDelivered, OutboxDropped uint64
	// OutboxError is why the outbox as a whole, or the last operation that could
	// not be delivered, gets no further: no storing node is in contact, say.
	// Empty: all is well.
	OutboxError string
}

// Status tells how the store is doing. The error is ErrClosed, ErrStorage or
// that of ctx.
func (s *Store) Status(ctx context.Context) (Status, error) {
	if !s.enter() {
		return Status{}, ErrClosed
	}
	defer s.leave()
	st := Status{
		Delivered: s.stats.delivered.Load(), Repaired: s.stats.repaired.Load(),
		Compared: s.stats.compared.Load(), Moved: s.stats.moved.Load(),
	}
	if s.outbox != nil {
		s.outbox.status(&st)
	}
	if s.disk == nil {
		return st, nil
	}
	lay := s.layout.Load()
	for _, b := range s.buckets.list() {
		for shard := range s.shardsOf(b) {
			if lay.route(b, shard).isHome(s.id) && !b.ready.absent(shard) {
				st.Syncing++
			}
		}
	}
	lower, upper := wire.IndexRange(wire.IndexHint, 0)
	err := s.disk.Scan(ctx, lower, upper, func(_, _ []byte) error { st.Hints++; return nil })
	if err != nil {
		return st, s.diskError("status", err)
	}
	return st, nil
}

// Homes returns the nodes that should hold a key, by the roster: dead ones are
// named too. The first is the one that coordinates its writes.
func (b *Bucket) Homes(key string) []view.NodeID {
	rt := b.s.layout.Load().route(b.b, b.s.place(b.b.id, key).shard)
	homes := slices.Clone(rt.order[:rt.homes])
	if i := slices.Index(homes, rt.lead); i > 0 {
		homes[0], homes[i] = homes[i], homes[0]
	}
	return homes
}

// Digests returns, for each shard of which this store is a home, a digest of
// the bucket's records in it. Homes whose digests are equal hold the same.
func (b *Bucket) Digests(ctx context.Context) (map[int][16]byte, error) {
	s := b.s
	if !s.enter() {
		return nil, ErrClosed
	}
	defer s.leave()
	digests := make(map[int][16]byte)
	if s.disk == nil {
		return digests, nil
	}
	lay := s.layout.Load()
	for shard := range s.shardsOf(b.b) {
		if !lay.route(b.b, shard).isHome(s.id) {
			continue
		}
		d, err := s.total(ctx, []slice{{b.b.id, shard}})
		if err != nil {
			return nil, fmt.Errorf("digests of bucket %q: %w", b.Name(), s.diskError("read", err))
		}
		var sum [16]byte
		binary.BigEndian.PutUint64(sum[:8], d.Key)
		binary.BigEndian.PutUint64(sum[8:], d.Version)
		digests[shard] = sum
	}
	return digests, nil
}
