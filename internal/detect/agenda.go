package detect

import (
	"cmp"
	"container/heap"
	"time"
)

// agenda knows whose probe is due without looking at everybody: after a start
// among thousands of dead members a few probes begin at a time, and all the others
// wait for their turn. A member of which something is due stands in one of the two
// queues.
type agenda struct {
	later queue // by when it is due
	ready queue // due: the urgent first, then those that are due for longest
}

func newAgenda() agenda {
	return agenda{
		later: queue{before: func(a, b *member) bool {
			return cmp.Or(cmp.Compare(a.wakeAt, b.wakeAt), cmp.Compare(a.id, b.id)) < 0
		}},
		ready: queue{before: func(a, b *member) bool {
			if a.wasUrgent != b.wasUrgent {
				return a.wasUrgent
			}
			return cmp.Or(cmp.Compare(a.wakeAt, b.wakeAt), cmp.Compare(a.id, b.id)) < 0
		}},
	}
}

// placeMember gives a member that has changed its place: wake is when something is due of
// it, Never if nothing is. The queues go by what is noted here, so that a member
// may change before it is put again.
func (a *agenda) placeMember(m *member, wake, now time.Duration) {
	m.wakeAt, m.wasUrgent = wake, m.urgent
	in := &a.later
	switch {
	case wake == Never:
		in = nil
	case wake <= now:
		in = &a.ready
	}
	if m.inQueue != nil && m.inQueue != in {
		heap.Remove(m.inQueue, m.queueIndex)
	}
	switch {
	case in == nil:
	case m.inQueue == in:
		heap.Fix(in, m.queueIndex)
	default:
		heap.Push(in, m)
	}
}

// nextDue returns when the next of those that wait is due.
func (a *agenda) nextDue() time.Duration {
	if len(a.later.members) == 0 {
		return Never
	}
	return a.later.members[0].wakeAt
}

// queue is a heap of members that know their place in it.
type queue struct {
	members []*member
	before  func(a, b *member) bool
}

func (q *queue) Len() int           { return len(q.members) }
func (q *queue) Less(i, j int) bool { return q.before(q.members[i], q.members[j]) }

func (q *queue) Swap(i, j int) {
	q.members[i], q.members[j] = q.members[j], q.members[i]
	q.members[i].queueIndex, q.members[j].queueIndex = i, j
}

func (q *queue) Push(x any) {
	m := x.(*member)
	m.inQueue, m.queueIndex = q, len(q.members)
	q.members = append(q.members, m)
}

func (q *queue) Pop() any {
	last := len(q.members) - 1
	m := q.members[last]
	q.members[last] = nil
	q.members = q.members[:last]
	m.inQueue = nil
	return m
}
