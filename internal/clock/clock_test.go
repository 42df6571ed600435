package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSimulatedFollowsVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Simulated(-56 * 365 * 24 * time.Hour)
		if year := c.Wall().Year(); year > 1950 {
			t.Errorf("wall clock says %d, want it off by 56 years", year)
		}
		if b := c.Boot(); b != 0 {
			t.Errorf("boot clock starts at %v", b)
		}
		wall := c.Wall()
		time.Sleep(3 * time.Second)
		c.Suspend(40 * time.Second)
		if b := c.Boot(); b != 43*time.Second {
			t.Errorf("after 3 s awake and 40 s suspended the boot clock says %v", b)
		}
		if d := c.Wall().Sub(wall); d != 43*time.Second {
			t.Errorf("after 43 s the wall clock has moved by %v", d)
		}
		c.SetSkew(0)
		if b := c.Boot(); b != 43*time.Second {
			t.Errorf("setting the wall clock moved the boot clock to %v", b)
		}
		if d := time.Until(c.Wall()); d != 0 {
			t.Errorf("without skew the wall clock is off by %v", d)
		}
	})
}

func TestSystemClock(t *testing.T) {
	c := System()
	first := c.Boot()
	if first <= 0 {
		t.Errorf("boot clock says %v", first)
	}
	for range 1000 {
		next := c.Boot()
		if next < first {
			t.Fatalf("boot clock went from %v to %v", first, next)
		}
		first = next
	}
	if d := time.Since(c.Wall()).Abs(); d > time.Minute {
		t.Errorf("wall clock is off by %v", d)
	}
}
