package storage

import "time"

// gathering decides how long a group stays open for more updates once the
// queue is empty. Writers answered by one sync come back one after another:
// were the next group closed as soon as the first of them is here, they would
// fall into two groups that take turns, and each would wait for the other's
// sync. A wait of at most one sync costs them no more than that and halves
// the syncs.
//
// What to expect is taken from what has been: of a lone writer nothing is
// expected, and it never waits. It is only the committer's.
type gathering struct {
	// expected is how many writers there were lately: those of a group and
	// those that queued while it was synced. It grows at once and shrinks by
	// half, so that those who have gone are waited for a few times only.
	expected int
	// sync is what a commit has taken lately, the most that a wait is worth.
	// One commit moves it by a quarter: a disk that hung once is no measure.
	syncTime time.Duration
	timer    *time.Timer
}

// noteCommit takes note of a group, and of how many updates have queued since
// it was closed. Next to a group of one those do not count: the copies of a
// lone client's writes overlap now and then, but do not come together.
func (w *gathering) noteCommit(updates, queued int, took time.Duration) {
	writers := updates
	if updates > 1 {
		writers += queued
	}
	w.expected = max(writers, (w.expected+writers)/2)
	if w.syncTime == 0 {
		w.syncTime = took
	}
	w.syncTime += (min(took, 2*w.syncTime) - w.syncTime) / 4
}

// awaitUpdate waits for the next update of a group that has so many and was opened
// at since. It returns nil when the group shall be closed.
func (w *gathering) awaitUpdate(queue <-chan *update, have int, since time.Time) *update {
	if have >= w.expected {
		return nil
	}
	left := w.syncTime - time.Since(since)
	if left <= 0 {
		return nil
	}
	if w.timer == nil {
		w.timer = time.NewTimer(left)
	} else {
		w.timer.Reset(left)
	}
	defer w.timer.Stop()
	select {
	case u := <-queue:
		return u
	case <-w.timer.C:
		return nil
	}
}
