package exchange

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/epidemic"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

type (
	noticer     = Exchanger[view.NodeID, wire.NoticeVersion, wire.Notice]
	noticeTable = Table[view.NodeID, wire.NoticeVersion, wire.Notice]
)

// pair returns the exchangers of two nodes that call each other, and what they have
// called.
func pair() (a, b *noticer, calls *[]string) {
	calls = &[]string{}
	one := func(id view.NodeID, to **noticer) *noticer {
		rule := epidemic.Rule[view.NodeID, wire.NoticeVersion, wire.Notice]{
			Sum:    wire.Notice.Sum,
			Newer:  func(v, than wire.NoticeVersion) bool { return v.Seq > than.Seq },
			Append: func(dst []byte, s wire.NoticeSum) []byte { return append(dst, byte(s.Key), byte(s.Version.Seq)) },
		}
		believe := func() func(wire.NoticeSum) bool { return func(s wire.NoticeSum) bool { return s.Key < 10 } }
		x := &noticer{
			Set: NewTable(rule, func() time.Duration { return 0 }, believe),
			Words: Words[view.NodeID, wire.NoticeVersion, wire.Notice]{
				AppendQuery: wire.AppendNoticeSums, DecodeQuery: wire.DecodeNoticeSums,
				AppendSums: wire.AppendNoticeSums, DecodeSums: wire.DecodeNoticeSums,
				AppendSwap: wire.AppendNoticeSwap, DecodeSwap: wire.DecodeNoticeSwap,
			},
			SumsMethod: "sums", SwapMethod: "swap", Reads: make(chan struct{}, 2),
		}
		x.Call = func(ctx context.Context, _ view.NodeID, method string, req []byte) ([]byte, error) {
			*calls = append(*calls, method)
			switch method {
			case "sums":
				return (*to).ServeSums(ctx, id, req)
			case "bulk":
				return (*to).ServeBulk(ctx, id, req)
			}
			return (*to).ServeSwap(ctx, id, req)
		}
		return x
	}
	a, b = one(1, &b), one(2, &a)
	return a, b, calls
}

// Equal sets cost one request, others two. What is not believed stays where it is.
func TestWithMakesSetsEqual(t *testing.T) {
	a, b, calls := pair()
	put := func(x *noticer, said ...wire.Notice) {
		for _, n := range said {
			x.Set.(*noticeTable).Change(n.Node, func(time.Duration, wire.Notice) (wire.Notice, bool) { return n, true })
		}
	}
	put(a, wire.Notice{Node: 1, Seq: 3}, wire.Notice{Node: 2, Seq: 1}, wire.Notice{Node: 20, Seq: 1})
	put(b, wire.Notice{Node: 2, Seq: 4}, wire.Notice{Node: 3, Seq: 1}, wire.Notice{Node: 30, Seq: 1})
	if err := a.With(t.Context(), 2); err != nil || !slices.Equal(*calls, []string{"sums", "swap"}) {
		t.Fatalf("%v by %v", err, *calls)
	}
	seqs := func(x *noticer) (out []uint64) {
		for _, s := range x.Set.Sums() {
			out = append(out, uint64(s.Key), s.Version.Seq)
		}
		return out
	}
	if x, y := seqs(a), seqs(b); !slices.Equal(x, []uint64{1, 3, 2, 4, 3, 1, 20, 1}) || !slices.Equal(y, []uint64{1, 3, 2, 4, 3, 1, 30, 1}) {
		t.Errorf("%v and %v", x, y)
	}
	c, _, calls := pair()
	if err := c.With(t.Context(), 2); err != nil || !slices.Equal(*calls, []string{"sums"}) {
		t.Errorf("equal ones: %v by %v", err, *calls)
	}
	if err := c.Teller([]wire.Notice{{Node: 4, Seq: 1}})(t.Context(), 2); err != nil || len(*calls) != 2 {
		t.Errorf("told: %v by %v", err, *calls)
	}
}

// sifted counts the entries that come out of the decoder.
type sifted struct {
	*noticeTable
	entries int
}

func (s *sifted) Take(ctx context.Context, peer view.NodeID, said []wire.Notice) error {
	s.entries += len(said)
	return s.noticeTable.Take(ctx, peer, said)
}

func (s *sifted) Answer(ctx context.Context, peer view.NodeID, asked wire.NoticeSwap) ([]wire.Notice, error) {
	s.entries += len(asked.Have)
	return s.noticeTable.Answer(ctx, peer, asked)
}

// Of a message, asked for or not, no more gets into memory than is believed.
func TestMessagesTakeLittleRoom(t *testing.T) {
	var bomb wire.NoticeSwap
	for i := range 3000 {
		bomb.Have = append(bomb.Have, wire.Notice{Node: view.NodeID(i%100 + 1), Seq: uint64(i + 1)})
	}
	a, _, _ := pair()
	set := &sifted{noticeTable: a.Set.(*noticeTable)}
	a.Set = set
	if _, err := a.ServeSwap(t.Context(), 2, wire.AppendNoticeSwap(nil, bomb)); err != nil || set.entries != 9 {
		t.Errorf("%d entries of 9 that are believed, %v", set.entries, err)
	}
	a, b, _ := pair()
	set = &sifted{noticeTable: a.Set.(*noticeTable)}
	a.Set = set
	put(b, 1, 1)
	through := a.Call
	a.Call = func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
		if method == "swap" {
			return wire.AppendNoticeSwap(nil, bomb), nil
		}
		return through(ctx, peer, method, req)
	}
	if err := a.With(t.Context(), 2); err != nil || set.entries != 9 {
		t.Errorf("%d entries of 9 in an answer, %v", set.entries, err)
	}
}

func TestFewMessagesAreReadAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := pair()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req := wire.AppendNoticeSwap(nil, wire.NoticeSwap{})
		a.Reads <- struct{}{}
		if _, err := a.ServeSwap(ctx, 2, req); err != nil {
			t.Error(err)
		}
		a.Reads <- struct{}{}
		if _, err := a.ServeSwap(ctx, 2, req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third is read: %v", err)
		}
	})
}

// News wait for company, and are handed on until there are no more to come.
func TestHandOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		news := notify.NewBell()
		handed, ended := 0, make(chan struct{})
		go func() {
			defer close(ended)
			HandOn(t.Context(), news, 100*time.Millisecond, func(context.Context) { handed++ })
		}()
		for range 10 {
			news.Ring()
			time.Sleep(4 * time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if handed < 1 || handed > 2 {
			t.Errorf("ten news that came together were handed on %d times", handed)
		}
		close(news)
		<-ended
	})
}

// All partners are compared with over time, and one that fails is only one.
func TestCompareAsksAllOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Minute)
		defer cancel()
		asked := map[view.NodeID]int{}
		none := true
		partners := func() []view.NodeID {
			if none = !none; none {
				return nil
			}
			return []view.NodeID{2, 3, 4}
		}
		Compare(ctx, time.Minute, partners, func(_ context.Context, id view.NodeID) error {
			asked[id]++
			return errors.New("silent")
		})
		if n := asked[2] + asked[3] + asked[4]; len(asked) != 3 || n < 35 || n > 65 {
			t.Errorf("in 100 minutes asked %v", asked)
		}
	})
}

// largePair is a pair of which each notice takes 1 KiB, so that a part has 64 of them.
func largePair() (a, b *noticer, calls *[]string) {
	a, b, calls = pair()
	for _, x := range []**noticer{&a, &b} {
		(*x).Size = func(wire.Notice) int { return 1 << 10 }
		(*x).Bulk, (*x).BulkMethod = (*x).Set.(*noticeTable).Bulk(), "bulk"
	}
	return a, b, calls
}

// put has a node hold notices of some nodes.
func put(x *noticer, first, count int) {
	for i := range count {
		n := wire.Notice{Node: view.NodeID(first + i), Seq: 1}
		x.Set.(*noticeTable).Change(n.Node, func(time.Duration, wire.Notice) (wire.Notice, bool) { return n, true })
	}
	x.Set.(*noticeTable).TakeNews()
}

// believing has a table believe what the given function says yes to.
func believing(x *noticer, yes func(view.NodeID) bool) {
	x.Set.(*noticeTable).believe = func() func(wire.NoticeSum) bool { return func(s wire.NoticeSum) bool { return yes(s.Key) } }
}

func everybody(view.NodeID) bool { return true }

// Many large entries move in parts, both ways. Of a comparison that is broken off stays
// what has come, and nobody is told of any.
func TestManyMoveInParts(t *testing.T) {
	a, b, calls := largePair()
	believing(a, everybody)
	believing(b, everybody)
	put(a, 1, 300)
	put(b, 1001, 500)
	broken, through := errors.New("broken"), a.Call
	left := 4
	a.Call = func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
		if left--; left < 0 {
			return nil, broken
		}
		if method == "bulk" {
			swap, err := wire.DecodeNoticeSwap(req, func(wire.NoticeSum) bool { return true })
			if err != nil || len(swap.Have) > 64 || len(swap.Want) > 200 {
				t.Errorf("a part hands over %d and asks for %d, %v", len(swap.Have), len(swap.Want), err)
			}
		}
		return through(ctx, peer, method, req)
	}
	if err := a.With(t.Context(), 2); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if x, y := len(a.Set.Sums()), len(b.Set.Sums()); x != 300+3*64 || y != 500+3*64 {
		t.Errorf("after three parts %d and %d", x, y)
	}
	left = 1 << 30
	if err := a.With(t.Context(), 2); err != nil || len(a.Set.Sums()) != 800 || a.Set.Digest() != b.Set.Digest() {
		t.Errorf("%v, %d and %d", err, len(a.Set.Sums()), len(b.Set.Sums()))
	}
	if x, y := a.Set.(*noticeTable).TakeNews(), b.Set.(*noticeTable).TakeNews(); len(x)+len(y) > 0 {
		t.Errorf("%d and %d are to be handed on", len(x), len(y))
	}
	if slices.Contains(*calls, "swap") {
		t.Errorf("called %v", *calls)
	}
}

// Few entries are news on both sides.
func TestFewAreNews(t *testing.T) {
	a, b, calls := largePair()
	believing(a, everybody)
	believing(b, everybody)
	put(a, 1, 30)
	put(b, 101, 34)
	if err := a.With(t.Context(), 2); err != nil || !slices.Equal(*calls, []string{"sums", "swap"}) {
		t.Fatalf("%v by %v", err, *calls)
	}
	if x, y := a.Set.(*noticeTable).TakeNews(), b.Set.(*noticeTable).TakeNews(); len(x) != 34 || len(y) != 30 {
		t.Errorf("%d and %d are to be handed on", len(x), len(y))
	}
}

// What is not believed is not asked for, and a peer that does not bring what it has is
// asked once.
func TestPartsEnd(t *testing.T) {
	a, b, calls := largePair()
	believing(a, func(id view.NodeID) bool { return id > 400 })
	put(b, 1, 500)
	if err := a.With(t.Context(), 2); err != nil || len(*calls) != 3 || len(a.Set.Sums()) != 100 {
		t.Errorf("%v by %v, %d came", err, *calls, len(a.Set.Sums()))
	}
	a, b, calls = largePair()
	believing(a, everybody)
	put(b, 1, 500)
	b.Size = func(wire.Notice) int { return 1 }
	a.Words.DecodeSwap = func(data []byte, _ func(wire.NoticeSum) bool) (wire.NoticeSwap, error) {
		return wire.DecodeNoticeSwap(data, func(wire.NoticeSum) bool { return false })
	}
	if err := a.With(t.Context(), 2); err != nil || len(*calls) != 2 || len(a.Set.Sums()) != 0 {
		t.Errorf("%v by %v, %d came", err, *calls, len(a.Set.Sums()))
	}
}
