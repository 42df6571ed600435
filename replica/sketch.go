package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
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
	at := make([]slice, len(m.Shards))
	for i, shard := range m.Shards {
		if shard >= s.shards {
			return nil, fmt.Errorf("replica: shard %d of %d", shard, s.shards)
		}
		at[i] = slice{m.Bucket, shard}
	}
	var reply wire.SketchReply
	if len(m.Rest) > 0 {
		if reply.RestEqual, reply.Marks, err = s.judgeRest(ctx, from, &m, at); err != nil {
			return nil, err
		}
	}
	if len(at) > 0 {
		v := s.inventories.get(m.Kept, time.Now())
		if v == nil && m.From == 0 {
			if v, err = s.takeStock(ctx, at); err != nil {
				return nil, err
			}
			s.keep(v)
		}
		if v == nil {
			return nil, errGone
		}
		reply.Kept, reply.Keys = v.name, uint64(len(v.prints))
		reply.Symbols = reconcile.AppendSymbols(nil, v.symbols(m.From, min(m.Count, maxSymbols)))
	}
	return wire.AppendSketchReply(nil, &reply), nil
}

// errGone: what earlier symbols were made of is not kept any more.
var errGone = errors.New("replica: the state that was compared is gone")

// judgeRest compares what both stores are to have but for some slices.
func (s *Store) judgeRest(ctx context.Context, from view.NodeID, m *wire.SketchRequest, at []slice) (equal bool, marks []byte, err error) {
	b := s.buckets.byID(m.Bucket)
	if b == nil {
		return false, nil, nil
	}
	lay := s.layout.Load()
	rest := without(s.shared(lay, b, from, s.id), at)
	sum, err := s.sumOf(ctx, lay, rest)
	if err != nil || [16]byte(m.Rest) == sum {
		return err == nil, nil, err
	}
	return false, s.digests.marks(rest, m.Mark), nil
}

// without returns the slices that are not among others; both in rising order.
func without(all, others []slice) (out []slice) {
	for _, a := range all {
		for len(others) > 0 && others[0].shard < a.shard {
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
	v := s.inventories.get(m.Kept, time.Now())
	if v == nil {
		return wire.AppendFetchReply(nil, &wire.FetchReply{Gone: true}), nil
	}
	prints := make([]reconcile.Fingerprint, len(m.Prints)/8)
	for i := range prints {
		prints[i] = reconcile.Fingerprint(binary.BigEndian.Uint64(m.Prints[8*i:]))
	}
	find, size := v.find(s, prints), 0
	var reply wire.FetchReply
	for _, p := range prints {
		keys, err := find.keys(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if s.stamp(s.shardOf(m.Bucket, key)).Lagging() {
				return nil, errStale // what is here may have been purged
			}
			a, err := s.lookup(ctx, wire.Lookup{Bucket: m.Bucket, Key: key})
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
	return wire.AppendFetchReply(make([]byte, 0, size+64+64*len(reply.Items)), &reply), nil
}

// stepSymbols gets symbols from the peer while those here are made.
func (s *Store) stepSymbols(ctx context.Context, c *comparison, step replicate.Step) error {
	at := c.some(step.Units)
	req := wire.SketchRequest{Bucket: c.bucket(), From: step.From, Count: step.Count, Mark: step.Mark}
	for _, a := range at {
		req.Shards = append(req.Shards, a.shard)
	}
	if step.From > 0 {
		req.Kept = c.kept
	}
	rest := without(c.units, at)
	if len(step.Rest) > 0 {
		sum, err := s.sumOf(ctx, c.lay, rest)
		if err != nil {
			return err
		}
		req.Rest = sum[:]
	}
	stock := make(chan error, 1)
	if len(at) > 0 && step.From == 0 {
		go func() {
			var err error
			c.mine, err = s.takeStock(ctx, at)
			stock <- err
		}()
	} else {
		stock <- nil
	}
	answer, err := s.askFor(ctx, c.peer, wire.MethodSketch, wire.AppendSketchRequest(nil, &req), sketchWait)
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
	got := replicate.Sketch{Keys: int(m.Keys), RestEqual: m.RestEqual}
	if got.Theirs, err = reconcile.DecodeSymbols(m.Symbols); err != nil {
		return err
	}
	if len(at) > 0 {
		got.Mine = c.mine.symbols(step.From, step.Count)
	}
	if len(m.Marks) == len(rest) {
		// The peer tells of all that was not at hand, the core asks for those in doubt.
		mine := s.digests.marks(rest, step.Mark)
		for _, u := range step.Rest {
			i := slices.Index(rest, c.units[u])
			got.RestMines, got.RestTheirs = append(got.RestMines, mine[i]), append(got.RestTheirs, m.Marks[i])
		}
	}
	c.core.Sketched(got)
	return nil
}

// stepFetch gets records from the peer by their fingerprints.
func (s *Store) stepFetch(ctx context.Context, c *comparison, prints []reconcile.Fingerprint) error {
	req := wire.FetchRequest{Bucket: c.bucket(), Kept: c.kept, Prints: wire.AppendPrints(nil, prints)}
	answer, err := s.ask(ctx, c.peer, wire.MethodFetch, wire.AppendFetchRequest(nil, &req))
	if err != nil {
		return err
	}
	if err := s.pace.wait(ctx, len(answer)); err != nil {
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
	back, err := s.takeIn(ctx, c, m.Items)
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
		find := c.mine.find(s, prints)
		for _, p := range prints {
			found, err := find.keys(ctx, p)
			if err != nil {
				return err
			}
			keys = append(keys, found...)
		}
	}
	c.core.Named(keys)
	return nil
}
