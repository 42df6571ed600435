package failover

import (
	"context"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/notify"
)

const (
	maxEvents   = 1024            // that wait for who records them
	recordAgain = time.Second     // behind one that could not be recorded, at first
	recordLast  = time.Minute     // and at the most
	restGrace   = 2 * time.Second // for what still waits at the end
)

// journal hands events on, one at a time, without that anything waits for that. One that
// could not be recorded is recorded again, before later ones.
type journal struct {
	record func(ctx context.Context, e numbered) error // nil: nothing is recorded
	bell   notify.Bell

	mu      sync.Mutex
	waiting []numbered
	last    uint64
	dropped uint64
}

// numbered is an event with its number in this journal.
type numbered struct {
	Event
	number uint64
}

func newJournal(record func(ctx context.Context, e numbered) error) *journal {
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
	j.last++
	j.waiting = append(j.waiting, numbered{e, j.last})
	j.mu.Unlock()
	j.bell.Ring()
}

// recordAll records until ctx ends, and then what waits, as far as that goes soon.
func (j *journal) recordAll(ctx context.Context) {
	again := clock.Backoff{First: recordAgain, Last: recordLast}
	for ctx.Err() == nil {
		e, ok := j.takeFirst()
		if !ok {
			select {
			case <-j.bell:
			case <-ctx.Done():
			}
			continue
		}
		if j.record(ctx, e) == nil {
			again.Reset()
			continue
		}
		j.putBack(e)
		clock.Sleep(ctx, again.Next())
	}
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), restGrace)
	defer cancel()
	for e, ok := j.takeFirst(); ok; e, ok = j.takeFirst() {
		if j.record(rest, e) != nil {
			j.countOne()
		}
	}
}

func (j *journal) takeFirst() (e numbered, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) == 0 {
		return e, false
	}
	e = j.waiting[0]
	j.waiting = j.waiting[1:]
	return e, true
}

// putBack has an event be the first again, if there is room for the oldest one.
func (j *journal) putBack(e numbered) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) == maxEvents {
		j.dropped++
		return
	}
	j.waiting = append([]numbered{e}, j.waiting...)
}

func (j *journal) countOne() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dropped++
}

func (j *journal) countDropped() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dropped
}
