// Package clock adds what package time lacks: a wall clock whose error tests
// can set, and a clock that goes on while the machine is suspended.
package clock

import (
	"sync/atomic"
	"time"
)

// Clock tells the time. All methods may be used concurrently.
type Clock struct {
	skew    atomic.Int64         // ns added to the wall clock
	suspend atomic.Int64         // ns added to the boot clock
	boot    func() time.Duration // before suspend is added
}

// System returns the clock of this machine.
func System() *Clock { return &Clock{boot: newBootClock()} }

// Simulated returns a clock for tests: its boot clock starts at zero and
// follows package time, hence virtual time within a synctest bubble; its
// wall clock is off by skew.
func Simulated(skew time.Duration) *Clock {
	start := time.Now()
	c := &Clock{boot: func() time.Duration { return time.Since(start) }}
	c.SetSkew(skew)
	return c
}

// Wall returns the time of day. It may jump either way and may be wrong by
// years: nothing may be dropped on its word.
func (c *Clock) Wall() time.Time { return time.Now().Add(time.Duration(c.skew.Load())) }

// Boot returns the time since some moment at or before the start of the
// process. It never goes back and, where the system offers it (Linux), it
// counts time spent suspended; elsewhere it stops with the machine.
func (c *Clock) Boot() time.Duration { return c.boot() + time.Duration(c.suspend.Load()) }

// SetSkew makes the wall clock wrong by d from now on.
func (c *Clock) SetSkew(d time.Duration) { c.skew.Store(int64(d)) }

// Suspend acts as if the machine had been suspended for d until now: the
// boot clock and the wall clock go on, timers do not.
func (c *Clock) Suspend(d time.Duration) {
	c.suspend.Add(int64(d))
	c.skew.Add(int64(d))
}
