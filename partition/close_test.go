package partition

import (
	"slices"
	"testing"
	"time"
)

// A leader that is closed leads no more, by its own word, as soon as others may:
// also while it still tries to tell one that does not answer.
func TestClosedLeaderKnows(t *testing.T) {
	inWorld(t, 5, lan, nil, func(w *world) {
		old := w.agreed(w.boxes...)
		rest := w.without(old)
		name := old.part.leaderOf()
		tok := old.part.Status().Leader.Token
		if err := old.part.Check(name, tok); err != nil {
			t.Fatal(err)
		}
		w.net.Silence(rest[0].addr)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = old.part.Close()
		}()
		w.until(5*time.Second, "another leads", func() bool {
			if !slices.ContainsFunc(rest[1:], (*box).leads) {
				return false
			}
			if old.part.Check(name, tok) == nil {
				t.Error("two lead")
			}
			return true
		})
		<-closed
		w.net.Restore(rest[0].addr)
	})
}

// A Partition that is closed while its node runs on leaves nothing behind that
// counts: no claim, no candidate, no prober, no row.
func TestClosedPartitionIsForgotten(t *testing.T) {
	inWorld(t, 3, lan, nil, func(w *world) {
		old := w.agreed(w.boxes...)
		rest := w.without(old)
		if err := old.part.Close(); err != nil {
			t.Fatal(err)
		}
		w.until(5*time.Second, "another leads", func() bool { return w.agreed(rest...) != nil })
		w.until(time.Minute, "what it said is taken back", func() bool {
			return !slices.ContainsFunc(rest, func(b *box) bool {
				n := b.part.notices.allNotices()[old.node.ID()]
				return len(n.Standing) > 0 || len(n.Leads) > 0 || n.Cloud != noProbes
			})
		})
		if st := rest[0].part.Status(); !slices.Contains(st.Component, old.node.ID()) {
			t.Errorf("its node is not in the component: %v", st.Component)
		}
	})
}
