package elect

import (
	"errors"
	"fmt"
	"time"
)

// Params sets the pace of an Election. All nodes of a mesh should have the same:
// a voter honours the lease that it is asked for, so what differs is safe, but
// slow.
type Params struct {
	// Lease is for how long a grant holds. A longer one survives longer blips
	// (Lease - Renew - Guard), a shorter one is taken over sooner.
	Lease time.Duration
	// Renew is the time between a leader's requests. Shorter costs messages.
	Renew time.Duration
	// Guard is by how much the leader's lease ends before the grants do, besides
	// Drift: time for its work to stop.
	Guard time.Duration
	// Drift is by how much, in parts per thousand, a leader's clock may be
	// slower than a voter's.
	Drift int
	// Pause is what a candidate waits per rank before it asks, and what random
	// waits are made of: about two round trips. Longer makes split votes rarer.
	Pause time.Duration
	// Hold is for how long a challenger must be better than the leader, by the
	// margin, before the leader hands over. Shorter follows the scores sooner
	// and changes leaders more often.
	Hold time.Duration
	// Settle is for how long the component's electorate must differ from the
	// term's before the leader takes a new term on it.
	Settle time.Duration
}

// MaxLease bounds what a voter can be asked for, so that a bad request cannot
// silence it for ever.
const MaxLease = 5 * time.Minute

// LAN is for round trips of a few milliseconds: a leader that vanishes is
// replaced within 2.5 s of its last renewal where a majority of the electorate is
// in contact, or 2.7 s where two candidates split it, and one that is cut off for longer than 1.3 s may be.
func LAN() Params {
	return Params{Lease: 2 * time.Second, Renew: 500 * time.Millisecond, Guard: 200 * time.Millisecond, Drift: 10,
		Pause: 60 * time.Millisecond, Hold: 30 * time.Second, Settle: 4 * time.Second}
}

// WAN is for round trips to 300 ms: replaced within 8 s, cut off for 3.4 s.
func WAN() Params {
	return Params{Lease: 6 * time.Second, Renew: 2 * time.Second, Guard: 500 * time.Millisecond, Drift: 10,
		Pause: 600 * time.Millisecond, Hold: 30 * time.Second, Settle: 12 * time.Second}
}

// Edge is for poor radio links: replaced within 21 s. A link that is gone for 10 s
// costs no leader: TCP tries again 12.6 s after it went, the last renewal was up
// to 3 s before, and a lease lasts for 17.3 s.
func Edge() Params {
	return Params{Lease: 18 * time.Second, Renew: 3 * time.Second, Guard: 500 * time.Millisecond, Drift: 10,
		Pause: time.Second, Hold: 30 * time.Second, Settle: 30 * time.Second}
}

// Validate names all that is wrong with the Params.
func (p Params) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(p.Lease > 0 && p.Lease <= MaxLease, "lease of %v: not above zero and at most %v", p.Lease, MaxLease)
	check(p.Renew > 0, "renewals every %v: not above zero", p.Renew)
	check(p.Guard >= 0, "guard of %v: below zero", p.Guard)
	check(p.Drift >= 0 && p.Drift < 500, "drift of %d in a thousand: not 0 to 499", p.Drift)
	check(p.Pause > 0 && p.Hold >= 0 && p.Settle >= 0, "pause %v, hold %v, settle %v: below zero, or no pause", p.Pause, p.Hold, p.Settle)
	check(p.ownLease(p.Lease) > p.Renew, "a lease of %v less guard and drift lasts %v, not longer than the time between renewals, %v", p.Lease, p.ownLease(p.Lease), p.Renew)
	return errors.Join(faults...)
}

// ownLease is for how long after it asked for a lease a leader may act on it.
func (p Params) ownLease(lease time.Duration) time.Duration {
	return lease - lease*time.Duration(p.Drift)/1000 - p.Guard
}
