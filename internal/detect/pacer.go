package detect

import "time"

// pacer lets burst things happen at once and then one per interval (the
// generic cell rate algorithm: one instant is all its state).
type pacer struct {
	interval, burst time.Duration // burst: how far full may run ahead of now
	fullAt          time.Duration
}

func newPacer(perSecond, burst int) pacer {
	interval := max(time.Second/time.Duration(perSecond), 1)
	return pacer{interval: interval, burst: time.Duration(burst-1) * interval}
}

// takePermit takes one permit if there is one at time now.
func (p *pacer) takePermit(now time.Duration) bool {
	if p.nextPermit() > now {
		return false
	}
	p.fullAt = max(p.fullAt, now) + p.interval
	return true
}

// nextPermit returns when the next permit is there.
func (p *pacer) nextPermit() time.Duration { return p.fullAt - p.burst }
