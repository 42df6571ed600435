package watching

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// What an answer may hold, whatever is asked for.
const (
	maxRecords = 1024
	maxBytes   = 128 << 10 // one record at least, however large
)

// Changes are looked through so many at a time: commits wait that long at most.
const lookAtOnce = 4096

// leastPause is how long a watcher waits behind an answer, so that changes that come
// quickly share one. With many watchers it is longer: the answers to all of them together
// come at a bounded rate.
const (
	leastPause  = 5 * time.Millisecond
	mostPause   = time.Second
	pollsPerMS  = 2 // answers in a millisecond, at most
	longestWait = 10 * time.Second
)

// A store that can take in what is written is believed to for so long. What it misses
// meanwhile comes later, as changes.
const takesInFor = 50 * time.Millisecond

// Answer answers a poll of another node, or of this one: 0. It waits for a change for as
// long as the poll says.
func (f *Feed) Answer(ctx context.Context, from view.NodeID, q *wire.WatchRequest) (wire.WatchReply, error) {
	if err := f.openRing(ctx); err != nil {
		return wire.WatchReply{}, err
	}
	p := &poll{f: f, from: from, q: q, about: subject{q.Bucket, q.Prefix}, shards: q.Shards}
	p.reply = wire.WatchReply{Epoch: q.Epoch, Seq: q.Seq}
	if known, err := p.findPosition(); err != nil || !known {
		return p.reply, err
	}
	p.lookThrough()
	if len(p.page.Found) == 0 && q.Wait > 0 && p.listRefused() == nil {
		if err := p.awaitChange(ctx); err != nil {
			return wire.WatchReply{}, err
		}
		p.lookThrough()
	}
	if err := p.fillReply(ctx); err != nil {
		return wire.WatchReply{}, err
	}
	return p.reply, nil
}

// poll is a question that is being answered.
type poll struct {
	f      *Feed
	from   view.NodeID
	q      *wire.WatchRequest
	about  subject
	shards scan.Shards
	page   watch.Page
	bytes  uint64
	full   bool
	reply  wire.WatchReply
}

// errEnded: nobody has asked for changes for long.
var errEnded = errors.New("watching: changes are no longer kept")

// findPosition tells whether the changes behind the position are there.
func (p *poll) findPosition() (known bool, err error) {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ring == nil { // since a moment ago
		return false, errEnded
	}
	p.reply.Pause = f.pauseBehind()
	if p.q.Epoch == f.epoch && f.ring.Has(p.q.Seq) {
		return true, nil
	}
	p.reply.Epoch, p.reply.Seq, p.reply.Forgotten = f.epoch, f.ring.Head(), p.q.Epoch != 0
	if !p.reply.Forgotten {
		p.reply.Pause = 0 // it begins here
	}
	return false, nil
}

// lookThrough collects changes from where the reply ends on.
func (p *poll) lookThrough() {
	for !p.full && p.lookFurther() {
	}
}

// lookFurther looks through the next changes. It tells whether there are more.
func (p *poll) lookFurther() bool {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ring == nil || f.epoch != p.reply.Epoch || !f.ring.Has(p.reply.Seq) {
		return false // the next poll is told so
	}
	head := f.ring.Head()
	for range lookAtOnce {
		if p.reply.Seq == head || p.full {
			return false
		}
		p.reply.Seq++
		if e := f.ring.Entry(p.reply.Seq); p.shards.Has(e.Shard) && p.about.matches(e) {
			p.addFound(e)
		}
	}
	return true
}

func (p *poll) addFound(e *watch.Entry) {
	p.page.Add(e, p.reply.Seq)
	p.bytes += sizeInReply(e.Key, e.Item)
	p.full = uint64(len(p.page.Found)) >= min(p.q.Records, maxRecords) || p.bytes >= min(p.q.Bytes, maxBytes)
}

// pauseBehind is how long is to be waited behind an answer.
func (f *Feed) pauseBehind() time.Duration { return pauseFor(f.waiting.count + f.waiting.seats) }

// pauseFor is how long is to be waited behind an answer if so many wait for others.
func pauseFor(waiting int) time.Duration {
	return min(max(leastPause, time.Duration(waiting/pollsPerMS)*time.Millisecond), mostPause)
}

func sizeInReply(key string, item []byte) uint64 { return uint64(len(key) + len(item) + 16) }

// awaitChange waits until there is a change, or the time of the poll is over.
func (p *poll) awaitChange(ctx context.Context) error {
	f := p.f
	w := &waitingPoll{from: p.from, about: p.about, shards: p.shards, seen: p.reply.Seq, wake: notify.NewBell()}
	added, ready := f.addWaiting(w)
	if !added {
		p.reply.Pause = min(p.q.Wait, longestWait)
		return nil
	}
	defer f.endWaiting(w, &p.reply)
	if ready {
		return nil
	}
	limit := time.NewTimer(min(p.q.Wait, longestWait))
	defer limit.Stop()
	select {
	case <-w.wake:
	case <-limit.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// addWaiting has a poll wait, unless too many do. ready tells that there may be a change for
// it already.
func (f *Feed) addWaiting(w *waitingPoll) (added, ready bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.waiting.hasRoomFor(w.from) || f.ring == nil {
		return false, false
	}
	f.waiting.addPoll(w)
	if f.matched > w.seen {
		w.first = w.seen + 1 // what came in between was not matched with it
		f.waiting.takeOut(w)
	}
	return true, w.first > 0
}

// endWaiting moves a reply on to what the poll has waited for.
func (f *Feed) endWaiting(w *waitingPoll, reply *wire.WatchReply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting.removePoll(w)
	f.asked = f.opts.Uptime()
	switch {
	case f.epoch != reply.Epoch:
	case w.first > 0:
		reply.Seq = max(reply.Seq, w.first-1)
	default:
		reply.Seq = max(reply.Seq, f.matched)
	}
}

// tellWaiting wakes the polls that wait for what has changed.
func (f *Feed) tellWaiting() {
	for {
		woken, more := f.matchSome()
		for _, w := range woken {
			w.wake.Ring()
		}
		if !more {
			return
		}
	}
}

// matchSome matches some changes with the polls that wait.
func (f *Feed) matchSome() (woken []*waitingPoll, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ring == nil {
		return nil, false
	}
	head := f.ring.Head()
	if f.waiting.count+f.waiting.seats == 0 {
		f.matched = head
	}
	for n := 0; f.matched < head; n++ {
		if n == lookAtOnce {
			return woken, true
		}
		if !f.ring.Has(f.matched) {
			woken = f.waiting.wakeAll(f.matched+1, woken)
			f.matched = head
			break
		}
		f.matched++
		woken = f.waiting.matchEntry(f.ring.Entry(f.matched), f.matched, woken)
	}
	return woken, false
}

// listRefused returns the shards of the poll of which nothing is told; nil if there are none.
func (p *poll) listRefused() (refused scan.Shards) {
	all := !p.f.takesIn()
	for shard := range p.f.opts.Shards {
		if p.shards.Has(shard) && (all || p.f.opts.Lags(shard)) {
			if refused == nil {
				refused = scan.NewShards(p.f.opts.Shards)
			}
			refused.Add(shard)
		}
	}
	return refused
}

// takesIn is TakesIn: to ask for the room on a disk takes as long as to answer a poll.
func (f *Feed) takesIn() bool {
	if f.tookInLately() {
		return true
	}
	now := f.opts.Uptime()
	if !f.opts.TakesIn() {
		return false
	}
	f.tookIn.Store(int64(now))
	return true
}

// tookInLately tells whether takesIn asks nobody.
func (f *Feed) tookInLately() bool {
	last := f.tookIn.Load()
	return last != 0 && f.opts.Uptime()-time.Duration(last) < takesInFor
}

// fillReply turns what was found into entries.
func (p *poll) fillReply(ctx context.Context) error {
	f := p.f
	if err := p.addEntries(ctx); err != nil {
		return err
	}
	// A store that has caught up with a purge meanwhile has told of what became of its
	// records, behind these changes.
	if refused := p.listRefused(); refused != nil {
		p.reply.Refused = refused
		p.reply.Entries = slices.DeleteFunc(p.reply.Entries, func(e wire.WatchEntry) bool {
			return refused.Has(f.opts.Homes.ShardOf(p.q.Bucket, e.Key))
		})
	}
	if p.full {
		p.reply.Pause = 0
	}
	return nil
}

// addEntries tells of changes until the reply has its bytes: large items are counted only
// now.
func (p *poll) addEntries(ctx context.Context) error {
	bytes := uint64(0)
	p.reply.Entries = make([]wire.WatchEntry, 0, len(p.page.Found))
	for i := range p.page.Found {
		e := &p.page.Found[i]
		if e.Superseded && e.Kind != watch.Gone {
			continue
		}
		item, ended, err := p.itemOf(ctx, e)
		if err != nil {
			return err
		}
		if item == nil {
			p.noteDoubt(e.Shard)
			continue
		}
		p.reply.Entries = append(p.reply.Entries, wire.WatchEntry{Step: e.Number - p.q.Seq, Key: e.Key, Item: item, Ended: ended})
		if bytes += sizeInReply(e.Key, item); bytes >= min(p.q.Bytes, maxBytes) && i+1 < len(p.page.Found) {
			p.reply.Seq, p.full = e.Number, true
			break
		}
	}
	return nil
}

// itemOf returns the item of a change, and whether it has ended; nil if there is none, and
// perhaps no change that tells what has become of it. One that was not kept is read, and may
// be a later one.
func (p *poll) itemOf(ctx context.Context, e *watch.Found) (item []byte, ended bool, err error) {
	if e.Item != nil || e.Kind == watch.Gone {
		return e.Item, e.Kind == watch.Ended, nil
	}
	f := p.f
	item, err = f.opts.Load(ctx, f.opts.Homes.LocateKey(e.Bucket, e.Key))
	if err != nil || item == nil || e.Kind != watch.Ended {
		return item, false, err
	}
	it, err := wire.DecodeItem(item)
	due, ends := purge.Due(it)
	return item, err == nil && ends && due <= f.opts.Early(), nil
}

// noteDoubt has a shard be read anew: what has become of a record there is told by nothing.
func (p *poll) noteDoubt(shard int) {
	if p.reply.Doubtful == nil {
		p.reply.Doubtful = scan.NewShards(p.f.opts.Shards)
	}
	scan.Shards(p.reply.Doubtful).Add(shard)
}
