package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/mesh/view"
)

// Status is how a store is doing, in the words of an operator.
type Status struct {
	// Hints is how many copies this store keeps for others that were down
	// when they should have got them. They are delivered when those return.
	Hints int
	// Syncing is how many shards, counted per bucket, are not known to be equal at
	// their homes in contact, but for writes under way: this store is one of them and
	// has not yet compared with enough of the others, so that what it does not hold
	// may still exist elsewhere; or a home has come back, was filled again or has
	// missed a write, and this store and that one have not been found equal since; or
	// copies are here that did not reach their home. When it is 0 at all stores, and
	// all are in contact, the homes hold the same.
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

// Err tells why the store serves nothing until it is opened anew: ErrClosed, or ErrStorage
// when its disk failed, which on a node that stores nothing is that of its outbox, if it has
// one. Nil: it serves. It looks at no disk and does not wait.
func (s *Store) Err() error {
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return ErrClosed
	}
	defer leave()
	if s.outbox != nil {
		if _, err := s.outbox.DiskStats(); err != nil {
			return fmt.Errorf("%w: outbox: %w", ErrStorage, err)
		}
	}
	if s.disk == nil {
		return nil
	}
	return s.records.WrapError("serve", s.disk.Err())
}

// Status tells how the store is doing. The error is ErrClosed, ErrStorage or
// that of ctx.
func (s *Store) Status(ctx context.Context) (Status, error) {
	st, _, _, err := s.inspectStatus(ctx)
	return st, err
}

// inspectStatus is Status, with the slices that it counts: see listSyncing.
func (s *Store) inspectStatus(ctx context.Context) (st Status, syncing map[layout.Slice]bool, hints map[layout.Slice]int, err error) {
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return st, nil, nil, ErrClosed
	}
	defer leave()
	st = Status{Repaired: s.repairs.Repaired()}
	if s.outbox != nil {
		s.outboxStatus(&st)
	}
	if s.disk == nil {
		return st, nil, nil, nil
	}
	st.Compared, st.Delivered, st.Moved = s.comparer.Compared(), s.carrier.Delivered(), s.comparer.Moved()+s.carrier.Moved()
	syncing, hints, err = s.listSyncing(ctx, s.homes.Now())
	st.Syncing = len(syncing)
	for _, n := range hints {
		st.Hints += n
	}
	return st, syncing, hints, s.records.WrapError("status", err)
}

// listSyncing lists the slices of which a home in contact may lack something that is not
// just being written: this store, or a peer as far as this store is to know; with how
// many copies are kept here for others, by slice.
func (s *Store) listSyncing(ctx context.Context, lay *layout.Layout) (syncing map[layout.Slice]bool, hints map[layout.Slice]int, err error) {
	syncing = make(map[layout.Slice]bool)
	doubted := s.entropy.Doubted(lay.Live)
	for _, b := range s.buckets.ListAll() {
		for shard := range s.homes.ShardsOf(b) {
			rt := lay.RouteOf(b, shard)
			if rt.IsHome(s.id) && (!b.ProvesAbsence(shard) || slices.ContainsFunc(doubted, rt.IsHome)) {
				syncing[layout.Slice{Bucket: b.ID, Shard: shard}] = true
			}
		}
	}
	if hints, err = s.records.CountHints(ctx, func(id view.NodeID) bool { return s.carrier.Hints.IsOwed(lay, id) }, syncing); err != nil || !s.entropy.MayHoldStrays() {
		return syncing, hints, err
	}
	left, _, err := s.records.ListStrays(ctx, lay)
	for _, at := range left {
		if rt := lay.RouteOf(s.buckets.FindByID(at.Bucket), at.Shard); slices.ContainsFunc(rt.Order[:rt.Homes], lay.Live) {
			syncing[at] = true
		}
	}
	return syncing, hints, err
}

// Homes returns the nodes that should hold a key, by the roster: dead ones are
// named too. The first is the one that coordinates its writes.
func (b *Bucket) Homes(key string) []view.NodeID {
	rt := b.s.homes.Now().RouteOf(b.b, b.s.homes.LocateKey(b.b.ID, key).Shard)
	homes := slices.Clone(rt.Order[:rt.Homes])
	if i := slices.Index(homes, rt.Lead); i > 0 {
		homes[0], homes[i] = homes[i], homes[0]
	}
	return homes
}

// Digests returns, for each shard of which this store is a home, a digest of
// the bucket's records in it. Homes whose digests are equal hold the same.
func (b *Bucket) Digests(ctx context.Context) (map[int][16]byte, error) {
	s := b.s
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	digests := make(map[int][16]byte)
	if s.disk == nil {
		return digests, nil
	}
	lay := s.homes.Now()
	for shard := range s.homes.ShardsOf(b.b) {
		if !lay.RouteOf(b.b, shard).IsHome(s.id) {
			continue
		}
		d, err := s.records.Digest(ctx, []layout.Slice{{Bucket: b.b.ID, Shard: shard}})
		if err != nil {
			return nil, fmt.Errorf("digests of bucket %q: %w", b.Name(), s.records.WrapError("read", err))
		}
		var sum [16]byte
		binary.BigEndian.PutUint64(sum[:8], d.Key)
		binary.BigEndian.PutUint64(sum[8:], d.Version)
		digests[shard] = sum
	}
	return digests, nil
}
