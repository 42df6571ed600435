package clock

import (
	"testing"
	"time"
)

func TestJitter(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 10_000 {
		d := Jitter(time.Minute)
		least, most = min(least, d), max(most, d)
	}
	if least < 30*time.Second || least > 31*time.Second || most > 90*time.Second || most < 89*time.Second {
		t.Errorf("a minute is from %v to %v", least, most)
	}
	if Jitter(-1) < 100*365*24*time.Hour || Jitter(0) != 0 {
		t.Errorf("for ever is %v, at once is %v", Jitter(-1), Jitter(0))
	}
}
