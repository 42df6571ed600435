package scan

import (
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const patience = 2 * time.Second

// whomToAsk lists the stores of the asks that are due.
func whomToAsk(s *Scan, now time.Duration) (ids []view.NodeID, byStore map[view.NodeID]Ask) {
	byStore = make(map[view.NodeID]Ask)
	for _, a := range s.Asks(now) {
		ids = append(ids, a.To)
		byStore[a.To] = a
	}
	return ids, byStore
}

// planOf is of one shard, of which so many homes must vouch.
func planOf(need int, homes ...view.NodeID) Plan {
	return Plan{Shards: []Shard{{Homes: homes, Need: need}}, Stores: homes}
}

func pageOf(vouched bool, keys ...string) Page {
	p := Page{Vouched: NewShards(1)}
	if vouched {
		p.Vouched.Add(0)
	}
	for _, key := range keys {
		p.Records = append(p.Records, Record{Key: key, Item: []byte("item of " + key)})
	}
	return p
}

// takeKeys takes what is settled.
func takeKeys(s *Scan) (keys []string, state State) {
	for {
		f, state := s.Next()
		if state != Settled {
			return keys, state
		}
		keys = append(keys, f.Key)
	}
}

func equalKeys(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
}

func TestHomeThatFailsIsReplacedFromTheLastSettledKeyOn(t *testing.T) {
	s := New(Bounds{}, planOf(2, 1, 2, 3), patience, 0)
	ids, asks := whomToAsk(s, 0)
	if !slices.Equal(ids, []view.NodeID{1, 2}) {
		t.Fatalf("asked %v first", ids)
	}
	first := pageOf(true, "a", "b", "c")
	first.More, first.UpTo = true, "c"
	s.Paged(asks[1].ID, first, 0)
	if keys, _ := takeKeys(s); keys != nil {
		t.Fatalf("%q came before both were heard", keys)
	}
	second := pageOf(true, "a", "b")
	second.More, second.UpTo = true, "b"
	s.Paged(asks[2].ID, second, 0)
	keys, state := takeKeys(s)
	if equalKeys(t, keys, "a", "b"); state != Waiting {
		t.Fatalf("state %v", state)
	}
	_, asks = whomToAsk(s, 0)
	s.Failed(asks[1].ID, 0)
	s.Paged(asks[2].ID, pageOf(true), 0)
	ids, asks = whomToAsk(s, 0)
	if !slices.Equal(ids, []view.NodeID{3}) || asks[3].Within.Has("b") || !asks[3].Within.Has("b\x00") {
		t.Fatalf("asked %v in the place of 1: %+v", ids, asks)
	}
	s.Paged(asks[3].ID, pageOf(true, "c"), 0)
	keys, state = takeKeys(s)
	if equalKeys(t, keys, "c"); state != Ended || s.Gaps() != nil {
		t.Fatalf("state %v", state)
	}
}

func TestWhatNoHomeCanTellComesFromOthersAndIsAGap(t *testing.T) {
	s := New(Bounds{}, Plan{Shards: []Shard{{Homes: []view.NodeID{3}, Need: 1}}, Stores: []view.NodeID{1, 2, 3}}, patience, 0)
	_, asks := whomToAsk(s, 0)
	s.Paged(asks[3].ID, pageOf(false), 0) // it has just become a home
	ids, asks := whomToAsk(s, 0)
	if !slices.Equal(ids, []view.NodeID{1, 2}) || !slices.Equal(s.Gaps(), []int{0}) {
		t.Fatalf("asked %v", ids)
	}
	s.Paged(asks[1].ID, pageOf(true, "a"), 0)
	s.Paged(asks[2].ID, pageOf(true, "b"), 0)
	f, _ := s.Next()
	if f.Key != "a" || f.Replies != 1 || f.Disputed {
		t.Fatalf("who is no home vouches: %+v", f)
	}
	keys, state := takeKeys(s)
	if equalKeys(t, keys, "b"); state != Ended || s.Gaps() != nil {
		t.Fatalf("state %v; a gap is told once", state)
	}
}

func TestStoreThatFailedIsLeftAloneForAWhile(t *testing.T) {
	s := New(Bounds{}, planOf(2, 1, 2), patience, 0)
	_, asks := whomToAsk(s, 0)
	page := pageOf(true, "a")
	page.More, page.UpTo = true, "a"
	s.Paged(asks[1].ID, page, 0)
	s.Failed(asks[2].ID, 0)
	keys, _ := takeKeys(s)
	if equalKeys(t, keys, "a"); !slices.Equal(s.Gaps(), []int{0}) {
		t.Fatal("a shard of which one home is left is no gap")
	}
	if ids, _ := whomToAsk(s, patience-1); !slices.Equal(ids, []view.NodeID{1}) {
		t.Fatalf("asked %v before its time", ids)
	}
	ids, asks := whomToAsk(s, patience)
	if !slices.Equal(ids, []view.NodeID{2}) || asks[2].Within.Has("a") {
		t.Fatalf("asked %v when it was time: %+v", ids, asks)
	}
}

func TestPageThatIsNoAnswerIsAFailure(t *testing.T) {
	more := func(p Page, upTo string) Page { p.More, p.UpTo = true, upTo; return p }
	for name, p := range map[string]Page{
		"out of order":      pageOf(true, "b", "a"),
		"a key twice":       pageOf(true, "b", "b"),
		"before the start":  pageOf(true, "B"),
		"behind the end":    pageOf(true, "z"),
		"beyond its end":    more(pageOf(true, "b", "c"), "b"),
		"ends at the end":   more(pageOf(true, "b"), "z"),
		"ends at no place":  more(pageOf(true), ""),
		"ends at the start": more(pageOf(true), "B"),
	} {
		s := New(Bounds{Lower: "a", Upper: "z", Bounded: true}, planOf(1, 1, 2), patience, 0)
		_, asks := whomToAsk(s, 0)
		s.Paged(asks[1].ID, p, 0)
		if ids, _ := whomToAsk(s, 0); !slices.Equal(ids, []view.NodeID{2}) {
			t.Errorf("%s: asked %v then", name, ids)
		}
	}
}

// Pages that hold nothing of what was asked for get a scan nowhere, be they empty or of
// other shards. One with a record makes up for those before it.
func TestStoreWithoutARecordForLongHasFailed(t *testing.T) {
	for _, other := range []bool{false, true} {
		plan := Plan{Shards: []Shard{{Homes: []view.NodeID{1, 2}, Need: 1}, {}}, Stores: []view.NodeID{1, 2}}
		s := New(Bounds{}, plan, patience, 0)
		upTo := "a"
		for n := range 2*mostEmpty + 2 {
			_, asks := whomToAsk(s, 0)
			if asks[1].ID == 0 {
				t.Fatalf("other %v: it has failed after %d pages", other, n)
			}
			upTo += "\x00"
			p := pageOf(true)
			p.More, p.UpTo = true, upTo
			switch {
			case n == mostEmpty:
				p.Records = []Record{{Key: upTo, Item: []byte("i")}}
			case other:
				p.Records = []Record{{Key: upTo, Shard: 1, Item: []byte("i")}}
			}
			s.Paged(asks[1].ID, p, 0)
			if _, state := s.Next(); (state == Settled) != (n == mostEmpty) {
				t.Fatalf("other %v: state %v behind page %d", other, state, n)
			}
		}
		if ids, _ := whomToAsk(s, 0); !slices.Equal(ids, []view.NodeID{2}) {
			t.Errorf("other %v: asked %v then", other, ids)
		}
	}
}

func TestDamagedRecordSaysNothing(t *testing.T) {
	s := New(Bounds{}, planOf(2, 1, 2), patience, 0)
	_, asks := whomToAsk(s, 0)
	bad := pageOf(true, "a", "b")
	bad.Records[0] = Record{Key: "a", Damaged: true}
	s.Paged(asks[1].ID, bad, 0)
	s.Paged(asks[2].ID, pageOf(true, "a", "b"), 0)
	if f, _ := s.Next(); !f.Damaged || f.Disputed || f.Replies != 1 || len(f.Copies) != 1 {
		t.Errorf("a damaged record counts: %+v", f)
	}
	if f, _ := s.Next(); f.Damaged || f.Disputed || f.Replies != 2 || len(f.Copies) != 1 {
		t.Errorf("two equal copies: %+v", f)
	}
}

func TestWhomNobodyReachesIsAGapAtOnce(t *testing.T) {
	s := New(Bounds{}, Plan{Shards: make([]Shard, 3)}, patience, 0)
	if _, state := s.Next(); state != Ended || s.Reached() || len(s.Gaps()) != 0 {
		t.Error("shards that need nobody are gaps")
	}
	s = New(Bounds{}, Plan{Shards: []Shard{{Need: 1}, {Need: 1}}}, patience, 0)
	if _, state := s.Next(); state != Ended || s.Reached() || !slices.Equal(s.Gaps(), []int{0, 1}) {
		t.Error("without a store there is no gap")
	}
}

func TestWhoIsOutOfReachByTheRosterIsNotWaitedFor(t *testing.T) {
	s := New(Bounds{}, planOf(2, 1, 2, 3), patience, 0)
	_, asks := whomToAsk(s, 0)
	s.Paged(asks[1].ID, pageOf(true, "a"), 0)
	s.Replan(planOf(2, 1, 3), 0)
	_, asks = whomToAsk(s, 0)
	if asks[3].ID == 0 {
		t.Fatal("nobody is asked in the place of one that is gone")
	}
	s.Paged(asks[3].ID, pageOf(true, "a", "b"), 0)
	keys, state := takeKeys(s)
	if equalKeys(t, keys, "a", "b"); state != Ended {
		t.Fatalf("state %v", state)
	}
}

func TestStoreThatFailedHasNotReadAShardWhole(t *testing.T) {
	s := New(Bounds{}, planOf(2, 1, 2, 3), patience, 0)
	_, asks := whomToAsk(s, 0)
	if !s.ReadWhole(1, 0) || !s.ReadWhole(2, 0) || s.ReadWhole(3, 0) {
		t.Fatal("two are asked for all of it")
	}
	s.Paged(asks[1].ID, pageOf(true, "a", "b"), 0)
	s.Paged(asks[2].ID, pageOf(true, "a", "b"), 0)
	_, _ = s.Next()
	s.Replan(planOf(2, 1, 3), 0)
	s.Replan(planOf(2, 1, 2), 0) // it is back, and asked for the rest
	if !s.ReadWhole(1, 0) || s.ReadWhole(2, 0) || s.ReadWhole(3, 0) {
		t.Error("who was away meanwhile has been asked for all of it")
	}
}
