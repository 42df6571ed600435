package partition

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/partition/token"
)

// Each side of a cut has one leader within a bound, and the whole has one again
// after the heal. Both sides see a cut, and each member's absence turns out to
// have been one.
func TestCutOfFive(t *testing.T) {
	inWorld(t, 5, lan, nil, func(w *world) {
		big, small := w.boxes[:3], w.boxes[3:]
		before := w.agreed(w.boxes...)
		w.net.Partition(w.addrs(big...), w.addrs(small...))
		for _, side := range [][]*box{big, small} {
			took := w.until(20*time.Second, "a side has one leader", func() bool { return w.agreed(side...) != nil })
			t.Logf("%d nodes have one leader after %v", len(side), took)
			w.until(20*time.Second, "a side sees the cut", func() bool {
				return !slices.ContainsFunc(side, func(b *box) bool {
					st := b.part.Status()
					return st.Situation != PartitionSuspected || !slices.Equal(st.Component, w.ids(side...)) || len(st.Evidence) == 0
				})
			})
		}
		w.until(20*time.Second, "the smaller side is in the minority", func() bool {
			return big[0].part.Status().Mode == Normal && small[0].part.Status().Mode == Minority
		})
		time.Sleep(5 * time.Minute)
		if slices.Contains(big, before) && w.agreed(big...) != before {
			t.Error("the larger side's leader was changed by the cut")
		}
		a := w.agreed(big...)
		if a == nil || w.agreed(small...) == nil {
			w.dump()
			t.Fatal("a side is without a leader")
		}
		w.net.HealAll()
		took := w.until(time.Minute, "one leads again", func() bool { return w.agreed(w.boxes...) != nil })
		t.Logf("one leader %v after the heal", took)
		if w.agreed(w.boxes...) != a {
			t.Error("it is not the larger side's")
		}
		w.until(2*time.Minute, "all know what it was", func() bool {
			return !slices.ContainsFunc(w.boxes, func(b *box) bool {
				st := b.part.Status()
				others := 2
				if slices.Contains(small, b) {
					others = 3
				}
				return st.Situation != Whole || len(st.Verdicts) != others || len(st.Lost) > 0 || st.Mode != Normal ||
					slices.ContainsFunc(st.Verdicts, func(v Verdict) bool { return v.Cause != WasCut })
			})
		})
	})
}

// A node that leaves gives its lead back: the others need not wait for the lease.
func TestLeaderLeaves(t *testing.T) {
	inWorld(t, 3, edge, nil, func(w *world) {
		old := w.agreed(w.boxes...)
		ended := make(chan error, 1)
		go func() {
			ended <- old.part.Lead(context.Background(), Election{Name: "other"}, func(ctx context.Context, _ token.Token) { <-ctx.Done() })
		}()
		time.Sleep(time.Second)
		if err := old.node.Leave(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("another Lead of the node that left: %v", err)
		}
		rest := w.without(old)
		took := w.until(time.Minute, "another leads", func() bool { return w.agreed(rest...) != nil })
		if took > LAN().Lease {
			t.Errorf("after %v", took)
		}
	})
}
