package replica

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// After a comparison that failed, growing from the first to the last: what cannot
// be read here or there is not there a second later.
const (
	entropyRetry     = time.Second
	lastEntropyRetry = 2 * time.Minute
)

// seldomLook is after how many periods a store without strays looks for some: a
// look reads the first record of each shard.
const seldomLook = 16

// entropy keeps this store equal with the other homes of what it holds: with
// every peer when it starts or comes back, with a random one now and then.
type entropy struct {
	s     *Store
	kick  chan struct{}
	stray chan struct{}
	bare  atomic.Bool // nothing was here, at the last look, that belongs elsewhere

	mu   sync.Mutex
	want map[view.NodeID]bool // peers to compare with soon
	move bool                 // the roster changed: see to what belongs elsewhere now
}

func newEntropy(s *Store) *entropy {
	return &entropy{s: s, kick: make(chan struct{}, 1), stray: make(chan struct{}, 1), want: make(map[view.NodeID]bool)}
}

// with has the peers compared with soon.
func (e *entropy) with(peers ...view.NodeID) {
	e.mu.Lock()
	for _, id := range peers {
		e.want[id] = true
	}
	e.mu.Unlock()
	e.wake()
}

// all has every peer compared with soon.
func (e *entropy) all() { e.with(e.s.peers()...) }

// moved has what belongs elsewhere by a new roster brought there.
func (e *entropy) moved() {
	e.mu.Lock()
	e.move = true
	e.mu.Unlock()
	e.all()
}

// look has what belongs elsewhere looked for, should there be any.
func (e *entropy) look() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.move = true
}

// later has it looked for in a while: a write that was routed by an older roster
// has left something here.
func (e *entropy) later() {
	e.look()
	signal(e.stray)
}

func (e *entropy) wake() { signal(e.kick) }

func (e *entropy) run(ctx context.Context) {
	every := e.s.cfg.SyncEvery
	tick := time.NewTimer(jitter(every))
	defer tick.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	wait, ticks := entropyRetry, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
			wait = entropyRetry
		case <-e.stray:
			retry.Reset(entropyRetry)
			continue
		case <-retry.C:
		case <-tick.C:
			tick.Reset(jitter(every))
			// What comes here that is to go elsewhere is told of; a look now and
			// then finds what was not.
			if ticks++; !e.bare.Load() || ticks%seldomLook == 0 {
				e.look()
			}
			if peers := e.s.peers(); len(peers) > 0 && every > 0 {
				e.want1(peers[rand.IntN(len(peers))])
			}
		}
		if e.round(ctx) {
			wait = entropyRetry
		} else {
			retry.Reset(wait)
			wait = min(2*wait, lastEntropyRetry)
		}
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

func (e *entropy) want1(id view.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.want[id] = true
}

// round compares with the peers that are wanted. It reports false if one of
// them is there and the comparison failed.
func (e *entropy) round(ctx context.Context) bool {
	ok := true
	e.mu.Lock()
	move := e.move
	e.move = false
	e.mu.Unlock()
	for {
		id, some := e.next()
		if !some {
			break
		}
		if !slices.Contains(e.s.peers(), id) {
			continue // it is gone; its return wakes us
		}
		if err := e.s.compare(ctx, id); err != nil {
			if ctx.Err() != nil {
				return true
			}
			e.s.log.Debug("comparison broke off", "peer", id, "err", err)
			ok = false
			e.want1(id)
			break
		}
	}
	if move {
		if err := e.s.handOver(ctx, e.s.layout.Load(), false); err != nil && ctx.Err() == nil {
			e.s.log.Debug("not all that belongs elsewhere is there", "err", err)
			ok = false
			e.mu.Lock()
			e.move = true
			e.mu.Unlock()
		}
	}
	return ok
}

func (e *entropy) next() (view.NodeID, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.want {
		delete(e.want, id)
		return id, true
	}
	return 0, false
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
