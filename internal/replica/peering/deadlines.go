package peering

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Deadlines puts the time in which a forwarded write may be committed into the
// words of the receiver's own clock. A time-out counted from when a request
// arrives would be of no use: a request may hang in a cut connection for
// hours and arrive when it heals.
//
// What we know of a peer's clock is a reading that was taken before we got
// it, so the peer's clock is never behind our estimate, and a deadline made
// from it is never later than it should be. The clocks go on while machines
// are suspended.
type Deadlines struct {
	ask      askFunc
	readBoot func() time.Duration // this machine's boot clock
	opening  uint64               // of this opening, so that readings of an earlier one are not taken for ours

	mu         sync.Mutex
	peers      map[view.NodeID]peerClock
	bootReadAt time.Time     // when boot was read
	boot       time.Duration // our boot clock
}

// ErrLate: the time in which a write may be committed has passed.
var ErrLate = errors.New("the write came too late")

// askFunc asks a peer as Peers.Ask does.
type askFunc func(ctx context.Context, to view.NodeID, method string, req []byte, until time.Time, others []view.NodeID) ([]byte, error)

type peerClock struct {
	wire.Clock
	seen time.Duration // by our boot clock
	at   time.Time     // the same moment
}

const (
	// FreshClock is how long a peer's reading is gone by: clocks that differ
	// by 100 millionths are then a millisecond apart.
	FreshClock = 10 * time.Second
	// roughClock is how old a reading of our own may be where an older one
	// only makes deadlines earlier. The system call of each costs a forwarded
	// write more than anything else that is done for its deadline.
	roughClock = 10 * time.Millisecond
)

// recentBoot is what the boot clock has shown lately, never more than it shows.
// It needs mu.
func (d *Deadlines) recentBoot() time.Duration {
	if d.bootReadAt.IsZero() || time.Since(d.bootReadAt) > roughClock {
		d.bootReadAt, d.boot = time.Now(), d.readBoot()
	}
	return d.boot
}

// Forget is told that a deadline made for a peer was not one to it.
func (d *Deadlines) Forget(id view.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.peers, id)
}

// Reading is this store's reading.
func (d *Deadlines) Reading() wire.Clock {
	d.mu.Lock()
	defer d.mu.Unlock()
	return wire.Clock{Run: d.opening, Reading: uint64(d.recentBoot().Microseconds())}
}

// Learn takes in a peer's reading that has just arrived, unless there is one
// that will do for some time.
func (d *Deadlines) Learn(id view.NodeID, c wire.Clock) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if have := d.peers[id]; c.Run == 0 || have.Run == c.Run && time.Since(have.at) < FreshClock/2 {
		return
	}
	d.peers[id] = peerClock{c, d.readBoot(), time.Now()}
}

// Make returns the reading of the peer's clock after limit from now at the
// latest. A peer that was not heard lately is asked first.
func (d *Deadlines) Make(ctx context.Context, id view.NodeID, limit time.Duration, until time.Time, others []view.NodeID) (wire.Clock, error) {
	for asked := false; ; asked = true {
		d.mu.Lock()
		now := d.recentBoot()
		c, ok := d.peers[id]
		fresh := ok && now-c.seen < FreshClock
		if !fresh && !asked {
			delete(d.peers, id)
		}
		d.mu.Unlock()
		if fresh || asked {
			c.Reading += uint64(max(now-c.seen+limit, 0).Microseconds())
			return c.Clock, nil
		}
		answer, err := d.ask(ctx, id, wire.MethodClock, nil, until, others)
		if err != nil {
			return wire.Clock{}, err
		}
		p, err := wire.DecodePutReply(answer)
		if err != nil {
			return wire.Clock{}, err
		}
		d.Learn(id, p.Clock)
	}
}

// Read returns a deadline that another node has made for this store, by the
// boot clock here; ErrLate if it was made for an earlier run of the store.
func (d *Deadlines) Read(c wire.Clock) (time.Duration, error) {
	if c.Run != d.opening {
		return 0, ErrLate
	}
	return max(time.Duration(c.Reading)*time.Microsecond, 1), nil
}
