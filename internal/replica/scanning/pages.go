// Package scanning reads the keys of a bucket in order: Pages is what a store answers
// others with, from its own disk, and a Reader asks the stores and merges what they
// answer, as internal/scan says. What a value reads as, and for whom, is not known here.
package scanning

import (
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// What a page may hold, whatever is asked for.
const (
	maxRecords = 1024
	maxBytes   = 128 << 10 // one record at least, however large
)

// pagesAtOnce bounds the pages that are read at the same time. Those that are being sent
// come on top.
const pagesAtOnce = 4

// PagesOptions describe the pages of one store. All fields must be set.
type PagesOptions struct {
	Disk   *storage.Store
	Homes  *layout.Homes
	Shards int // of the mesh
	// Lags tells whether what is here of a shard may have been purged elsewhere. It is
	// shown to nobody.
	Lags  func(shard int) bool
	Wait  time.Duration // how long a question waits for others before it is refused
	Group *lifecycle.Group
}

// Pages reads pages of a store's own records. All methods may be used concurrently.
type Pages struct {
	opts  PagesOptions
	turns chan struct{}
	kept  keptOrders
}

// NewPages returns the pages of a store.
func NewPages(opts PagesOptions) *Pages {
	return &Pages{opts: opts, turns: make(chan struct{}, pagesAtOnce)}
}

// Read reads one page. The reply is CodeOverloaded when too many others are being read.
// The error is that of the disk.
func (p *Pages) Read(ctx context.Context, q *wire.PageRequest) (wire.PageReply, error) {
	wait := time.NewTimer(p.opts.Wait)
	defer wait.Stop()
	select {
	case p.turns <- struct{}{}:
	case <-wait.C:
		return wire.PageReply{Code: wire.CodeOverloaded}, nil
	case <-ctx.Done():
		return wire.PageReply{}, ctx.Err()
	}
	defer func() { <-p.turns }()
	o := p.takeOrder(q)
	if err := o.readPage(ctx, p.opts.Disk, q); err != nil {
		return wire.PageReply{}, err
	}
	// What is true of the store both before and after is true of what was read: a home
	// that has just become one may have lacked records then, and one that is no home any
	// more may have let go of some.
	o.standing = o.standing.intersect(p.readStanding(q))
	reply := wire.PageReply{Entries: o.entries[:0], More: o.more, UpTo: o.upTo, Vouched: o.vouched}
	for i := range o.entries {
		if o.shown.Has(o.shardOf[i]) {
			reply.Entries = append(reply.Entries, o.entries[i])
		}
	}
	p.keepOrder(q.Scan, o)
	return reply, nil
}

// takeOrder returns the order to read on in, which is nobody else's then: what was kept
// of the scan, or a new one. If a shard has come to be shown or vouched for since then
// the order is new too, for what was read ahead of it lacks records.
func (p *Pages) takeOrder(q *wire.PageRequest) *order {
	now := p.readStanding(q)
	if o := p.kept.takeOrder(q.Scan); o != nil && o.goesOnWith(q) && now.isWithin(o.standing) {
		o.standing = o.standing.intersect(now)
		return o
	}
	return newOrder(q, now)
}

// keepOrder keeps the order of a scan of which there is more, for a while.
func (p *Pages) keepOrder(scan uint64, o *order) {
	if scan == 0 || !o.more || o.held > mostHeld {
		return
	}
	o.entries, o.shardOf = nil, nil // they are the reply's
	o.later = true
	p.kept.putOrder(scan, o)
	if p.kept.beginTidying() && !p.opts.Group.Go(func(ctx context.Context) {
		for clock.Sleep(ctx, keptFor) && p.kept.dropOld() {
		}
	}) {
		p.kept.dropOld()
	}
}

// standing is what this store's records are worth in the shards of a question.
type standing struct {
	shown   scan.Shards // may be shown
	vouched scan.Shards // of which a key that is not here is unknown
}

// intersect returns what is true by both.
func (s standing) intersect(other standing) standing {
	both := standing{make(scan.Shards, len(s.shown)), make(scan.Shards, len(s.vouched))}
	for i := range s.shown {
		both.shown[i], both.vouched[i] = s.shown[i]&other.shown[i], s.vouched[i]&other.vouched[i]
	}
	return both
}

// isWithin tells whether nothing is true that is not true by the other one.
func (s standing) isWithin(other standing) bool {
	for i := range s.shown {
		if s.shown[i]&^other.shown[i] != 0 || s.vouched[i]&^other.vouched[i] != 0 {
			return false
		}
	}
	return true
}

func (p *Pages) readStanding(q *wire.PageRequest) standing {
	b := p.opts.Homes.Buckets.FindByID(q.Bucket)
	at := standing{scan.NewShards(len(q.Shards) * 8), scan.NewShards(len(q.Shards) * 8)}
	for shard := range p.opts.Shards {
		if !scan.Shards(q.Shards).Has(shard) || p.opts.Lags(shard) {
			continue
		}
		at.shown.Add(shard)
		if b != nil && b.ProvesAbsence(shard) {
			at.vouched.Add(shard)
		}
	}
	return at
}
