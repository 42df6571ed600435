package replica

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/scanning"
	"github.com/skeinmesh/skein/internal/replica/watching"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// newFeed returns the changes of this store.
func (s *Store) newFeed() *watching.Feed {
	return watching.NewFeed(watching.FeedOptions{
		Shards: s.shards, Entries: s.cfg.ring, Homes: s.homes, Uptime: s.uptime, EndsFrom: keep.EndsFrom,
		Early: func() version.HLC { return s.clocks.Early() },
		Barrier: func(ctx context.Context) error {
			return s.disk.Look(ctx, func(*storage.Tx) error { return nil })
		},
		Load: func(ctx context.Context, at layout.Place) ([]byte, error) { return s.records.LoadItem(ctx, at) },
		ListEnded: func(ctx context.Context, from []byte, upTo version.HLC, limit int, each func(layout.Place, []byte)) ([]byte, error) {
			return s.records.ListEnded(ctx, from, upTo, limit, each)
		},
		Lags:    func(shard int) bool { return s.records.SyncedStamp(shard).Lagging() },
		TakesIn: func() bool { return s.disk.Err() == nil && !s.disk.IsTight() },
	})
}

// newWatches returns the watches of this node. A source says twice in AckTimeout that it is
// there.
func (s *Store) newWatches() *watching.Watches {
	return watching.NewWatches(watching.Options{
		Self: s.id, Homes: s.homes, Local: s.feed, Group: s.group, Beat: s.patience.Answer(), Now: s.uptime,
		Early: func() version.HLC { return s.clocks.Early() }, Call: s.mesh.Call,
	})
}

// serveWatch answers a poll for changes.
func (s *Store) serveWatch(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	q, err := wire.DecodeWatchRequest(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.group.Context(), cancel)()
	reply, err := s.feed.Answer(ctx, from, &q)
	if err != nil {
		return nil, s.records.WrapError("tell changes", err)
	}
	return wire.AppendWatchReply(nil, &reply), nil
}

// isLive tells whether a reader sees a value.
func (b *Bucket) isLive(it version.Item) bool {
	now := b.timeFor(it)
	if b.b.Def.Siblings {
		return len(reconcile.Live(it, now)) > 0
	}
	_, live := reconcile.Last(it, now)
	return live
}

// dateOfEnd is when a reader no longer sees a value that ends by a TTL; 0: never by itself.
func (b *Bucket) dateOfEnd(it version.Item) (end version.HLC) {
	if !b.b.Def.Siblings {
		if s, ok := reconcile.Last(it, 0); ok {
			end = s.Expire
		}
		return end
	}
	for _, s := range reconcile.Live(it, 0) {
		if s.Expire == 0 {
			return 0
		}
		end = max(end, s.Expire)
	}
	return end
}

// watchFill reads shards anew by a scan.
type watchFill struct {
	sc    *bucketScan
	first map[int]view.NodeID // by shard: who is followed
	gaps  map[int]bool
}

var _ watching.Fill = (*watchFill)(nil)

func (b *Bucket) fillerOf(prefix string) func([]watch.Fill) (watching.Fill, error) {
	return func(fills []watch.Fill) (watching.Fill, error) {
		f := &watchFill{first: make(map[int]view.NodeID, len(fills)), gaps: make(map[int]bool)}
		for _, one := range fills {
			f.first[one.Shard] = one.Source
		}
		var err error
		f.sc, err = b.beginScanOf(ScanOptions{Prefix: prefix}, 0, f.first)
		return f, err
	}
}

func (f *watchFill) Next(ctx context.Context) (key string, it version.Item, replies int, err error) {
	leave, ok := f.sc.b.s.gate.Ops.Enter()
	if !ok {
		return "", it, 0, ErrClosed
	}
	defer leave()
	for {
		e, err := f.sc.takeKey(ctx)
		var gap *scanning.Gap
		if errors.As(err, &gap) {
			for _, shard := range gap.Shards {
				f.gaps[shard] = true
			}
			continue
		}
		return e.Key, e.Item, e.Replies, err
	}
}

func (f *watchFill) IsWhole(shard int) bool {
	return !f.gaps[shard] && f.sc.reader.ReadWhole(f.first[shard], shard)
}

func (f *watchFill) End() { f.sc.endScan() }

// readEverywhere reads a key at all homes in contact. sure tells that it exists, or that all
// of them, and as many as it takes, say that it does not.
func (b *Bucket) readEverywhere(ctx context.Context, key string) (it version.Item, sure bool) {
	s := b.s
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return it, false
	}
	defer leave()
	at := s.homes.LocateKey(b.b.ID, key)
	lay := s.homes.Now()
	rt := lay.RouteOf(b.b, at.Shard)
	need := replicate.DefaultLevel.HomesToScan(rt.Homes)
	there := 0
	for _, id := range rt.Order[:rt.Homes] {
		if id == s.id || lay.Live(id) {
			there++
		}
	}
	read, err := s.reader.ReadByPlan(ctx, b.b, at, replicate.Plan{Self: s.id, Order: rt.Order, Homes: rt.Homes, Live: lay.Live}, replicate.DefaultLevel, true)
	return read.Item, err == nil && (read.Found() || read.Replies >= max(need, there))
}
