package watching

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const testBeat = time.Second

// hall is a node whose watches ask a feed, as if it were another one's.
type hall struct {
	*kitchen
	w     *Watches
	calls atomic.Int64
	fails atomic.Bool
	mute  atomic.Bool // calls get no answer
	group *lifecycle.Group
}

func withHall(t *testing.T, fn func(t *testing.T, h *hall)) {
	withFeed(t, 1<<16, func(t *testing.T, k *kitchen) {
		h := &hall{kitchen: k, group: lifecycle.NewGroup(t.Context())}
		h.w = NewWatches(Options{
			Self: 2, Homes: k.homes, Group: h.group, Beat: testBeat, Now: k.opts.Uptime, Early: k.opts.Early,
			Call: func(ctx context.Context, to view.NodeID, _ string, req []byte) ([]byte, error) {
				h.calls.Add(1)
				if h.mute.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				q, err := wire.DecodeWatchRequest(req)
				if err != nil || h.fails.Load() {
					return nil, errors.Join(err, errors.New("out of reach"))
				}
				m, err := h.Answer(ctx, 2, &q)
				return wire.AppendWatchReply(nil, &m), err
			},
		})
		fn(t, h)
		h.group.Close()
	})
}

// guest is a reader of whom the test is the core.
type guest struct {
	*Reader
	h   *hall
	at  watch.Position
	all []bool
}

func (h *hall) newGuests(n int) (guests []*guest) {
	for range n {
		r := &Reader{w: h.w, q: Query{Bucket: &layout.Bucket{ID: 9}}}
		guests = append(guests, &guest{Reader: r, h: h, all: []bool{true, true, true, true}})
	}
	return guests
}

// ask polls from where the guest stands, and goes on from the answer.
func (g *guest) ask(prefix string) (wire.WatchReply, error) {
	return g.askOf(1, prefix)
}

func (g *guest) askOf(to view.NodeID, prefix string) (wire.WatchReply, error) {
	ctx, cancel := context.WithTimeout(g.h.t.Context(), 3*testBeat)
	defer cancel()
	p := &watch.Poll{ID: 1, To: to, At: g.at, Shards: g.all, Within: 3 * testBeat}
	q := &wire.WatchRequest{Bucket: 9, Prefix: prefix, Shards: shardsOf(p.Shards), Epoch: g.at.Epoch, Seq: g.at.Seq, Records: 100, Bytes: 1 << 20, Wait: testBeat}
	m, err := g.askNearby(ctx, p, q)
	if err == nil {
		err = checkReply(q, &m)
	}
	if err == nil {
		g.at = watch.Position{Epoch: m.Epoch, Seq: m.Seq}
	}
	return m, err
}

// each has all ask at once, and returns what they are told.
func (h *hall) each(guests []*guest, prefix string) []wire.WatchReply {
	out := make([]wire.WatchReply, len(guests))
	var all sync.WaitGroup
	for i, g := range guests {
		all.Go(func() {
			m, err := g.ask(prefix)
			if err != nil {
				h.t.Errorf("guest %d: %v", i, err)
			}
			out[i] = m
		})
	}
	all.Wait()
	return out
}

// settle has guests begin and a relay run.
func (h *hall) settle(guests []*guest) {
	h.each(guests, "")
	h.each(guests, "")
	h.each(guests, "")
	h.calls.Store(0)
}

func (h *hall) running() int {
	synctest.Wait()
	h.w.relays.mu.Lock()
	defer h.w.relays.mu.Unlock()
	return h.w.relays.running
}

func TestRelayAsksOnceForMany(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		few := h.newGuests(readersToRelay - 1)
		h.settle(few)
		if h.running() != 0 {
			t.Fatal("few watches have a relay")
		}
		guests := append(few, h.newGuests(17)...)
		h.settle(guests)
		begun := time.Now()
		for range 5 {
			h.each(guests, "none")
		}
		if took, calls := time.Since(begun), h.calls.Load(); took < 4*testBeat || took > 8*testBeat || calls < 4 || calls > 9 {
			t.Errorf("five polls of each took %v and %d calls", took, calls)
		}
		var late sync.WaitGroup
		begun = time.Now()
		for i, g := range guests {
			late.Go(func() {
				m, err := g.ask(fmt.Sprintf("%02d", i))
				if want := "1 [" + fmt.Sprintf("%02d/k", i) + "]"; err != nil || fmt.Sprint(len(m.Entries), keysOf(&m)) != want {
					t.Errorf("guest %d is told %+v, %v", i, m, err)
				}
			})
		}
		synctest.Wait()
		for i := range guests {
			h.put(fmt.Sprintf("%02d/k", i))
		}
		if late.Wait(); time.Since(begun) > 2*leastPause {
			t.Errorf("they are told after %v", time.Since(begun))
		}
		for _, g := range guests[1:] {
			h.w.relays.leaveRelays(g.Reader)
		}
		time.Sleep(2 * testBeat)
		if h.running() != 0 {
			t.Error("a relay is left for one watch")
		}
		h.w.relays.leaveRelays(guests[0].Reader)
		if n := len(h.w.relays.all); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// Who no longer asks, without a word, does not keep a relay running.
func TestRelayEndsWhenNobodyAsks(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		h.settle(h.newGuests(8))
		if h.running() != 1 {
			t.Fatal("there is no relay")
		}
		time.Sleep((readerBeats + 2) * testBeat)
		if h.running() != 0 || len(h.w.relays.all) != 0 {
			t.Error("it runs for nobody")
		}
	})
}

// What a store refuses, doubts or has forgotten each hears of, and so does one that is elsewhere
// in its changes.
func TestRelayHidesNothingThatTheStoreSays(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(10)
		h.settle(guests)
		behind := guests[0].at
		shard := h.homes.ShardOf(9, "gone")
		h.change("gone", watch.Gone, nil)
		for i, m := range h.each(guests, "") {
			if !scan.Shards(m.Doubtful).Has(shard) {
				t.Errorf("guest %d does not hear of a doubt: %+v", i, m)
			}
		}
		h.lagging[shard] = true
		for round := range 2 {
			if round > 0 {
				h.put("a")
			}
			for i, m := range h.each(guests, "") {
				if !scan.Shards(m.Refused).Has(shard) {
					t.Errorf("guest %d does not hear of a refusal: %+v", i, m)
				}
			}
		}
		clear(h.lagging)
		h.each(guests, "")
		h.each(guests, "")
		h.put("b")
		h.each(guests, "")
		guests[3].at = behind
		if m, err := guests[3].ask(""); err != nil || !scan.Shards(m.Doubtful).Has(shard) {
			t.Errorf("who is behind is told %+v, %v", m, err)
		}
		guests[3].at = watch.Position{Epoch: behind.Epoch + 2}
		if m, err := guests[3].ask(""); err != nil || !m.Forgotten {
			t.Errorf("who was elsewhere is told %+v, %v", m, err)
		}
		guests[3].at = watch.Position{}
		if m, err := guests[3].ask(""); err != nil || m.Epoch != behind.Epoch {
			t.Errorf("who begins is told %+v, %v", m, err)
		}
		h.calls.Store(0)
		h.each(guests, "")
		h.put("c")
		if h.each(guests, ""); h.calls.Load() > 12 {
			t.Errorf("the relay serves nobody any more: %d calls", h.calls.Load())
		}
	})
}

// Whoever waits fails in its time if the store is silent, and at once if it is out of reach.
func TestRelayFailsWithItsStore(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(10)
		h.settle(guests)
		askAll := func() (failed int) {
			var all sync.WaitGroup
			var n atomic.Int64
			for _, g := range guests {
				all.Go(func() {
					if _, err := g.ask(""); err != nil {
						n.Add(1)
					}
				})
			}
			all.Wait()
			return int(n.Load())
		}
		h.mute.Store(true)
		begun := time.Now()
		failed := askAll()
		if failed += askAll(); failed < 10 || time.Since(begun) > 6*testBeat {
			t.Errorf("%d polls of a silent store have failed after %v", failed, time.Since(begun))
		}
		h.mute.Store(false)
		h.settle(guests)
		h.fails.Store(true)
		begun = time.Now()
		failed = askAll()
		if failed += askAll(); failed < 10 || time.Since(begun) > 2*testBeat {
			t.Errorf("%d polls of a store out of reach have failed after %v", failed, time.Since(begun))
		}
		h.fails.Store(false)
		h.each(guests, "")
		h.put("a")
		h.settle(guests)
		h.put("b")
		for i, m := range h.each(guests, "") {
			if len(m.Entries) != 1 || m.Entries[0].Key != "b" {
				t.Errorf("guest %d is told %+v", i, m)
			}
		}
		if h.calls.Load() > 4 {
			t.Errorf("the relay serves nobody any more: %d calls", h.calls.Load())
		}
	})
}

// A watch that ends does not wait on, and leaves no poll.
func TestRelayLetsAPollGo(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(6)
		h.settle(guests)
		time.Sleep(10 * time.Millisecond)
		p := &watch.Poll{ID: 1, To: 1, At: guests[0].at, Shards: guests[0].all, Within: 3 * testBeat}
		q := &wire.WatchRequest{Bucket: 9, Shards: allShards(), Epoch: p.At.Epoch, Seq: p.At.Seq, Records: 1, Bytes: 1, Wait: testBeat}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		begun := time.Now()
		_, err := guests[0].askNearby(ctx, p, q)
		if !errors.Is(err, context.Canceled) || time.Since(begun) > time.Millisecond {
			t.Errorf("it ends after %v by %v", time.Since(begun), err)
		}
		for _, l := range h.w.relays.all {
			if l.waiting.count != 0 || len(l.waiting.by) != 0 {
				t.Errorf("there is left %+v", l.waiting)
			}
		}
	})
}

// Watches of other shards than those asked for are served once these are asked for.
func TestRelayAsksForTheShardsThatAreWanted(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		shard := h.homes.ShardOf(9, "k")
		guests := h.newGuests(10)
		for _, g := range guests {
			g.all = make([]bool, testShards)
			g.all[(shard+1)%testShards] = true
		}
		h.settle(guests)
		guests[0].all = make([]bool, testShards)
		guests[0].all[shard] = true
		var told wire.WatchReply
		var asked sync.WaitGroup
		asked.Go(func() { told, _ = guests[0].ask("") })
		synctest.Wait()
		h.put("k")
		if asked.Wait(); len(told.Entries) != 1 {
			t.Errorf("who wants another shard is told %+v", told)
		}
		h.settle(guests)
		h.put("k")
		time.Sleep(2 * leastPause)
		for i, m := range h.each(guests, "") {
			if (len(m.Entries) == 1) != (i == 0) {
				t.Errorf("guest %d is told %+v", i, m)
			}
		}
		if h.calls.Load() > 4 {
			t.Errorf("%d calls", h.calls.Load())
		}
	})
}

func TestRelaysAreBounded(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(readersToRelay)
		for store := range view.NodeID(mostRelays + 3) {
			for _, g := range guests {
				g.at = watch.Position{}
				_, _ = g.askOf(store+10, "")
			}
		}
		if n := h.running(); n != mostRelays {
			t.Errorf("%d relays", n)
		}
	})
}

// While a store tells of other keys all the time, a poll waits all the same.
func TestRelayHasPollsWait(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(8)
		h.settle(guests)
		begun := time.Now()
		var busy sync.WaitGroup
		busy.Go(func() {
			for range 300 {
				h.put("other")
				time.Sleep(10 * time.Millisecond)
			}
		})
		for range 2 {
			h.each(guests, "none")
		}
		if took := time.Since(begun); took < testBeat || took > 3*testBeat {
			t.Errorf("two polls take %v", took)
		}
		busy.Wait()
	})
}

func TestRelayOfWhatNobodyWatchesRests(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(8)
		h.settle(guests)
		for i := range watch.RelayEntries + 100 {
			h.put(fmt.Sprint(i))
		}
		h.each(guests, "none")
		time.Sleep(testBeat)
		if h.running() != 0 {
			t.Fatal("a relay goes on that tells nobody anything")
		}
		h.each(guests, "none")
		h.each(guests, "none")
		if h.running() != 0 {
			t.Error("it does not rest")
		}
		time.Sleep(wastedFor)
		h.each(guests, "none")
		if h.running() != 1 {
			t.Error("it rests for ever")
		}
	})
}

// An answer ends with the records and the bytes that were asked for, and goes on at once.
func TestRelayAnswersInPages(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(8)
		h.settle(guests)
		before := guests[0].at
		for i := range 150 {
			h.put(fmt.Sprint(i))
		}
		h.each(guests, "")
		h.each(guests, "")
		h.calls.Store(0)
		guests[0].at = before
		first, err := guests[0].ask("")
		if err != nil || len(first.Entries) != 100 || first.Pause != 0 || first.Seq != before.Seq+100 {
			t.Fatalf("the first page has %d changes up to %d, %v", len(first.Entries), first.Seq, err)
		}
		next, err := guests[0].ask("")
		if err != nil || len(next.Entries) != 50 || next.Pause == 0 || next.Seq != before.Seq+150 || h.calls.Load() > 1 {
			t.Errorf("the next one has %d changes up to %d, %v", len(next.Entries), next.Seq, err)
		}
	})
}

func (h *hall) theRelay() *relay {
	for _, l := range h.w.relays.all {
		return l
	}
	h.t.Fatal("there is no relay")
	return nil
}

// Who waits for a shard that is no longer asked for would miss what comes there meanwhile: it
// asks for itself at once.
func TestRelayLetsGoWhoseShardsAreLeftOut(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(6)
		h.settle(guests)
		var waits sync.WaitGroup
		waits.Go(func() { _, _ = guests[0].ask("") })
		synctest.Wait()
		before := h.calls.Load()
		one := make([]bool, testShards)
		one[0] = true
		waits.Go(func() { h.theRelay().askOnce(t.Context(), one) })
		if synctest.Wait(); h.calls.Load() < before+2 {
			t.Error("it waits on")
		}
		waits.Wait()
	})
}

// A relay that begins again does not bring what nobody here has missed.
func TestRelayBeginsAgainWhereTheStoreIs(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		guests := h.newGuests(6)
		h.settle(guests)
		old := guests[0].at
		for _, g := range guests[1:] {
			h.w.relays.leaveRelays(g.Reader)
		}
		if time.Sleep(2 * testBeat); h.running() != 0 {
			t.Fatal("it runs for one")
		}
		for i := range 50 {
			h.put(fmt.Sprint(i))
		}
		h.settle(guests)
		if h.running() != 1 {
			t.Fatal("it does not run again")
		}
		l := h.theRelay()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.held.Holds(old, guests[0].all) || !l.held.Holds(guests[0].at, guests[0].all) {
			t.Error("it went through all that came since it ended")
		}
	})
}

// A store that tells nothing is not asked all the time.
func TestRelayLeavesARefusingStoreInPeace(t *testing.T) {
	withHall(t, func(t *testing.T, h *hall) {
		h.settle(h.newGuests(6))
		synctest.Wait()
		h.full.Store(true)
		time.Sleep(6 * testBeat)
		if n := h.calls.Load(); n > 20 {
			t.Errorf("it was asked %d times in six beats", n)
		}
		h.full.Store(false)
	})
}
