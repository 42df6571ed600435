package detect

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// When a part of the mesh is lost at once the rest of it is probed, though gossip
// gives up only two of them; one that dies alone costs no probe of others.
func TestSweepAfterAMassLoss(t *testing.T) {
	const n = 40
	for _, lost := range []int{1, 20} {
		w := newWorld(t, LAN(), n, 1, 7)
		gone := func(id view.NodeID) bool { return int(id) > n-lost }
		w.reach = func(a, b view.NodeID) bool { return gone(a) == gone(b) }
		for id := view.NodeID(n); id > n-2 && gone(id); id-- {
			w.feed(1, Event{GossipFailed, id})
		}
		w.run(4 * time.Second)
		doubted := 0
		for id := view.NodeID(2); id <= n; id++ {
			switch s := w.nodes[1].State(id); {
			case gone(id) && s != view.Alive:
				doubted++
			case !gone(id) && s != view.Alive:
				t.Errorf("%d lost: %v is %v", lost, id, s)
			}
		}
		if doubted != lost {
			t.Errorf("%d of %d lost ones are doubted after 4 s", doubted, lost)
		}
		if got := w.nodes[1].Unreachable(); len(got) != max(lost-2, 0) {
			t.Errorf("%d lost: %d exceptions, gossip gave up two at most", lost, len(got))
		}
	}
}

// A mesh that loses members all the time is swept once in massPause.
func TestSweepsKeepTheirDistance(t *testing.T) {
	const n, lost = 200, 100
	w := newWorld(t, LAN(), n, 1, 8)
	d := w.nodes[1]
	begin, probes := w.now, map[view.NodeID]int{}
	step := func(ev Event) {
		for todo := d.Step(w.now, ev); len(todo) > 0; todo = todo[1:] {
			if e := todo[0]; e.Action == Probe {
				probes[e.ID]++
				kind := ProbeOK
				if e.ID > n-lost {
					kind = ProbeFailed
				}
				todo = append(todo, d.Step(w.now, Event{kind, e.ID})...)
			}
		}
	}
	next := view.NodeID(n)
	for ; w.now < begin+massPause-time.Second; w.now += 50 * time.Millisecond {
		if next > n-lost {
			step(Event{GossipFailed, next})
			next--
		}
		step(Event{Kind: Tick})
	}
	swept := 0
	for id, k := range probes {
		if id > n-lost {
			continue
		}
		if swept++; k > 1 {
			t.Errorf("%v was probed %d times", id, k)
		}
	}
	if swept == 0 {
		t.Error("nobody was probed")
	}
}
