package handover

import (
	"context"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// LeavePass hands over once, for good, by a view. done tells that there is nobody to hand
// over to: the last one of its mesh keeps what it has.
func (c *Carrier) LeavePass(ctx context.Context, v view.View) (done bool, err error) {
	lay, err := c.homes.LayoutWithout(v)
	if err != nil || len(lay.Placed) == 0 {
		return err == nil, err
	}
	err = c.HandOver(ctx, lay, true)
	return false, errors.Join(err, c.Hints.handHintsOn(ctx, lay))
}

// errNobody: nobody is in reach who could keep something in this store's place.
var errNobody = fmt.Errorf("%w to keep what is kept here for others", peering.ErrUnavailable)

// errBehind: what is kept for others may have been purged elsewhere.
var errBehind = errors.New("replica: has to catch up with a purge first")

// handleNoHome is a slice of whose homes none is in reach. Their return wakes us; but
// who leaves does not come back to it.
func (c *Carrier) handleNoHome(ctx context.Context, pass *handoverPass, at layout.Slice) error {
	if !pass.leaving {
		return nil
	}
	rt := pass.lay.RouteOf(c.homes.Buckets.FindByID(at.Bucket), at.Shard)
	homes := rt.Order[:rt.Homes]
	state, err := c.handedState(ctx, pass, at, homes)
	if err != nil || c.progress.isUnchanged(at, state) {
		return err
	}
	if err := c.standIn(ctx, pass, at, homes); err != nil {
		return err
	}
	c.progress.noteBrought(at, state)
	return nil
}

// standIn gives what a leaving store holds of a slice as a home to others, who
// keep it for the homes that are down, as they keep a write.
func (c *Carrier) standIn(ctx context.Context, pass *handoverPass, at layout.Slice, down []view.NodeID) error {
	rt := pass.lay.RouteOf(c.homes.Buckets.FindByID(at.Bucket), at.Shard)
	after, first := "", true
	for {
		marks, last, err := c.records.ListFormerMarks(ctx, at, after, first)
		if err != nil || len(marks) == 0 {
			return err
		}
		keys := make([]string, len(marks))
		for i := range marks {
			keys[i] = marks[i].Key
		}
		page, err := c.records.ReadRecords(ctx, at, keys)
		if err != nil {
			return err
		}
		for i, home := range down {
			to, ok := replicate.StandIn(rt.Order, rt.Homes, i, home, c.id, pass.isInReach)
			if !ok {
				return errNobody
			}
			for rest := page; len(rest) > 0; {
				n := c.pieceOf(rest)
				if err := c.transferRecords(ctx, to, home, rest[:n]); err != nil {
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

// bundle is what one store is given to keep, as a home or for another one.
type bundle struct{ to, keepFor view.NodeID }
