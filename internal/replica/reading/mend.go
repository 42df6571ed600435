package reading

import (
	"context"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// RepairHomes sends the merge of a read to the homes whose replies were behind it.
func (r *Reader) RepairHomes(at layout.Place, merged version.Item, stamp purge.Stamp, behind []view.NodeID) {
	if r.opts.Records == nil {
		return // stores take items from stores alone; they compare among themselves
	}
	raw := wire.AppendItem(make([]byte, 0, wire.ItemSize(&merged)), &merged)
	for _, id := range behind {
		if id == r.opts.Self {
			r.opts.Repairs.enqueueRepair(repair{at: at, item: merged, from: stamp})
			continue
		}
		r.opts.Repairs.repaired.Add(1)
		// Nobody waits for the answer; anti-entropy finds what is lost.
		offer := wire.Offer{Bucket: at.Bucket, Key: at.Key, Item: raw, Stamp: keep.WireStamp(stamp)}
		r.opts.Offers.Lanes.Send(id, offer, func(merging.Answer, error) {})
	}
}

// KeepRepairing works off the queue of repairs until ctx ends. It is for a store that has
// records.
func (r *Reader) KeepRepairing(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-r.opts.Repairs.queue:
			if err := r.mendRecord(ctx, one); err != nil && ctx.Err() == nil {
				r.opts.Log.Warn("record not repaired", "shard", one.at.Shard, "error", err)
			}
		}
	}
}

// mendRecord takes in what others have of a record.
func (r *Reader) mendRecord(ctx context.Context, one repair) error {
	if one.lost {
		b := r.opts.Homes.Buckets.FindByID(one.at.Bucket)
		if b == nil {
			return nil // the bucket's definition brings anti-entropy with it
		}
		lay := r.opts.Homes.Now()
		plan := r.opts.Homes.MakePlan(lay, lay.RouteOf(b, one.at.Shard))
		// Its own answer says that it is damaged, so all others are heard.
		read, err := r.ReadByPlan(ctx, b, one.at, plan, replicate.Quorum, false)
		if err != nil {
			return err
		}
		if !read.Found() {
			if read.Err == nil {
				err = r.opts.Records.GiveUp(ctx, one.at)
			}
			return err
		}
		one.item, one.from = read.Item, read.Stamp
	}
	raw := wire.AppendItem(make([]byte, 0, wire.ItemSize(&one.item)), &one.item)
	_, err := r.opts.Records.AcceptAll(ctx, []keep.Arrival{{At: one.at, Item: one.item, Raw: raw, Stamp: one.from}})
	r.opts.Repairs.repaired.Add(1)
	return err
}
