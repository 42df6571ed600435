package purging

import (
	"context"
	"fmt"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// ServeStamps tells this store's stamps, and whether it could acknowledge a
// round.
func (pg *Purger) ServeStamps(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeStampsRequest(req)
	if err != nil {
		return nil, err
	}
	_, vouched := pg.clocks.Ended()
	reply := wire.StampsReply{Able: m.Members == pg.homes.Now().Storing, Trusted: vouched}
	reply.Same = m.Sum != 0 && m.Sum == pg.records.StampSum()
	add := func(shard int) {
		if st := pg.records.SyncedStamp(shard); st != (purge.Stamp{}) {
			reply.Stamps = append(reply.Stamps, wire.ShardStamp{Shard: shard, Stamp: keep.WireStamp(st)})
		}
	}
	switch {
	case reply.Same:
	case len(m.Shards) == 0:
		for shard := range pg.shards {
			add(shard)
		}
	default:
		for _, shard := range m.Shards {
			if shard < pg.shards {
				add(shard)
			}
		}
	}
	return wire.AppendStampsReply(nil, &reply), nil
}

// ServePropose acknowledges rounds.
func (pg *Purger) ServePropose(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeProposeRequest(req)
	if err != nil {
		return nil, err
	}
	proposals := make([]purge.Proposal, len(m.Proposals))
	for i, o := range m.Proposals {
		if o.Shard >= pg.shards {
			return nil, fmt.Errorf("replica: shard %d of %d", o.Shard, pg.shards)
		}
		p := purge.Proposal{Shard: o.Shard, Round: purge.Round(o.Round), Stamp: keep.StampOf(o.Stamp), Batch: make([]purge.Tomb, len(o.Tombs))}
		for j, t := range o.Tombs {
			var it version.Item
			if it, err = wire.DecodeItem(t.Item); err != nil {
				return nil, err
			}
			p.Batch[j] = purge.Tomb{Bucket: t.Bucket, Key: t.Key, Item: it}
		}
		proposals[i] = p
	}
	acked, behind, err := pg.acknowledgeRounds(ctx, m.Members, proposals)
	if err != nil {
		return nil, err
	}
	for _, shard := range behind {
		pg.records.CatchUps.Behind(shard, from)
	}
	return wire.AppendProposeReply(nil, &wire.ProposeReply{Acked: acked}), nil
}

// ServeCommit lets go of what all members have acknowledged.
func (pg *Purger) ServeCommit(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeCommitRequest(req)
	if err != nil {
		return nil, err
	}
	return nil, pg.commitRounds(ctx, m.Rounds)
}
