package watching

import (
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/mesh/view"
)

// mostWaiting bounds the polls that wait for a change. Further ones are answered at once,
// and come again after a beat.
const mostWaiting = 1024

// mostOfOne bounds those of one other node: each holds one of the requests that the node may
// have under way here, of which it needs some to write.
const mostOfOne = 128

// waitingPolls are polls that wait for a change, by what they wait for, so that a change
// need not be compared with each.
type waitingPolls struct {
	by      map[subject]map[*waitingPoll]struct{} // those that nothing has come for
	lengths map[lengthOf]int                      // prefixes of that length of a bucket
	count   int                                   // with those that were told, without seats
	seats   int
	of      map[view.NodeID]int // those of other nodes
}

// subject is what a poll waits for.
type subject struct {
	bucket uint64
	prefix string
}

type lengthOf struct {
	bucket uint64
	length int
}

// waitingPoll is a poll that waits, or a seat. The mutex of its feed guards what changes.
type waitingPoll struct {
	from   view.NodeID // 0: this node
	about  subject
	shards scan.Shards
	seen   uint64        // number of the last change that it has looked at
	first  uint64        // number of the first change that it waits for; 0: there is none yet
	since  time.Duration // when it began to wait: see wakeSince
	wake   notify.Bell

	stays   bool     // it is a seat, and goes on waiting
	waits   bool     // the seat has a poll under way that nothing has come for
	numbers []uint64 // of changes that have come for the seat, in order
	missed  bool     // more have come
}

// mostNumbers bounds what is noted of what has come for a seat.
const mostNumbers = 512

// hasCome tells whether there is something for a seat.
func (p *waitingPoll) hasCome() bool { return len(p.numbers) > 0 || p.missed }

func newWaitingPolls() waitingPolls {
	return waitingPolls{by: make(map[subject]map[*waitingPoll]struct{}), lengths: make(map[lengthOf]int), of: make(map[view.NodeID]int)}
}

// hasRoomFor tells whether one more poll of a node may wait.
func (w *waitingPolls) hasRoomFor(from view.NodeID) bool {
	return w.count < mostWaiting && w.of[from] < mostOfOne
}

func (w *waitingPolls) addPoll(p *waitingPoll) {
	w.putIn(p)
	if w.count++; p.from != 0 {
		w.of[p.from]++
	}
}

// putIn has a poll be matched.
func (w *waitingPolls) putIn(p *waitingPoll) {
	same := w.by[p.about]
	if same == nil {
		same = make(map[*waitingPoll]struct{})
		w.by[p.about] = same
		w.lengths[lengthOf{p.about.bucket, len(p.about.prefix)}]++
	}
	same[p] = struct{}{}
}

// noteNumber notes a change that has come for a seat, and tells whether it is to be woken.
func (w *waitingPolls) noteNumber(p *waitingPoll, number uint64) (wake bool) {
	if len(p.numbers) < mostNumbers {
		p.numbers = append(p.numbers, number)
	} else {
		w.missAll(p)
	}
	wake, p.waits = p.waits, false
	return wake
}

// missAll has a seat note nothing any more: it lacks something.
func (w *waitingPolls) missAll(p *waitingPoll) {
	p.missed, p.numbers = true, p.numbers[:0]
	w.takeOut(p)
}

// removePoll ends that a poll waits.
func (w *waitingPolls) removePoll(p *waitingPoll) {
	w.count--
	if w.of[p.from]--; w.of[p.from] <= 0 {
		delete(w.of, p.from)
	}
	w.takeOut(p)
}

// takeOut has a poll be matched no more.
func (w *waitingPolls) takeOut(p *waitingPoll) {
	same := w.by[p.about]
	if _, in := same[p]; !in {
		return
	}
	delete(same, p)
	if len(same) > 0 {
		return
	}
	delete(w.by, p.about)
	length := lengthOf{p.about.bucket, len(p.about.prefix)}
	if w.lengths[length]--; w.lengths[length] == 0 {
		delete(w.lengths, length)
	}
}

// matchEntry tells the polls that wait for a change of it, and returns those that waited for the
// first one.
func (w *waitingPolls) matchEntry(e *watch.Entry, number uint64, woken []*waitingPoll) []*waitingPoll {
	for length := range w.lengths {
		if length.bucket != e.Bucket || length.length > len(e.Key) {
			continue
		}
		for p := range w.by[subject{e.Bucket, e.Key[:length.length]}] {
			switch {
			case number <= p.seen || !p.shards.Has(e.Shard):
			case p.stays:
				if w.noteNumber(p, number) {
					woken = append(woken, p)
				}
			default:
				p.first, woken = number, append(woken, p)
				w.takeOut(p)
			}
		}
	}
	return woken
}

// wakeAll wakes all that wait: what they wait for may have been forgotten.
func (w *waitingPolls) wakeAll(number uint64, woken []*waitingPoll) []*waitingPoll {
	for _, same := range w.by {
		for p := range same {
			if p.stays {
				if w.missAll(p); p.waits {
					p.waits, woken = false, append(woken, p)
				}
				continue
			}
			p.first, woken = number, append(woken, p)
			w.takeOut(p)
		}
	}
	return woken
}

// wakeSince wakes those that wait since a time or longer.
func (w *waitingPolls) wakeSince(since time.Duration, number uint64, woken []*waitingPoll) []*waitingPoll {
	for _, same := range w.by {
		for p := range same {
			if p.since <= since {
				p.first, woken = max(number, p.seen+1), append(woken, p)
				w.takeOut(p)
			}
		}
	}
	return woken
}

// matches tells whether a change is of what a poll is about.
func (s *subject) matches(e *watch.Entry) bool {
	return e.Bucket == s.bucket && strings.HasPrefix(e.Key, s.prefix)
}
