package keep

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// ListHintTargets lists the stores for which this one keeps records.
func (rs *Records) ListHintTargets(ctx context.Context) ([]view.NodeID, error) {
	var out []view.NodeID
	lower, upper := wire.IndexRange(wire.IndexHint, 0)
	for lower != nil {
		var target view.NodeID
		err := rs.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
			target, _, _ = wire.ParseIndexKey(k)
			return ErrStop
		})
		if !errors.Is(err, ErrStop) {
			return out, err
		}
		out = append(out, target)
		_, lower = wire.IndexRange(wire.IndexHint, target)
	}
	return out, nil
}

// KeepHint makes the record here stand for a home that is down.
func (rs *Records) KeepHint(ctx context.Context, at layout.Place, target view.NodeID) error {
	return rs.Update(ctx, "keep a hint", func(tx Tx) error {
		old, err := tx.Load(at)
		if err != nil {
			return err
		}
		if old.Unknown() {
			return errors.New("the record is gone or damaged")
		}
		return tx.Save(at, old, old.Take(replicate.Role{For: target}), old.Raw)
	})
}

// Settled is a record whose hint for target may go: target has item.
type Settled struct {
	At     layout.Place
	Target view.NodeID
	Item   version.Item
}

// SettleHints takes away hints whose targets have acked, and returns how many. A
// record that has moved on meanwhile keeps its hint.
func (rs *Records) SettleHints(ctx context.Context, in []Settled) (n int, err error) {
	err = rs.Update(ctx, "settle hints", func(tx Tx) error {
		n = 0
		for i := range in {
			at := in[i].At
			old, err := tx.Load(at)
			if err != nil {
				return err
			}
			if !old.Damaged && !old.Hinted(in[i].Target) {
				// The record was damaged, and mended without its hints, or dropped.
				if err := tx.Delete(wire.IndexKey(wire.IndexHint, in[i].Target, at.Record)); err != nil {
					return err
				}
				n++
				continue
			}
			r := old.Settle(in[i].Target, in[i].Item)
			r.Home = r.Home || rs.homes.IsHome(at.Slice)
			if len(r.Hints) == len(old.Hints) {
				continue
			}
			if err := tx.Save(at, old, r, old.Raw); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// CountHints counts the records that are kept for others, by slice, and adds to late the
// slices of those that are owed, with isOwed called once for each store.
func (rs *Records) CountHints(ctx context.Context, isOwed func(view.NodeID) bool, late map[layout.Slice]bool) (map[layout.Slice]int, error) {
	out := make(map[layout.Slice]int)
	lower, upper := wire.IndexRange(wire.IndexHint, 0)
	var target view.NodeID
	owed := false
	err := rs.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
		id, record, ok := wire.ParseIndexKey(k)
		at, isPlace := layout.PlaceOf(record)
		if !ok || !isPlace {
			return nil
		}
		if out[at.Slice]++; id != target {
			target, owed = id, isOwed(id)
		}
		if owed {
			late[at.Slice] = true
		}
		return nil
	})
	return out, err
}
