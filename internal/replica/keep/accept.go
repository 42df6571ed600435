package keep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// Arrival is an item from another store, decoded.
type Arrival struct {
	At    layout.Place
	Role  replicate.Role
	Item  version.Item
	Raw   []byte
	Stamp purge.Stamp // that it came with
	From  view.NodeID // who sent it, 0: nobody in particular
}

// Merged tells what became of an arrival.
type Merged struct {
	Behind bool        // the sender lacks something that is here
	Stale  bool        // it was read before a round that this store has acknowledged: nothing was done
	Fence  token.Token // see reconcile.Absorbed
}

// AcceptAll merges what came from elsewhere in one update, and returns once
// all of it is synced.
func (rs *Records) AcceptAll(ctx context.Context, in []Arrival) ([]Merged, error) {
	out := make([]Merged, len(in))
	fresh := make([]bool, len(in))
	err := rs.Update(ctx, "merge", func(tx Tx) error {
		for i := range in {
			var err error
			if out[i], fresh[i], err = tx.acceptItem(&in[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, ErrStorageFull) {
		if dead := listGraves(in); len(dead) > 0 && len(dead) < len(in) {
			_, _ = rs.AcceptAll(ctx, dead) // whoever has sent them sends them again
		}
	}
	if err != nil {
		return out, err
	}
	defined := false
	for i := range in {
		defined = defined || fresh[i] && in[i].At.Bucket == layout.SystemBucket
	}
	if defined {
		err = rs.LoadDefinitions(ctx)
	}
	return out, err
}

// AcceptLater is AcceptAll without any wait, for items that are no definitions
// of buckets. The committing goroutine calls then; storage.ErrBusy when it has
// enough to do.
func (rs *Records) AcceptLater(in []Arrival, then func(stale []int, fenced []wire.FencedOffer, err error)) error {
	var odd struct { // together, which is one allocation
		stale  []int
		fenced []wire.FencedOffer
	}
	_, err := rs.startUpdate(rs.disk.TryStart, "merge", func(tx Tx) error {
		for i := range in {
			out, _, err := tx.acceptItem(&in[i])
			if err != nil {
				return err
			}
			if out.Stale {
				odd.stale = append(odd.stale, i)
			}
			if !out.Fence.IsZero() {
				odd.fenced = append(odd.fenced, wire.FencedOffer{Place: i, Token: out.Fence})
			}
		}
		return nil
	}, func(err error) {
		if errors.Is(err, ErrStorageFull) {
			if dead := listGraves(in); len(dead) > 0 && len(dead) < len(in) {
				rs.group.Go(func(ctx context.Context) { _, _ = rs.AcceptAll(ctx, dead) })
			}
		}
		then(odd.stale, odd.fenced, err)
	})
	return err
}

// listGraves lists the arrivals of which nothing is alive. They are taken in where the
// values that came with them are not, for want of room: they make some. What it returns
// shares no bytes with what came.
func listGraves(in []Arrival) (dead []Arrival) {
	for _, a := range in {
		if _, known := purge.Grave(a.Item, 0); known {
			a.Raw = slices.Clone(a.Raw)
			dead = append(dead, a)
		}
	}
	return dead
}

// acceptItem merges one arrival. fresh tells that a record has changed.
func (tx Tx) acceptItem(in *Arrival) (out Merged, fresh bool, err error) {
	if ok, err := tx.admitStamp(in); err != nil || !ok {
		return Merged{Stale: !ok}, false, err
	}
	old, err := tx.Load(in.At)
	if err != nil {
		return out, false, err
	}
	if err := tx.stripPurged(in); err != nil {
		return out, false, err
	}
	if old.Unknown() && !old.Damaged {
		if gone, err := tx.isPurged(in); err != nil || gone {
			return out, false, err
		}
	}
	r, got, err := old.Accept(tx.Writer(), in.Item, in.Role, tx.rs.clocks.Now())
	if err != nil {
		return out, false, err
	}
	out.Behind, out.Fence = got.Behind, got.Fence
	if got.Skewed {
		tx.rs.warnOfSkew(in.At.Bucket)
	}
	for i := range got.Clashes {
		// The dot was given out twice, by a store and by a copy of it. The
		// value that lost it lives on under a dot of our own.
		wrote := tx.Writer().Import(r.Local, got.Clashes[i])
		r.Local, got.Changed, out.Behind = wrote.Local, true, true
		if err := tx.SaveMeta(wrote.Meta); err != nil {
			return out, false, err
		}
	}
	if !got.Changed && !old.Damaged {
		return out, false, nil
	}
	raw := in.Raw
	if out.Behind || !sameTombs(r.Item, in.Item) {
		raw = wire.AppendItem(make([]byte, 0, wire.ItemSize(&r.Item)), &r.Item)
	}
	if err := tx.Save(in.At, old, r, raw); err != nil {
		return out, false, err
	}
	tx.rs.hinted = tx.rs.hinted || old.Damaged // it may have been kept for others
	return out, true, nil
}

// sameTombs tells whether two items that are equal say of the same values that they have
// ended: that may be written down in one of them alone, and no dot tells.
func sameTombs(a, b version.Item) bool {
	return slices.EqualFunc(a.Sibs, b.Sibs, func(s, t version.Sibling) bool { return s.Flags == t.Flags })
}

// admitStamp tells whether an item with that stamp may be
// merged, and takes in which rounds its store knows to be committed.
func (tx Tx) admitStamp(in *Arrival) (bool, error) {
	next, news, ok := tx.Standing(in.At.Shard).Admit(in.Stamp)
	if news.CatchUp && in.From != 0 {
		tx.rs.CatchUps.Behind(in.At.Shard, in.From)
	}
	if news.Finish {
		tx.rs.CatchUps.Committed(in.At.Shard)
	}
	return ok, tx.Move(in.At.Shard, next)
}

// warnOfSkew tells the operator that items dated far ahead come in.
func (rs *Records) warnOfSkew(bucket uint64) {
	const every = int64(time.Minute)
	last, now := rs.alarmed.Load(), int64(rs.opts.Uptime())
	if (last == 0 || now-last >= every) && rs.alarmed.CompareAndSwap(last, max(now, 1)) {
		rs.log.Warn("items are dated far ahead of this node's clock: one of the clocks is wrong", "bucket", fmt.Sprintf("%016x", bucket))
	}
}
