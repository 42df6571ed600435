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
	sketchWait = 3 * time.Minute // the peer reads all records of the shards
	maxSymbols = 1 << 15         // in one reply
)

// serveSketch tells symbols of the records here, and whether the rest of what
// both stores are to have is equal.
func (s *Store) serveSketch(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeSketchRequest(req)
	if err != nil {
		return nil, err
	}
	at := make([]layout.Slice, len(m.Shards))
	for i, shard := range m.Shards {
		if shard >= s.shards {
			return nil, fmt.Errorf("replica: shard %d of %d", shard, s.shards)
		}
		at[i] = layout.Slice{Bucket: m.Bucket, Shard: shard}
	}
	var reply wire.SketchReply
	v := s.inventories.findByName(m.Kept, time.Now())
	switch {
	case v != nil:
	case m.From > 0:
		return nil, errGone
	default:
		if m.Rest {
			if at, err = s.judgeRest(ctx, from, &m, at, &reply); err != nil {
				return nil, err
			}
		}
		if v, err = s.takeStock(ctx, at); err != nil {
			return nil, err
		}
		if len(at) > 0 {
			s.keepInventory(v)
		}
	}
	reply.Kept, reply.Keys = v.name, uint64(len(v.prints))
	reply.Symbols = reconcile.AppendSymbols(nil, v.makeSymbols(m.From, min(m.Count, maxSymbols)))
	return wire.AppendSketchReply(nil, &reply), nil
}

// errGone: what earlier symbols were made of is not kept any more.
var errGone = errors.New("replica: the state that was compared is gone")

// judgeRest looks at what both stores are to have beside the slices at hand. It
// returns these with those of the rest that differ by the asker's marks.
func (s *Store) judgeRest(ctx context.Context, from view.NodeID, m *wire.SketchRequest, at []layout.Slice, reply *wire.SketchReply) ([]layout.Slice, error) {
	b := s.buckets.FindByID(m.Bucket)
	if b == nil {
		return at, nil
	}
	lay := s.homes.Now()
	rest := slicesWithout(s.homes.ListShared(lay, b, from, s.id), at)
	var more []layout.Slice
	if len(m.Marks) == len(rest) {
		for i, mark := range s.records.HashBytes(rest, m.Mark) {
			if mark != m.Marks[i] {
				reply.More = append(reply.More, i)
				more = append(more, rest[i])
			}
		}
	}
	var err error
	reply.Rest, err = s.hashDigests(ctx, lay, slicesWithout(rest, more))
	return append(slices.Clip(at), more...), err
}

// slicesWithout returns the slices that are not among others; both in rising order.
func slicesWithout(all, others []layout.Slice) (out []layout.Slice) {
	for _, a := range all {
		for len(others) > 0 && others[0].Shard < a.Shard {
			others = others[1:]
		}
		if len(others) == 0 || others[0] != a {
			out = append(out, a)
		}
	}
	return out
}

// serveFetch gives out records by their fingerprints.
func (s *Store) serveFetch(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeFetchRequest(req)
	if err != nil {
		return nil, err
	}
	v := s.inventories.findByName(m.Kept, time.Now())
	if v == nil {
		return wire.AppendFetchReply(nil, &wire.FetchReply{Gone: true}), nil
	}
	prints := make([]reconcile.Fingerprint, len(m.Prints)/8)
	for i := range prints {
		prints[i] = reconcile.Fingerprint(binary.BigEndian.Uint64(m.Prints[8*i:]))
	}
	find, size := v.newFinder(s, prints), 0
	var reply wire.FetchReply
	for _, p := range prints {
		keys, err := find.findKeys(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if shard := s.homes.ShardOf(m.Bucket, key); s.records.SyncedStamp(shard).Lagging() {
				reply.Lags = append(reply.Lags, shard) // what is here may have been purged
				continue
			}
			a, err := s.answerLookup(ctx, wire.Lookup{Bucket: m.Bucket, Key: key})
			if err != nil {
				return nil, err
			}
			if a.Found == wire.Present {
				reply.Items = append(reply.Items, wire.Fetched{Key: key, Item: a.Item, Stamp: a.Stamp})
				size += len(a.Item)
			}
		}
		if reply.Done++; size > replyBytes {
			break
		}
	}
	slices.Sort(reply.Lags)
	reply.Lags = slices.Compact(reply.Lags)
	return wire.AppendFetchReply(make([]byte, 0, size+64+64*len(reply.Items)), &reply), nil
}

// stepSymbols gets symbols from the peer while those here are made.
func (s *Store) stepSymbols(ctx context.Context, c *comparison, step replicate.Step) error {
	req := wire.SketchRequest{Bucket: c.bucket(), From: step.From, Count: step.Count}
	at := c.slicesAt(step.Units)
	rest := slicesWithout(c.units, at)
	stock := make(chan error, 1)
	if step.From > 0 {
		req.Kept = c.kept
		stock <- nil
	} else {
		for _, a := range at {
			req.Shards = append(req.Shards, a.Shard)
		}
		if req.Rest = len(step.Rest) > 0; step.Tell {
			req.Mark, req.Marks = step.Mark, s.records.HashBytes(rest, step.Mark)
		}
		go func() {
			var err error
			c.mine, err = s.takeStock(ctx, at)
			stock <- err
		}()
	}
	answer, err := s.askPeerWithin(ctx, c.peer, wire.MethodSketch, wire.AppendSketchRequest(nil, &req), sketchWait)
	if err = errors.Join(err, <-stock); err != nil {
		return err
	}
	m, err := wire.DecodeSketchReply(answer)
	if err != nil {
		return err
	}
	if step.From > 0 && m.Kept != c.kept {
		return errGone
	}
	c.kept = m.Kept
	got := replicate.Sketch{Keys: int(m.Keys)}
	if req.Rest {
		if got.More, got.RestEqual, err = s.learnRest(ctx, c, rest, &m); err != nil {
			return err
		}
	}
	if got.Theirs, err = reconcile.DecodeSymbols(m.Symbols); err != nil {
		return err
	}
	got.Mine = c.mine.makeSymbols(step.From, step.Count)
	c.core.Sketched(got)
	return nil
}

// learnRest takes in what the peer says of the rest: what it made part of the
// sketch becomes part of the own.
func (s *Store) learnRest(ctx context.Context, c *comparison, rest []layout.Slice, m *wire.SketchReply) (units []int, equal bool, err error) {
	var more []layout.Slice
	for _, i := range m.More {
		if i >= len(rest) {
			return nil, false, fmt.Errorf("replica: shard %d of %d", i, len(rest))
		}
		more = append(more, rest[i])
		units = append(units, slices.Index(c.units, rest[i]))
	}
	if len(more) > 0 {
		v, err := s.takeStock(ctx, more)
		if err != nil {
			return nil, false, err
		}
		c.mine.appendRecords(v)
	}
	sum, err := s.hashDigests(ctx, c.lay, slicesWithout(rest, more))
	return units, sum == m.Rest, err
}

// stepFetch gets records from the peer by their fingerprints.
func (s *Store) stepFetch(ctx context.Context, c *comparison, prints []reconcile.Fingerprint) error {
	prints = prints[:s.batchSize(c, len(prints))]
	req := wire.FetchRequest{Bucket: c.bucket(), Kept: c.kept, Prints: wire.AppendPrints(nil, prints)}
	answer, err := s.askPeer(ctx, c.peer, wire.MethodFetch, wire.AppendFetchRequest(nil, &req))
	if err != nil {
		return err
	}
	if err := s.carrier.Pace.WaitForBytes(ctx, len(answer)); err != nil {
		return err
	}
	m, err := wire.DecodeFetchReply(answer)
	switch {
	case err != nil:
		return err
	case m.Gone:
		return errGone
	case m.Done == 0 || m.Done > len(prints):
		return errors.New("replica: records do not match the fingerprints asked for")
	}
	for _, shard := range m.Lags {
		c.left[layout.Slice{Bucket: c.bucket(), Shard: shard}] = keep.ErrStale
	}
	back, err := s.mergeFetched(ctx, c, m.Items)
	if err != nil {
		return err
	}
	keys := make([]string, len(m.Items))
	for i := range m.Items {
		keys[i] = m.Items[i].Key
	}
	c.core.Fetched(m.Done, keys, back)
	return nil
}

// stepName finds the keys of own records by their fingerprints.
func (s *Store) stepName(ctx context.Context, c *comparison, prints []reconcile.Fingerprint) error {
	var keys []string
	if !c.pull {
		find := c.mine.newFinder(s, prints)
		for _, p := range prints {
			found, err := find.findKeys(ctx, p)
			if err != nil {
				return err
			}
			keys = append(keys, found...)
		}
	}
	c.core.Named(keys)
	return nil
}
