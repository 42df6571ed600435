package detect

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestKilledProcessIsSuspectedAtOnce(t *testing.T) {
	w := newWorld(t, LAN(), 50, 49, 1)
	start := w.now
	w.reach = func(a, b view.NodeID) bool { return a != 50 && b != 50 }
	for a := range w.nodes {
		w.feed(a, Event{Broken, 50})
	}
	w.run(450 * time.Millisecond)
	if n, _, _ := w.count(50, view.Suspect, start); n != 49 {
		t.Fatalf("%d of 49 suspect it", n)
	}
	w.run(4 * time.Second)
	if n, _, _ := w.count(50, view.Failed, start); n != 0 {
		t.Fatalf("%d gave it up while gossip says it lives", n)
	}
	for a := range w.nodes {
		w.feed(a, Event{GossipFailed, 50})
	}
	w.run(time.Millisecond)
	if n, _, _ := w.count(50, view.Failed, start); n != 49 {
		t.Fatalf("%d of 49 gave it up when gossip did", n)
	}
}

// The last node's gossip gives a silent member up after 5.4, 9.1 and 14.4 s
// at 5, 50 and 300 nodes (measured); all must have done so by 8, 11 and 16 s.
func TestSilentMemberFailsWithinTheBound(t *testing.T) {
	for _, c := range []struct {
		nodes       int
		gossip, max time.Duration
	}{
		{5, 5400 * time.Millisecond, 8 * time.Second},
		{50, 9100 * time.Millisecond, 11 * time.Second},
		{300, 14400 * time.Millisecond, 16 * time.Second},
	} {
		watch := min(c.nodes-1, 49)
		w := newWorld(t, LAN(), c.nodes, watch, 2)
		silent, start := view.NodeID(c.nodes), w.now
		w.reach = func(a, b view.NodeID) bool { return a != silent && b != silent }
		w.run(c.gossip)
		for a := range w.nodes {
			w.feed(a, Event{GossipFailed, silent})
		}
		w.run(5 * time.Second)
		n, first, last := w.count(silent, view.Failed, start)
		t.Logf("%d nodes: failed first %v last %v, bound %v", c.nodes, first, last, c.max)
		if n != watch || last > c.max {
			t.Errorf("%d nodes: %d of %d gave it up, the last after %v, bound %v", c.nodes, n, watch, last, c.max)
		}
	}
}

// Half of 300 nodes vanish at once: the bound holds still, and the probes
// keep to the pace.
func TestMassFailureKeepsPaceAndBound(t *testing.T) {
	w := newWorld(t, LAN(), 300, 1, 3)
	w.reach = func(a, b view.NodeID) bool { return a <= 150 && b <= 150 }
	start := w.now
	for b := view.NodeID(151); b <= 300; b++ {
		w.feed(1, Event{GossipFailed, b})
	}
	w.run(1600 * time.Millisecond)
	if got := w.nodes[1].Size(); got != 150 {
		t.Fatalf("%d alive %v after gossip gave half up, want 150", got, w.now-start)
	}
	w.run(10 * time.Minute)
	w.hist[1].paced()

	edge := newWorld(t, Edge(), 300, 1, 3)
	edge.reach = w.reach
	for b := view.NodeID(151); b <= 300; b++ {
		edge.feed(1, Event{GossipFailed, b})
	}
	edge.run(time.Minute)
	edge.hist[1].paced()
	if got := edge.nodes[1].Size(); got != 150 {
		t.Fatalf("edge: %d alive, want 150", got)
	}
}

// 1 hears of 2 by gossip, through 3, but gets no answer from it; the two
// accuse and refute each other all the time.
func TestOneWayLinkDoesNotFlap(t *testing.T) {
	w := newWorld(t, LAN(), 3, 1, 4)
	d := w.nodes[1]
	w.reach = func(a, b view.NodeID) bool { return b != 2 }
	start := w.now
	w.feed(1, Event{Broken, 2})
	w.run(5 * time.Second)
	if d.State(2) != view.Suspect || len(d.Unreachable()) != 1 {
		t.Fatalf("2 is %v, unreachable %v; want suspect and listed", d.State(2), d.Unreachable())
	}
	for range 60 {
		w.feed(1, Event{GossipFailed, 2})
		w.run(4 * time.Second)
		w.feed(1, Event{GossipAlive, 2})
		w.run(6 * time.Second)
	}
	if n, _, _ := w.count(2, view.Alive, start); n != 0 {
		t.Fatalf("alive %d times without a direct answer", n)
	}
	if len(w.changes) > 4 {
		t.Fatalf("%d changes in ten minutes of suspicion and refutation: %+v", len(w.changes), w.changes)
	}
	w.run(time.Minute)
	if d.State(2) != view.Suspect {
		t.Fatalf("gossip has said for a minute that 2 lives, yet it is %v", d.State(2))
	}
	if n := len(w.hist[1].starts); n > 900 {
		t.Fatalf("%d probes in 11 minutes at one member", n)
	}
	w.reach = func(a, b view.NodeID) bool { return true }
	w.feed(1, Event{ProbeOK, 2})
	if d.State(2) != view.Alive || len(d.Unreachable()) != 0 {
		t.Fatalf("2 answered and is %v", d.State(2))
	}
}

func TestPoorLinkDoesNotFlap(t *testing.T) {
	w := newWorld(t, LAN(), 2, 1, 5)
	r, start := rng(6), w.now
	w.reach = func(a, b view.NodeID) bool { return r.IntN(100) < 60 }
	for range 600 {
		w.feed(1, Event{Doubt, 2})
		w.run(time.Second)
	}
	n, _, _ := w.count(2, view.Suspect, start)
	t.Logf("suspected %d times in 10 minutes over a link that loses 40%% of all probes", n)
	if n > 60 {
		t.Fatalf("suspected %d times in 10 minutes", n)
	}
}

// A process that stood still finds its probes failed long past their
// deadline; that says nothing about the others.
func TestStandstillAccusesNobody(t *testing.T) {
	d := New(1, LAN(), rng(7))
	d.Step(0, Event{Joined, 2})
	d.Step(0, Event{GossipAlive, 2})
	now := time.Second
	for range 5 {
		d.Step(now, Event{Broken, 2})
		now += 40 * time.Second
		for _, e := range d.Step(now, Event{ProbeFailed, 2}) {
			if e.Action == Changed {
				t.Fatalf("%+v after a standstill", e)
			}
		}
	}
	d.Step(now+LAN().ProbeTimeout, Event{ProbeFailed, 2})
	if d.State(2) != view.Suspect {
		t.Fatalf("a timely failure left it %v", d.State(2))
	}
}

func TestLostOutcomeOfAProbeIsMadeUpFor(t *testing.T) {
	d := New(1, LAN(), rng(7))
	d.Step(0, Event{Joined, 2})
	probes := 0
	for now := time.Duration(0); now < 20*time.Second; now = max(d.Next(), now+time.Millisecond) {
		for _, e := range d.Step(now, Event{Kind: Tick}) {
			if e.Action == Probe {
				probes++
			}
		}
	}
	if probes < 5 {
		t.Fatalf("%d probes in 20 s of a shell that never answers", probes)
	}
}

func TestDepartedIsFinal(t *testing.T) {
	d := New(1, LAN(), rng(8))
	d.Step(0, Event{Joined, 2})
	d.Step(0, Event{GossipAlive, 2})
	d.Step(0, Event{Gone, 2})
	for now := time.Duration(0); now < time.Hour; now += 100 * time.Millisecond {
		for k := Tick; k <= ProbeFailed; k++ {
			for _, e := range d.Step(now, Event{k, 2}) {
				if e.Action != Seek {
					t.Fatalf("%+v for a member that left", e)
				}
			}
		}
	}
	if d.State(2) != view.Departed || d.Size() != 1 {
		t.Fatalf("it is %v, size %d", d.State(2), d.Size())
	}
}

func TestDowntimeCountsOnlyWhileSomebodyIsSeen(t *testing.T) {
	w := newWorld(t, LAN(), 3, 1, 9)
	d := w.nodes[1]
	w.reach = func(a, b view.NodeID) bool { return a != 3 && b != 3 }
	w.feed(1, Event{GossipFailed, 3})
	w.run(10 * time.Minute)
	if got := d.Downtime(w.now, 3); got < 590*time.Second || got > 10*time.Minute {
		t.Fatalf("down for %v after 10 minutes", got)
	}
	w.reach = func(a, b view.NodeID) bool { return false }
	w.feed(1, Event{GossipFailed, 2})
	w.run(10 * time.Second)
	before := d.Downtime(w.now, 3)
	w.run(240 * time.Hour)
	if got := d.Downtime(w.now, 3); got != before {
		t.Fatalf("alone in the dark, the downtime went from %v to %v", before, got)
	}
	if got := d.Downtime(w.now, 2); got > time.Second {
		t.Fatalf("2 has been down for %v of seeing nobody", got)
	}
	w.feed(1, Event{ProbeOK, 3})
	if got := d.Downtime(w.now+time.Hour, 3); got != 0 {
		t.Fatalf("down for %v while alive", got)
	}
}

// A month in the dark: whoever starts knows everyone and has met no one.
func TestF1_18_ColdStartKnowsNobodyAlive(t *testing.T) {
	w := coldWorld(t, LAN(), 20, 1, 10)
	d := w.nodes[1]
	for b := view.NodeID(2); b <= 20; b++ {
		if d.State(b) != view.Unknown {
			t.Fatalf("%v is %v before anything was heard", b, d.State(b))
		}
	}
	w.reach = func(a, b view.NodeID) bool { return b <= 2 }
	w.run(10 * time.Second)
	if d.State(2) != view.Alive || d.State(3) != view.Failed || d.Size() != 2 {
		t.Fatalf("after 10 s: 2 is %v, 3 is %v, size %d", d.State(2), d.State(3), d.Size())
	}
	if got := d.Downtime(w.now, 3); got > 10*time.Second {
		t.Fatalf("down for %v in 10 s of run time", got)
	}
	w.reach = func(a, b view.NodeID) bool { return true }
	w.run(2 * time.Minute)
	if d.Size() != 20 {
		t.Fatalf("%d of 20 seen again in two minutes", d.Size())
	}
}

func TestProfilesAreFilledIn(t *testing.T) {
	if got := (Params{}).withDefaults(); got != LAN() {
		t.Fatalf("zero Params count as %+v", got)
	}
	if got := Edge().withDefaults(); got != Edge() {
		t.Fatalf("Edge came out as %+v", got)
	}
}

// A probe is waited for as long as the way is, and never so long that its failure
// would count as this node's own stall.
func TestProbeWait(t *testing.T) {
	p := LAN()
	for _, c := range []struct{ roundTrip, least, most time.Duration }{
		{0, p.ProbeTimeout, p.ProbeTimeout},
		{p.ProbeTimeout, p.ProbeTimeout + 1, 2*p.ProbeTimeout - 1},
		{10 * p.ProbeTimeout, p.ProbeTimeout + 1, 2*p.ProbeTimeout - 1},
	} {
		if got := p.ProbeWait(c.roundTrip); got < c.least || got > c.most {
			t.Errorf("round trip of %v: %v", c.roundTrip, got)
		}
	}
}
