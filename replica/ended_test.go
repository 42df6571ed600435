package replica

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// A read or a write that has ended is not held by the timer that would have ended it.
func TestNoTimerHoldsWhatHasEnded(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s, b := nodes[0].store, buckets[0].b
		at := s.homes.LocateKey(b.ID, "k")
		lay := s.homes.Now()
		plan := s.homes.MakePlan(lay, lay.RouteOf(b, at.Shard))
		soon := s.uptime() + time.Millisecond

		read := &getOp{s: s, b: b, at: at, core: replicate.NewRead(plan, replicate.Quorum, false, time.Second), done: make(chan struct{})}
		read.core.EndBy(soon)
		read.mu.Lock()
		read.core.Start(s.uptime())
		read.setEnd()
		read.mu.Unlock()
		put := s.newPut(&request{at: at, bucket: b, level: replicate.Quorum, ends: soon}, plan)
		put.feedCore(func(now time.Duration) []replicate.Effect { put.core.Committed(now); return nil })
		if read.limit == nil || put.limit == nil {
			t.Fatal("nothing bounds them")
		}
		read.feedCore(func(time.Duration) ([]view.NodeID, bool) { return nil, read.core.Abandon() })
		put.feedCore(func(time.Duration) []replicate.Effect { put.core.Abandon(); return nil })
		if read.limit.Stop() || put.limit.Stop() {
			t.Error("a timer is left")
		}
	})
}
