package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// leaveMesh hands everything over before the node leaves for good. It tries
// until ctx ends: what is only here would be lost. A store that is closed cannot hand
// over any more, and keeps the node here.
func (s *Store) leaveMesh(ctx context.Context) error {
	leave, ok := s.gate.ops.Enter()
	if !ok {
		return ErrClosed
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Whatever it waits for, closing does not wait for that.
	defer context.AfterFunc(s.group.Context(), cancel)()
	s.gate.taking.Open()
	for {
		done, err := s.leavePass(ctx)
		if done {
			return nil
		}
		pause := time.Second
		switch {
		case err != nil:
			s.log.Warn("this node cannot leave yet, it tries again", "error", err)
		case s.gate.taking.IsShut():
			return nil
		default:
			// From now on nothing more is taken in. What others sent before
			// they knew, and what is under way, goes with one more pass.
			s.gate.taking.Shut()
			pause = 2 * s.cfg.AckTimeout
		}
		if !clock.Sleep(ctx, pause) || !s.awaitIntake(ctx) {
			s.gate.taking.Open()
			if s.group.Context().Err() != nil {
				return ErrClosed
			}
			return errors.Join(err, ctx.Err())
		}
	}
}

// awaitIntake waits, once nothing more is taken in, until what was is done with. It tells
// whether ctx goes on.
func (s *Store) awaitIntake(ctx context.Context) bool {
	if !s.gate.taking.IsShut() {
		return true
	}
	select {
	case <-s.gate.taking.Empty():
		return true
	case <-ctx.Done():
		return false
	}
}

// leavePass hands over once. done tells that there is nobody to hand over to:
// the last one of its mesh keeps what it has.
func (s *Store) leavePass(ctx context.Context) (done bool, err error) {
	lay, err := s.homes.LayoutWithout(s.mesh.View())
	if err != nil || len(lay.Placed) == 0 {
		return err == nil, err
	}
	err = s.handOver(ctx, lay, true)
	return false, errors.Join(err, s.hints.handHintsOn(ctx, lay))
}

// errNobody: nobody is in reach who could keep something in this store's place.
var errNobody = fmt.Errorf("%w to keep what is kept here for others", ErrUnavailable)

// errBehind: what is kept for others may have been purged elsewhere.
var errBehind = errors.New("replica: has to catch up with a purge first")

// handleNoHome is a slice of whose homes none is in reach. Their return wakes us; but
// who leaves does not come back to it.
func (s *Store) handleNoHome(ctx context.Context, pass *handoverPass, at layout.Slice) error {
	if !pass.leaving {
		return nil
	}
	rt := pass.lay.RouteOf(s.buckets.FindByID(at.Bucket), at.Shard)
	homes := rt.Order[:rt.Homes]
	state, err := s.handedState(ctx, pass, at, homes)
	if err != nil || s.progress.isUnchanged(at, state) {
		return err
	}
	if err := s.standIn(ctx, pass, at, homes); err != nil {
		return err
	}
	s.progress.noteBrought(at, state)
	return nil
}

// standIn gives what a leaving store holds of a slice as a home to others, who
// keep it for the homes that are down, as they keep a write.
func (s *Store) standIn(ctx context.Context, pass *handoverPass, at layout.Slice, down []view.NodeID) error {
	rt := pass.lay.RouteOf(s.buckets.FindByID(at.Bucket), at.Shard)
	after, first := "", true
	for {
		marks, last, err := s.records.ListFormerMarks(ctx, at, after, first)
		if err != nil || len(marks) == 0 {
			return err
		}
		keys := make([]string, len(marks))
		for i := range marks {
			keys[i] = marks[i].Key
		}
		page, err := s.records.ReadRecords(ctx, at, keys)
		if err != nil {
			return err
		}
		for i, home := range down {
			to, ok := replicate.StandIn(rt.Order, rt.Homes, i, home, s.id, pass.isInReach)
			if !ok {
				return errNobody
			}
			for rest := page; len(rest) > 0; {
				n := s.pieceOf(rest)
				if err := s.transferRecords(ctx, to, home, rest[:n]); err != nil {
					pass.without[to] = true
					return err
				}
				rest = rest[n:]
			}
		}
		if last {
			return nil
		}
		after, first = keys[len(keys)-1], false
	}
}

// handHintsOn delivers the hints of a leaving store. What is kept for a store that
// is not in reach is given to another one to keep.
func (h *hints) handHintsOn(ctx context.Context, lay *layout.Layout) error {
	targets, err := h.s.records.ListHintTargets(ctx)
	if err != nil {
		return err
	}
	var errs []error
	h.lagging.Store(false)
	for _, target := range targets {
		if lay.InMesh[target] {
			if rest, err := h.deliverTo(ctx, target, true, h.toTarget); err == nil && !rest {
				continue
			}
		}
		rest, err := h.deliverTo(ctx, target, true, func(ctx context.Context, target view.NodeID, page []keep.Stamped) ([]keep.Settled, error) {
			return h.toOthers(ctx, lay, target, page)
		})
		if err == nil && rest {
			err = errNobody
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("replica: what is kept for %v: %w", target, err))
		}
	}
	if h.lagging.Load() {
		errs = append(errs, errBehind)
	}
	return errors.Join(errs...)
}

// bundle is what one store is given to keep, as a home or for another one.
type bundle struct{ to, keepFor view.NodeID }

// toOthers gives what is kept for a store to others: to keep it for that store,
// or, where that is gone for good, to the homes and those that stand in for them.
func (h *hints) toOthers(ctx context.Context, lay *layout.Layout, target view.NodeID, page []keep.Stamped) ([]keep.Settled, error) {
	parts := make(map[bundle][]keep.Stamped)
	of := make([][]bundle, len(page))
	for i, k := range page {
		if b := h.s.buckets.FindByID(k.At.Bucket); b != nil {
			of[i] = h.planBundles(lay, lay.RouteOf(b, k.At.Shard), target)
		}
		for _, b := range of[i] {
			parts[b] = append(parts[b], k)
		}
	}
	failed := make(map[bundle]bool)
	var errs []error
	for b, part := range parts {
		if err := h.s.transferRecords(ctx, b.to, b.keepFor, part); err != nil {
			failed[b] = true
			errs = append(errs, err)
		}
	}
	var out []keep.Settled
	for i, k := range page {
		if len(of[i]) > 0 && !slices.ContainsFunc(of[i], func(b bundle) bool { return failed[b] }) {
			out = append(out, keep.Settled{At: k.At, Target: target, Item: k.Rec.Item})
		}
	}
	return out, errors.Join(errs...)
}

// planBundles names who is to have a record that is kept for target.
func (h *hints) planBundles(lay *layout.Layout, rt *layout.Route, target view.NodeID) (out []bundle) {
	live := func(id view.NodeID) bool { return lay.InMesh[id] }
	stand := func(n int, home view.NodeID) {
		if to, ok := replicate.StandIn(rt.Order, rt.Homes, n, home, h.s.id, live); ok {
			out = append(out, bundle{to, home})
		}
	}
	if _, known := lay.InMesh[target]; known {
		stand(0, target)
		return out
	}
	for n, home := range rt.Order[:rt.Homes] {
		if live(home) {
			out = append(out, bundle{to: home})
		} else {
			stand(n, home)
		}
	}
	return out
}
