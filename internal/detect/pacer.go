package detect

import "time"

// pacer lets burst things happen at once and then one per interval (the
// generic cell rate algorithm: one instant is all its state).
type pacer struct {
	interval, burst time.Duration // burst: how far full may run ahead of now
	full            time.Duration
}

func newPacer(perSecond, burst int) pacer {
	interval := max(time.Second/time.Duration(perSecond), 1)
	return pacer{interval: interval, burst: time.Duration(burst-1) * interval}
}

// allow takes one permit if there is one at time now.
func (p *pacer) allow(now time.Duration) bool {
	if p.free() > now {
		return false
	}
	p.full = max(p.full, now) + p.interval
	return true
}

// free returns when the next permit is there.
func (p *pacer) free() time.Duration { return p.full - p.burst }
