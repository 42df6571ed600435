package writing

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// A write that has ended is not held by the timer that would have ended it.
func TestNoTimerHoldsAWriteThatHasEnded(t *testing.T) {
	begun := time.Now()
	c := New(Options{
		Self: 1, Intakes: admission.NewIntakes(time.Second, 1<<20), Offers: &merging.Offers{}, AckTimeout: time.Hour,
		Uptime: func() time.Duration { return time.Since(begun) },
	})
	plan := replicate.Plan{Self: 1, Order: []view.NodeID{1, 2, 3}, Homes: 3, Live: func(view.NodeID) bool { return true }}
	op := c.newPut(&Request{Level: replicate.Quorum, Ends: time.Minute}, plan)
	op.feedCore(func(now time.Duration) []replicate.Effect { op.core.Committed(now); return nil })
	if op.limit == nil {
		t.Fatal("nothing bounds it")
	}
	op.feedCore(func(time.Duration) []replicate.Effect { op.core.Abandon(); return nil })
	if op.limit.Stop() {
		t.Error("a timer is left")
	}
}
