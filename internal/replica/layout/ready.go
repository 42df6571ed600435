package layout

import (
	"sync"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// readiness says in which shards of a bucket the absence of a record proves
// something here. The rule is the core's; this keeps its verdicts at hand.
type readiness struct {
	verdicts atomic.Pointer[[]atomic.Bool] // by shard; nil: none yet

	mu   sync.Mutex
	core replicate.Readiness
}

// ProvesAbsence tells whether no record means no record in this shard.
func (r *readiness) ProvesAbsence(shard int) bool {
	v := r.verdicts.Load()
	return v != nil && (*v)[shard].Load()
}

// followRoster takes in the roster: which shards this store is a home of, and which were
// settled when it was last open.
func (r *readiness) followRoster(shards int, isHome, settled func(shard int) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.verdicts.Load() == nil {
		v := make([]atomic.Bool, shards)
		r.verdicts.Store(&v)
	}
	for _, shard := range r.core.Follow(shards, isHome, settled) {
		(*r.verdicts.Load())[shard].Store(false)
	}
}

// restartShard notes that records of a shard are gone here, nobody knows which: it begins
// anew, as fresh.
func (r *readiness) restartShard(shard int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.core.Lose(shard) {
		(*r.verdicts.Load())[shard].Store(false)
	}
}

// updateVerdict asks the core about a shard again; it tells whether it just became
// ready.
func (r *readiness) updateVerdict(shard int, self view.NodeID, homes, members []view.NodeID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.verdicts.Load()
	if v == nil {
		return false
	}
	ok := r.core.Ready(shard, self, homes, members)
	return ok != (*v)[shard].Swap(ok) && ok
}

// noteEqual reports that all a peer has of a shard is here, and whether it is a
// seasoned home of it.
func (r *readiness) noteEqual(shard int, peer view.NodeID, seasoned bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.core.Equal(shard, peer, seasoned)
}

// SeasonedBits lists the shards of which this store is a seasoned home as a bit map.
func (r *readiness) SeasonedBits(shards int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	bits := make([]byte, (shards+7)/8)
	for shard := range shards {
		if r.core.Seasoned(shard) {
			bits[shard/8] |= 1 << (shard % 8)
		}
	}
	return bits
}

// hasBit reads a bit map; what is beyond its end is not set.
func hasBit(bits []byte, i int) bool { return i/8 < len(bits) && bits[i/8]&(1<<(i%8)) != 0 }

// settledBits lists the ready shards as a bit map.
func (r *readiness) settledBits() []byte {
	v := r.verdicts.Load()
	if v == nil {
		return nil
	}
	bits := make([]byte, (len(*v)+7)/8)
	for i := range *v {
		if (*v)[i].Load() {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits
}
