package watching

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Errors of a watch, beside that of the context.
var (
	// ErrClosed: the store is being closed.
	ErrClosed = errors.New("closed")
	// ErrTooSlow: changes were not consumed before the stores forgot them.
	ErrTooSlow = errors.New("too slow")
)

// fillsAtOnce is how many watches of one node read anew at the same time.
const fillsAtOnce = 4

// Options describe how one node watches. All fields must be set, but for Local.
type Options struct {
	Self  view.NodeID
	Homes *layout.Homes
	Local *Feed // nil on a node that stores nothing
	// Call asks a store, for as long as ctx says.
	Call  func(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error)
	Group *lifecycle.Group
	Beat  time.Duration
	Now   func() time.Duration // a clock that only goes on
	Early func() version.HLC   // by what values have ended
}

// Watches are those of one node.
type Watches struct {
	opts    Options
	turns   chan struct{} // of fills
	relays  relays
	planned atomic.Pointer[plan] // the last one
}

// NewWatches returns the watches of a node.
func NewWatches(opts Options) *Watches {
	w := &Watches{opts: opts, turns: make(chan struct{}, fillsAtOnce)}
	w.relays = relays{opts: &w.opts, ask: w.askStore, all: make(map[relayOf]*relay)}
	return w
}

// Query says what is watched. All fields must be set, but for Present and From.
type Query struct {
	Bucket  *layout.Bucket
	Prefix  string
	Present bool
	From    []watch.Place // by shard; nil: the watch begins now
	// Live tells whether a reader would see a value of an item, and Due when it no longer
	// will; 0: never by itself.
	Live func(it version.Item) bool
	Due  func(it version.Item) version.HLC
	// BeginFill begins to read shards anew.
	BeginFill func(fills []watch.Fill) (Fill, error)
	// ReadKey reads a key at all homes in contact. whole tells that all of them have
	// answered, and know whether it exists.
	ReadKey func(ctx context.Context, key string) (it version.Item, whole bool)
}

// Event is something to be told: a state of a key, or a mark.
type Event struct {
	Mark    *watch.Mark // nil: it is a state
	Key     string
	Item    version.Item // unknown if there is nothing any more
	Replies int
	Live    bool
	Shared  bool // the bytes of the item are not of it alone, and do not change
	Ended   bool // it has come to an end by its TTL
	Cursor  Cursor
}

// Reader is one watch under way. It is one goroutine's; those that wait for stores end with
// Close.
type Reader struct {
	w        *Watches
	q        Query
	core     *watch.Watch
	notes    *watch.Notes
	lay      *layout.Layout // by which was planned
	inbox    chan arrival
	seat     *seat       // nil on a node that stores nothing
	look     *time.Timer // nil until it is needed
	asksOf   []bool      // the shards of the poll that was sent last
	asksFor  scan.Shards // as they travel
	ctx      context.Context
	cancel   context.CancelFunc
	asking   sync.WaitGroup
	closed   bool   // nobody can be asked any more
	sweeping bool   // what the fill did not meet is being read
	quiet    []bool // by shard: the ends of keys that its first fill comes to are no news

	marks  []watch.Mark
	page   *page
	came   []filled
	whole  func(shard int) bool // of the fill that has ended; nil: none has
	stands stands
}

// arrival is what a goroutine of a reader brings.
type arrival struct {
	poll  uint64
	reply wire.WatchReply
	own   bool          // the seat has answered
	at    time.Duration // when a poll has failed
	err   error

	fill  []filled
	ended bool                 // the fill has
	whole func(shard int) bool // what it has read whole
}

// page is the answer to a poll, of which a part was told.
type page struct {
	poll  uint64
	reply wire.WatchReply
	own   bool        // it is of the seat
	from  watch.Place // of the poll
	told  int
}

// Begin begins a watch. It must be closed.
func (w *Watches) Begin(q Query) *Reader {
	r := &Reader{w: w, q: q, notes: watch.NewNotes(), inbox: make(chan arrival), lay: w.opts.Homes.Now(), quiet: make([]bool, w.opts.Homes.ShardsOf(q.Bucket))}
	for shard := range r.quiet {
		r.quiet[shard] = q.Present && q.From == nil
	}
	if w.opts.Local != nil {
		r.seat = newSeat(w.opts.Local, subject{q.Bucket.ID, q.Prefix})
	}
	r.ctx, r.cancel = context.WithCancel(w.opts.Group.Context())
	r.core = watch.New(watch.Options{
		Shards: w.opts.Homes.ShardsOf(q.Bucket), Beat: w.opts.Beat, Patience: 10 * w.opts.Beat, Present: q.Present, From: q.From,
	}, r.planFor(r.lay), w.opts.Now())
	return r
}

// Close ends the watch and waits for whom it asks.
func (r *Reader) Close() {
	r.cancel()
	r.asking.Wait()
	if r.seat != nil {
		r.seat.leaveFeed()
	}
	r.w.relays.leaveRelays(r)
}

// Cursor returns where the watch has come to.
func (r *Reader) Cursor() Cursor { return r.cursorAt(watch.Place{}) }

// Next returns what is to be told next. The error may be that of ctx, after which the watch
// can go on.
func (r *Reader) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok := r.takeEvent(); ok {
			return e, nil
		}
		now := r.w.opts.Now()
		if lay := r.w.opts.Homes.Now(); lay != r.lay {
			r.lay = lay
			r.core.Replan(r.planFor(lay), now)
		}
		for _, p := range r.core.Polls(now) {
			r.sendPoll(p)
		}
		r.beginFill(now)
		switch r.marks = append(r.marks, r.core.Marks()...); {
		case len(r.marks) > 0:
			continue
		case r.core.IsTooSlow():
			return Event{}, ErrTooSlow
		case r.closed || r.w.opts.Group.Context().Err() != nil:
			return Event{}, ErrClosed
		}
		if err := r.awaitArrival(ctx); err != nil {
			return Event{}, err
		}
	}
}

// takeEvent returns something to be told that is here.
func (r *Reader) takeEvent() (Event, bool) {
	if len(r.marks) > 0 {
		e := Event{Mark: &r.marks[0], Cursor: r.cursorAt(watch.Place{})}
		r.marks = r.marks[1:]
		return e, true
	}
	if r.notes.HasEnds() {
		if s, ok := r.notes.TakeEnded(r.w.opts.Early()); ok {
			return Event{Key: s.Key, Item: version.Item{Ctx: s.Ctx}, Ended: true, Cursor: r.cursorAt(watch.Place{})}, true
		}
	}
	if e, ok := r.takeFromPage(); ok {
		return e, true
	}
	return r.takeFilled()
}

// takeFromPage returns the next change of a page that is news, and is done with the page at
// its end.
func (r *Reader) takeFromPage() (Event, bool) {
	p := r.page
	if p == nil {
		return Event{}, false
	}
	for p.told < len(p.reply.Entries) {
		e := &p.reply.Entries[p.told]
		p.told++
		shard := r.w.opts.Homes.ShardOf(r.q.Bucket.ID, e.Key)
		if !r.core.Follows(p.poll, shard) {
			continue
		}
		it, err := r.readEntry(p, e)
		if err != nil {
			continue // its store repairs it, and that is a change
		}
		if out, tell := r.admitState(e.Key, shard, it, e.Ended, false); tell {
			out.Replies, out.Shared, out.Cursor = 1, p.own, r.cursorAt(watch.Place{Store: p.from.Store, At: watch.Position{Epoch: p.from.At.Epoch, Seq: p.from.At.Seq + e.Step}})
			return out, true
		}
	}
	r.page = nil
	r.core.Answered(p.poll, answerOf(&p.reply, len(r.quiet)), r.w.opts.Now())
	r.marks = append(r.marks, r.core.Marks()...)
	if len(r.marks) > 0 {
		return r.takeEvent()
	}
	return Event{}, false
}

// readEntry reads the item of a change.
func (r *Reader) readEntry(p *page, e *wire.WatchEntry) (version.Item, error) {
	if p.own {
		return r.seat.feed.read.readItem(watch.Position{Epoch: p.reply.Epoch, Seq: p.from.At.Seq + e.Step}, e.Item)
	}
	return wire.DecodeItem(e.Item)
}

// admitState tells whether a state is news.
func (r *Reader) admitState(key string, shard int, it version.Item, ended, quietly bool) (Event, bool) {
	s := watch.State{Key: key, Shard: shard, Ctx: it.Ctx, Live: !ended && r.q.Live(it), Due: r.q.Due(it)}
	ended = !s.Live && s.Due != 0
	return Event{Key: key, Item: it, Live: s.Live, Ended: ended}, r.notes.Admit(s, quietly)
}

func answerOf(m *wire.WatchReply, shards int) watch.Answer {
	a := watch.Answer{At: watch.Position{Epoch: m.Epoch, Seq: m.Seq}, Forgotten: m.Forgotten, Pause: min(m.Pause, time.Second)}
	if len(m.Refused)+len(m.Doubtful) == 0 {
		return a
	}
	for shard := range shards {
		if scan.Shards(m.Refused).Has(shard) {
			a.Refused = append(a.Refused, shard)
		}
		if scan.Shards(m.Doubtful).Has(shard) {
			a.Doubtful = append(a.Doubtful, shard)
		}
	}
	return a
}

// awaitArrival waits until there may be something new.
func (r *Reader) awaitArrival(ctx context.Context) error {
	now := r.w.opts.Now()
	due := r.core.Due(now)
	var bell notify.Bell
	if r.seat != nil {
		if bell = r.seat.bell; r.seat.poll.ID != 0 {
			due = min(due, r.seat.until)
		}
	}
	if r.look == nil {
		r.look = time.NewTimer(due - now)
	} else {
		r.look.Reset(due - now)
	}
	defer r.look.Stop()
	select {
	case a := <-r.inbox:
		r.takeArrival(&a)
	case <-bell:
		r.answerSeat()
	case <-r.look.C:
		r.answerSeat()
	case <-r.ctx.Done(): // with the store
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// answerSeat takes what the seat has to say, or asks the feed in its place.
func (r *Reader) answerSeat() {
	s, now := r.seat, r.w.opts.Now()
	if s == nil || !s.isDue(now) {
		return
	}
	p, q := s.poll, *s.q
	if _, asked := r.core.AskedFrom(p.ID); !asked {
		s.leaveFeed()
		return
	}
	m, told := s.answerPoll(r.ctx)
	if told {
		r.takeArrival(&arrival{poll: p.ID, reply: m, own: true})
		return
	}
	q.Wait = 0
	beat := r.w.opts.Beat
	p.Within = max(p.Within-min(now-s.sent, beat), beat/2) // nobody may have looked for longer
	r.startPoll(&p, &q)
}

func (r *Reader) takeArrival(a *arrival) {
	switch {
	case a.poll != 0 && a.err != nil:
		r.core.Failed(a.poll, a.at)
	case a.poll != 0:
		if from, ok := r.core.AskedFrom(a.poll); ok {
			r.page = &page{poll: a.poll, reply: a.reply, own: a.own, from: from}
		}
	default:
		r.came = a.fill
		if a.ended {
			r.whole = a.whole
		}
	}
}

// The pages that one watch holds take so much in all, and each of them so much at least.
const (
	watchBytes = 1 << 20
	leastPage  = 16 << 10
)

// sendPoll has a store be polled.
func (r *Reader) sendPoll(p watch.Poll) {
	bytes := min(max(watchBytes/max(len(r.core.Sources()), 1), leastPage), maxBytes)
	if len(r.asksOf) == 0 || &r.asksOf[0] != &p.Shards[0] {
		r.asksOf, r.asksFor = p.Shards, shardsOf(p.Shards)
	}
	q := &wire.WatchRequest{
		Bucket: r.q.Bucket.ID, Prefix: r.q.Prefix, Shards: r.asksFor, Epoch: p.At.Epoch, Seq: p.At.Seq,
		Records: maxRecords, Bytes: uint64(bytes), Wait: r.w.opts.Beat,
	}
	if p.To != r.w.opts.Self || !r.seat.beginPoll(p, q) {
		r.startPoll(&p, q)
	}
}

// startPoll has a goroutine poll a store.
func (r *Reader) startPoll(p *watch.Poll, q *wire.WatchRequest) {
	r.startTask(func(ctx context.Context) {
		call, cancel := context.WithTimeout(ctx, p.Within)
		defer cancel()
		m, err := r.askNearby(call, p, q)
		r.bringArrival(ctx, arrival{poll: p.ID, reply: m, err: err, at: r.w.opts.Now()})
	})
}

// startTask starts a goroutine that ends with the reader and with the store.
func (r *Reader) startTask(run func(ctx context.Context)) {
	r.asking.Add(1)
	if !r.w.opts.Group.Go(func(context.Context) {
		defer r.asking.Done()
		run(r.ctx)
	}) {
		r.asking.Done()
		r.closed = true
	}
}

func (r *Reader) bringArrival(ctx context.Context, a arrival) {
	select {
	case r.inbox <- a:
	case <-ctx.Done():
	}
}

// askStore polls a store once.
func (w *Watches) askStore(ctx context.Context, to view.NodeID, q *wire.WatchRequest) (m wire.WatchReply, err error) {
	if to == w.opts.Self {
		m, err = w.opts.Local.Answer(ctx, 0, q)
	} else {
		var answer []byte
		if answer, err = w.opts.Call(ctx, to, wire.MethodWatch, wire.AppendWatchRequest(nil, q)); err == nil {
			m, err = wire.DecodeWatchReply(answer)
		}
	}
	switch {
	case err != nil:
		return m, err
	case m.Code != wire.CodeOK:
		return m, fmt.Errorf("watching: poll of %v: code %d", to, m.Code)
	}
	return m, checkReply(q, &m)
}

// checkReply refuses what is no answer to a poll: positions that go back, keys that were not asked
// for, or more than was asked for.
func checkReply(q *wire.WatchRequest, m *wire.WatchReply) error {
	goesOn := !m.Forgotten && q.Epoch != 0
	about := subject{q.Bucket, q.Prefix}
	var last, bytes uint64
	ok := m.Epoch != 0 || m.Forgotten
	ok = ok && (!goesOn || m.Epoch == q.Epoch && m.Seq >= q.Seq) && (goesOn || len(m.Entries) == 0)
	for i := range m.Entries {
		e := &m.Entries[i]
		ok = ok && about.matches(&watch.Entry{Bucket: q.Bucket, Key: e.Key}) && e.Step > last && q.Seq+e.Step <= m.Seq
		ok = ok && bytes < q.Bytes // one that has as many ends
		last, bytes = e.Step, bytes+uint64(len(e.Item))
	}
	if !ok || uint64(len(m.Entries)) > q.Records {
		return fmt.Errorf("watching: %d changes of %d bytes up to %d behind %d: %w", len(m.Entries), bytes, m.Seq, q.Seq, wire.ErrMalformed)
	}
	return nil
}
