package replica

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replicate"
)

// A write that has ended is not held by the timer that would have ended it.
func TestNoTimerHoldsAWriteThatHasEnded(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s, b := nodes[0].store, buckets[0].b
		at := s.homes.LocateKey(b.ID, "k")
		lay := s.homes.Now()
		plan := s.homes.MakePlan(lay, lay.RouteOf(b, at.Shard))
		soon := s.uptime() + time.Millisecond

		put := s.newPut(&request{at: at, bucket: b, level: replicate.Quorum, ends: soon}, plan)
		put.feedCore(func(now time.Duration) []replicate.Effect { put.core.Committed(now); return nil })
		if put.limit == nil {
			t.Fatal("nothing bounds it")
		}
		put.feedCore(func(time.Duration) []replicate.Effect { put.core.Abandon(); return nil })
		if put.limit.Stop() {
			t.Error("a timer is left")
		}
	})
}
