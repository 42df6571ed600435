package replica

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// shared lists the shards of a bucket that one store is to keep, who begins the
// comparison, and of which another is a home.
func (s *Store) shared(lay *layout, b *bucket, keeper, home view.NodeID) []slice {
	var out []slice
	for shard := range s.shardsOf(b) {
		if lay.route(b, shard).isHome(home) && lay.keeps(b, shard, keeper) {
			out = append(out, slice{b.id, shard})
		}
	}
	return out
}

// shardsOf returns how many shards a bucket lies in.
func (s *Store) shardsOf(b *bucket) int {
	if b.system {
		return 1
	}
	return s.shards
}

// compare makes this store and a peer equal in all that both are homes of.
func (s *Store) compare(ctx context.Context, peer view.NodeID) error {
	lay, losses := s.layout.Load(), s.losses.Load()
	theirs, err := s.askHeld(ctx, lay, peer)
	if err != nil {
		return err
	}
	common, err := s.compareBuckets(ctx, lay, peer)
	if err != nil {
		return err
	}
	for _, at := range byBucket(theirs.leftover) {
		if err := s.exchange(ctx, &comparison{lay: lay, peer: peer, units: at, pull: true}, nil); err != nil {
			return err
		}
	}
	s.stats.compared.Add(1)
	for _, at := range common {
		s.madeEqual(ctx, lay, losses, peer, at, theirs.seasoned[at[0].bucket])
		s.synced.note(at[0].bucket, peer, s.since())
	}
	s.consulted(ctx, lay, losses, peer, theirs)
	return nil
}

// compareBuckets makes this store and a peer equal in the shards that both are to
// have, and returns these, bucket by bucket. Whole buckets are compared first:
// peers that are equal, as they mostly are, find that out for a few bytes.
func (s *Store) compareBuckets(ctx context.Context, lay *layout, peer view.NodeID) (common [][]slice, err error) {
	req := wire.SumsRequest{Stamps: s.stampSum()}
	for _, b := range s.buckets.list() {
		if at := s.shared(lay, b, s.id, peer); len(at) > 0 {
			sum, err := s.sumOf(ctx, lay, at)
			if err != nil {
				return nil, err
			}
			common = append(common, at)
			req.Sums = append(req.Sums, wire.BucketSum{Bucket: b.id, Sum: sum})
		}
	}
	m, err := s.askSums(ctx, peer, &req)
	if err == nil && m.Stamps {
		// Purges first: who lags behind them can give nothing away.
		if err = s.syncStamps(ctx, peer); err == nil {
			req.Stamps = 0
			m, err = s.askSums(ctx, peer, &req)
		}
	}
	if err != nil {
		return nil, err
	}
	for i := range m.Differ {
		d := &m.Differ[i]
		if d.Place >= len(common) {
			return nil, errors.New("replica: digest that was not asked for")
		}
		if err := s.exchange(ctx, &comparison{lay: lay, peer: peer, units: common[d.Place]}, d); err != nil {
			return nil, err
		}
	}
	return common, nil
}

func (s *Store) askSums(ctx context.Context, peer view.NodeID, req *wire.SumsRequest) (m wire.SumsReply, err error) {
	answer, err := s.ask(ctx, peer, wire.MethodSums, wire.AppendSumsRequest(nil, req))
	if err != nil {
		return m, err
	}
	return wire.DecodeSumsReply(answer)
}

// serveSums compares the asker's digests of whole buckets with those here.
func (s *Store) serveSums(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeSumsRequest(req)
	if err != nil {
		return nil, err
	}
	if m.Stamps != 0 && m.Stamps != s.stampSum() {
		return wire.AppendSumsReply(nil, &wire.SumsReply{Stamps: true}), nil
	}
	lay := s.layout.Load()
	var reply wire.SumsReply
	for i, sum := range m.Sums {
		d := wire.BucketDiffers{Place: i}
		if b := s.buckets.byID(sum.Bucket); b != nil {
			at := s.shared(lay, b, from, s.id)
			mine, err := s.sumOf(ctx, lay, at)
			if err != nil {
				return nil, err
			}
			if mine == sum.Sum {
				continue
			}
			for _, n := range s.digests.keys(at) {
				d.Keys += uint64(n)
			}
			d.Marks = s.digests.marks(at, 0)
		}
		reply.Differ = append(reply.Differ, d)
	}
	return wire.AppendSumsReply(nil, &reply), nil
}

// sumOf is a hash of the digests of slices and of which they are: equal sums of
// different slices, of nothing for instance, prove nothing.
func (s *Store) sumOf(ctx context.Context, lay *layout, at []slice) (uint64, error) {
	total, err := s.total(ctx, at)
	total.Key += lay.roster
	for _, a := range at {
		total.Version += uint64(reconcile.Element{Key: a.bucket, Version: uint64(a.shard) + 1}.Fingerprint())
	}
	return uint64(reconcile.Element(total).Fingerprint()), err
}

// byBucket splits a list of slices.
func byBucket(at []slice) (out [][]slice) {
	place := make(map[uint64]int)
	for _, a := range at {
		i, ok := place[a.bucket]
		if !ok {
			i = len(out)
			place[a.bucket], out = i, append(out, nil)
		}
		out[i] = append(out[i], a)
	}
	return out
}

// held is what a peer says of itself when this store has something to learn
// from that.
type peerHeld struct {
	asked    bool
	leftover []slice           // records there that belong here
	seasoned map[uint64][]byte // by bucket: the shards of which it is a seasoned home
}

// askHeld asks a peer for what it holds that belongs here, as long as this
// store does not know all that the homes of its shards know.
func (s *Store) askHeld(ctx context.Context, lay *layout, peer view.NodeID) (out peerHeld, err error) {
	if !s.unready(lay) {
		return out, nil
	}
	answer, err := s.ask(ctx, peer, wire.MethodHeld, wire.AppendHeldRequest(nil, &wire.HeldRequest{}))
	if err != nil {
		return out, err
	}
	m, err := wire.DecodeHeldReply(answer)
	if err != nil {
		return out, err
	}
	if m.Roster != lay.roster {
		return out, errRosters
	}
	out.asked, out.seasoned = true, make(map[uint64][]byte)
	for _, h := range m.Leftover {
		if b := s.buckets.byID(h.Bucket); b != nil && h.Shard < s.shardsOf(b) && lay.route(b, h.Shard).isHome(s.id) {
			out.leftover = append(out.leftover, slice{h.Bucket, h.Shard})
		}
	}
	for _, b := range m.Seasoned {
		out.seasoned[b.Bucket] = b.Shards
	}
	return out, nil
}

// unready tells whether this store is a home where it cannot vouch for what is
// not there.
func (s *Store) unready(lay *layout) bool {
	for _, b := range s.buckets.list() {
		for shard := range s.shardsOf(b) {
			if lay.route(b, shard).isHome(s.id) && !b.ready.absent(shard) {
				return true
			}
		}
	}
	return false
}

// consulted notes that all a peer holds of what belongs here is here.
func (s *Store) consulted(ctx context.Context, lay *layout, losses uint64, peer view.NodeID, theirs peerHeld) {
	if !theirs.asked {
		return
	}
	for _, b := range s.buckets.list() {
		var at []slice
		for shard := range s.shardsOf(b) {
			if rt := lay.route(b, shard); rt.isHome(s.id) && !rt.isHome(peer) {
				at = append(at, slice{b.id, shard})
			}
		}
		if len(at) > 0 {
			s.madeEqual(ctx, lay, losses, peer, at, nil)
		}
	}
}

// madeEqual notes that slices of one bucket were made equal with a peer, under
// the roster and with the losses then, and of which the peer said that it is a
// seasoned home.
func (s *Store) madeEqual(ctx context.Context, then *layout, losses uint64, peer view.NodeID, at []slice, seasoned []byte) {
	b := s.buckets.byID(at[0].bucket)
	s.following.Lock()
	lay := s.layout.Load()
	if lay.roster != then.roster || losses != s.losses.Load() {
		s.following.Unlock()
		return // other homes count now, or what was here then may be gone
	}
	changed := false
	for _, a := range at {
		rt := lay.route(b, a.shard)
		b.ready.equal(a.shard, peer, hasBit(seasoned, a.shard))
		changed = b.ready.judge(a.shard, s.id, rt.order[:rt.homes], lay.members) || changed
	}
	s.following.Unlock()
	if changed {
		s.saveSettled(ctx, lay, b)
	}
}
