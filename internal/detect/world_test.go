package detect

import (
	"container/heap"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// world runs detectors as a faithful shell would: probes answer within 2 ms
// or fail at their deadline, redials that get through make both ends and
// gossip know.
type world struct {
	t     *testing.T
	par   Params
	now   time.Duration
	queue events
	order int
	nodes map[view.NodeID]*Detector
	hist  map[view.NodeID]*history
	wakes map[view.NodeID]time.Duration

	// reach says whether a's packets get to b and b's answers back.
	reach func(a, b view.NodeID) bool
	// join is called when a redial gets through.
	join func(a, b view.NodeID)
	// log of state changes.
	changes []change
}

type change struct {
	at   time.Duration
	node view.NodeID
	Effect
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// newWorld makes n nodes, of which the first watch run detectors; they have
// all been in contact for a while.
func newWorld(t *testing.T, par Params, n, watch int, seed uint64) *world {
	w := coldWorld(t, par, n, watch, seed)
	for a := range w.nodes {
		for b := view.NodeID(1); b <= view.NodeID(n); b++ {
			w.feed(a, Event{GossipAlive, b})
		}
	}
	w.run(20 * time.Second)
	for a, d := range w.nodes {
		if d.Size() != n {
			t.Fatalf("%v sees %d of %d", a, d.Size(), n)
		}
	}
	w.changes = nil
	return w
}

func coldWorld(t *testing.T, par Params, n, watch int, seed uint64) *world {
	w := &world{
		t: t, par: par,
		nodes: map[view.NodeID]*Detector{}, hist: map[view.NodeID]*history{}, wakes: map[view.NodeID]time.Duration{},
		reach: func(a, b view.NodeID) bool { return true },
		join:  func(a, b view.NodeID) {},
	}
	for a := view.NodeID(1); a <= view.NodeID(watch); a++ {
		w.nodes[a] = New(a, par, rng(seed<<16|uint64(a)))
		w.hist[a] = newHistory(t, par)
	}
	for a := view.NodeID(1); a <= view.NodeID(watch); a++ {
		for b := view.NodeID(1); b <= view.NodeID(n); b++ {
			if a != b {
				w.feed(a, Event{Joined, b})
			}
		}
	}
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, event{at: w.now + d, order: w.order, do: do})
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

func (w *world) feed(a view.NodeID, ev Event) {
	d, ok := w.nodes[a]
	if !ok || ev.ID == a {
		return
	}
	w.hist[a].event(w.now, ev)
	for _, e := range d.Step(w.now, ev) {
		w.hist[a].effect(w.now, ev, e)
		w.perform(a, e)
	}
	if at := d.Next(); at != Never && at != w.wakes[a] {
		w.wakes[a] = at
		w.after(max(at-w.now, 0), func() {
			if w.wakes[a] == at {
				w.wakes[a] = 0
				w.feed(a, Event{Kind: Tick})
			}
		})
	}
}

func (w *world) perform(a view.NodeID, e Effect) {
	switch e.Action {
	case Changed:
		w.changes = append(w.changes, change{w.now, a, e})
	case Probe:
		if w.reach(a, e.ID) {
			w.after(2*time.Millisecond, func() { w.feed(a, Event{ProbeOK, e.ID}) })
		} else {
			w.after(w.par.ProbeTimeout, func() { w.feed(a, Event{ProbeFailed, e.ID}) })
		}
	case Redial:
		if w.reach(a, e.ID) && w.reach(e.ID, a) {
			w.after(5*time.Millisecond, func() {
				w.feed(a, Event{ProbeOK, e.ID})
				w.feed(e.ID, Event{ProbeOK, a})
				w.join(a, e.ID)
			})
		}
	}
}

// count returns how many nodes reported that id became s since from, and
// when the first and the last did.
func (w *world) count(id view.NodeID, s view.State, from time.Duration) (n int, first, last time.Duration) {
	for _, c := range w.changes {
		if c.ID == id && c.To == s && c.at >= from {
			if n == 0 {
				first = c.at - from
			}
			n, last = n+1, c.at-from
		}
	}
	return n, first, last
}
