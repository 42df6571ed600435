package watching

import (
	"context"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// A store is asked once for all watches of a bucket from so many that follow it on, and until
// there are fewer than the least.
const (
	readersToRelay = 4
	leastReaders   = 2
)

// mostRelays bounds the stores that are asked in that way, each for one bucket: each takes
// watch.RelayBytes.
const mostRelays = 16

// wastedFor is how long a store is not asked in that way if hardly anything of that was told.
const wastedFor = time.Minute

// A poll for many fails after so many beats: there is time to ask the store once more before
// it counts as silent. Whoever has not asked for changes for readerBeats does not follow.
const (
	relayBeats  = 2
	readerBeats = 10
)

// relays ask stores for the changes that many watches of a node wait for.
type relays struct {
	opts *Options
	ask  func(ctx context.Context, to view.NodeID, q *wire.WatchRequest) (wire.WatchReply, error)

	mu      sync.Mutex
	all     map[relayOf]*relay
	running int
}

type relayOf struct {
	store  view.NodeID
	bucket uint64
}

// relay asks one store for the changes of one bucket while enough watches follow it. Of what
// it says they hear here what watch.Relay holds.
type relay struct {
	relayOf
	all *relays

	// The mutex of all guards these.
	readers map[*Reader]wanted
	runs    bool
	rests   time.Duration // until then it does not run

	mu      sync.Mutex
	held    *watch.Relay
	waiting waitingPolls
	looked  time.Duration // when those were woken that had waited for long
}

// wanted is what a reader has asked for last.
type wanted struct {
	shards []bool
	at     time.Duration
}

// askNearby polls a store, or who has its changes here. A store that has failed is asked
// itself.
func (r *Reader) askNearby(ctx context.Context, p *watch.Poll, q *wire.WatchRequest) (wire.WatchReply, error) {
	if p.To != r.w.opts.Self && p.Within > relayBeats*r.w.opts.Beat {
		if l := r.w.relays.joinRelay(r, p); l != nil {
			if m, told := l.answerPoll(ctx, p, q); told {
				return m, nil
			}
			if end, ok := ctx.Deadline(); ok {
				q.Wait = min(q.Wait, max(time.Until(end)/2, 0))
			}
		}
	}
	return r.w.askStore(ctx, p.To, q)
}

// joinRelay returns the relay that may answer a poll; nil: there is none.
func (rs *relays) joinRelay(r *Reader, p *watch.Poll) *relay {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	about, now := relayOf{p.To, r.q.Bucket.ID}, rs.opts.Now()
	l := rs.all[about]
	if l == nil {
		l = &relay{relayOf: about, all: rs, readers: make(map[*Reader]wanted), held: watch.NewRelay(watch.RelayEntries, watch.RelayBytes), waiting: newWaitingPolls()}
		rs.all[about] = l
	}
	l.readers[r] = wanted{p.Shards, now}
	if !l.runs && len(l.readers) >= readersToRelay && rs.running < mostRelays && now >= l.rests && rs.opts.Group.Go(l.keepAsking) {
		l.runs = true
		rs.running++
	}
	if !l.runs {
		return nil
	}
	return l
}

// leaveRelays has a reader be counted no more.
func (rs *relays) leaveRelays(r *Reader) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for about, l := range rs.all {
		if delete(l.readers, r); len(l.readers) == 0 && !l.runs {
			delete(rs.all, about)
		}
	}
}

// listShards returns what the readers want together; nil if there are too few.
func (l *relay) listShards() []bool {
	rs := l.all
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var all []bool
	now := rs.opts.Now()
	for r, want := range l.readers {
		if now-want.at > readerBeats*rs.opts.Beat {
			delete(l.readers, r)
			continue
		}
		if all == nil {
			all = make([]bool, len(want.shards))
		}
		for shard, is := range want.shards {
			all[shard] = all[shard] || is
		}
	}
	if len(l.readers) < leastReaders {
		return nil
	}
	return all
}

// keepAsking asks the store as long as enough want to know.
func (l *relay) keepAsking(ctx context.Context) {
	defer l.endAsking()
	l.wakeAll(l.held.Restart) // nobody waits for what a former run has missed
	for ctx.Err() == nil {
		shards := l.listShards()
		if shards == nil {
			return
		}
		next := time.NewTimer(l.askOnce(ctx, shards))
		select {
		case <-next.C:
		case <-ctx.Done():
		}
		if next.Stop(); l.isWasted() {
			return
		}
	}
}

func (l *relay) endAsking() {
	rs := l.all
	rs.mu.Lock()
	l.runs = false
	rs.running--
	if len(l.readers) == 0 {
		delete(rs.all, l.relayOf)
	}
	rs.mu.Unlock()
	l.wakeAll(l.held.Fail)
}

// isWasted has the relay rest if it is.
func (l *relay) isWasted() bool {
	l.mu.Lock()
	wasted := l.held.IsWasted()
	l.mu.Unlock()
	if wasted {
		l.all.mu.Lock()
		l.rests = l.all.opts.Now() + wastedFor
		l.all.mu.Unlock()
	}
	return wasted
}

// askOnce polls the store, and returns how long is to be waited then.
func (l *relay) askOnce(ctx context.Context, shards []bool) time.Duration {
	opts := l.all.opts
	var at watch.Position
	l.mu.Lock()
	same := l.held.AsksFor(shards)
	if same {
		at = l.held.Ask(shards)
	}
	l.mu.Unlock()
	if !same { // who waits for a shard that is left out from now on asks for itself
		l.wakeAll(func() { at = l.held.Ask(shards) })
	}
	q := &wire.WatchRequest{
		Bucket: l.bucket, Shards: shardsOf(shards), Epoch: at.Epoch, Seq: at.Seq,
		Records: maxRecords, Bytes: maxBytes, Wait: opts.Beat,
	}
	call, cancel := context.WithTimeout(ctx, relayBeats*opts.Beat)
	defer cancel()
	m, err := l.all.ask(call, l.store, q)
	if err != nil {
		l.wakeAll(l.held.Fail)
		return opts.Beat / 2
	}
	a := answerOf(&m, len(shards))
	l.takeAnswer(&a, l.changesOf(q, &m))
	if len(a.Refused) > 0 { // it may have no more to say for long
		return max(a.Pause, opts.Beat/2)
	}
	return a.Pause
}

// changesOf returns the changes of a reply as they are kept.
func (l *relay) changesOf(q *wire.WatchRequest, m *wire.WatchReply) []watch.Found {
	out := make([]watch.Found, len(m.Entries))
	for i := range m.Entries {
		e := &m.Entries[i]
		kind := watch.Changed
		if e.Ended {
			kind = watch.Ended
		}
		shard := l.all.opts.Homes.ShardOf(l.bucket, e.Key)
		out[i] = watch.Found{Number: q.Seq + e.Step, Entry: watch.Entry{Bucket: l.bucket, Shard: shard, Key: e.Key, Item: e.Item, Kind: kind}}
	}
	return out
}

// takeAnswer takes in an answer of the store, and wakes whom it is for. So it does those that
// have waited for half a beat: the store is there.
func (l *relay) takeAnswer(a *watch.Answer, changes []watch.Found) {
	now, beat := l.all.opts.Now(), l.all.opts.Beat
	var woken []*waitingPoll
	l.mu.Lock()
	if l.held.Take(*a, changes); !l.held.IsPlain() {
		woken = l.waiting.wakeAll(1, woken)
	}
	for i := range changes {
		woken = l.waiting.matchEntry(&changes[i].Entry, changes[i].Number, woken)
	}
	if now-l.looked >= beat/4 {
		l.looked = now
		woken = l.waiting.wakeSince(now-beat/2, l.held.Head()+1, woken)
	}
	l.mu.Unlock()
	for _, w := range woken {
		w.wake.Ring()
	}
}

// wakeAll has all that wait ask the store themselves, behind a change of what is held.
func (l *relay) wakeAll(change func()) {
	l.mu.Lock()
	change()
	woken := l.waiting.wakeAll(1, nil)
	l.mu.Unlock()
	for _, w := range woken {
		w.wake.Ring()
	}
}

// answerPoll answers a poll, and waits for a change. told is false if the store must be asked
// instead.
func (l *relay) answerPoll(ctx context.Context, p *watch.Poll, q *wire.WatchRequest) (m wire.WatchReply, told bool) {
	w := &waitingPoll{about: subject{q.Bucket, q.Prefix}, shards: q.Shards, since: l.all.opts.Now(), wake: notify.NewBell()}
	l.mu.Lock()
	m, told = l.tellBehind(q.Seq, p.Shards, q)
	if told && len(m.Entries) == 0 {
		w.seen = m.Seq
		l.waiting.addPoll(w)
	}
	l.mu.Unlock()
	if !told || len(m.Entries) > 0 {
		return m, told
	}
	select {
	case <-w.wake:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting.removePoll(w); w.first == 0 {
		return m, false
	}
	return l.tellBehind(max(q.Seq, w.first-1), p.Shards, q)
}

// tellBehind answers a poll that is told nothing up to a number, if what comes behind is here.
func (l *relay) tellBehind(seq uint64, shards []bool, q *wire.WatchRequest) (m wire.WatchReply, told bool) {
	if !l.held.Holds(watch.Position{Epoch: q.Epoch, Seq: seq}, shards) {
		return m, false
	}
	m = wire.WatchReply{Epoch: q.Epoch, Seq: max(seq, l.held.Head()), Pause: pauseFor(l.waiting.count)}
	about, bytes := subject{q.Bucket, q.Prefix}, uint64(0)
	for _, c := range l.held.Behind(seq) {
		if !shards[c.Shard] || !about.matches(&c.Entry) {
			continue
		}
		m.Entries = append(m.Entries, wire.WatchEntry{Step: c.Number - q.Seq, Key: c.Key, Item: c.Item, Ended: c.Kind == watch.Ended})
		if bytes += sizeInReply(c.Key, c.Item); bytes >= q.Bytes || uint64(len(m.Entries)) >= q.Records {
			m.Seq, m.Pause = c.Number, 0
			break
		}
	}
	l.held.NoteTold(len(m.Entries))
	return m, true
}

// shardsOf returns a set of shards as it travels.
func shardsOf(set []bool) scan.Shards {
	shards := scan.NewShards(len(set))
	for shard, is := range set {
		if is {
			shards.Add(shard)
		}
	}
	return shards
}
