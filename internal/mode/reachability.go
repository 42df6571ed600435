package mode

import "time"

// Reachability turns the outcomes of one node's probes of the cloud into a
// finding that a single lost or lucky packet does not turn.
type Reachability struct {
	params              Params
	failures, successes int // in a row; one of them is 0
	finding             Cloud
}

// NewReachability returns a machine of which the finding is Unknown.
func NewReachability(par Params) *Reachability { return &Reachability{params: par.withDefaults()} }

// Result takes the outcome of a probe and returns the finding, and whether it
// is another one than before.
func (r *Reachability) Result(ok bool) (finding Cloud, changed bool) {
	before := r.finding
	if ok {
		r.failures = 0
		r.successes++
	} else {
		r.successes = 0
		r.failures++
	}
	switch {
	case r.failures >= r.params.Failures:
		r.finding = Unreachable
	case r.successes >= r.params.Successes:
		r.finding = Reachable
	}
	return r.finding, r.finding != before
}

// Cloud returns what the last Result returned.
func (r *Reachability) Cloud() Cloud { return r.finding }

// Pause returns how long to wait after the last probe before the next. It is
// short while the last outcomes do not agree with the finding. Chance is
// uniform in [0, 1): the nodes of a site lose the cloud at one instant and must
// not all come back at one.
func (r *Reachability) Pause(chance float64) time.Duration {
	switch {
	case r.failures >= r.params.Failures:
		return Backoff(r.params.Floor, r.params.Cap, r.failures-r.params.Failures+1, chance)
	case r.finding == Reachable && r.failures == 0:
		return r.params.Interval/2 + scaleBy(r.params.Interval, chance)
	}
	return r.params.Floor
}

// Backoff returns how long to wait after the n-th failure: between floor and
// floor x 2^n, but no more than limit, anywhere in between with equal chance
// (full jitter above a floor).
func Backoff(floor, limit time.Duration, n int, chance float64) time.Duration {
	top := floor
	for ; n > 0 && top < limit; n-- {
		top += min(top, limit-top)
	}
	return floor + scaleBy(top-floor, chance)
}

func scaleBy(d time.Duration, chance float64) time.Duration {
	return time.Duration(float64(d) * chance)
}
