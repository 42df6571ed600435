package comparing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
)

const sketchWait = 3 * time.Minute // the peer reads all records of the shards

// errGone: what earlier symbols were made of is not kept any more.
var errGone = errors.New("replica: the state that was compared is gone")

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

// stepSymbols gets symbols from the peer while those here are made.
func (x *exchange) stepSymbols(ctx context.Context, step replicate.Step) error {
	req := wire.SketchRequest{Bucket: x.bucket(), From: step.From, Count: step.Count}
	at := x.slicesAt(step.Units)
	rest := slicesWithout(x.units, at)
	stock := make(chan error, 1)
	if step.From > 0 {
		req.Kept = x.kept
		stock <- nil
	} else {
		for _, a := range at {
			req.Shards = append(req.Shards, a.Shard)
		}
		if req.Rest = len(step.Rest) > 0; step.Tell {
			req.Mark, req.Marks = step.Mark, x.records.HashBytes(rest, step.Mark)
		}
		go func() {
			var err error
			x.mine, err = x.takeStock(ctx, at)
			stock <- err
		}()
	}
	answer, err := x.opts.Peers.AskWithin(ctx, x.peer, wire.MethodSketch, wire.AppendSketchRequest(nil, &req), sketchWait)
	if err = errors.Join(err, <-stock); err != nil {
		return err
	}
	m, err := wire.DecodeSketchReply(answer)
	if err != nil {
		return err
	}
	if step.From > 0 && m.Kept != x.kept {
		return errGone
	}
	x.kept = m.Kept
	got := replicate.Sketch{Keys: int(m.Keys)}
	if req.Rest {
		if got.More, got.RestEqual, err = x.learnRest(ctx, rest, &m); err != nil {
			return err
		}
	}
	if got.Theirs, err = reconcile.DecodeSymbols(m.Symbols); err != nil {
		return err
	}
	got.Mine = x.mine.makeSymbols(step.From, step.Count)
	x.core.Sketched(got)
	return nil
}

// learnRest takes in what the peer says of the rest: what it made part of the
// sketch becomes part of the own.
func (x *exchange) learnRest(ctx context.Context, rest []layout.Slice, m *wire.SketchReply) (units []int, equal bool, err error) {
	var more []layout.Slice
	for _, i := range m.More {
		if i >= len(rest) {
			return nil, false, fmt.Errorf("replica: shard %d of %d", i, len(rest))
		}
		more = append(more, rest[i])
		units = append(units, slices.Index(x.units, rest[i]))
	}
	if len(more) > 0 {
		v, err := x.takeStock(ctx, more)
		if err != nil {
			return nil, false, err
		}
		x.mine.appendRecords(v)
	}
	sum, err := x.hashDigests(ctx, x.lay, slicesWithout(rest, more))
	return units, sum == m.Rest, err
}

// stepFetch gets records from the peer by their fingerprints.
func (x *exchange) stepFetch(ctx context.Context, prints []reconcile.Fingerprint) error {
	prints = prints[:x.batchSize(len(prints))]
	req := wire.FetchRequest{Bucket: x.bucket(), Kept: x.kept, Prints: wire.AppendPrints(nil, prints)}
	answer, err := x.askPeer(ctx, wire.MethodFetch, wire.AppendFetchRequest(nil, &req))
	if err != nil {
		return err
	}
	if err := x.carrier.Pace.WaitForBytes(ctx, len(answer)); err != nil {
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
		x.left[layout.Slice{Bucket: x.bucket(), Shard: shard}] = keep.ErrStale
	}
	back, err := x.mergeFetched(ctx, m.Items)
	if err != nil {
		return err
	}
	keys := make([]string, len(m.Items))
	for i := range m.Items {
		keys[i] = m.Items[i].Key
	}
	x.core.Fetched(m.Done, keys, back)
	return nil
}

// stepName finds the keys of own records by their fingerprints.
func (x *exchange) stepName(ctx context.Context, prints []reconcile.Fingerprint) error {
	var keys []string
	if !x.pull {
		find := x.mine.newFinder(x.Comparer, prints)
		for _, p := range prints {
			found, err := find.findKeys(ctx, p)
			if err != nil {
				return err
			}
			keys = append(keys, found...)
		}
	}
	x.core.Named(keys)
	return nil
}
