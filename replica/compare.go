package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/handover"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// writeTime is longer than a write is under way between stores, mostly.
const writeTime = 100 * time.Millisecond

// compareWith makes this store and a peer equal in all that both are homes of: without an
// error nothing that one of them had when it began is missing at the other. Shards
// in which one of the two lags behind a purge, or for which the disk here has no
// room, are left out, and the error tells of them.
func (s *Store) compareWith(ctx context.Context, peer view.NodeID) error {
	lay, losses := s.homes.Now(), s.homes.Losses()
	theirs, err := s.askHeld(ctx, lay, peer)
	if err != nil {
		return err
	}
	left := make(map[layout.Slice]error)
	common, unlike, err := s.compareBuckets(ctx, lay, peer, left)
	if err != nil {
		return err
	}
	for _, at := range byBucket(theirs.leftover) {
		if err := s.runExchange(ctx, &comparison{lay: lay, peer: peer, units: at, left: left, pull: true}, nil); err != nil {
			return err
		}
	}
	s.stats.compared.Add(1)
	for _, at := range common {
		equal := slicesExcept(at, left)
		if len(equal) == 0 {
			continue
		}
		s.records.NoteEqual(ctx, lay, losses, peer, equal, theirs.seasoned[at[0].Bucket])
		s.synced.noteSync(at[0].Bucket, peer, s.uptime())
	}
	s.noteConsulted(ctx, lay, losses, peer, theirs, left)
	for at, why := range left {
		return fmt.Errorf("replica: compare with %v: %d shards are left out, shard %d among them: %w", peer, len(left), at.Shard, why)
	}
	if len(unlike) > 0 {
		return fmt.Errorf("replica: compare with %v: shard %d and %d more: %w", peer, unlike[0].Shard, len(unlike)-1, errUnlike)
	}
	return nil
}

// errUnlike: after all that differed was to be moved some of it differs.
var errUnlike = errors.New("not equal after the exchange")

// slicesExcept returns the slices that are not among others.
func slicesExcept(at []layout.Slice, others map[layout.Slice]error) []layout.Slice {
	return slices.DeleteFunc(slices.Clone(at), func(a layout.Slice) bool { return others[a] != nil })
}

// compareBuckets makes this store and a peer equal in the shards that both are to
// have, and returns these, bucket by bucket. Whole buckets are compared first:
// peers that are equal, as they mostly are, find that out for a few bytes. unlike are
// shards that have not become equal, for no write that would explain it.
func (s *Store) compareBuckets(ctx context.Context, lay *layout.Layout, peer view.NodeID, left map[layout.Slice]error) (common [][]layout.Slice, unlike []layout.Slice, err error) {
	for _, b := range s.buckets.ListAll() {
		if at := s.homes.ListShared(lay, b, s.id, peer); len(at) > 0 {
			common = append(common, at)
		}
	}
	m, err := s.askSums(ctx, lay, peer, common, s.records.StampSum())
	if err == nil && (m.Stamps || s.records.LagsSomewhere()) {
		// Purges first: who lags behind them can give nothing away.
		if err = s.purging.SyncStamps(ctx, peer); err == nil {
			m, err = s.askSums(ctx, lay, peer, common, 0)
		}
	}
	if err != nil || len(m.Differ) == 0 {
		return common, nil, err
	}
	var open [][]layout.Slice
	for _, d := range m.Differ {
		open = append(open, common[d.Place])
	}
	if s.hasPendingWrites() && !s.homes.CannotVouch(lay) {
		unlike, err = s.exchangeLasting(ctx, lay, peer, slices.Concat(open...), left)
		return common, unlike, err
	}
	for i, at := range open {
		if err := s.runExchange(ctx, &comparison{lay: lay, peer: peer, units: at, left: left}, &m.Differ[i]); err != nil {
			return common, nil, err
		}
	}
	if m, err = s.askSums(ctx, lay, peer, open, 0); err != nil {
		return common, nil, err
	}
	var differ []layout.Slice
	for _, d := range m.Differ {
		differ = append(differ, open[d.Place]...)
	}
	unlike, err = s.listUnlike(ctx, peer, differ, left)
	return common, unlike, err
}

// exchangeLasting is what is done while clients write: to read whole shards for writes
// under way would go on for as long as they do. It goes by digests, not by a byte of
// each: what differs in no such byte, and is not written, would not be found for as long.
func (s *Store) exchangeLasting(ctx context.Context, lay *layout.Layout, peer view.NodeID, at []layout.Slice, left map[layout.Slice]error) (unlike []layout.Slice, err error) {
	lasting, _, err := s.listLasting(ctx, peer, at)
	if err != nil {
		return nil, err
	}
	for _, at := range byBucket(lasting) {
		if err := s.runExchange(ctx, &comparison{lay: lay, peer: peer, units: at, left: left, differ: true}, nil); err != nil {
			return nil, err
		}
	}
	return s.listUnlike(ctx, peer, lasting, left)
}

// listUnlike looks at slices again that were exchanged. All that both stores had before is
// at both now: what differs has been written since. Slices that differ and were not
// written are returned.
func (s *Store) listUnlike(ctx context.Context, peer view.NodeID, at []layout.Slice, left map[layout.Slice]error) ([]layout.Slice, error) {
	_, still, err := s.listLasting(ctx, peer, at)
	return slicesExcept(still, left), err
}

// listLasting returns those of the slices that are not equal for longer than a write is
// under way. The others were equal at some moment since it was called. still are those
// of them that were not written here meanwhile.
func (s *Store) listLasting(ctx context.Context, peer view.NodeID, at []layout.Slice) (lasting, still []layout.Slice, err error) {
	first, err := s.listDiffering(ctx, peer, at)
	if err != nil || len(first) == 0 {
		return nil, nil, err
	}
	then := make([]reconcile.Digest, len(first))
	for i, place := range first {
		lasting = append(lasting, at[place])
		then[i], _, _ = s.records.BuiltDigest(at[place])
	}
	if !clock.Sleep(ctx, writeTime) {
		return nil, nil, ctx.Err()
	}
	second, err := s.listDiffering(ctx, peer, lasting)
	if err != nil {
		return nil, nil, err
	}
	for i, place := range second {
		a := lasting[place]
		if now, _, _ := s.records.BuiltDigest(a); now == then[place] {
			still = append(still, a)
		}
		second[i] = first[place]
	}
	lasting = lasting[:0]
	for _, place := range second {
		lasting = append(lasting, at[place])
	}
	return lasting, still, nil
}

// askSums shows a peer the digests of buckets. It may say that stamps differ, if
// they are given.
func (s *Store) askSums(ctx context.Context, lay *layout.Layout, peer view.NodeID, common [][]layout.Slice, stamps uint64) (m wire.SumsReply, err error) {
	req := wire.SumsRequest{Stamps: stamps}
	for _, at := range common {
		sum, err := s.hashDigests(ctx, lay, at)
		if err != nil {
			return m, err
		}
		req.Sums = append(req.Sums, wire.BucketSum{Bucket: at[0].Bucket, Sum: sum})
	}
	answer, err := s.askPeer(ctx, peer, wire.MethodSums, wire.AppendSumsRequest(nil, &req))
	if err == nil {
		m, err = wire.DecodeSumsReply(answer)
	}
	for _, d := range m.Differ {
		if d.Place >= len(common) {
			return m, errors.New("replica: digest that was not asked for")
		}
	}
	return m, err
}

// serveSums compares the asker's digests of whole buckets with those here.
func (s *Store) serveSums(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeSumsRequest(req)
	if err != nil {
		return nil, err
	}
	if m.Stamps != 0 && m.Stamps != s.records.StampSum() {
		return wire.AppendSumsReply(nil, &wire.SumsReply{Stamps: true}), nil
	}
	lay := s.homes.Now()
	var reply wire.SumsReply
	for i, sum := range m.Sums {
		d := wire.BucketDiffers{Place: i}
		if b := s.buckets.FindByID(sum.Bucket); b != nil {
			at := s.homes.ListShared(lay, b, from, s.id)
			mine, err := s.hashDigests(ctx, lay, at)
			if err != nil {
				return nil, err
			}
			if mine == sum.Sum {
				continue
			}
			for _, n := range s.records.CountKeys(at) {
				d.Keys += uint64(n)
			}
			d.Marks = s.records.HashBytes(at, 0)
		}
		reply.Differ = append(reply.Differ, d)
	}
	return wire.AppendSumsReply(nil, &reply), nil
}

// hashDigests is a hash of the digests of slices and of which they are: equal sums of
// different slices, of nothing for instance, prove nothing.
func (s *Store) hashDigests(ctx context.Context, lay *layout.Layout, at []layout.Slice) (uint64, error) {
	total, err := s.records.Digest(ctx, at)
	total.Key += lay.Roster
	for _, a := range at {
		total.Version += uint64(reconcile.Element{Key: a.Bucket, Version: uint64(a.Shard) + 1}.Fingerprint())
	}
	return uint64(reconcile.Element(total).Fingerprint()), err
}

// byBucket splits a list of slices.
func byBucket(at []layout.Slice) (out [][]layout.Slice) {
	place := make(map[uint64]int)
	for _, a := range at {
		i, ok := place[a.Bucket]
		if !ok {
			i = len(out)
			place[a.Bucket], out = i, append(out, nil)
		}
		out[i] = append(out[i], a)
	}
	return out
}

// held is what a peer says of itself when this store has something to learn
// from that.
type peerHeld struct {
	asked    bool
	leftover []layout.Slice    // records there that belong here
	seasoned map[uint64][]byte // by bucket: the shards of which it is a seasoned home
}

// askHeld asks a peer for what it holds that belongs here, as long as this
// store does not know all that the homes of its shards know.
func (s *Store) askHeld(ctx context.Context, lay *layout.Layout, peer view.NodeID) (out peerHeld, err error) {
	if !s.homes.CannotVouch(lay) {
		return out, nil
	}
	answer, err := s.askPeer(ctx, peer, wire.MethodHeld, wire.AppendHeldRequest(nil, &wire.HeldRequest{}))
	if err != nil {
		return out, err
	}
	m, err := wire.DecodeHeldReply(answer)
	if err != nil {
		return out, err
	}
	if m.Roster != lay.Roster {
		return out, handover.ErrRosters
	}
	out.asked, out.seasoned = true, make(map[uint64][]byte)
	for _, h := range m.Leftover {
		if b := s.buckets.FindByID(h.Bucket); b != nil && h.Shard < s.homes.ShardsOf(b) && lay.RouteOf(b, h.Shard).IsHome(s.id) {
			out.leftover = append(out.leftover, layout.Slice{Bucket: h.Bucket, Shard: h.Shard})
		}
	}
	for _, b := range m.Seasoned {
		out.seasoned[b.Bucket] = b.Shards
	}
	return out, nil
}

// noteConsulted notes that all a peer holds of what belongs here is here.
func (s *Store) noteConsulted(ctx context.Context, lay *layout.Layout, losses uint64, peer view.NodeID, theirs peerHeld, left map[layout.Slice]error) {
	if !theirs.asked {
		return
	}
	for _, b := range s.buckets.ListAll() {
		var at []layout.Slice
		for shard := range s.homes.ShardsOf(b) {
			if rt := lay.RouteOf(b, shard); rt.IsHome(s.id) && !rt.IsHome(peer) && left[layout.Slice{Bucket: b.ID, Shard: shard}] == nil {
				at = append(at, layout.Slice{Bucket: b.ID, Shard: shard})
			}
		}
		if len(at) > 0 {
			s.records.NoteEqual(ctx, lay, losses, peer, at, nil)
		}
	}
}
