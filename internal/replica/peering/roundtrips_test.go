package peering

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Round trips are measured when they are asked for, every ten seconds at most, and nobody
// waits for that; of a peer that does not answer nothing is known.
func TestRoundTripsAreMeasuredOnDemand(t *testing.T) {
	took, calls, down := 40*time.Millisecond, 0, false
	withPeers(t, func(ctx context.Context, _ view.NodeID, _ string) ([]byte, error) {
		calls++
		time.Sleep(took)
		if down {
			return nil, errors.New("unreachable")
		}
		return nil, ctx.Err()
	}, func(t *testing.T, p *Peers) {
		want := func(d time.Duration, n int) {
			t.Helper()
			if got := p.RoundTrips.Of(2); got != d {
				t.Errorf("%v after %d calls, want %v", got, calls, d)
			}
			pass(time.Second)
			if calls != n {
				t.Errorf("%d calls, want %d", calls, n)
			}
		}
		want(0, 1)
		want(40*time.Millisecond, 1)
		pass(10 * time.Second)
		took = 80 * time.Millisecond
		want(40*time.Millisecond, 2)
		want(60*time.Millisecond, 2)
		pass(10 * time.Second)
		down = true
		want(60*time.Millisecond, 3)
		want(0, 3)
		p.RoundTrips.Forget(func(view.NodeID) bool { return false })
		down = false
		want(0, 4)
		want(80*time.Millisecond, 4)
	})
}
