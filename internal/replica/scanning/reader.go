package scanning

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Errors of a scan, beside that of the context.
var (
	// ErrClosed: the store is being closed.
	ErrClosed = errors.New("closed")
	// ErrNobody: no store has answered.
	ErrNobody = errors.New("no store has answered")
)

// Gap is an error that does not end a scan: keys of these shards may be missing from here
// on.
type Gap struct{ Shards []int }

func (g *Gap) Error() string { return fmt.Sprintf("too few stores could be asked for %v", g.Shards) }

// Options describe how one node scans. All fields must be set, but for Local.
type Options struct {
	Self  view.NodeID
	Homes *layout.Homes
	Local *Pages // nil on a node that stores nothing
	// Call asks a store for a page. It returns in a bounded time.
	Call     func(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error)
	Group    *lifecycle.Group
	Patience replicate.Patience
	Now      func() time.Duration // a clock that only goes on
}

// Query says what is read.
type Query struct {
	Bucket   *layout.Bucket
	Within   scan.Bounds
	Level    replicate.Level
	KeysOnly bool
	Limit    int // about so many keys are wanted; 0: all
	Bytes    int // about so many bytes are wanted; 0: all
	// First says by shard which store is asked whoever else is, if it is a home in contact;
	// of shards that it lacks nothing is read. Nil: nobody in particular, and all of them.
	First map[int]view.NodeID
}

// Entry is what the stores that were asked have of one key, merged.
type Entry struct {
	Key     string
	Item    version.Item
	Replies int
	// Damaged and Disputed tell that the key must be read by itself: see scan.Found.
	Damaged, Disputed bool
}

// The pages that one scan holds take so much in all, and each of them so much at least.
const (
	scanBytes = 1 << 20
	leastPage = 16 << 10
)

// lookAgain is how often a scan that waits looks whether the stores are others now.
const lookAgain = 100 * time.Millisecond

// Reader is one scan under way. It is one goroutine's; those that wait for stores end with
// Close.
type Reader struct {
	opts    Options
	q       Query
	core    *scan.Scan
	lay     *layout.Layout // by which was planned
	planned time.Duration  // when
	inbox   chan answer
	ctx     context.Context
	cancel  context.CancelFunc
	asking  sync.WaitGroup
	closed  bool // nobody can be asked any more

	scan                   uint64 // a random number for it; 0: one page of each store will do
	pageRecords, pageBytes uint64
}

type answer struct {
	id   uint64
	page scan.Page
	err  error
}

// Begin begins a scan. It must be closed.
func Begin(opts Options, q Query) *Reader {
	r := &Reader{opts: opts, q: q, inbox: make(chan answer), lay: opts.Homes.Now(), planned: opts.Now(), pageRecords: maxRecords}
	if q.Bytes == 0 && (q.Limit == 0 || q.Limit > maxRecords) {
		r.scan = rand.Uint64() | 1 // there is to be another page
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	plan := r.planFor(r.lay)
	if q.Limit > 0 {
		r.pageRecords = uint64(min(max(q.Limit, 16), maxRecords))
	}
	r.pageBytes = pageBytes(q.Bytes, len(plan.Stores))
	r.core = scan.New(q.Within, plan, opts.Patience.Remember(), opts.Now())
	return r
}

// pageBytes is how large the pages are of which a scan holds two of each store. Where only
// so much is wanted they need not hold more in all.
func pageBytes(wanted, stores int) uint64 {
	stores = max(stores, 1)
	bytes := scanBytes / 2 / stores
	if wanted > 0 {
		bytes = min(bytes, wanted/stores)
	}
	return uint64(min(max(bytes, leastPage), maxBytes))
}

// Close ends the scan and waits for whom it asks.
func (r *Reader) Close() {
	r.cancel()
	r.asking.Wait()
}

// Next returns the next key, io.EOF when there is none, or a *Gap, which does not end the
// scan. The error may be that of ctx, after which the scan can go on.
func (r *Reader) Next(ctx context.Context) (Entry, error) {
	for {
		if r.core.Rest().Empty() {
			return Entry{}, io.EOF // nobody need be asked
		}
		r.followLayout()
		for _, a := range r.core.Asks(r.opts.Now()) {
			r.sendAsk(a)
		}
		if r.closed || r.opts.Group.Context().Err() != nil {
			return Entry{}, ErrClosed
		}
		if err := r.TakeGap(); err != nil {
			return Entry{}, err
		}
		f, state := r.core.Next()
		switch {
		case state == scan.Settled:
			return entryOf(&f), nil
		case state == scan.Ended && !r.core.Reached():
			return Entry{}, ErrNobody
		case state == scan.Ended:
			return Entry{}, io.EOF
		}
		if err := r.awaitAnswer(ctx); err != nil {
			return Entry{}, err
		}
	}
}

// NextSettled returns the next key if it need not be waited for, and no gap is to be told
// before it.
func (r *Reader) NextSettled() (Entry, bool) {
	if r.core.HasGaps() {
		return Entry{}, false
	}
	f, state := r.core.Next()
	if state != scan.Settled {
		return Entry{}, false
	}
	return entryOf(&f), true
}

// TakeGap returns a *Gap if there is one to be told.
func (r *Reader) TakeGap() error {
	if gaps := r.core.Gaps(); gaps != nil {
		return &Gap{gaps}
	}
	return nil
}

// ReadWhole tells whether a store was asked for a shard all the time, and has not failed.
func (r *Reader) ReadWhole(id view.NodeID, shard int) bool { return r.core.ReadWhole(id, shard) }

// NoteGap has the reader tell of a shard, once, that keys may be missing.
func (r *Reader) NoteGap(shard int) { r.core.NoteGap(shard) }

// awaitAnswer waits until there may be something new.
func (r *Reader) awaitAnswer(ctx context.Context) error {
	look := time.NewTimer(lookAgain)
	defer look.Stop()
	select {
	case a := <-r.inbox:
		if a.err != nil {
			// A home that was silent when the scan was planned may be there again. If
			// it were not known by now the shard would be told as a gap.
			r.replan()
			r.core.Failed(a.id, r.opts.Now())
		} else {
			r.core.Paged(a.id, a.page, r.opts.Now())
		}
	case <-look.C:
	case <-r.opts.Group.Context().Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// followLayout plans anew when who belongs to the mesh, or is in contact, has changed, and
// when those that were silent then need not be any more.
func (r *Reader) followLayout() {
	if lay := r.opts.Homes.Now(); lay != r.lay || r.opts.Now()-r.planned > r.opts.Patience.Remember() {
		r.replan()
	}
}

func (r *Reader) replan() {
	r.lay, r.planned = r.opts.Homes.Now(), r.opts.Now()
	r.core.Replan(r.planFor(r.lay), r.planned)
}

// planFor describes the stores to the core. This one is asked first: it is near.
func (r *Reader) planFor(lay *layout.Layout) scan.Plan {
	plan := scan.Plan{Shards: make([]scan.Shard, r.opts.Homes.ShardsOf(r.q.Bucket))}
	for _, id := range lay.Placed {
		if id == r.opts.Self || lay.Live(id) {
			plan.Stores = append(plan.Stores, id)
		}
	}
	for shard := range plan.Shards {
		first, wanted := r.q.First[shard]
		if r.q.First != nil && !wanted {
			continue
		}
		rt := lay.RouteOf(r.q.Bucket, shard)
		live := r.opts.Homes.MakePlan(lay, rt).Live
		sh := &plan.Shards[shard]
		sh.Need = r.q.Level.HomesToScan(rt.Homes)
		if rt.IsHome(first) && live(first) && first != r.opts.Self {
			sh.Homes = append(sh.Homes, first)
		}
		if rt.IsHome(r.opts.Self) {
			sh.Homes = append(sh.Homes, r.opts.Self)
		}
		for _, id := range rt.Order[:rt.Homes] {
			if id != r.opts.Self && id != first && live(id) {
				sh.Homes = append(sh.Homes, id)
			}
		}
	}
	return plan
}

// sendAsk has a goroutine ask for a page.
func (r *Reader) sendAsk(a scan.Ask) {
	r.asking.Add(1)
	if !r.opts.Group.Go(func(ctx context.Context) {
		defer r.asking.Done()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(r.ctx, cancel)()
		page, err := r.fetchPage(ctx, a)
		select {
		case r.inbox <- answer{a.ID, page, err}:
		case <-ctx.Done():
		}
	}) {
		r.asking.Done()
		r.closed = true
	}
}

// A store that is busy with the pages of others is asked again so soon, and so often.
const (
	busyPause = 50 * time.Millisecond
	busyTries = 100
)

// errBusy: a store was busy with other pages all the time.
var errBusy = errors.New("scanning: too many scans")

// fetchPage gets one page.
func (r *Reader) fetchPage(ctx context.Context, a scan.Ask) (scan.Page, error) {
	q := wire.PageRequest{
		Bucket: r.q.Bucket.ID, Shards: a.Shards, Lower: a.Within.Lower, Upper: a.Within.Upper, Bounded: a.Within.Bounded,
		Reverse: a.Within.Reverse, KeysOnly: r.q.KeysOnly, Records: r.pageRecords, Bytes: r.pageBytes, Scan: r.scan,
	}
	for range busyTries {
		m, err := r.askPage(ctx, a.To, &q)
		switch {
		case err != nil:
			return scan.Page{}, err
		case m.Code == wire.CodeOK && exceeds(&q, &m):
			return scan.Page{}, fmt.Errorf("scanning: page of %v: %d records, %d and %d bytes at most: %w", a.To, len(m.Entries), q.Records, q.Bytes, wire.ErrMalformed)
		case m.Code == wire.CodeOK:
			return r.pageOf(&m), nil
		case m.Code != wire.CodeOverloaded:
			return scan.Page{}, fmt.Errorf("scanning: page of %v: code %d", a.To, m.Code)
		}
		if !clock.Sleep(ctx, clock.Jitter(busyPause)) {
			return scan.Page{}, ctx.Err()
		}
	}
	return scan.Page{}, errBusy
}

func (r *Reader) askPage(ctx context.Context, to view.NodeID, q *wire.PageRequest) (wire.PageReply, error) {
	if to == r.opts.Self {
		ctx, cancel := context.WithTimeout(ctx, r.opts.Patience.Answer()) // as long as others have
		defer cancel()
		return r.opts.Local.Read(ctx, q)
	}
	answer, err := r.opts.Call(ctx, to, wire.MethodPage, wire.AppendPageRequest(nil, q))
	if err != nil {
		return wire.PageReply{}, err
	}
	return wire.DecodePageReply(answer)
}

func (r *Reader) pageOf(m *wire.PageReply) scan.Page {
	page := scan.Page{Records: make([]scan.Record, len(m.Entries)), More: m.More, UpTo: m.UpTo, Vouched: m.Vouched}
	for i := range m.Entries {
		e := &m.Entries[i]
		page.Records[i] = scan.Record{Key: e.Key, Shard: r.opts.Homes.ShardOf(r.q.Bucket.ID, e.Key), Item: e.Item, Damaged: len(e.Item) == 0}
	}
	return page
}

// entryOf merges the copies of a key.
func entryOf(f *scan.Found) Entry {
	e := Entry{Key: f.Key, Replies: f.Replies, Damaged: f.Damaged, Disputed: f.Disputed}
	for _, c := range f.Copies {
		it, err := wire.DecodeItem(c)
		if err != nil {
			e.Damaged = true
			continue
		}
		e.Item = version.Merge(e.Item, it)
	}
	return e
}
