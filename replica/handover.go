package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// held lists the slices of which there are records here.
func (s *Store) held(ctx context.Context) ([]slice, error) {
	var out []slice
	lower, upper := wire.RecordRange()
	for lower != nil {
		var at slice
		err := s.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
			at.shard, at.bucket, _, _ = wire.ParseRecordKey(k)
			return errStop
		})
		if !errors.Is(err, errStop) {
			return out, err
		}
		out = append(out, at)
		lower = wire.After(wire.RecordPrefix(at.shard, at.bucket, 0))
	}
	return out, nil
}

// isHome tells whether this store is a home of a slice. What it cannot tell
// it treats as its own: nothing is dropped on a guess.
func (s *Store) isHome(at slice) bool {
	b := s.buckets.byID(at.bucket)
	return b == nil || s.layout.Load().route(b, at.shard).isHome(s.id)
}

// handOver makes the live homes hold whatever is here of slices that this
// store is no home of, by the layout given. Nothing is dropped here.
func (s *Store) handOver(ctx context.Context, lay *layout) error {
	all, err := s.held(ctx)
	if err != nil {
		return s.diskError("hand over", err)
	}
	by := make(map[view.NodeID][]slice)
	var errs []error
	for _, at := range all {
		b := s.buckets.byID(at.bucket)
		if b == nil {
			errs = append(errs, fmt.Errorf("replica: %w: %016x", errUnknownBucket, at.bucket))
			continue
		}
		rt := lay.route(b, at.shard)
		if rt.isHome(s.id) {
			continue
		}
		there := 0
		for _, id := range rt.order[:rt.homes] {
			if lay.inMesh[id] {
				by[id] = append(by[id], at)
				there++
			}
		}
		if there == 0 {
			errs = append(errs, fmt.Errorf("%w: no home of shard %d", ErrUnavailable, at.shard))
		}
	}
	for id, units := range by {
		errs = append(errs, s.exchange(ctx, id, units, false))
	}
	return errors.Join(errs...)
}

// leaveMesh hands everything over before the node leaves for good. It tries
// until ctx ends: what is only here would be lost.
func (s *Store) leaveMesh(ctx context.Context) error {
	if !s.enter() {
		return nil
	}
	defer s.leave()
	s.leaving.Store(false)
	for {
		lay, err := makeLayout(nil, s.mesh.View(), s.shards, s.id)
		if err != nil {
			return err
		}
		if len(lay.placed) == 0 {
			return nil // the last one of its mesh keeps what it has
		}
		err = s.handOver(ctx, lay)
		if err == nil {
			_, err = s.hints.deliverAll(ctx)
		}
		pause := time.Second
		switch {
		case err != nil:
			s.log.Warn("hand-over goes on", "err", err)
		case s.leaving.Swap(true):
			return nil
		default:
			// From now on nothing more is taken in. What others sent before
			// they knew, and what is under way, goes with one more pass.
			pause = 2 * s.cfg.AckTimeout
		}
		select {
		case <-ctx.Done():
			s.leaving.Store(false)
			return errors.Join(err, ctx.Err())
		case <-s.group.Context().Done():
			return ErrClosed
		case <-time.After(pause):
		}
	}
}
