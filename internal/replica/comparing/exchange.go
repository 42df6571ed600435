package comparing

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
)

const (
	digestBatch = 4096
	firstKeys   = 16 // items asked for while it is not known how large they are
)

// exchange is under way: one bucket's slices are made equal with a peer.
type exchange struct {
	*comparison
	units  []layout.Slice
	pull   bool // only this store gains: the peer is not to keep them
	differ bool // it is known that all of them differ
	core   *replicate.Exchange

	mine *inventory // what own symbols are made of
	kept uint64     // name of what the peer's are made of
	item int        // bytes of an item, by the last that came
}

func (x *exchange) bucket() uint64 { return x.units[0].Bucket }

// slicesAt returns some of the slices, by their places.
func (x *exchange) slicesAt(units []int) []layout.Slice {
	out := make([]layout.Slice, len(units))
	for i, u := range units {
		out[i] = x.units[u]
	}
	return out
}

// makeEqual drives the core. known, if not nil, is what the peer said of the
// bucket.
func (x *exchange) makeEqual(ctx context.Context, known *wire.BucketDiffers) error {
	if _, err := x.records.Digest(ctx, x.units); err != nil { // for how many keys there are
		return err
	}
	x.core = replicate.NewExchange(x.records.CountKeys(x.units), keep.PageKeys)
	switch {
	case known != nil:
		x.core.Guess(x.records.HashBytes(x.units, 0), known.Marks, int(known.Keys))
	case x.differ:
		all := make([]int, len(x.units))
		for i := range all {
			all[i] = i
		}
		x.core.Differ(all)
	}
	for {
		step := x.core.Step()
		var err error
		switch step.Kind {
		case replicate.Done:
			x.moved.Add(uint64(x.core.Moved()))
			return nil
		case replicate.Digests:
			err = x.stepDigests(ctx, step)
		case replicate.Symbols:
			err = x.stepSymbols(ctx, step)
		case replicate.Fetch:
			err = x.stepFetch(ctx, step.Prints)
		case replicate.Name:
			err = x.stepName(ctx, step.Prints)
		case replicate.List:
			err = x.stepList(ctx, step)
		case replicate.Pull:
			err = x.stepPull(ctx, step.Keys)
		case replicate.Push:
			err = x.stepPush(ctx, step.Keys)
		}
		if err != nil {
			return fmt.Errorf("replica: compare with %v: %w", x.peer, err)
		}
	}
}

func (x *exchange) stepDigests(ctx context.Context, step replicate.Step) error {
	differ, err := x.listDiffering(ctx, x.slicesAt(step.Units))
	if err != nil {
		return err
	}
	for i, at := range differ {
		differ[i] = step.Units[at]
	}
	x.core.Differ(differ)
	return nil
}

// listDiffering returns of which of the slices, by their places, the digests here and at a
// peer differ.
func (x *comparison) listDiffering(ctx context.Context, at []layout.Slice) (differ []int, err error) {
	for from := 0; from < len(at); from += digestBatch {
		part := at[from:min(from+digestBatch, len(at))]
		sums := make([]wire.Sum, len(part))
		for i, a := range part {
			total, err := x.records.Digest(ctx, []layout.Slice{a})
			if err != nil {
				return nil, err
			}
			sums[i] = wireSum(a, total)
		}
		got, err := x.askDigests(ctx, sums)
		if err != nil {
			return nil, err
		}
		for _, i := range got {
			differ = append(differ, from+i)
		}
	}
	return differ, nil
}

// askDigests returns which of the sums differ at the peer.
func (x *comparison) askDigests(ctx context.Context, sums []wire.Sum) ([]int, error) {
	if len(sums) == 0 {
		return nil, nil
	}
	answer, err := x.askPeer(ctx, wire.MethodDigest, wire.AppendDigestRequest(nil, &wire.DigestRequest{Sums: sums}))
	if err != nil {
		return nil, err
	}
	m, err := wire.DecodeDigestReply(answer)
	if err != nil {
		return nil, err
	}
	for _, i := range m.Differ {
		if i >= len(sums) {
			return nil, errors.New("replica: digest that was not asked for")
		}
	}
	return m.Differ, nil
}

// askPeer asks the peer and waits for as long as it may take to build digests there.
func (x *comparison) askPeer(ctx context.Context, method string, req []byte) ([]byte, error) {
	return x.opts.Peers.AskLong(ctx, x.peer, method, req)
}

func wireSum(at layout.Slice, d reconcile.Digest) wire.Sum {
	return wire.Sum{Bucket: at.Bucket, Shard: at.Shard, Digest: digestBytes(d)}
}

func digestBytes(d reconcile.Digest) (out [16]byte) {
	binary.BigEndian.PutUint64(out[:8], d.Key)
	binary.BigEndian.PutUint64(out[8:], d.Version)
	return out
}

func (x *exchange) stepList(ctx context.Context, step replicate.Step) error {
	at := x.units[step.Unit]
	req := wire.ListRequest{Bucket: at.Bucket, Shard: at.Shard, After: step.After, From: !step.First}
	answer, err := x.askPeer(ctx, wire.MethodList, wire.AppendListRequest(nil, &req))
	if err != nil {
		return err
	}
	m, err := wire.DecodeListReply(answer)
	if err != nil {
		return err
	}
	theirs := replicate.Page{After: step.After, First: step.First, Last: !m.More, Marks: make([]replicate.Mark, len(m.Marks))}
	for i, k := range m.Marks {
		theirs.Marks[i] = replicate.Mark(k)
	}
	var upper []byte
	if n := len(m.Marks); m.More && n > 0 {
		upper = append(wire.RecordKey(at.Shard, at.Bucket, m.Marks[n-1].Key), 0)
	}
	mine, _, err := x.records.ListMarks(ctx, at, req.After, req.From, upper, 0)
	if err != nil {
		return err
	}
	x.core.Listed(theirs, mine)
	return nil
}

// stepPull gets items from the peer and merges them here.
func (x *exchange) stepPull(ctx context.Context, keys []string) error {
	keys = keys[:x.batchSize(len(keys))]
	req := wire.ReadRequest{Keys: make([]wire.Lookup, len(keys))}
	for i, k := range keys {
		req.Keys[i] = wire.Lookup{Bucket: x.bucket(), Key: k}
	}
	answer, err := x.askPeer(ctx, wire.MethodRead, wire.AppendReadRequest(nil, &req))
	if err != nil {
		return err
	}
	if err := x.carrier.Pace.WaitForBytes(ctx, len(answer)); err != nil {
		return err
	}
	m, err := wire.DecodeReadReply(answer)
	if err != nil {
		return err
	}
	if len(m.Items) == 0 || len(m.Items) > len(keys) {
		return errors.New("replica: items do not match the keys asked for")
	}
	var in []wire.Fetched
	for i, l := range m.Items {
		switch l.Found {
		case wire.Present:
			in = append(in, wire.Fetched{Key: keys[i], Item: l.Item, Stamp: l.Stamp})
		case wire.Nothing: // it lags, has lost it, or let it go and does not vouch for what is not there
			x.left[x.homes.LocateKey(x.bucket(), keys[i]).Slice] = keep.ErrStale
		}
	}
	back, err := x.mergeFetched(ctx, in)
	if err != nil {
		return err
	}
	x.core.Pulled(len(m.Items), back)
	return nil
}

// batchSize is how many of n items to ask for at once: no more than the link and the
// rate that is allowed put up with.
func (x *exchange) batchSize(n int) int {
	if x.item == 0 {
		return min(n, firstKeys)
	}
	return min(n, max(x.carrier.Pace.PieceBytes()/x.item, 1))
}

// mergeFetched merges items of the peer here, and returns the keys of which it lacks
// something.
func (x *exchange) mergeFetched(ctx context.Context, items []wire.Fetched) (back []string, err error) {
	if len(items) == 0 {
		return nil, nil
	}
	in := make([]keep.Arrival, len(items))
	size := 0
	for i, l := range items {
		size += len(l.Item)
		it, err := wire.DecodeItem(l.Item)
		if err != nil {
			return nil, err
		}
		in[i] = keep.Arrival{At: x.homes.LocateKey(x.bucket(), l.Key), Item: it, Raw: l.Item, Stamp: keep.StampOf(l.Stamp), From: x.peer}
	}
	x.item = size / len(items)
	got, err := x.records.AcceptAll(ctx, in)
	if errors.Is(err, keep.ErrStorageFull) {
		for i := range in {
			x.left[in[i].At.Slice] = keep.ErrStorageFull // what the peer lacks can be brought there all the same
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range got {
		if got[i].Stale {
			x.left[in[i].At.Slice] = keep.ErrStale
		}
		if got[i].Behind {
			back = append(back, in[i].At.Key)
		}
	}
	return back, nil
}

// stepPush sends records from here to the peer.
func (x *exchange) stepPush(ctx context.Context, keys []string) error {
	if x.pull {
		x.core.Pushed(len(keys))
		return nil
	}
	page, err := x.records.ReadRecords(ctx, layout.Slice{Bucket: x.bucket()}, keys)
	if err != nil && !errors.Is(err, keep.ErrStale) {
		return err
	}
	page = slices.DeleteFunc(page, x.carrier.TooLarge)
	if errors.Is(err, keep.ErrStale) {
		for _, k := range keys {
			if at := x.homes.LocateKey(x.bucket(), k); x.records.SyncedStamp(at.Shard).Lagging() {
				x.left[at.Slice] = keep.ErrStale
			}
		}
	}
	if err := x.carrier.PushRecords(ctx, x.peer, page); errors.Is(err, keep.ErrStale) {
		for i := range page {
			x.left[page[i].At.Slice] = keep.ErrStale
		}
	} else if err != nil {
		return err
	}
	x.core.Pushed(len(keys))
	return nil
}
