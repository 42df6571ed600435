package memnet

import (
	"container/heap"
	"os"
	"time"
)

// signal wakes all that wait for a change of some state. The zero signal is
// ready. It is guarded by Net.mu.
type signal struct{ ch chan struct{} }

func (s *signal) waitChannel() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) wakeAll() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// awaitTrue calls try under the lock, again after each signal, until it returns
// true. It gives up and returns false when stop closes.
func (n *Net) awaitTrue(stop <-chan struct{}, s *signal, try func() bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for !try() {
		changed := s.waitChannel()
		n.mu.Unlock()
		stopped := false
		select {
		case <-changed:
		case <-stop:
			stopped = true
		}
		n.mu.Lock()
		if stopped {
			return false
		}
	}
	return true
}

// deadline is the read or write deadline of one socket, guarded by Net.mu.
type deadline struct {
	timer   *time.Timer
	expired bool
}

// setTime arms the deadline; s is raised when it runs out.
func (d *deadline) setTime(n *Net, t time.Time, s *signal) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.expired = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		s.wakeAll()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if d.timer == timer { // not replaced meanwhile
			d.expired = true
			s.wakeAll()
		}
	})
	d.timer = timer
}

func (d *deadline) expiryError() error {
	if d.expired {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// events is the agenda of a Net: one timer, armed for the earliest event.
type events struct {
	queue eventQueue
	seq   uint64
	timer *time.Timer
}

type event struct {
	due time.Time
	seq uint64 // events due at the same moment happen in the order they were made
	do  func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].seq < q[j].seq
	}
	return q[i].due.Before(q[j].due)
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

// scheduleAt has do called at the given time, under the lock.
func (n *Net) scheduleAt(due time.Time, do func()) {
	if n.closed {
		return
	}
	e := &n.events
	e.seq++
	heap.Push(&e.queue, event{due, e.seq, do})
	if e.queue[0].seq == e.seq {
		n.armTimer()
	}
}

func (n *Net) armTimer() {
	wait := time.Until(n.events.queue[0].due)
	if n.events.timer == nil {
		n.events.timer = time.AfterFunc(wait, n.runDueEvents)
		return
	}
	n.events.timer.Reset(wait)
}

func (n *Net) runDueEvents() {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := &n.events.queue
	now := time.Now()
	for len(*q) > 0 && !(*q)[0].due.After(now) {
		heap.Pop(q).(event).do()
	}
	if len(*q) > 0 {
		n.armTimer()
	}
}

func (e *events) stopTimer() {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.queue = nil
}
