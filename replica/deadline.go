package replica

import (
	"context"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// deadlines puts the time in which a forwarded write may be committed into the
// words of the receiver's own clock. A time-out counted from when a request
// arrives would be of no use: a request may hang in a cut connection for
// hours and arrive when it heals.
//
// What we know of a peer's clock is a reading that was taken before we got
// it, so the peer's clock is never behind our estimate, and a deadline made
// from it is never later than it should be. The clocks go on while machines
// are suspended.
type deadlines struct {
	s   *Store
	run uint64 // of this opening, so that readings of an earlier one are not taken for ours

	mu    sync.Mutex
	peers map[view.NodeID]peerClock
}

type peerClock struct {
	wire.Clock
	seen time.Duration // by our boot clock
}

// clock is this store's reading.
func (d *deadlines) clock() wire.Clock {
	return wire.Clock{Run: d.run, Reading: uint64(d.s.cfg.clock.Boot().Microseconds())}
}

// saw takes in a peer's reading that has just arrived.
func (d *deadlines) saw(id view.NodeID, c wire.Clock) {
	if c.Run == 0 {
		return
	}
	now := d.s.cfg.clock.Boot()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peers[id] = peerClock{c, now}
}

// freshClock is how long a peer's reading is gone by: clocks that differ by
// 100 millionths are then a millisecond apart.
const freshClock = 10 * time.Second

// by returns the reading of the peer's clock after limit from now at the
// latest. A peer that was not heard lately is asked first.
func (d *deadlines) by(ctx context.Context, id view.NodeID, limit time.Duration) (wire.Clock, error) {
	for asked := false; ; asked = true {
		now := d.s.cfg.clock.Boot()
		d.mu.Lock()
		c, ok := d.peers[id]
		d.mu.Unlock()
		if ok && now-c.seen < freshClock || asked {
			c.Reading += uint64(max(now-c.seen+limit, 0).Microseconds())
			return c.Clock, nil
		}
		answer, err := d.s.askSoon(ctx, id, wire.MethodClock, nil)
		if err != nil {
			return wire.Clock{}, err
		}
		p, err := wire.DecodePutReply(answer)
		if err != nil {
			return wire.Clock{}, err
		}
		d.saw(id, p.Clock)
	}
}

// mine returns a deadline that another node has made for this store, by the
// boot clock here; errLate if it was made for an earlier run of the store.
func (d *deadlines) mine(c wire.Clock) (time.Duration, error) {
	if c.Run != d.run {
		return 0, errLate
	}
	return max(time.Duration(c.Reading)*time.Microsecond, 1), nil
}
