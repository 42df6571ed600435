//go:build !linux

package clock

import "time"

func newBootClock() func() time.Duration { return newMonotonicClock() }
