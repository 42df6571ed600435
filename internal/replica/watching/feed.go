// Package watching follows the changes of a bucket's keys: a Feed is the last changes of
// one store, with which it answers others, and a Reader polls the stores and reads anew
// what they cannot tell, as internal/watch says. Readers that follow the feed of their own
// node have seats there, at which changes are noted as they come; readers of one node that
// follow another one poll it together, by a relay. What a value reads as, and for whom, is
// not known here.
package watching

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/replica/version"
)

// A feed that nobody has asked for so long keeps nothing any more.
const idleEnd = 5 * time.Minute

// endsEvery is how often is looked whose TTL has ended, and endsAtOnce how many changes
// that makes at most, so that an hour's worth of them leaves room for others.
const (
	endsEvery  = time.Second
	endsAtOnce = 4096
)

// FeedOptions describe the changes of one store. All fields must be set.
type FeedOptions struct {
	Shards int // of the mesh
	// Entries is how many changes are kept at most.
	Entries int
	// Barrier returns once all that was changed before it was called is synced.
	Barrier func(ctx context.Context) error
	// Load reads an item as it travels; nil if there is none.
	Load func(ctx context.Context, at layout.Place) ([]byte, error)
	// ListEnded lists records of which the last value has ended by a TTL, up to a date and
	// a number, from a place in that order on. It returns the next place.
	ListEnded func(ctx context.Context, from []byte, upTo version.HLC, limit int, each func(at layout.Place, item []byte)) (next []byte, err error)
	// EndsFrom is the place before all that ends after a date.
	EndsFrom func(date version.HLC) []byte
	Early    func() version.HLC // by what values have ended
	// Lags tells whether what is here of a shard may have been purged elsewhere. It is
	// shown to nobody.
	Lags func(shard int) bool
	// TakesIn tells whether the store can take in what is written. One that cannot misses
	// changes, and shows nothing.
	TakesIn func() bool
	Homes   *layout.Homes
	Uptime  func() time.Duration
}

// Feed is the last changes of one store. While nobody wants to know of changes it holds
// none. All methods may be used concurrently, but for those that say otherwise.
type Feed struct {
	opts    FeedOptions
	wanted  atomic.Bool
	tookIn  atomic.Int64  // when TakesIn was true last, by Uptime; 0: never
	opening chan struct{} // capacity 1
	news    notify.Bell   // there are changes, or there is something to end
	read    lastRead

	// Only the committing goroutine touches this.
	staged []watch.Entry

	mu      sync.Mutex
	ring    *watch.Ring // nil: nobody wants to know
	epoch   uint64
	ends    []byte        // see FeedOptions.EndsFrom: when the ring began
	matched uint64        // up to which waiting polls have been told of changes
	asked   time.Duration // when there was a poll last
	waiting waitingPolls
}

// NewFeed returns the changes of a store, of which there are none yet.
func NewFeed(opts FeedOptions) *Feed {
	return &Feed{opts: opts, opening: make(chan struct{}, 1), news: notify.NewBell(), waiting: newWaitingPolls()}
}

// Wanted tells whether changes need be staged.
func (f *Feed) Wanted() bool { return f.wanted.Load() }

// Stage takes in a change that is not synced yet. It is called on the committing goroutine,
// as is Publish.
func (f *Feed) Stage(e watch.Entry) { f.staged = append(f.staged, e) }

// Publish shows what was staged: it is synced.
func (f *Feed) Publish() {
	if len(f.staged) == 0 {
		return
	}
	f.mu.Lock()
	if f.ring != nil {
		for i := range f.staged {
			f.ring.Append(f.staged[i])
		}
	}
	f.mu.Unlock()
	f.news.Ring()
	clear(f.staged)
	f.staged = f.staged[:0]
}

// openRing has changes kept from now on. All that was synced before it returns, and is not
// kept, can be read.
func (f *Feed) openRing(ctx context.Context) error {
	if f.isOpen() {
		return nil
	}
	select {
	case f.opening <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.opening }()
	if f.isOpen() {
		return nil
	}
	f.wanted.Store(true)
	ends := f.opts.EndsFrom(f.opts.Early())
	if err := f.opts.Barrier(ctx); err != nil {
		f.wanted.Store(false)
		return err
	}
	f.mu.Lock()
	f.ring = watch.NewRing(f.opts.Entries, watch.RingBytes)
	f.epoch, f.ends, f.matched, f.asked = rand.Uint64()|1, ends, 0, f.opts.Uptime()
	f.mu.Unlock()
	f.news.Ring()
	return nil
}

// isOpen tells whether changes are kept, and sees to it that they are for a while.
func (f *Feed) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = f.opts.Uptime()
	return f.ring != nil
}

// closeIfIdle keeps nothing any more if nobody has asked for long.
func (f *Feed) closeIfIdle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ring != nil && f.waiting.count == 0 && f.opts.Uptime()-f.asked > idleEnd {
		f.ring, f.epoch = nil, 0
		f.waiting.wakeAll(0, nil) // seats, of which none asks
		f.read.forgetAll()
		f.wanted.Store(false)
	}
}

// KeepTelling tells polls that wait of changes, and notes what ends by its TTL, until ctx
// ends.
func (f *Feed) KeepTelling(ctx context.Context) {
	var ends endings
	var tick <-chan time.Time // nil while nobody wants to know
	ticker := time.NewTicker(endsEvery)
	ticker.Stop()
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.news:
		case <-tick:
			f.closeIfIdle()
			ends.noteEnded(ctx, f)
		}
		f.tellWaiting()
		switch wanted := f.Wanted(); {
		case wanted && tick == nil:
			ticker.Reset(endsEvery)
			tick = ticker.C
		case !wanted && tick != nil:
			ticker.Stop()
			tick = nil
		}
	}
}

// endings is how far the values were looked through that end by a TTL.
type endings struct {
	epoch uint64
	from  []byte
}

// noteEnded makes a change of each record of which the last value has ended. What does not
// read is left for the next time.
func (e *endings) noteEnded(ctx context.Context, f *Feed) {
	since, open := e.findPlace(f)
	if !open {
		return
	}
	var ended []watch.Entry
	next, err := f.opts.ListEnded(ctx, e.from, f.opts.Early(), endsAtOnce, func(at layout.Place, item []byte) {
		ended = append(ended, watch.NewEntry(at.Bucket, at.Shard, at.Key, item, watch.Ended))
	})
	if err != nil {
		return
	}
	if f.appendEnds(ended, e.epoch, since) {
		e.from = next
	}
}

// findPlace sees to it that e is of the ring that there is, and tells where that stands.
func (e *endings) findPlace(f *Feed) (head uint64, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ring == nil {
		return 0, false
	}
	if e.epoch != f.epoch {
		e.epoch, e.from = f.epoch, f.ends
	}
	return f.ring.Head(), true
}

// appendEnds shows ends that were read when the ring of an epoch stood at since.
func (f *Feed) appendEnds(ended []watch.Entry, epoch, since uint64) (done bool) {
	if len(ended) == 0 {
		return true
	}
	f.mu.Lock()
	done = f.epoch == epoch && f.ring.AppendEnds(ended, since)
	f.mu.Unlock()
	f.news.Ring()
	return done
}
