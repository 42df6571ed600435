package comparing

import (
	"sync"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// lastSynced is when this store was last made equal with each peer, by bucket.
type lastSynced struct {
	mu sync.Mutex
	at map[syncedWith]time.Duration
}

type syncedWith struct {
	bucket uint64
	peer   view.NodeID
}

func (l *lastSynced) noteSync(bucket uint64, peer view.NodeID, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = make(map[syncedWith]time.Duration)
	}
	l.at[syncedWith{bucket, peer}] = now
}

func (l *lastSynced) sinceSync(bucket uint64, peer view.NodeID, now time.Duration) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.at[syncedWith{bucket, peer}]
	return now - at, ok
}
