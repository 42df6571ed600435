package keep

import (
	"sync"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/mesh/view"
)

// CatchUps is what has been heard of rounds that this store does not know, or of which it
// has not yet let go of the tombs. All methods may be used concurrently.
type CatchUps struct {
	mu         sync.Mutex
	peersAhead map[int]map[view.NodeID]bool // by shard: who knows more
	done       map[int]bool                 // shards of which a round was committed

	Kick notify.Bell // rings when there is something to do
}

func newCatchUps() *CatchUps {
	return &CatchUps{peersAhead: make(map[int]map[view.NodeID]bool), done: make(map[int]bool), Kick: notify.NewBell()}
}

// Behind has this store catch up with what a peer knows of a shard.
func (b *CatchUps) Behind(shard int, peer view.NodeID) {
	b.mu.Lock()
	if b.peersAhead[shard] == nil {
		b.peersAhead[shard] = make(map[view.NodeID]bool)
	}
	b.peersAhead[shard][peer] = true
	b.mu.Unlock()
	b.Kick.Ring()
}

// Committed has this store let go of what was purged in a round that turns out to be
// committed.
func (b *CatchUps) Committed(shard int) {
	b.mu.Lock()
	b.done[shard] = true
	b.mu.Unlock()
	b.Kick.Ring()
}

// TakeNext takes something off what is to be done: with the peer to catch up with, or
// with 0 to let go of what was purged. ok is false if there is nothing.
func (b *CatchUps) TakeNext() (shard int, peer view.NodeID, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for shard := range b.done {
		delete(b.done, shard)
		return shard, 0, true
	}
	for shard, peers := range b.peersAhead {
		for peer := range peers {
			if delete(peers, peer); len(peers) == 0 {
				delete(b.peersAhead, shard)
			}
			return shard, peer, true
		}
	}
	return 0, 0, false
}
