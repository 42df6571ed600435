package comparing

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	pageMarks  = 1024
	maxSymbols = 1 << 15 // in one reply
)

// ServeSums compares the asker's digests of whole buckets with those here.
func (c *Comparer) ServeSums(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeSumsRequest(req)
	if err != nil {
		return nil, err
	}
	if m.Stamps != 0 && m.Stamps != c.records.StampSum() {
		return wire.AppendSumsReply(nil, &wire.SumsReply{Stamps: true}), nil
	}
	lay := c.homes.Now()
	var reply wire.SumsReply
	for i, sum := range m.Sums {
		d := wire.BucketDiffers{Place: i}
		if b := c.homes.Buckets.FindByID(sum.Bucket); b != nil {
			at := c.homes.ListShared(lay, b, from, c.id)
			mine, err := c.hashDigests(ctx, lay, at)
			if err != nil {
				return nil, err
			}
			if mine == sum.Sum {
				continue
			}
			for _, n := range c.records.CountKeys(at) {
				d.Keys += uint64(n)
			}
			d.Marks = c.records.HashBytes(at, 0)
		}
		reply.Differ = append(reply.Differ, d)
	}
	return wire.AppendSumsReply(nil, &reply), nil
}

// ServeDigest compares the asker's digests with those here.
func (c *Comparer) ServeDigest(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeDigestRequest(req)
	if err != nil {
		return nil, err
	}
	reply := wire.DigestReply{}
	for i, sum := range m.Sums {
		if sum.Shard >= c.opts.Shards {
			return nil, fmt.Errorf("replica: shard %d of %d", sum.Shard, c.opts.Shards)
		}
		at := layout.Slice{Bucket: sum.Bucket, Shard: sum.Shard}
		total, err := c.records.Digest(ctx, []layout.Slice{at})
		if err != nil {
			return nil, err
		}
		if wireSum(at, total) != sum {
			reply.Differ = append(reply.Differ, i)
		}
	}
	return wire.AppendDigestReply(nil, &reply), nil
}

// ServeList tells what is here of a slice.
func (c *Comparer) ServeList(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeListRequest(req)
	if err != nil {
		return nil, err
	}
	marks, more, err := c.records.ListMarks(ctx, layout.Slice{Bucket: m.Bucket, Shard: m.Shard}, m.After, m.From, nil, pageMarks)
	if err != nil {
		return nil, err
	}
	reply := wire.ListReply{More: more, Marks: make([]wire.Mark, len(marks))}
	for i, k := range marks {
		reply.Marks[i] = wire.Mark(k)
	}
	return wire.AppendListReply(nil, &reply), nil
}

// ServeSketch tells symbols of the records here, and whether the rest of what
// both stores are to have is equal.
func (c *Comparer) ServeSketch(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeSketchRequest(req)
	if err != nil {
		return nil, err
	}
	at := make([]layout.Slice, len(m.Shards))
	for i, shard := range m.Shards {
		if shard >= c.opts.Shards {
			return nil, fmt.Errorf("replica: shard %d of %d", shard, c.opts.Shards)
		}
		at[i] = layout.Slice{Bucket: m.Bucket, Shard: shard}
	}
	var reply wire.SketchReply
	v := c.inventories.findByName(m.Kept, time.Now())
	switch {
	case v != nil:
	case m.From > 0:
		return nil, errGone
	default:
		if m.Rest {
			if at, err = c.judgeRest(ctx, from, &m, at, &reply); err != nil {
				return nil, err
			}
		}
		if v, err = c.takeStock(ctx, at); err != nil {
			return nil, err
		}
		if len(at) > 0 {
			c.keepInventory(v)
		}
	}
	reply.Kept, reply.Keys = v.name, uint64(len(v.prints))
	reply.Symbols = reconcile.AppendSymbols(nil, v.makeSymbols(m.From, min(m.Count, maxSymbols)))
	return wire.AppendSketchReply(nil, &reply), nil
}

// judgeRest looks at what both stores are to have beside the slices at hand. It
// returns these with those of the rest that differ by the asker's marks.
func (c *Comparer) judgeRest(ctx context.Context, from view.NodeID, m *wire.SketchRequest, at []layout.Slice, reply *wire.SketchReply) ([]layout.Slice, error) {
	b := c.homes.Buckets.FindByID(m.Bucket)
	if b == nil {
		return at, nil
	}
	lay := c.homes.Now()
	rest := slicesWithout(c.homes.ListShared(lay, b, from, c.id), at)
	var more []layout.Slice
	if len(m.Marks) == len(rest) {
		for i, mark := range c.records.HashBytes(rest, m.Mark) {
			if mark != m.Marks[i] {
				reply.More = append(reply.More, i)
				more = append(more, rest[i])
			}
		}
	}
	var err error
	reply.Rest, err = c.hashDigests(ctx, lay, slicesWithout(rest, more))
	return append(slices.Clip(at), more...), err
}

// ServeFetch gives out records by their fingerprints.
func (c *Comparer) ServeFetch(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeFetchRequest(req)
	if err != nil {
		return nil, err
	}
	v := c.inventories.findByName(m.Kept, time.Now())
	if v == nil {
		return wire.AppendFetchReply(nil, &wire.FetchReply{Gone: true}), nil
	}
	prints := make([]reconcile.Fingerprint, len(m.Prints)/8)
	for i := range prints {
		prints[i] = reconcile.Fingerprint(binary.BigEndian.Uint64(m.Prints[8*i:]))
	}
	find, size := v.newFinder(c, prints), 0
	var reply wire.FetchReply
	for _, p := range prints {
		keys, err := find.findKeys(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if shard := c.homes.ShardOf(m.Bucket, key); c.records.SyncedStamp(shard).Lagging() {
				reply.Lags = append(reply.Lags, shard) // what is here may have been purged
				continue
			}
			a, err := c.records.AnswerLookup(ctx, wire.Lookup{Bucket: m.Bucket, Key: key})
			if err != nil {
				return nil, err
			}
			if a.Found == wire.Present {
				reply.Items = append(reply.Items, wire.Fetched{Key: key, Item: a.Item, Stamp: a.Stamp})
				size += len(a.Item)
			}
		}
		if reply.Done++; size > keep.ReplyBytes {
			break
		}
	}
	slices.Sort(reply.Lags)
	reply.Lags = slices.Compact(reply.Lags)
	return wire.AppendFetchReply(make([]byte, 0, size+64+64*len(reply.Items)), &reply), nil
}
