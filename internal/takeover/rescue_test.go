package takeover

import (
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// TestRescuesAreTriedLessAndLess while a node stays away, and anew when it fails again.
func TestRescuesAreTriedLessAndLess(t *testing.T) {
	var r Rescues
	var tried []time.Duration
	now := time.Duration(0)
	wait := func(until time.Duration, failed ...view.NodeID) {
		for now < until {
			due, next := r.TakeDue(now, failed)
			if len(failed) > 0 && (next <= now || next > now+rescueLast) {
				t.Fatalf("at %v it is to be asked again at %v", now, next)
			}
			if slices.Contains(due, 7) {
				tried = append(tried, now)
			}
			now = min(next, until)
		}
	}
	wait(3*time.Hour, 7)
	if want := []time.Duration{1, 3, 7, 15, 31, 63, 123}; len(tried) != len(want) {
		t.Errorf("%v", tried)
	} else {
		for i, m := range want {
			if tried[i] != m*time.Minute {
				t.Errorf("attempt %d at %v", i, tried[i])
			}
		}
	}
	tried = nil
	wait(now+time.Minute, 8)
	wait(now+59*time.Minute, 7, 8)
	if len(tried) > 0 {
		t.Errorf("it was back for a minute: %v", tried)
	}
	wait(now+2*rescueLast, 8)
	began := now
	wait(now+90*time.Second, 7, 8)
	if !slices.Equal(tried, []time.Duration{began + time.Minute}) {
		t.Errorf("it was back for long, and failed at %v: %v", began, tried)
	}
}
