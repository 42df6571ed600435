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
			return cmp.Or(cmp.Compare(a.wake, b.wake), cmp.Compare(a.id, b.id)) < 0
		}},
		ready: queue{before: func(a, b *member) bool {
			if a.first != b.first {
				return a.first
			}
			return cmp.Or(cmp.Compare(a.wake, b.wake), cmp.Compare(a.id, b.id)) < 0
		}},
	}
}

// put gives a member that has changed its place: wake is when something is due of
// it, Never if nothing is. The queues go by what is noted here, so that a member
// may change before it is put again.
func (a *agenda) put(m *member, wake, now time.Duration) {
	m.wake, m.first = wake, m.urgent
	in := &a.later
	switch {
	case wake == Never:
		in = nil
	case wake <= now:
		in = &a.ready
	}
	if m.in != nil && m.in != in {
		heap.Remove(m.in, m.at)
	}
	switch {
	case in == nil:
	case m.in == in:
		heap.Fix(in, m.at)
	default:
		heap.Push(in, m)
	}
}

// next returns when the next of those that wait is due.
func (a *agenda) next() time.Duration {
	if len(a.later.members) == 0 {
		return Never
	}
	return a.later.members[0].wake
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
	q.members[i].at, q.members[j].at = i, j
}

func (q *queue) Push(x any) {
	m := x.(*member)
	m.in, m.at = q, len(q.members)
	q.members = append(q.members, m)
}

func (q *queue) Pop() any {
	last := len(q.members) - 1
	m := q.members[last]
	q.members[last] = nil
	q.members = q.members[:last]
	m.in = nil
	return m
}
