package reading

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	repairRoom  = 1024             // repairs waiting; what is beyond is left to anti-entropy
	repairAgain = 30 * time.Second // before the same record is asked for again
)

// Repairs are single records that are to be brought up to date in the background, because a
// read has shown that one is behind or damaged; see Reader.KeepRepairing. All methods may be
// used concurrently.
type Repairs struct {
	queue    chan repair
	repaired atomic.Uint64

	mu    sync.Mutex
	asked map[string]time.Time // storage keys of lost records, when they were last put in the queue
}

type repair struct {
	at   layout.Place
	lost bool         // the record here is damaged: ask others
	item version.Item // else: take this in
	from purge.Stamp  // with which it was read
}

// NewRepairs returns an empty queue.
func NewRepairs() *Repairs {
	return &Repairs{queue: make(chan repair, repairRoom), asked: make(map[string]time.Time)}
}

// Repaired returns how many records were brought up to date, here and elsewhere.
func (q *Repairs) Repaired() uint64 { return q.repaired.Load() }

// EnqueueDamaged notes that the record here is damaged. When nobody has another copy it
// stays so; it is asked for again now and then, not over and over.
func (q *Repairs) EnqueueDamaged(at layout.Place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if last, ok := q.asked[string(at.Record)]; ok && now.Sub(last) < repairAgain {
		return
	}
	if len(q.asked) >= repairRoom {
		maps.DeleteFunc(q.asked, func(_ string, last time.Time) bool { return now.Sub(last) >= repairAgain })
	}
	if len(q.asked) < repairRoom && q.enqueueRepair(repair{at: at, lost: true}) {
		q.asked[string(at.Record)] = now
	}
}

func (q *Repairs) enqueueRepair(one repair) bool {
	select {
	case q.queue <- one:
		return true
	default:
		return false
	}
}
