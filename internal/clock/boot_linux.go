package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// newBootClock reads CLOCK_BOOTTIME. Go's own monotonic clock is
// CLOCK_MONOTONIC, which stands still while the machine is suspended.
func newBootClock() func() time.Duration {
	monotonic := newMonotonicClock()
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return monotonic
	}
	return func() time.Duration {
		var ts unix.Timespec
		// It cannot fail: the same call has succeeded above.
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
		return time.Duration(ts.Nano())
	}
}
