package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// lateness is how long after the end of its lifetime an address is gone: the system puts
	// off what is due up to a quarter of a second before a whole one.
	lateness    = 250 * time.Millisecond
	settingTime = 20 * time.Millisecond // to set an address, if nothing stalls
	maxLifetime = time.Minute
	partsOfLife = 5 // it is set anew after such a part of its lifetime
	maxRenewal  = time.Second
	tellings    = 5 // neighbours may take no word for a second after they have asked
	tellSoon    = 200 * time.Millisecond
	tellAgain   = 10 * time.Second
)

// errStillHere: the address could not be removed.
var errStillHere = errors.New("failover/vip: the address is not removed")

// errLeftover: the address is there for a while, as a former process of this node leaves it.
var errLeftover = errors.New("failover/vip: a former process has left the address")

// presence is an address that an interface has.
type presence struct {
	index    int           // of the interface
	lifetime time.Duration // that is left; negative: for ever
}

// lifetimeOf returns the longest lifetime after which an address is gone before a lease ends of
// which so much is left; 0: there is none.
func lifetimeOf(left time.Duration) time.Duration {
	return min(max(left-lateness-settingTime, 0), maxLifetime).Truncate(time.Second)
}

// judgePresences tells whether an address that is there may have been left by a former process:
// errLeftover. It is ErrTaken otherwise.
func judgePresences(all []presence) (err error) {
	for _, p := range all {
		if p.lifetime < 0 || p.lifetime > maxLifetime {
			return fmt.Errorf("%w: at interface %d", ErrTaken, p.index)
		}
		err = errLeftover
	}
	return err
}

// keeper holds the address. Its methods are called by one goroutine.
type keeper struct {
	system system
	log    *slog.Logger

	lease   Lease         // nil: the address is not held
	expires time.Time     // when the system drops it, but for lateness
	until   time.Time     // it may be here until then, whatever failed
	every   time.Duration // it is set anew so often
	due     time.Time     // when to renew
	owed    int           // times that the network is to be told soon
	told    time.Time     // when it was told last
	faulty  bool          // the address is lost, which is logged once
	silent  bool          // the network cannot be told, which is logged once
}

// keepAddress does what is asked, and what is due, until ctx ends.
func (a *Address) keepAddress(ctx context.Context) {
	k := &keeper{system: a.system, log: a.log}
	var views <-chan view.View
	if a.cfg.Mesh != nil {
		views = a.cfg.Mesh.Watch(ctx)
	}
	alive := map[view.NodeID]bool{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.dropAtLast()
			return
		case r := <-a.requests:
			r.done <- r.do(k)
		case v, ok := <-views:
			if !ok {
				views = nil
			}
			var back bool
			if alive, back = aliveIn(v, alive); back {
				k.owed, k.due = tellings, time.Now()
			}
		case <-timer.C:
			k.renewIfHeld()
		}
		timer.Reset(max(time.Until(k.due), 0))
	}
}

// aliveIn returns who is in reach in a view, and whether one is that was not before.
func aliveIn(v view.View, before map[view.NodeID]bool) (alive map[view.NodeID]bool, back bool) {
	alive = map[view.NodeID]bool{}
	for _, m := range v.Members {
		if m.State == view.Alive {
			alive[m.ID] = true
			back = back || !before[m.ID]
		}
	}
	return alive, back
}

// holdUnder sets the address under a lease, and tells the network of it.
func (k *keeper) holdUnder(lease Lease) error {
	isNew := k.lease == nil
	if isNew {
		present, err := k.system.findAddress()
		if err == nil {
			err = judgePresences(present)
		}
		if err != nil {
			return err
		}
	}
	if err := k.setFor(lease, isNew); err != nil {
		return err
	}
	k.lease, k.owed, k.faulty, k.silent = lease, tellings, false, false // also of a lead that follows another one
	k.log.Info("the address is here")
	k.tellNetwork()
	return nil
}

// setFor sets the address for as long as a lease allows. That is looked at before and after, for
// the process may have been frozen in between: then it is removed again at once.
func (k *keeper) setFor(lease Lease, isNew bool) error {
	left := lease.Left()
	lifetime := lifetimeOf(left)
	if lifetime == 0 {
		return fmt.Errorf("%w: %v", ErrLease, left)
	}
	until := k.until
	k.until = time.Now().Add(lifetime + lateness) // also where it is not known whether it was set
	if err := k.system.setAddress(lifetime, isNew); err != nil {
		if errors.Is(err, errLeftover) {
			k.until = until // it is somebody else's
		}
		return err
	}
	if left = lease.Left(); left < lifetime+lateness {
		lost := fmt.Errorf("%w: %v after a stall", ErrLease, left)
		k.expires = time.Time{}
		if err := k.system.removeAddress(); err != nil {
			return errors.Join(lost, err)
		}
		k.until = time.Time{}
		return lost
	}
	if !time.Now().Before(k.expires) {
		k.owed = tellings // it was gone, and neighbours have looked for it
	}
	k.expires, k.every = time.Now().Add(lifetime), min(lifetime/partsOfLife, maxRenewal)
	return nil
}

// renewIfHeld does what is due.
func (k *keeper) renewIfHeld() {
	if k.lease != nil && k.lease.Left() == 0 {
		k.log.Warn("the lead is over, and the address is still held")
	}
	if k.lease == nil || k.lease.Left() == 0 {
		k.due = time.Now().Add(maxRenewal)
		if k.dropAddress() != nil { // it is logged
			k.due = time.Now().Add(holdAgain)
		}
		return
	}
	err := k.setFor(k.lease, false)
	if lost := err != nil && k.checkHeld() != nil; lost != k.faulty {
		k.faulty = lost
		k.log.Warn("the address is lost, or is back", "lost", lost, "error", err)
	}
	if err == nil && (k.owed > 0 || time.Since(k.told) >= tellAgain) {
		k.tellNetwork()
	}
	k.due = time.Now().Add(k.every)
	if k.owed > 0 {
		k.due = time.Now().Add(min(k.every, tellSoon))
	}
}

// tellNetwork tells the network where the address is. More of that is due soon.
func (k *keeper) tellNetwork() {
	k.owed, k.told, k.due = max(k.owed-1, 0), time.Now(), time.Now().Add(min(k.every, tellSoon))
	err := k.system.tellNeighbours()
	if err != nil && !k.silent {
		k.log.Warn("the network is not told of the address", "error", err)
	}
	k.silent = err != nil
}

// dropAddress removes the address, if it is held.
//
// If that fails the address is here until the system has it end, and another node may not have
// it: whoever asks is told so, and asks again.
func (k *keeper) dropAddress() error {
	held := k.lease != nil
	k.lease, k.expires = nil, time.Time{}
	if !held && !time.Now().Before(k.until) {
		return nil
	}
	if err := k.system.removeAddress(); err != nil && time.Now().Before(k.until) {
		k.log.Warn("the address is not removed, and ends by itself", "error", err)
		return fmt.Errorf("%w: %w", errStillHere, err)
	}
	k.until = time.Time{}
	k.log.Info("the address is released")
	return nil
}

// dropAtLast removes the address, or waits until it has ended.
func (k *keeper) dropAtLast() {
	for k.dropAddress() != nil {
		time.Sleep(min(holdAgain, max(time.Until(k.until), time.Millisecond)))
	}
}

func (k *keeper) checkHeld() error {
	if k.lease == nil || k.lease.Left() == 0 || !time.Now().Before(k.expires) {
		return ErrNotHeld
	}
	return nil
}
