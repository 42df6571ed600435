package watching

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// dining is a feed of which the test knows all changes, and those who have a seat there.
type dining struct {
	*kitchen
	rng     *rand.Rand
	changes []watch.Entry // of this epoch
	fullAt  time.Duration // since when nothing is taken in
	diners  []*diner

	told, handed, entries int // polls that seats have answered, and that they have handed over
}

type diner struct {
	*seat
	d      *dining
	at     watch.Position
	shards scan.Shards
}

func (d *dining) someShards() scan.Shards {
	out := scan.NewShards(testShards)
	out.Add(d.rng.IntN(testShards))
	for shard := range testShards {
		if d.rng.IntN(2) == 0 {
			out.Add(shard)
		}
	}
	return out
}

func (d *dining) addDiner() {
	prefix := []string{"", "a", "b", "a1"}[d.rng.IntN(4)]
	d.diners = append(d.diners, &diner{seat: newSeat(d.Feed, subject{9, prefix}), d: d, shards: d.someShards()})
}

// cook changes some keys.
func (d *dining) cook(n int) {
	for range n {
		key := fmt.Sprint(string(rune('a'+d.rng.IntN(3))), d.rng.IntN(3))
		kind, item := watch.Changed, fmt.Appendf(nil, "item %d", len(d.changes))
		switch d.rng.IntN(60) {
		case 0:
			kind, item = watch.Gone, nil
		case 1:
			item = make([]byte, watch.KeptItem+1)
		case 2:
			kind = watch.Ended
		}
		d.records[key] = item
		if d.Wanted() {
			d.changes = append(d.changes, watch.NewEntry(9, d.homes.ShardOf(9, key), key, item, kind))
		}
		d.change(key, kind, item)
	}
}

// meant returns the numbers of changes that are for a diner.
func (g *diner) meant(after, upTo uint64) (out []uint64) {
	for i := range g.d.changes {
		e, number := &g.d.changes[i], uint64(i+1)
		if number > after && number <= upTo && g.shards.Has(e.Shard) && strings.HasPrefix(e.Key, g.wait.about.prefix) {
			out = append(out, number)
		}
	}
	return out
}

func (g *diner) query(records int, wait time.Duration) *wire.WatchRequest {
	return &wire.WatchRequest{
		Bucket: 9, Prefix: g.wait.about.prefix, Shards: g.shards, Epoch: g.at.Epoch, Seq: g.at.Seq,
		Records: uint64(records), Bytes: 1 << 20, Wait: wait,
	}
}

// askFeed polls the feed in the place of the seat.
func (g *diner) askFeed() {
	g.d.handed++
	q := g.query(100, 0)
	m, err := g.d.Answer(g.d.t.Context(), 0, q)
	if err == nil {
		err = checkReply(q, &m)
	}
	if err != nil {
		g.d.t.Fatal(err)
	}
	if m.Epoch != g.at.Epoch && m.Seq == 0 {
		g.d.changes = nil
	}
	g.at = watch.Position{Epoch: m.Epoch, Seq: m.Seq}
}

func (g *diner) begin() {
	if !g.beginPoll(watch.Poll{ID: 1}, g.query(1+g.d.rng.IntN(10), time.Second)) {
		g.askFeed()
	}
}

// answer has the seat answer, and compares that with the changes that there were.
func (g *diner) answer() {
	d, q, late := g.d, g.q, g.d.opts.Uptime() >= g.until
	m, told := g.answerPoll(d.t.Context())
	select {
	case <-g.bell:
	default:
	}
	if !told {
		g.askFeed()
		return
	}
	d.told++
	if err := checkReply(q, &m); err != nil {
		d.t.Fatal(err)
	}
	if len(m.Refused)+len(m.Doubtful) > 0 || m.Forgotten || d.fullAt > 0 && d.opts.Uptime()-d.fullAt > takesInFor {
		d.t.Fatalf("it answers %+v itself", m)
	}
	var want []string
	meant := g.meant(q.Seq, m.Seq)
	for i, number := range meant {
		e := &d.changes[number-1]
		if e.Kind == watch.Gone || len(e.Item) == 0 || d.lagging[e.Shard] {
			d.t.Fatalf("it tells %+v itself", e)
		}
		if !slices.ContainsFunc(meant[i+1:], func(n uint64) bool { return d.changes[n-1].Key == e.Key }) {
			want = append(want, fmt.Sprint(number, e.Key, string(e.Item), e.Kind == watch.Ended))
		}
	}
	var got []string
	for i := range m.Entries {
		e := &m.Entries[i]
		got = append(got, fmt.Sprint(q.Seq+e.Step, e.Key, string(e.Item), e.Ended))
	}
	full := uint64(len(meant)) >= q.Records
	if !slices.Equal(got, want) || len(meant) > int(q.Records) || full != (m.Pause == 0) || full && m.Seq != meant[len(meant)-1] {
		d.t.Fatalf("behind %d up to %d it tells %q of %d, then pauses %v, want %q", q.Seq, m.Seq, got, q.Records, m.Pause, want)
	}
	if head, _, _ := d.stand(); late && !full && m.Seq != head {
		d.t.Fatalf("it has come to %d of %d", m.Seq, head)
	}
	d.entries += len(got)
	g.at.Seq = m.Seq
}

// stand returns where the feed stands, and how many seats are taken there.
func (d *dining) stand() (head, epoch uint64, seats int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ring != nil {
		head = d.ring.Head()
	}
	return head, d.epoch, d.waiting.seats
}

// misses tells whether not all that has come for a diner is noted.
func (g *diner) misses() bool {
	g.d.mu.Lock()
	defer g.d.mu.Unlock()
	return g.wait.missed
}

// verifyWaiting fails unless just those are rung for whom something has come.
func (d *dining) verifyWaiting() {
	synctest.Wait()
	head, epoch, seats := d.stand()
	taken := 0
	for _, g := range d.diners {
		if g.taken {
			taken++
		}
		if g.poll.ID == 0 || g.q.Epoch != epoch {
			continue
		}
		come := len(g.meant(g.q.Seq, head)) > 0
		if due := g.isDue(0); come && (!due || len(g.bell) == 0) || due && !come && !g.misses() {
			d.t.Fatalf("behind %d of %d: due %v, %d rings", g.q.Seq, head, due, len(g.bell))
		}
	}
	if seats != taken {
		d.t.Fatalf("%d seats, %d are taken", seats, taken)
	}
}

// disturb has one thing happen.
func (d *dining) disturb() {
	switch p := d.rng.IntN(40); {
	case p < 12:
		d.cook(1 + d.rng.IntN(3))
	case p < 16:
		time.Sleep(time.Millisecond)
	case p == 16:
		time.Sleep(takesInFor)
	case p == 18:
		time.Sleep(time.Second)
	case p == 19 && d.rng.IntN(4) == 0:
		d.cook([]int{70, mostNumbers + 10, lookAtOnce + 10}[d.rng.IntN(3)])
	case p == 20 && d.rng.IntN(4) == 0:
		time.Sleep(idleEnd + 2*time.Second)
	case p == 21:
		shard := d.rng.IntN(testShards)
		d.lagging[shard] = !d.lagging[shard] && d.rng.IntN(8) == 0
	case p == 22:
		if full := d.rng.IntN(6) == 0; full != d.full.Load() {
			d.full.Store(full)
			if d.fullAt = 0; full {
				d.fullAt = d.opts.Uptime()
			}
		}
	case p == 23:
		d.diners[d.rng.IntN(len(d.diners))].leaveFeed()
	case p == 24:
		g := d.diners[d.rng.IntN(len(d.diners))]
		g.shards = d.someShards()
		g.begin()
	default:
		g := d.diners[d.rng.IntN(len(d.diners))]
		if g.poll.ID == 0 || d.rng.IntN(8) == 0 {
			if d.rng.IntN(8) == 0 {
				g.at.Seq -= min(g.at.Seq, uint64(d.rng.IntN(10)))
			}
			g.begin()
		} else if g.isDue(d.opts.Uptime()) {
			g.answer()
		}
	}
}

// Whatever happens, a seat tells what has changed and nothing else, rings for that alone, and
// hands over what it cannot tell.
func TestSeatTellsWhatTheFeedWouldTell(t *testing.T) {
	var told, handed, entries int
	seeds := 400
	if testing.Short() {
		seeds = 50
	}
	for seed := range uint64(seeds) {
		withFeed(t, []int{40, 1 << 16}[seed%2], func(t *testing.T, k *kitchen) {
			d := &dining{kitchen: k, rng: rand.New(rand.NewPCG(seed, 7))}
			for range 5 {
				d.addDiner()
			}
			for range 200 {
				d.disturb()
				if d.rng.IntN(3) == 0 {
					d.verifyWaiting()
				}
			}
			for _, g := range d.diners {
				g.leaveFeed()
				g.leaveFeed()
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if w := &d.waiting; len(w.by)+len(w.lengths)+w.count+w.seats != 0 {
				t.Errorf("seed %d: there is left %+v", seed, w)
			}
			told, handed, entries = told+d.told, handed+d.handed, entries+d.entries
		})
	}
	if t.Logf("%d polls with %d changes, %d handed over", told, entries, handed); told < 8*seeds || entries < 12*seeds || handed < 8*seeds {
		t.Error("that is too few")
	}
}

func TestSeatsAreBounded(t *testing.T) {
	withFeed(t, 1<<16, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		begin := func(s *seat) bool {
			return s.beginPoll(watch.Poll{ID: 1}, &wire.WatchRequest{Bucket: 9, Shards: allShards(), Epoch: at.Epoch, Seq: at.Seq, Records: 9, Bytes: 9, Wait: time.Second})
		}
		seats := make([]*seat, mostSeats+1)
		for i := range seats {
			seats[i] = newSeat(k.Feed, subject{9, ""})
			if begin(seats[i]) != (i < mostSeats) {
				t.Fatalf("seat %d", i)
			}
		}
		if seats[1].leaveFeed(); !begin(seats[mostSeats]) || begin(seats[1]) {
			t.Error("a seat that was left is not taken")
		}
		if m := k.ask(wire.WatchRequest{Epoch: at.Epoch}); m.Pause != mostPause {
			t.Errorf("among so many one pauses %v", m.Pause)
		}
		for range mostNumbers + 1 {
			k.put("a")
		}
		synctest.Wait()
		if n := cap(seats[0].wait.numbers); n > 2*mostNumbers || !seats[0].wait.missed || len(k.waiting.by) != 0 {
			t.Errorf("%d numbers are noted", n)
		}
	})
}

// newGuest has somebody wait at a feed for all changes from now on.
func (k *kitchen) newGuest(f *Feed) *diner {
	d := &dining{kitchen: k}
	g := &diner{seat: newSeat(f, subject{9, ""}), d: d, shards: allShards()}
	m, err := f.Answer(k.t.Context(), 0, g.query(1, 0))
	if err != nil {
		k.t.Fatal(err)
	}
	g.at = watch.Position{Epoch: m.Epoch, Seq: m.Seq}
	g.wait.seen = m.Seq
	if _, err = f.Answer(k.t.Context(), 0, g.query(1, 0)); err != nil || !g.beginPoll(watch.Poll{ID: 1}, g.query(9, time.Second)) {
		k.t.Fatal("no seat", err)
	}
	return g
}

// A poll without a goroutine asks for nothing that may take long, be it whether there is room
// on a disk.
func TestSeatAsksNoDisk(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		g := k.newGuest(k.Feed)
		time.Sleep(2 * takesInFor)
		k.opts.TakesIn = func() bool { t.Error("the disk is asked"); return true }
		k.put("a")
		if synctest.Wait(); !g.isDue(k.opts.Uptime()) {
			t.Error("it waits")
		}
		if m, told := g.answerPoll(t.Context()); told {
			t.Errorf("it answers %+v", m)
		}
	})
}

func TestSeatDoesNotDependOnWhoMatches(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		f := NewFeed(k.opts) // of which nobody matches changes
		g := k.newGuest(f)
		f.Stage(watch.NewEntry(9, 1, "a", []byte("item"), watch.Changed))
		f.Publish()
		time.Sleep(time.Second)
		f.tookIn.Store(int64(k.opts.Uptime()))
		if m, told := g.answerPoll(t.Context()); !told || len(m.Entries) != 1 || m.Seq != 1 {
			t.Errorf("it answers %+v, %v", m, told)
		}
	})
}

func TestSeatIsRungOnce(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		g := k.newGuest(k.Feed)
		k.put("a")
		synctest.Wait()
		if len(g.bell) != 1 {
			t.Fatal("it is not rung")
		}
		<-g.bell
		k.put("b")
		if synctest.Wait(); len(g.bell) != 0 || len(g.wait.numbers) != 2 {
			t.Errorf("it is rung again, and notes %v", g.wait.numbers)
		}
	})
}

// Where changes were forgotten before they were matched, a seat lacks some.
func TestSeatKnowsWhatItMisses(t *testing.T) {
	w := newWaitingPolls()
	polls := []*waitingPoll{{stays: true, waits: true}, {stays: true, numbers: []uint64{1}}, {}}
	for _, p := range polls {
		w.putIn(p)
	}
	if woken := w.wakeAll(5, nil); len(woken) != 2 || slices.Contains(woken, polls[1]) || len(w.by) != 0 {
		t.Errorf("woken %v, %+v", woken, w)
	}
	for i, p := range polls[:2] {
		if !p.missed || len(p.numbers) > 0 || p.waits {
			t.Errorf("seat %d is %+v", i, p)
		}
	}
}

// withReader has somebody watch at the node of a feed. next fails unless something comes
// within a limit.
func withReader(t *testing.T, fn func(t *testing.T, k *kitchen, r *Reader, next func(limit time.Duration) string)) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		group := lifecycle.NewGroup(t.Context())
		w := NewWatches(Options{
			Self: 1, Homes: k.homes, Local: k.Feed, Group: group, Beat: testBeat, Now: k.opts.Uptime, Early: k.opts.Early,
			Call: func(context.Context, view.NodeID, string, []byte) ([]byte, error) {
				return nil, errors.New("nobody is there")
			},
		})
		r := w.Begin(Query{Bucket: &layout.Bucket{ID: 9}, Live: func(version.Item) bool { return true }, Due: func(version.Item) version.HLC { return 0 },
			BeginFill: func([]watch.Fill) (Fill, error) { return nil, errors.New("nothing to read") }})
		fn(t, k, r, func(limit time.Duration) string {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			switch e, err := r.Next(ctx); {
			case err != nil:
				return "nothing"
			case e.Mark != nil && e.Mark.Gap:
				return "gap"
			case e.Mark != nil:
				return "current"
			default:
				return e.Key
			}
		})
		r.Close()
		if k.waiting.seats != 0 || len(k.waiting.by) != 0 {
			t.Errorf("there is left %+v", k.waiting)
		}
		group.Close()
	})
}

// cookItem changes a key that reads.
func (k *kitchen) cookItem(key string, n uint64, value []byte) {
	a := version.Actor{Store: 1, Session: 1, Seq: 1}
	it := version.Item{Ctx: version.Context{{A: a, N: n}}, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: n}, Value: value}}}
	k.records[key] = wire.AppendItem(nil, &it)
	k.change(key, watch.Changed, k.records[key])
}

// Whoever does not look for a minute has not lost the store of its own node.
func TestReaderThatComesBackLateStillFollows(t *testing.T) {
	withReader(t, func(t *testing.T, k *kitchen, r *Reader, next func(limit time.Duration) string) {
		want := func(limit time.Duration, what string) {
			t.Helper()
			if got := next(limit); got != what {
				t.Fatalf("it tells %s, not %s", got, what)
			}
		}
		k.opts.Load = func(ctx context.Context, at layout.Place) ([]byte, error) { return k.records[at.Key], ctx.Err() }
		want(time.Second, "current")
		want(10*time.Millisecond, "nothing")
		k.cookItem("a", 1, nil)
		want(time.Second, "a")
		want(10*time.Millisecond, "nothing")
		if k.waiting.seats != 1 || r.seat.poll.ID == 0 {
			t.Fatal("it does not wait at its seat")
		}
		for n := uint64(2); n < 5; n++ {
			time.Sleep(time.Minute)
			k.cookItem("b", n, make([]byte, watch.KeptItem)) // it must be read, by its feed
			synctest.Wait()
			want(time.Second, "b")
			want(10*time.Millisecond, "nothing")
		}
		begun := time.Now()
		for n := uint64(5); n < 9; n++ {
			k.cookItem("c", n, nil)
			want(time.Second, "c")
		}
		if time.Since(begun) > 8*leastPause {
			t.Errorf("four changes take %v", time.Since(begun))
		}
		k.full.Store(true)
		want(3*testBeat, "gap")
	})
}
