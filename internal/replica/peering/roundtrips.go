package peering

import (
	"context"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// measureEvery is after what time a round trip that somebody asks for is measured again.
const measureEvery = 10 * time.Second

// RoundTrips are how long peers take to answer a short question. They are measured when
// somebody wants to know them, in the background: nobody waits, and who is not asked for
// costs nothing.
type RoundTrips struct {
	opts *Options

	mu    sync.Mutex
	peers map[view.NodeID]roundTrip
}

type roundTrip struct {
	took time.Duration // 0: not known
	due  time.Time     // when it is to be measured again
}

// Of returns what is known of a peer, 0 for nothing.
func (r *RoundTrips) Of(id view.NodeID) time.Duration {
	now := time.Now()
	r.mu.Lock()
	known := r.peers[id]
	old := !now.Before(known.due)
	if old {
		r.peers[id] = roundTrip{known.took, now.Add(measureEvery)}
	}
	r.mu.Unlock()
	if old {
		r.opts.Group.Go(func(ctx context.Context) { r.measurePeer(ctx, id) })
	}
	return known.took
}

// measurePeer asks a peer. Half of what was known before counts, so that one answer that
// came late by chance does not.
func (r *RoundTrips) measurePeer(ctx context.Context, id view.NodeID) {
	call, cancel := context.WithTimeout(ctx, r.opts.Patience.Probe())
	defer cancel()
	begun := time.Now()
	_, err := r.opts.Mesh.Call(call, id, wire.MethodClock, nil)
	took := max(time.Since(begun), 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.peers[id]
	switch {
	case !ok: // it was forgotten meanwhile
		return
	case err != nil:
		known.took = 0
	case known.took > 0:
		known.took = (known.took + took) / 2
	default:
		known.took = took
	}
	r.peers[id] = known
}

// Forget drops those that do not belong to the mesh any more.
func (r *RoundTrips) Forget(belongs func(view.NodeID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.peers {
		if !belongs(id) {
			delete(r.peers, id)
		}
	}
}
