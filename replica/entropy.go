package replica

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// After a comparison or a hand-over that failed, growing from the first to the last:
// what cannot be read here or there is not there a second later.
const (
	entropyRetry     = time.Second
	lastEntropyRetry = 2 * time.Minute

	silentRetry = 5 * time.Second  // of a peer that does not answer at all: to ask costs little
	missedRetry = 15 * time.Second // of one that misses writes all the time
)

// seldomLook is after how many periods a store without strays looks for some: a
// look reads the first record of each shard.
const seldomLook = 16

// entropy keeps this store equal with the other homes of what it holds: with
// every peer about which something has raised a doubt, until it is equal with it,
// and with a random one now and then.
type entropy struct {
	s    *Store
	kick notify.Bell
	bare atomic.Bool // nothing was here, at the last look, that belongs elsewhere

	mu       sync.Mutex
	doubts   replicate.Doubts
	move     bool               // see to what belongs elsewhere,
	moveAt   time.Duration      // but not before
	moveWait time.Duration      // after the next time that it fails
	peer     view.NodeID        // with whom this store is being compared
	end      context.CancelFunc // of that; nil: it is not
}

func newEntropy(s *Store) *entropy {
	return &entropy{s: s, kick: notify.NewBell(), doubts: replicate.Doubts{First: entropyRetry, Last: lastEntropyRetry}}
}

// doubt has peers compared with at once, and until they are equal with this store.
func (e *entropy) doubt(peers ...view.NodeID) {
	e.mu.Lock()
	for _, id := range peers {
		if e.isPeer(id) {
			e.doubts.Raise(id, e.s.since())
		}
	}
	e.moveWait = entropyRetry
	e.mu.Unlock()
	e.kick.Ring()
}

// doubtAll is doubt about every peer.
func (e *entropy) doubtAll() { e.doubt(e.s.peers()...) }

// missed notes that a peer has not got a write. What is kept for it may be delivered
// before it is compared with.
func (e *entropy) missed(peer view.NodeID) {
	e.mu.Lock()
	known := e.doubts.Has(peer)
	e.doubts.Miss(peer, e.s.since())
	e.mu.Unlock()
	if !known {
		e.kick.Ring()
	}
}

// lost ends the comparison with a peer that is out of contact: it might be waited for
// for long, and others with it.
func (e *entropy) lost(peers []view.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.end != nil && slices.Contains(peers, e.peer) {
		e.end()
	}
}

// forget drops the doubts about those who do not belong to the mesh any more.
func (e *entropy) forget(lay *layout) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doubts.Forget(func(id view.NodeID) bool { _, belongs := lay.inMesh[id]; return belongs })
}

// doubted lists the peers in contact with which this store may not be equal.
func (e *entropy) doubted(lay *layout) (out []view.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.doubts.Events() {
		if lay.inMesh[id] {
			out = append(out, id)
		}
	}
	return out
}

// moved has what belongs elsewhere by a new roster brought there.
func (e *entropy) moved() {
	e.look()
	e.doubtAll()
}

// look has what belongs elsewhere looked for, should there be any, with the next
// comparison.
func (e *entropy) look() { e.moveBy(e.s.since()) }

// later has it looked for in a while: a write that was routed by an older roster
// has left something here.
func (e *entropy) later() {
	e.moveBy(e.s.since() + entropyRetry)
	e.kick.Ring()
}

func (e *entropy) moveBy(at time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.move || at < e.moveAt {
		e.move, e.moveAt = true, at
	}
}

// moving tells whether something may be here that belongs elsewhere and was not yet
// seen to.
func (e *entropy) moving() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.move
}

func (e *entropy) run(ctx context.Context) {
	every := e.s.cfg.SyncEvery
	tick := time.NewTimer(jitter(every))
	defer tick.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	ticks := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
		case <-due.C:
		case <-tick.C:
			tick.Reset(jitter(every))
			// What comes here that is to go elsewhere is told of; a look now and
			// then finds what was not.
			if ticks++; !e.bare.Load() || ticks%seldomLook == 0 {
				e.look()
			}
			if peers := e.s.peers(); len(peers) > 0 && every > 0 {
				e.compareByChance(ctx, peers[rand.IntN(len(peers))])
			}
		}
		e.compareDoubted(ctx)
		e.handOver(ctx)
		due.Reset(e.idle())
	}
}

// jitter spreads a period by half of it either way, so that stores started
// together do not stay together.
func jitter(every time.Duration) time.Duration {
	if every < 0 {
		return 1 << 62
	}
	return every/2 + rand.N(every+1)
}

// compareByChance finds what nothing has raised a doubt about.
func (e *entropy) compareByChance(ctx context.Context, id view.NodeID) {
	if err := e.compare(ctx, id); err != nil && ctx.Err() == nil {
		e.missed(id)
	}
}

// compareDoubted compares with the peers that are due, with each once: one that does
// not answer must not hold up what the others are to get.
func (e *entropy) compareDoubted(ctx context.Context) {
	lay := e.s.layout.Load()
	for range len(lay.placed) {
		e.mu.Lock()
		id, event, ok := e.doubts.Try(e.s.since(), e.isPeer)
		e.mu.Unlock()
		if !ok || ctx.Err() != nil {
			return
		}
		// A short question first: a comparison waits long for its answers.
		there := e.s.peering.Answers(ctx, id)
		var err error
		if there {
			err = e.compare(ctx, id)
		}
		e.mu.Lock()
		switch now := e.s.since(); {
		case !there:
			e.doubts.TryBy(id, now+silentRetry)
		case err == nil && !e.doubts.Settle(id, event):
			e.doubts.TryBy(id, now+missedRetry)
		}
		e.mu.Unlock()
	}
}

// compare is Store.compare until the peer is out of contact.
func (e *entropy) compare(ctx context.Context, id view.NodeID) error {
	inContact, end := context.WithCancel(ctx)
	defer end()
	e.mu.Lock()
	e.peer, e.end = id, end
	e.mu.Unlock()
	err := e.s.compare(inContact, id)
	e.mu.Lock()
	e.end = nil
	e.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		e.s.log.Debug("comparison broke off", "peer", id, "error", err)
	}
	return err
}

// handOver brings what belongs elsewhere there, if it is time to.
func (e *entropy) handOver(ctx context.Context) {
	e.mu.Lock()
	due := e.move && e.moveAt <= e.s.since()
	e.move = e.move && !due
	e.mu.Unlock()
	if !due {
		return
	}
	err := e.s.handOver(ctx, e.s.layout.Load(), false)
	e.mu.Lock()
	wait := max(e.moveWait, entropyRetry)
	if e.moveWait = entropyRetry; err != nil {
		e.moveWait = min(2*wait, lastEntropyRetry)
	}
	e.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		e.s.log.Debug("not all that belongs elsewhere is there", "error", err)
		e.moveBy(e.s.since() + wait)
	}
}

// idle is for how long there is nothing to do.
func (e *entropy) idle() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.doubts.Due(e.isPeer)
	if e.move && (!ok || e.moveAt < at) {
		at, ok = e.moveAt, true
	}
	if !ok {
		return 1 << 62
	}
	return max(at-e.s.since(), 0)
}

// isPeer tells whether a store can be compared with now.
func (e *entropy) isPeer(id view.NodeID) bool {
	lay := e.s.layout.Load()
	_, placed := slices.BinarySearch(lay.placed, id)
	return placed && lay.inMesh[id] && id != e.s.id
}

// peers lists the storing members in contact, this one left out.
func (s *Store) peers() []view.NodeID {
	lay := s.layout.Load()
	out := make([]view.NodeID, 0, len(lay.placed))
	for _, id := range lay.placed {
		if id != s.id && lay.inMesh[id] {
			out = append(out, id)
		}
	}
	return out
}
