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
			if method == "sums" {
				return (*to).ServeSums(ctx, id, req)
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
	for _, n := range bomb.Have[:100] {
		b.Set.(*noticeTable).Change(n.Node, func(time.Duration, wire.Notice) (wire.Notice, bool) { return n, true })
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
