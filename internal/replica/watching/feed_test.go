package watching

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const testShards = 4

// kitchen has a feed, and what it reads beside its own changes.
type kitchen struct {
	*Feed
	t        *testing.T
	homes    *layout.Homes
	barriers int
	lagging  map[int]bool
	full     atomic.Bool // nothing is taken in
	from     view.NodeID
	records  map[string][]byte // large items
	ended    []string
}

// withFeed runs fn, in virtual time, with a feed of room for so many changes.
func withFeed(t *testing.T, entries int, fn func(t *testing.T, k *kitchen)) {
	synctest.Test(t, func(t *testing.T) {
		v := view.View{Self: 1, Roster: 1, Members: []view.Member{{ID: 1, Name: "one", Weight: 1, Storing: true, State: view.Alive}}}
		homes, err := layout.New(layout.Options{Self: 1, Shards: testShards, Stores: true, Silence: peering.NewSilence(time.Minute), Log: slog.New(slog.DiscardHandler)}, v)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		k := &kitchen{t: t, homes: homes, lagging: make(map[int]bool), records: make(map[string][]byte)}
		k.Feed = NewFeed(FeedOptions{
			Shards: testShards, Entries: entries, Homes: homes, Uptime: func() time.Duration { return time.Since(begun) },
			Barrier: func(context.Context) error { k.barriers++; return nil },
			Load:    func(_ context.Context, at layout.Place) ([]byte, error) { return k.records[at.Key], nil },
			ListEnded: func(_ context.Context, from []byte, _ version.HLC, _ int, each func(layout.Place, []byte)) ([]byte, error) {
				for _, key := range k.ended {
					each(homes.LocateKey(9, key), []byte("ended "+key))
				}
				k.ended = nil
				return from, nil
			},
			EndsFrom: func(version.HLC) []byte { return nil }, Early: func() version.HLC { return 0 },
			Lags: func(shard int) bool { return k.lagging[shard] }, TakesIn: func() bool { return !k.full.Load() },
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { k.KeepTelling(ctx) })
		fn(t, k)
		cancel()
		done.Wait()
	})
}

func (k *kitchen) change(key string, kind watch.Kind, item []byte) {
	at := k.homes.LocateKey(9, key)
	if k.Wanted() {
		k.Stage(watch.NewEntry(9, at.Shard, key, item, kind))
	}
	k.Publish()
}

func (k *kitchen) put(key string) { k.change(key, watch.Changed, []byte("item of "+key)) }

func allShards() []byte {
	all := scan.NewShards(testShards)
	for shard := range testShards {
		all.Add(shard)
	}
	return all
}

func (k *kitchen) ask(q wire.WatchRequest) wire.WatchReply {
	k.t.Helper()
	q.Bucket, q.Shards = 9, allShards()
	if q.Records == 0 {
		q.Records, q.Bytes = 100, 1<<20
	}
	m, err := k.Answer(k.t.Context(), k.from, &q)
	if err != nil {
		k.t.Fatal(err)
	}
	if err := checkReply(&q, &m); err != nil {
		k.t.Fatal(err)
	}
	return m
}

func keysOf(m *wire.WatchReply) (keys []string) {
	for i := range m.Entries {
		keys = append(keys, m.Entries[i].Key)
	}
	return keys
}

func TestFeedKeepsChangesOnceSomebodyAsks(t *testing.T) {
	withFeed(t, 100, func(t *testing.T, k *kitchen) {
		k.put("before")
		begin := k.ask(wire.WatchRequest{})
		if begin.Epoch == 0 || begin.Seq != 0 || k.barriers != 1 {
			t.Fatalf("it begins with %+v after %d barriers", begin, k.barriers)
		}
		k.put("a")
		k.put("b")
		k.put("a")
		next := k.ask(wire.WatchRequest{Epoch: begin.Epoch, Seq: begin.Seq, Wait: time.Second})
		if !slices.Equal(keysOf(&next), []string{"b", "a"}) || next.Seq != 3 || next.Entries[1].Step != 3 {
			t.Fatalf("answered %+v", next)
		}
		if next = k.ask(wire.WatchRequest{Epoch: begin.Epoch, Seq: 0, Records: 1, Bytes: 1 << 20}); next.Seq != 1 || next.Pause != 0 {
			t.Fatalf("a full answer is %+v", next)
		}
		if again := k.ask(wire.WatchRequest{}); again.Seq != 3 || k.barriers != 1 {
			t.Errorf("another watcher begins with %+v", again)
		}
		time.Sleep(idleEnd + 2*time.Second)
		if k.Wanted() {
			t.Error("changes are kept for nobody")
		}
		if late := k.ask(wire.WatchRequest{Epoch: begin.Epoch, Seq: 3}); !late.Forgotten || late.Epoch == begin.Epoch {
			t.Errorf("a watcher that comes later is answered %+v", late)
		}
	})
}

func TestPollWaitsForItsOwnChanges(t *testing.T) {
	withFeed(t, 1000, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		answers := make(map[string]wire.WatchReply)
		took := make(map[string]time.Duration)
		var mu sync.Mutex
		var all sync.WaitGroup
		begun := time.Now()
		for _, prefix := range []string{"", "a", "ab", "b", "none"} {
			all.Go(func() {
				m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq, Prefix: prefix, Wait: 3 * time.Second})
				mu.Lock()
				defer mu.Unlock()
				answers[prefix], took[prefix] = m, time.Since(begun)
			})
		}
		time.Sleep(time.Second)
		k.put("a")
		time.Sleep(time.Second)
		k.put("abc")
		all.Wait()
		for prefix, want := range map[string]time.Duration{"": time.Second, "a": time.Second, "ab": 2 * time.Second, "b": 3 * time.Second, "none": 3 * time.Second} {
			m := answers[prefix]
			if took[prefix] != want || (len(m.Entries) == 1) != (want < 3*time.Second) {
				t.Errorf("%q is answered after %v: %+v", prefix, took[prefix], m)
			}
		}
		// An empty answer moves on behind what was not meant.
		if m := answers["none"]; m.Seq != 2 {
			t.Errorf("it goes on from %d", m.Seq)
		}
		if k.waiting.count != 0 || len(k.waiting.by) != 0 || len(k.waiting.lengths) != 0 {
			t.Errorf("polls are left: %+v", k.waiting)
		}
	})
}

func TestWhatAnAnswerSaysBesideChanges(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		k.change("gone", watch.Gone, nil)
		k.change("large", watch.Changed, make([]byte, watch.KeptItem+1))
		k.change("lost", watch.Changed, make([]byte, watch.KeptItem+1))
		k.records["large"] = []byte("large item")
		m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq})
		if !slices.Equal(keysOf(&m), []string{"large"}) || string(m.Entries[0].Item) != "large item" {
			t.Errorf("answered %+v", m)
		}
		if doubt := k.homes.ShardOf(9, "gone"); !scan.Shards(m.Doubtful).Has(doubt) || m.Refused != nil {
			t.Errorf("shard %d is not in doubt: %+v", doubt, m)
		}
		at.Seq = m.Seq
		k.put("a")
		k.lagging[k.homes.ShardOf(9, "a")] = true
		begun := time.Now()
		if m = k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq, Wait: time.Second}); len(m.Entries) != 0 || !scan.Shards(m.Refused).Has(k.homes.ShardOf(9, "a")) {
			t.Errorf("a store that lags behind a purge tells %+v", m)
		}
		if m = k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: m.Seq, Wait: time.Second}); time.Since(begun) > 0 {
			t.Errorf("who can tell nothing lets others wait for %v", time.Since(begun))
		}
		clear(k.lagging)
		k.full.Store(true)
		if m = k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: m.Seq, Wait: time.Second}); time.Since(begun) > 0 || !slices.Equal(m.Refused, allShards()) {
			t.Errorf("a store that takes nothing in tells after %v %+v", time.Since(begun), m)
		}
		k.full.Store(false)
		k.ended = []string{"e"}
		m = k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: m.Seq, Wait: 5 * time.Second})
		if len(m.Entries) != 1 || !m.Entries[0].Ended || m.Entries[0].Key != "e" {
			t.Errorf("the end of a value is told as %+v", m)
		}
		for i := range 9 {
			k.put(fmt.Sprint(i))
		}
		if m = k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: m.Seq, Wait: time.Second}); !m.Forgotten || m.Seq != k.ring.Head() {
			t.Errorf("what was forgotten is told as %+v", m)
		}
	})
}

// A poll that has looked at a change before the feed tells of it is not woken by it: it waits.
func TestPollIsNotWokenByWhatItHasSeen(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		for range 100 { // which of the two comes first is a matter of the scheduler
			k.put("a")
			at = k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq})
			begun := time.Now()
			if m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq, Wait: time.Second}); time.Since(begun) != time.Second {
				t.Fatalf("woken after %v by %+v", time.Since(begun), m)
			}
		}
	})
}

// A store that takes nothing in says so, though it did a moment ago.
func TestFullStoreShowsNothing(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		time.Sleep(time.Second)
		at := k.ask(wire.WatchRequest{})
		m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq})
		if m.Refused != nil {
			t.Fatalf("it begins with %+v", m)
		}
		k.full.Store(true)
		time.Sleep(100 * time.Millisecond)
		if m = k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: m.Seq}); !slices.Equal(m.Refused, allShards()) {
			t.Errorf("a store that takes nothing in tells %+v", m)
		}
	})
}

// Polls of which one finds no place are answered at once, and told to come again later.
func TestPollsThatWaitAreBounded(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		var all sync.WaitGroup
		for i := range mostWaiting {
			all.Go(func() { k.ask(wire.WatchRequest{Epoch: at.Epoch, Prefix: fmt.Sprint(i), Wait: time.Second}) })
		}
		synctest.Wait()
		begun := time.Now()
		if m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Wait: time.Second}); time.Since(begun) > 0 || m.Pause != time.Second {
			t.Errorf("one more is answered %+v after %v", m, time.Since(begun))
		}
		all.Wait()
		if m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Wait: time.Second}); time.Since(begun) != 2*time.Second || m.Pause != leastPause {
			t.Errorf("a single one is answered %+v after %v", m, time.Since(begun))
		}
	})
}

// One node does not fill the requests that it may make with polls that wait.
func TestPollsOfOneNodeThatWaitAreBounded(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		k.from = 2
		var all sync.WaitGroup
		for range mostOfOne {
			all.Go(func() { k.ask(wire.WatchRequest{Epoch: at.Epoch, Wait: time.Second}) })
		}
		synctest.Wait()
		begun := time.Now()
		if m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Wait: time.Second}); time.Since(begun) > 0 || m.Pause != time.Second {
			t.Errorf("one more is answered %+v after %v", m, time.Since(begun))
		}
		for i, from := range []view.NodeID{0, 3} {
			k.from = from
			if k.ask(wire.WatchRequest{Epoch: at.Epoch, Wait: time.Second}); time.Since(begun) != time.Duration(i+1)*time.Second {
				t.Errorf("one of %v is answered after %v", from, time.Since(begun))
			}
		}
		all.Wait()
		if len(k.waiting.of) != 0 {
			t.Errorf("there are left %v", k.waiting.of)
		}
	})
}

func TestRepliesThatAreNone(t *testing.T) {
	q := wire.WatchRequest{Bucket: 9, Prefix: "a", Epoch: 7, Seq: 10, Records: 2, Bytes: 100}
	entry := func(step uint64, key string) wire.WatchEntry { return wire.WatchEntry{Step: step, Key: key} }
	for name, m := range map[string]wire.WatchReply{
		"goes back":           {Epoch: 7, Seq: 9},
		"another epoch":       {Epoch: 8, Seq: 11},
		"no epoch":            {Seq: 11},
		"a key not asked for": {Epoch: 7, Seq: 12, Entries: []wire.WatchEntry{entry(1, "b")}},
		"beyond its end":      {Epoch: 7, Seq: 12, Entries: []wire.WatchEntry{entry(3, "a")}},
		"out of order":        {Epoch: 7, Seq: 12, Entries: []wire.WatchEntry{entry(2, "a"), entry(1, "ab")}},
		"too many":            {Epoch: 7, Seq: 19, Entries: []wire.WatchEntry{entry(1, "a"), entry(2, "ab"), entry(3, "ac")}},
		"too much":            {Epoch: 7, Seq: 12, Entries: []wire.WatchEntry{{Step: 1, Key: "a", Item: make([]byte, 100)}, entry(2, "ab")}},
		"changes of nowhere":  {Epoch: 7, Seq: 19, Forgotten: true, Entries: []wire.WatchEntry{entry(1, "a")}},
	} {
		if checkReply(&q, &m) == nil {
			t.Errorf("%s: taken", name)
		}
	}
	m := wire.WatchReply{Epoch: 7, Seq: 12, Entries: []wire.WatchEntry{{Step: 1, Key: "a", Item: make([]byte, 99)}, {Step: 2, Key: "ab", Item: make([]byte, 1000)}}}
	if err := checkReply(&q, &m); err != nil {
		t.Error(err)
	}
}

// A change that is matched with polls after a poll has looked, and before it waits, is not
// missed.
func TestPollThatIsOvertakenDoesNotWait(t *testing.T) {
	withFeed(t, 8, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		k.put("a")
		synctest.Wait() // it has been matched
		w := &waitingPoll{about: subject{bucket: 9}, shards: allShards(), seen: at.Seq, wake: make(chan struct{}, 1)}
		if added, ready := k.addWaiting(w); !added || !ready {
			t.Fatalf("added %v, ready %v", added, ready)
		}
		reply := wire.WatchReply{Epoch: at.Epoch, Seq: at.Seq}
		if k.endWaiting(w, &reply); reply.Seq != 0 {
			t.Errorf("it goes on behind %d", reply.Seq)
		}
	})
}
