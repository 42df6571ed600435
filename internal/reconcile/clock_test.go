package reconcile

import (
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/replica/version"
)

// now2026 is a wall clock that is right.
const now2026 = version.HLC(1767225600000 << 16)

// TestF1_13_ClockAcrossRestarts lets the wall clock jump between 1970 and
// 2106 and the process die between any two readings. What is stored is the
// ceiling that belongs to the last reading shown.
func TestF1_13_ClockAcrossRestarts(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	for range 300 {
		var stored, last version.HLC
		wall := now2026
		c := NewClock(stored, 0)
		for range 300 {
			switch r.IntN(12) {
			case 0:
				c = NewClock(stored, 0)
			case 1:
				wall = version.At([]int64{0, 1767225600000, 4291747200000}[r.IntN(3)])
			case 2:
				wall = wall.Add(int64(r.IntN(100_000) - 50_000))
			case 3:
				c.Observe(wall, wall.Add(int64(r.IntN(2*DefaultMaxSkew))))
			default:
				h, ok := c.Tick(wall, 0)
				if !ok || h <= last {
					t.Fatalf("reading %d after %d, ok %v", h, last, ok)
				}
				if h > c.Ceiling() {
					t.Fatalf("reading %d above ceiling %d", h, c.Ceiling())
				}
				last, stored = h, c.Ceiling()
			}
		}
	}
}

// A store in a restart loop must not run away from the wall clock.
func TestF1_13_RestartLoopDoesNotDrift(t *testing.T) {
	var stored version.HLC
	for i := range 100 {
		wall := now2026.Add(int64(i) * 100)
		c := NewClock(stored, 0)
		h, _ := c.Tick(wall, 0)
		stored = c.Ceiling()
		if ahead := h.Millis() - wall.Millis(); ahead > DefaultMaxSkew {
			t.Fatalf("after %d restarts in %d ms the clock is %d ms ahead", i, i*100, ahead)
		}
	}
}

// One that restarts every second stays where it is.
func TestF1_13_RestartsOfASecondDoNotAddUp(t *testing.T) {
	var stored version.HLC
	for i := range 100 {
		wall := now2026.Add(int64(i) * ceilingStep)
		c := NewClock(stored, 0)
		h, _ := c.Tick(wall, 0)
		stored = c.Ceiling()
		if ahead := h.Millis() - wall.Millis(); ahead > ceilingAhead+ceilingStep {
			t.Fatalf("after %d restarts the clock is %d ms ahead", i, ahead)
		}
	}
}

func TestF1_13_WrongDatesDoNotMoveTheClock(t *testing.T) {
	c := NewClock(0, 0)
	far := version.At(4291747200000)
	if !c.Observe(now2026, far) {
		t.Fatal("no alarm for 2106")
	}
	h, ok := c.Tick(now2026, far)
	if !ok || h <= far {
		t.Fatalf("reading %d is not above the key's date %d", h, far)
	}
	if h, _ = c.Tick(now2026, 0); h > now2026.Add(1) {
		t.Fatalf("one wrong date moved the clock to %d", h.Millis())
	}
	near := now2026.Add(DefaultMaxSkew - 1)
	if c.Observe(now2026, near) {
		t.Fatal("alarm within the skew")
	}
	if h, _ = c.Tick(now2026, 0); h <= near {
		t.Fatal("a date within the skew did not move the clock")
	}
	if _, ok = c.Tick(now2026, version.Limit-1); ok {
		t.Fatal("a reading at the limit")
	}
}

func TestAhead(t *testing.T) {
	y1970, y2106 := version.HLC(0), version.At(4291747200000)
	for _, c := range []struct {
		own   version.HLC
		peers []version.HLC
		want  bool
	}{
		{y2106, []version.HLC{now2026, now2026}, true},
		{now2026, []version.HLC{now2026, now2026}, false},
		{now2026, []version.HLC{y1970, now2026}, false},
		{now2026, []version.HLC{y1970, y1970, now2026, now2026}, false},
		{now2026, []version.HLC{y1970}, false},
		{now2026, nil, false},
		{y1970, []version.HLC{now2026, now2026}, false},
		{now2026.Add(DefaultMaxSkew + 1), []version.HLC{now2026, now2026}, true},
	} {
		if got := Ahead(c.own, c.peers, 0); got != c.want {
			t.Errorf("Ahead(%d, %v) = %v", c.own.Millis(), c.peers, got)
		}
	}
}
