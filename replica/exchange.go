package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	compareWait = 30 * time.Second // for digests, which may have to be built there first
	pageMarks   = 1024
	digestBatch = 4096
	firstKeys   = 16 // items asked for while it is not known how large they are
)

// comparison is under way: one bucket's slices are made equal with a peer.
type comparison struct {
	lay    *layout.Layout
	peer   view.NodeID
	units  []layout.Slice
	pull   bool // only this store gains: the peer is not to keep them
	differ bool // it is known that all of them differ
	core   *replicate.Exchange
	left   map[layout.Slice]error // gets the slices that could not be made equal, and why

	mine *inventory // what own symbols are made of
	kept uint64     // name of what the peer's are made of
	item int        // bytes of an item, by the last that came
}

func (c *comparison) bucket() uint64 { return c.units[0].Bucket }

// slicesAt returns some of the slices, by their places.
func (c *comparison) slicesAt(units []int) []layout.Slice {
	out := make([]layout.Slice, len(units))
	for i, u := range units {
		out[i] = c.units[u]
	}
	return out
}

// runExchange drives the core. known, if not nil, is what the peer said of the
// bucket.
func (s *Store) runExchange(ctx context.Context, c *comparison, known *wire.BucketDiffers) error {
	if _, err := s.records.Digest(ctx, c.units); err != nil { // for how many keys there are
		return err
	}
	c.core = replicate.NewExchange(s.records.CountKeys(c.units), keep.PageKeys)
	switch {
	case known != nil:
		c.core.Guess(s.records.HashBytes(c.units, 0), known.Marks, int(known.Keys))
	case c.differ:
		all := make([]int, len(c.units))
		for i := range all {
			all[i] = i
		}
		c.core.Differ(all)
	}
	for {
		step := c.core.Step()
		var err error
		switch step.Kind {
		case replicate.Done:
			s.stats.moved.Add(uint64(c.core.Moved()))
			return nil
		case replicate.Digests:
			err = s.stepDigests(ctx, c, step)
		case replicate.Symbols:
			err = s.stepSymbols(ctx, c, step)
		case replicate.Fetch:
			err = s.stepFetch(ctx, c, step.Prints)
		case replicate.Name:
			err = s.stepName(ctx, c, step.Prints)
		case replicate.List:
			err = s.stepList(ctx, c, step)
		case replicate.Pull:
			err = s.stepPull(ctx, c, step.Keys)
		case replicate.Push:
			err = s.stepPush(ctx, c, step.Keys)
		}
		if err != nil {
			return fmt.Errorf("replica: compare with %v: %w", c.peer, err)
		}
	}
}

func (s *Store) stepDigests(ctx context.Context, c *comparison, step replicate.Step) error {
	differ, err := s.listDiffering(ctx, c.peer, c.slicesAt(step.Units))
	if err != nil {
		return err
	}
	for i, at := range differ {
		differ[i] = step.Units[at]
	}
	c.core.Differ(differ)
	return nil
}

// listDiffering returns of which of the slices, by their places, the digests here and at a
// peer differ.
func (s *Store) listDiffering(ctx context.Context, peer view.NodeID, at []layout.Slice) (differ []int, err error) {
	for from := 0; from < len(at); from += digestBatch {
		part := at[from:min(from+digestBatch, len(at))]
		sums := make([]wire.Sum, len(part))
		for i, a := range part {
			total, err := s.records.Digest(ctx, []layout.Slice{a})
			if err != nil {
				return nil, err
			}
			sums[i] = wireSum(a, total)
		}
		got, err := s.askDigests(ctx, peer, sums)
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
func (s *Store) askDigests(ctx context.Context, peer view.NodeID, sums []wire.Sum) ([]int, error) {
	if len(sums) == 0 {
		return nil, nil
	}
	answer, err := s.askPeer(ctx, peer, wire.MethodDigest, wire.AppendDigestRequest(nil, &wire.DigestRequest{Sums: sums}))
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

func (s *Store) askPeer(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
	return s.askPeerWithin(ctx, peer, method, req, compareWait)
}

func (s *Store) askPeerWithin(ctx context.Context, peer view.NodeID, method string, req []byte, wait time.Duration) ([]byte, error) {
	call, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return s.mesh.Call(call, peer, method, req)
}

func wireSum(at layout.Slice, d reconcile.Digest) wire.Sum {
	return wire.Sum{Bucket: at.Bucket, Shard: at.Shard, Digest: digestBytes(d)}
}

func digestBytes(d reconcile.Digest) (out [16]byte) {
	binary.BigEndian.PutUint64(out[:8], d.Key)
	binary.BigEndian.PutUint64(out[8:], d.Version)
	return out
}

func (s *Store) stepList(ctx context.Context, c *comparison, step replicate.Step) error {
	at := c.units[step.Unit]
	req := wire.ListRequest{Bucket: at.Bucket, Shard: at.Shard, After: step.After, From: !step.First}
	answer, err := s.askPeer(ctx, c.peer, wire.MethodList, wire.AppendListRequest(nil, &req))
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
	mine, _, err := s.records.ListMarks(ctx, at, req.After, req.From, upper, 0)
	if err != nil {
		return err
	}
	c.core.Listed(theirs, mine)
	return nil
}

// stepPull gets items from the peer and merges them here.
func (s *Store) stepPull(ctx context.Context, c *comparison, keys []string) error {
	keys = keys[:s.batchSize(c, len(keys))]
	req := wire.ReadRequest{Keys: make([]wire.Lookup, len(keys))}
	for i, k := range keys {
		req.Keys[i] = wire.Lookup{Bucket: c.bucket(), Key: k}
	}
	answer, err := s.askPeer(ctx, c.peer, wire.MethodRead, wire.AppendReadRequest(nil, &req))
	if err != nil {
		return err
	}
	if err := s.carrier.Pace.WaitForBytes(ctx, len(answer)); err != nil {
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
			c.left[s.homes.LocateKey(c.bucket(), keys[i]).Slice] = keep.ErrStale
		}
	}
	back, err := s.mergeFetched(ctx, c, in)
	if err != nil {
		return err
	}
	c.core.Pulled(len(m.Items), back)
	return nil
}

// batchSize is how many of n items to ask for at once: no more than the link and the
// rate that is allowed put up with.
func (s *Store) batchSize(c *comparison, n int) int {
	if c.item == 0 {
		return min(n, firstKeys)
	}
	return min(n, max(s.carrier.Pace.PieceBytes()/c.item, 1))
}

// mergeFetched merges items of the peer here, and returns the keys of which it lacks
// something.
func (s *Store) mergeFetched(ctx context.Context, c *comparison, items []wire.Fetched) (back []string, err error) {
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
		in[i] = keep.Arrival{At: s.homes.LocateKey(c.bucket(), l.Key), Item: it, Raw: l.Item, Stamp: keep.StampOf(l.Stamp), From: c.peer}
	}
	c.item = size / len(items)
	got, err := s.records.AcceptAll(ctx, in)
	if errors.Is(err, ErrStorageFull) {
		for i := range in {
			c.left[in[i].At.Slice] = ErrStorageFull // what the peer lacks can be brought there all the same
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range got {
		if got[i].Stale {
			c.left[in[i].At.Slice] = keep.ErrStale
		}
		if got[i].Behind {
			back = append(back, in[i].At.Key)
		}
	}
	return back, nil
}

// stepPush sends records from here to the peer.
func (s *Store) stepPush(ctx context.Context, c *comparison, keys []string) error {
	if c.pull {
		c.core.Pushed(len(keys))
		return nil
	}
	page, err := s.records.ReadRecords(ctx, layout.Slice{Bucket: c.bucket()}, keys)
	if err != nil && !errors.Is(err, keep.ErrStale) {
		return err
	}
	page = slices.DeleteFunc(page, s.carrier.TooLarge)
	if errors.Is(err, keep.ErrStale) {
		for _, k := range keys {
			if at := s.homes.LocateKey(c.bucket(), k); s.records.SyncedStamp(at.Shard).Lagging() {
				c.left[at.Slice] = keep.ErrStale
			}
		}
	}
	if err := s.carrier.PushRecords(ctx, c.peer, page); errors.Is(err, keep.ErrStale) {
		for i := range page {
			c.left[page[i].At.Slice] = keep.ErrStale
		}
	} else if err != nil {
		return err
	}
	c.core.Pushed(len(keys))
	return nil
}

// serveDigest compares the asker's digests with those here.
func (s *Store) serveDigest(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeDigestRequest(req)
	if err != nil {
		return nil, err
	}
	reply := wire.DigestReply{}
	for i, sum := range m.Sums {
		if sum.Shard >= s.shards {
			return nil, fmt.Errorf("replica: shard %d of %d", sum.Shard, s.shards)
		}
		at := layout.Slice{Bucket: sum.Bucket, Shard: sum.Shard}
		total, err := s.records.Digest(ctx, []layout.Slice{at})
		if err != nil {
			return nil, err
		}
		if wireSum(at, total) != sum {
			reply.Differ = append(reply.Differ, i)
		}
	}
	return wire.AppendDigestReply(nil, &reply), nil
}

// serveList tells what is here of a slice.
func (s *Store) serveList(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeListRequest(req)
	if err != nil {
		return nil, err
	}
	marks, more, err := s.records.ListMarks(ctx, layout.Slice{Bucket: m.Bucket, Shard: m.Shard}, m.After, m.From, nil, pageMarks)
	if err != nil {
		return nil, err
	}
	reply := wire.ListReply{More: more, Marks: make([]wire.Mark, len(marks))}
	for i, k := range marks {
		reply.Marks[i] = wire.Mark(k)
	}
	return wire.AppendListReply(nil, &reply), nil
}
