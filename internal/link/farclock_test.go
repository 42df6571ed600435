package link

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever the delays, a moment of the peer is placed no earlier than it was
// and no later than by the least delay of late, even if the clocks drift.
func TestFarClockPlacesMomentsWithinTheLeastDelay(t *testing.T) {
	const offset, drift = 17 * time.Hour, 200e-6
	theirs := func(at time.Duration) time.Duration { return offset + at + time.Duration(float64(at)*drift) }
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var f farClock
		var stalled time.Duration // until when nothing gets through
		for at := time.Duration(0); at < time.Hour; at += 20 * time.Second {
			arrive := at + 5*time.Millisecond + time.Duration(r.IntN(30))*time.Millisecond
			if r.IntN(20) == 0 {
				stalled = at + time.Duration(r.IntN(29))*time.Second
			}
			f.mark(theirs(at), max(arrive, stalled))
			early := f.here(theirs(at)) - at
			slack := time.Duration(2 * float64(2*farMemory) * drift)
			if early < 5*time.Millisecond-slack {
				t.Fatalf("seed %d: at %v: placed %v before it was", seed, at, -early)
			}
			if at > time.Minute && early > 35*time.Millisecond+30*time.Second {
				t.Fatalf("seed %d: at %v: placed %v late", seed, at, early)
			}
		}
		// After a quiet while the estimate is good again.
		for i := range 10 {
			at := time.Hour + time.Duration(i)*20*time.Second
			f.mark(theirs(at), at+7*time.Millisecond)
		}
		at := time.Hour + 200*time.Second
		f.mark(theirs(at), at+20*time.Second) // held up for 20 s
		if late := f.here(theirs(at)) - at; late < 0 || late > 100*time.Millisecond {
			t.Fatalf("seed %d: a moment whose frame was held up for 20 s is placed %v off", seed, late)
		}
	}
}
