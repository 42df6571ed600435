package failover

import (
	"context"
	"sync"

	"github.com/skeinmesh/skein/internal/notify"
)

// maxEvents is how many events wait for Config.Record at most.
const maxEvents = 1024

// journal hands events on, one at a time, without that anything waits for that.
type journal struct {
	record func(ctx context.Context, e Event)
	bell   notify.Bell

	mu      sync.Mutex
	waiting []Event
	dropped uint64
}

func newJournal(record func(ctx context.Context, e Event)) *journal {
	return &journal{record: record, bell: notify.NewBell()}
}

// addEvent has an event recorded. If too many wait the oldest one is dropped.
func (j *journal) addEvent(e Event) {
	if j.record == nil {
		return
	}
	j.mu.Lock()
	if len(j.waiting) == maxEvents {
		j.waiting = append(j.waiting[:0:0], j.waiting[1:]...)
		j.dropped++
	}
	j.waiting = append(j.waiting, e)
	j.mu.Unlock()
	j.bell.Ring()
}

// recordAll records until ctx ends, and then what waits, with a context that has ended.
func (j *journal) recordAll(ctx context.Context) {
	for {
		for e, ok := j.takeFirst(); ok; e, ok = j.takeFirst() {
			j.record(ctx, e)
		}
		select {
		case <-j.bell:
		case <-ctx.Done():
			for e, ok := j.takeFirst(); ok; e, ok = j.takeFirst() {
				j.record(ctx, e)
			}
			return
		}
	}
}

func (j *journal) takeFirst() (e Event, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) == 0 {
		return e, false
	}
	e = j.waiting[0]
	j.waiting = j.waiting[1:]
	return e, true
}

func (j *journal) countDropped() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dropped
}
