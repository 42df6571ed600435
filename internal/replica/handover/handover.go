package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/mesh/view"
)

// HandOver brings what this store is not to keep to the homes, by the layout
// given, and lets go of what all of them hold. One that fails is left out for
// the rest of the pass: a home that hangs must not hold up what others are to
// get. leaving is for a store that goes for good.
func (c *Carrier) HandOver(ctx context.Context, lay *layout.Layout, leaving bool) error {
	select {
	case c.progress.turn <- struct{}{}:
		defer func() { <-c.progress.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	all, unknown, err := c.records.ListStrays(ctx, lay)
	if err != nil {
		return c.records.WrapError("hand over", err)
	}
	c.opts.Entropy.NoteStrays(len(all) > 0 || unknown > 0 || leaving)
	before := c.dropped.Load()
	var first error
	failed := 0
	fail := func(err error) {
		if failed++; first == nil {
			first = err
		}
	}
	if unknown > 0 {
		fail(fmt.Errorf("replica: %d shards: %w", unknown, layout.ErrUnknownBucket))
	}
	c.progress.beginHandover(len(all))
	defer c.progress.endHandover()
	pass := &handoverPass{lay: lay, leaving: leaving, without: make(map[view.NodeID]bool)}
	for _, at := range all {
		if err := c.handOff(ctx, pass, at); err != nil {
			fail(fmt.Errorf("replica: hand over shard %d: %w", at.Shard, err))
			if ctx.Err() != nil || errors.Is(err, keep.ErrStorageFull) {
				break // nothing can be let go of here
			}
		}
		c.progress.countHanded()
	}
	if c.dropped.Load() > before {
		c.opts.Entropy.LookLater() // what was written meanwhile is still here
	}
	if failed > 1 {
		return fmt.Errorf("%w (and %d more)", first, failed-1)
	}
	return first
}

// handoverPass is one pass over what is to be handed over.
type handoverPass struct {
	lay     *layout.Layout
	leaving bool
	without map[view.NodeID]bool // homes that have failed in it
}

func (p *handoverPass) isInReach(id view.NodeID) bool { return p.lay.InMesh[id] && !p.without[id] }

// handOff drives the core that hands over one slice.
func (c *Carrier) handOff(ctx context.Context, pass *handoverPass, at layout.Slice) error {
	rt := pass.lay.RouteOf(c.homes.Buckets.FindByID(at.Bucket), at.Shard)
	homes := rt.Order[:rt.Homes]
	core := replicate.NewHandoff(homes, pass.isInReach, keep.PageKeys)
	if !core.Any() {
		return c.handleNoHome(ctx, pass, at)
	}
	state, err := c.handedState(ctx, pass, at, homes)
	if err != nil || !core.All() && c.progress.isUnchanged(at, state) {
		return err // those that are there have it all; the rest is down
	}
	for {
		step := core.Step()
		if step.Kind == replicate.HandoffDone {
			break
		}
		if err := c.handStep(ctx, pass, at, core, step); err != nil {
			if step.To != 0 && !errors.Is(err, errNotBrought) {
				pass.without[step.To] = true
			}
			return err
		}
	}
	moved, gone := core.Moved()
	c.moved.Add(uint64(moved))
	c.dropped.Add(uint64(gone))
	if core.Refused() {
		return ErrRosters
	}
	if down := slices.DeleteFunc(slices.Clone(homes), pass.isInReach); pass.leaving && len(down) > 0 {
		// Where all others are homes there is nobody else to keep it.
		if err := c.standIn(ctx, pass, at, down); err != nil && !errors.Is(err, errNobody) {
			return err
		}
	}
	c.progress.noteBrought(at, state)
	return nil
}

func (c *Carrier) handStep(ctx context.Context, pass *handoverPass, at layout.Slice, core *replicate.Handoff, step replicate.HandoffStep) error {
	switch step.Kind {
	case replicate.HandoffList:
		marks, last, err := c.records.ListFormerMarks(ctx, at, step.After, step.First)
		if err == nil {
			core.Listed(marks, last)
		}
		return err
	case replicate.HandoffCover:
		there, err := c.askCover(ctx, pass.lay, at, step)
		if err == nil {
			core.Covered(there.Missing, !there.Refused)
		}
		return err
	case replicate.HandoffPush:
		page, err := c.records.ReadRecords(ctx, at, step.Keys)
		if err == nil {
			err = c.bringRecords(ctx, step.To, page, len(step.Keys))
		}
		if err == nil {
			core.Pushed(len(step.Keys))
		}
		return err
	case replicate.HandoffDrop:
		n, err := c.records.DropHomeRoles(ctx, pass.lay, at, step.Marks)
		if pass.leaving && errors.Is(err, keep.ErrStorageFull) {
			n, err = 0, nil // it goes with the node
		}
		if err == nil {
			core.Dropped(n)
		}
		return err
	}
	return fmt.Errorf("replica: hand over: step %d", step.Kind)
}

// handoverState is what was here of a slice, and who of its homes was there, when it
// was brought to them.
type handoverState struct {
	roster  uint64
	total   reconcile.Digest
	live    uint64
	leaving bool // for good: it is with those who stand in for the others, too
	unknown bool // what was here
}

func (c *Carrier) handedState(ctx context.Context, pass *handoverPass, at layout.Slice, homes []view.NodeID) (h handoverState, err error) {
	h.roster, h.leaving = pass.lay.Roster, pass.leaving
	for i, id := range homes {
		if pass.isInReach(id) {
			h.live |= 1 << i
		}
	}
	h.total, err = c.records.Digest(ctx, []layout.Slice{at})
	if errors.Is(err, storage.ErrStorageFull) {
		h.unknown, err = true, nil // a digest cannot be built just now
	}
	return h, err
}
