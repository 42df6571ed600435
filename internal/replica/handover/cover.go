package handover

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ErrRosters: a peer knows another roster, so what it says of homes does not
// count here. One of the two will hear of the other's soon.
var ErrRosters = errors.New("replica: the rosters differ")

// askCover asks a home which records it does not hold as they are here.
func (c *Carrier) askCover(ctx context.Context, lay *layout.Layout, at layout.Slice, step replicate.HandoffStep) (m wire.CoverReply, err error) {
	req := wire.CoverRequest{Bucket: at.Bucket, Shard: at.Shard, Roster: lay.Roster, Marks: make([]wire.Mark, len(step.Marks))}
	size := 0
	for i, m := range step.Marks {
		req.Marks[i] = wire.Mark(m)
		size += len(m.Key) + 16
	}
	if err := c.Pace.WaitForBytes(ctx, size); err != nil {
		return m, err
	}
	answer, err := c.opts.Ask(ctx, step.To, wire.MethodCover, wire.AppendCoverRequest(nil, &req))
	if err != nil {
		return m, err
	}
	return wire.DecodeCoverReply(answer)
}

// ServeCover tells which of the asker's records this home does not hold as they
// are there.
func (c *Carrier) ServeCover(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeCoverRequest(req)
	if err != nil {
		return nil, err
	}
	at, lay := layout.Slice{Bucket: m.Bucket, Shard: m.Shard}, c.homes.Now()
	b := c.homes.Buckets.FindByID(m.Bucket)
	home := b != nil && m.Shard < c.homes.ShardsOf(b) && lay.RouteOf(b, m.Shard).IsHome(c.id)
	// This store may have been about to let go of the records itself, by an
	// older roster: after an update of its own it is seen that they are gone.
	if err := c.disk.Look(ctx, func(*storage.Tx) error { return nil }); err != nil {
		return nil, c.records.WrapError("vouch", err)
	}
	reply := wire.CoverReply{Refused: c.opts.Taking.IsShut() || !replicate.MayVouch(m.Roster, lay.Roster, home)}
	for i, k := range m.Marks {
		rec, err := c.records.Load(ctx, c.homes.LocateKey(at.Bucket, k.Key))
		if err != nil {
			return nil, err
		}
		if !replicate.Covers(rec.Record, c.records.VersionOf(at.Shard, rec.Item), k.Hash) {
			reply.Missing = append(reply.Missing, i)
		}
	}
	return wire.AppendCoverReply(nil, &reply), nil
}

// ServeHeld tells what this store holds that it is not to keep, and where it
// may vouch for what is not there.
func (c *Carrier) ServeHeld(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	if _, err := wire.DecodeHeldRequest(req); err != nil {
		return nil, err
	}
	lay := c.homes.Now()
	all, _, err := c.records.ListStrays(ctx, lay)
	if err != nil {
		return nil, err
	}
	reply := wire.HeldReply{Roster: lay.Roster}
	for _, at := range all {
		reply.Leftover = append(reply.Leftover, wire.Held{Bucket: at.Bucket, Shard: at.Shard})
	}
	for _, b := range c.homes.Buckets.ListAll() {
		reply.Seasoned = append(reply.Seasoned, wire.SeasonedIn{Bucket: b.ID, Shards: b.SeasonedBits(c.homes.ShardsOf(b))})
	}
	return wire.AppendHeldReply(nil, &reply), nil
}
