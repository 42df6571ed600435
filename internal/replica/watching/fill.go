package watching

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/replica/version"
)

// Fill reads shards anew, in order of keys. It is one goroutine's.
type Fill interface {
	// Next returns the next key and what the stores have of it. The error is io.EOF at the
	// end, or that of ctx, or what keeps it from going on.
	Next(ctx context.Context) (key string, it version.Item, replies int, err error)
	// IsWhole tells, at the end, whether all of a shard was read: enough homes, and the
	// store that is followed.
	IsWhole(shard int) bool
	End()
}

// filled is a key that a fill has come to.
type filled struct {
	key     string
	it      version.Item
	replies int
	swept   *watch.State // it was read by itself, for the fill had not met it
	unsure  bool         // and not all homes have answered
}

// What a fill brings at once, and how many keys are read by themselves at the same time.
const (
	fillKeys    = 64
	fillBytes   = 64 << 10
	sweptAtOnce = 16
)

// beginFill begins to read anew what the core says.
func (r *Reader) beginFill(now time.Duration) {
	if fills := r.core.Fills(now); len(fills) > 0 {
		r.notes.BeginFill()
		r.startTask(func(ctx context.Context) { r.runFill(ctx, fills) })
	}
}

// runFill reads shards and brings what it comes to.
func (r *Reader) runFill(ctx context.Context, fills []watch.Fill) {
	nothing := func(int) bool { return false }
	f, err := r.q.BeginFill(fills)
	if err != nil {
		r.bringArrival(ctx, arrival{ended: true, whole: nothing})
		return
	}
	defer f.End()
	for {
		batch, err := r.w.readBatch(ctx, f)
		a := arrival{fill: batch, ended: err != nil}
		if a.whole = nothing; err == io.EOF {
			whole := make(map[int]bool, len(fills))
			for _, one := range fills {
				whole[one.Shard] = f.IsWhole(one.Shard)
			}
			a.whole = func(shard int) bool { return whole[shard] }
		}
		if r.bringArrival(ctx, a); err != nil {
			return
		}
	}
}

// readBatch reads some keys when it is this fill's turn. None is kept waiting by one whose
// reader does not consume it.
func (w *Watches) readBatch(ctx context.Context, f Fill) (batch []filled, err error) {
	select {
	case w.turns <- struct{}{}:
		defer func() { <-w.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for bytes := 0; len(batch) < fillKeys && bytes < fillBytes; {
		var k filled
		if k.key, k.it, k.replies, err = f.Next(ctx); err != nil {
			return batch, err
		}
		batch = append(batch, k)
		for i := range k.it.Sibs {
			bytes += len(k.it.Sibs[i].Value)
		}
	}
	return batch, nil
}

// takeFilled returns the next key of a fill that is news, and is done with the fill at its
// end.
func (r *Reader) takeFilled() (Event, bool) {
	for len(r.came) > 0 {
		k := r.came[0]
		r.came = r.came[1:]
		if e, tell := r.takeKey(&k); tell {
			e.Cursor = r.cursorAt(watch.Place{})
			return e, true
		}
	}
	if r.whole == nil {
		return Event{}, false
	}
	whole := r.whole
	r.whole = nil
	if swept := r.notes.Sweep(whole); len(swept) > 0 && !r.sweeping {
		r.sweeping = true
		r.startTask(func(ctx context.Context) { r.readSwept(ctx, swept, whole) })
		return Event{}, false
	}
	r.sweeping = false
	for shard := range r.quiet {
		r.quiet[shard] = r.quiet[shard] && !whole(shard)
	}
	r.core.Filled(whole, r.w.opts.Now())
	return Event{}, false
}

// takeKey tells whether a key that a fill has come to is news.
func (r *Reader) takeKey(k *filled) (Event, bool) {
	shard := r.w.opts.Homes.ShardOf(r.q.Bucket.ID, k.key)
	if k.swept == nil || !k.it.Unknown() {
		e, tell := r.admitState(k.key, shard, k.it, false, r.quiet[shard])
		e.Replies = k.replies
		return e, tell
	}
	if k.unsure || !r.notes.Forget(k.key) {
		return Event{}, false
	}
	due := k.swept.Due
	return Event{Key: k.key, Ended: due != 0 && due <= r.w.opts.Early(), Replies: k.replies}, true
}

// readSwept reads keys by themselves that the watcher takes for live and that a fill has
// not met. They are gone if all homes in contact say so: those in between a store and
// another are found that way.
func (r *Reader) readSwept(ctx context.Context, swept []watch.State, whole func(int) bool) {
	unsure := make(map[int]bool)
	for len(swept) > 0 {
		n := min(len(swept), sweptAtOnce)
		batch := make([]filled, n)
		var all sync.WaitGroup
		for i := range batch {
			batch[i] = filled{key: swept[i].Key, swept: &swept[i], replies: 1}
			all.Go(func() {
				it, sure := r.q.ReadKey(ctx, batch[i].key)
				batch[i].it, batch[i].unsure = it, !sure
			})
		}
		all.Wait()
		for i := range batch {
			if batch[i].unsure && batch[i].it.Unknown() {
				unsure[swept[i].Shard] = true
			}
		}
		swept = swept[n:]
		a := arrival{fill: batch, ended: len(swept) == 0}
		a.whole = func(shard int) bool { return whole(shard) && !unsure[shard] }
		r.bringArrival(ctx, a)
	}
}
