package comparing

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

// comparison is one of this store with a peer, by the layout that it was begun with.
type comparison struct {
	*Comparer
	lay    *layout.Layout
	losses uint64
	peer   view.NodeID
	left   map[layout.Slice]error // gets the slices that could not be made equal, and why
}

// Compare makes this store and a peer equal in all that both are homes of: without an
// error nothing that one of them had when it began is missing at the other. Shards
// in which one of the two lags behind a purge, or for which the disk here has no
// room, are left out, and the error tells of them.
func (c *Comparer) Compare(ctx context.Context, peer view.NodeID) error {
	x := &comparison{Comparer: c, lay: c.homes.Now(), losses: c.homes.Losses(), peer: peer, left: make(map[layout.Slice]error)}
	theirs, err := x.askHeld(ctx)
	if err != nil {
		return err
	}
	common, unlike, err := x.compareBuckets(ctx)
	if err != nil {
		return err
	}
	for _, at := range byBucket(theirs.leftover) {
		if err := (&exchange{comparison: x, units: at, pull: true}).makeEqual(ctx, nil); err != nil {
			return err
		}
	}
	c.compared.Add(1)
	for _, at := range common {
		equal := slicesExcept(at, x.left)
		if len(equal) == 0 {
			continue
		}
		c.records.NoteEqual(ctx, x.lay, x.losses, peer, equal, theirs.seasoned[at[0].Bucket])
		c.synced.noteSync(at[0].Bucket, peer, c.opts.Uptime())
	}
	x.noteConsulted(ctx, theirs)
	for at, why := range x.left {
		return fmt.Errorf("replica: compare with %v: %d shards are left out, shard %d among them: %w", peer, len(x.left), at.Shard, why)
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
func (x *comparison) compareBuckets(ctx context.Context) (common [][]layout.Slice, unlike []layout.Slice, err error) {
	for _, b := range x.homes.Buckets.ListAll() {
		if at := x.homes.ListShared(x.lay, b, x.id, x.peer); len(at) > 0 {
			common = append(common, at)
		}
	}
	m, err := x.askSums(ctx, common, x.records.StampSum())
	if err == nil && (m.Stamps || x.records.LagsSomewhere()) {
		// Purges first: who lags behind them can give nothing away.
		if err = x.opts.Purging.SyncStamps(ctx, x.peer); err == nil {
			m, err = x.askSums(ctx, common, 0)
		}
	}
	if err != nil || len(m.Differ) == 0 {
		return common, nil, err
	}
	var open [][]layout.Slice
	for _, d := range m.Differ {
		open = append(open, common[d.Place])
	}
	if x.opts.Writing() && !x.homes.CannotVouch(x.lay) {
		unlike, err = x.exchangeLasting(ctx, slices.Concat(open...))
		return common, unlike, err
	}
	for i, at := range open {
		if err := (&exchange{comparison: x, units: at}).makeEqual(ctx, &m.Differ[i]); err != nil {
			return common, nil, err
		}
	}
	if m, err = x.askSums(ctx, open, 0); err != nil {
		return common, nil, err
	}
	var differ []layout.Slice
	for _, d := range m.Differ {
		differ = append(differ, open[d.Place]...)
	}
	unlike, err = x.listUnlike(ctx, differ)
	return common, unlike, err
}

// exchangeLasting is what is done while clients write: to read whole shards for writes
// under way would go on for as long as they do. It goes by digests, not by a byte of
// each: what differs in no such byte, and is not written, would not be found for as long.
func (x *comparison) exchangeLasting(ctx context.Context, at []layout.Slice) (unlike []layout.Slice, err error) {
	lasting, _, err := x.listLasting(ctx, at)
	if err != nil {
		return nil, err
	}
	for _, at := range byBucket(lasting) {
		if err := (&exchange{comparison: x, units: at, differ: true}).makeEqual(ctx, nil); err != nil {
			return nil, err
		}
	}
	return x.listUnlike(ctx, lasting)
}

// listUnlike looks at slices again that were exchanged. All that both stores had before is
// at both now: what differs has been written since. Slices that differ and were not
// written are returned.
func (x *comparison) listUnlike(ctx context.Context, at []layout.Slice) ([]layout.Slice, error) {
	_, still, err := x.listLasting(ctx, at)
	return slicesExcept(still, x.left), err
}

// listLasting returns those of the slices that are not equal for longer than a write is
// under way. The others were equal at some moment since it was called. still are those
// of them that were not written here meanwhile.
func (x *comparison) listLasting(ctx context.Context, at []layout.Slice) (lasting, still []layout.Slice, err error) {
	first, err := x.listDiffering(ctx, at)
	if err != nil || len(first) == 0 {
		return nil, nil, err
	}
	then := make([]reconcile.Digest, len(first))
	for i, place := range first {
		lasting = append(lasting, at[place])
		then[i], _, _ = x.records.BuiltDigest(at[place])
	}
	if !clock.Sleep(ctx, writeTime) {
		return nil, nil, ctx.Err()
	}
	second, err := x.listDiffering(ctx, lasting)
	if err != nil {
		return nil, nil, err
	}
	for i, place := range second {
		a := lasting[place]
		if now, _, _ := x.records.BuiltDigest(a); now == then[place] {
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
func (x *comparison) askSums(ctx context.Context, common [][]layout.Slice, stamps uint64) (m wire.SumsReply, err error) {
	req := wire.SumsRequest{Stamps: stamps}
	for _, at := range common {
		sum, err := x.hashDigests(ctx, x.lay, at)
		if err != nil {
			return m, err
		}
		req.Sums = append(req.Sums, wire.BucketSum{Bucket: at[0].Bucket, Sum: sum})
	}
	answer, err := x.askPeer(ctx, wire.MethodSums, wire.AppendSumsRequest(nil, &req))
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

// hashDigests is a hash of the digests of slices and of which they are: equal sums of
// different slices, of nothing for instance, prove nothing.
func (c *Comparer) hashDigests(ctx context.Context, lay *layout.Layout, at []layout.Slice) (uint64, error) {
	total, err := c.records.Digest(ctx, at)
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

// peerHeld is what a peer says of itself when this store has something to learn
// from that.
type peerHeld struct {
	asked    bool
	leftover []layout.Slice    // records there that belong here
	seasoned map[uint64][]byte // by bucket: the shards of which it is a seasoned home
}

// askHeld asks a peer for what it holds that belongs here, as long as this
// store does not know all that the homes of its shards know.
func (x *comparison) askHeld(ctx context.Context) (out peerHeld, err error) {
	if !x.homes.CannotVouch(x.lay) {
		return out, nil
	}
	answer, err := x.askPeer(ctx, wire.MethodHeld, wire.AppendHeldRequest(nil, &wire.HeldRequest{}))
	if err != nil {
		return out, err
	}
	m, err := wire.DecodeHeldReply(answer)
	if err != nil {
		return out, err
	}
	if m.Roster != x.lay.Roster {
		return out, handover.ErrRosters
	}
	out.asked, out.seasoned = true, make(map[uint64][]byte)
	for _, h := range m.Leftover {
		if b := x.homes.Buckets.FindByID(h.Bucket); b != nil && h.Shard < x.homes.ShardsOf(b) && x.lay.RouteOf(b, h.Shard).IsHome(x.id) {
			out.leftover = append(out.leftover, layout.Slice{Bucket: h.Bucket, Shard: h.Shard})
		}
	}
	for _, b := range m.Seasoned {
		out.seasoned[b.Bucket] = b.Shards
	}
	return out, nil
}

// noteConsulted notes that all a peer holds of what belongs here is here.
func (x *comparison) noteConsulted(ctx context.Context, theirs peerHeld) {
	if !theirs.asked {
		return
	}
	for _, b := range x.homes.Buckets.ListAll() {
		var at []layout.Slice
		for shard := range x.homes.ShardsOf(b) {
			if rt := x.lay.RouteOf(b, shard); rt.IsHome(x.id) && !rt.IsHome(x.peer) && x.left[layout.Slice{Bucket: b.ID, Shard: shard}] == nil {
				at = append(at, layout.Slice{Bucket: b.ID, Shard: shard})
			}
		}
		if len(at) > 0 {
			x.records.NoteEqual(ctx, x.lay, x.losses, x.peer, at, nil)
		}
	}
}
