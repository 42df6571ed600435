package replica

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	repairRoom  = 1024             // repairs waiting; what is beyond is left to anti-entropy
	repairAgain = 30 * time.Second // before the same record is asked for again
)

// repairs brings single records up to date in the background, when a read has
// shown that one is behind or damaged.
type repairs struct {
	s     *Store
	queue chan repair

	mu    sync.Mutex
	asked map[string]time.Time // storage keys of lost records, when they were last put in the queue
}

type repair struct {
	at   layout.Place
	lost bool         // the record here is damaged: ask others
	item version.Item // else: take this in
	from purge.Stamp  // with which it was read
}

func newRepairs(s *Store) *repairs {
	return &repairs{s: s, queue: make(chan repair, repairRoom), asked: make(map[string]time.Time)}
}

// repairHomes sends the merge of a read to the homes whose replies were behind it.
func (r *repairs) repairHomes(at layout.Place, merged version.Item, stamp purge.Stamp, behind []view.NodeID) {
	if r.s.disk == nil {
		return // stores take items from stores alone; they compare among themselves
	}
	raw := wire.AppendItem(make([]byte, 0, wire.ItemSize(&merged)), &merged)
	for _, id := range behind {
		if id == r.s.id {
			r.enqueueRepair(repair{at: at, item: merged, from: stamp})
			continue
		}
		r.s.stats.repaired.Add(1)
		// Nobody waits for the answer; anti-entropy finds what is lost.
		offer := wire.Offer{Bucket: at.Bucket, Key: at.Key, Item: raw, Stamp: keep.WireStamp(stamp)}
		r.s.merges.Send(id, offer, func(mergeAnswer, error) {})
	}
}

// enqueueDamaged notes that the record here is damaged. When nobody has another copy it
// stays so; it is asked for again now and then, not over and over.
func (r *repairs) enqueueDamaged(at layout.Place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if last, ok := r.asked[string(at.Record)]; ok && now.Sub(last) < repairAgain {
		return
	}
	if len(r.asked) >= repairRoom {
		maps.DeleteFunc(r.asked, func(_ string, last time.Time) bool { return now.Sub(last) >= repairAgain })
	}
	if len(r.asked) < repairRoom && r.enqueueRepair(repair{at: at, lost: true}) {
		r.asked[string(at.Record)] = now
	}
}

func (r *repairs) enqueueRepair(one repair) bool {
	select {
	case r.queue <- one:
		return true
	default:
		return false
	}
}

func (r *repairs) keepRepairing(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-r.queue:
			if err := r.mendRecord(ctx, one); err != nil && ctx.Err() == nil {
				r.s.log.Warn("record not repaired", "shard", one.at.Shard, "error", err)
			}
		}
	}
}

// mendRecord takes in what others have of a record.
func (r *repairs) mendRecord(ctx context.Context, one repair) error {
	if one.lost {
		b := r.s.buckets.FindByID(one.at.Bucket)
		if b == nil {
			return nil // the bucket's definition brings anti-entropy with it
		}
		lay := r.s.homes.Now()
		plan := r.s.homes.MakePlan(lay, lay.RouteOf(b, one.at.Shard))
		// Its own answer says that it is damaged, so all others are heard.
		read, err := r.s.readByPlan(ctx, b, one.at, plan, replicate.Quorum, false)
		if err != nil {
			return err
		}
		if !read.Found() {
			if read.Err == nil {
				err = r.s.records.GiveUp(ctx, one.at)
			}
			return err
		}
		one.item, one.from = read.Item, read.Stamp
	}
	raw := wire.AppendItem(make([]byte, 0, wire.ItemSize(&one.item)), &one.item)
	_, err := r.s.records.AcceptAll(ctx, []keep.Arrival{{At: one.at, Item: one.item, Raw: raw, Stamp: one.from}})
	r.s.stats.repaired.Add(1)
	return err
}
