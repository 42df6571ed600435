package detect

import (
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// cut splits n nodes into 1..k and the rest, and lets gossip give the other
// side up.
func (w *world) cut(n, k view.NodeID) {
	side := func(a view.NodeID) bool { return a <= k }
	w.reach = func(a, b view.NodeID) bool { return side(a) == side(b) }
	w.each(n, func(a, b view.NodeID) {
		if side(a) != side(b) {
			w.feed(a, Event{GossipFailed, b})
		}
	})
}

func (w *world) each(n view.NodeID, do func(a, b view.NodeID)) {
	for a := view.NodeID(1); a <= n; a++ {
		for b := view.NodeID(1); b <= n; b++ {
			if a != b {
				do(a, b)
			}
		}
	}
}

func TestRedialKeepsToItsRatePerComponent(t *testing.T) {
	const n, k = 20, 12
	w := newWorld(t, LAN(), n, n, 11)
	w.cut(n, k)
	w.run(time.Minute)
	start := w.now
	w.run(time.Hour)
	for id := view.NodeID(k + 1); id <= n; id++ {
		got := 0
		for a := view.NodeID(1); a <= k; a++ {
			for _, at := range w.hist[a].redials[id] {
				if at >= start {
					got++
				}
			}
		}
		// 8 lost members: 24 s, by RedialFloor. Poisson of mean 150.
		if got < 100 || got > 210 {
			t.Errorf("%d redials of %v in an hour, want about 150", got, id)
		}
	}
}

// A 10-minute cut of 50 nodes heals in 30 s: here, all see all within 12 s of
// the end of the cut when gossip takes up to 8 s to carry the news.
func TestLongCutHeals(t *testing.T) {
	const n, k = 50, 25
	var times []time.Duration
	for seed := range uint64(10) {
		w := newWorld(t, LAN(), n, n, 20+seed)
		w.cut(n, k)
		w.run(10 * time.Minute)
		for a, d := range w.nodes {
			if d.Size() != k {
				t.Fatalf("%v sees %d during the cut, want %d", a, d.Size(), k)
			}
		}
		r, joined := rng(seed), map[view.NodeID]bool{}
		w.join = func(a, b view.NodeID) {
			for _, id := range []view.NodeID{a, b} {
				if joined[id] {
					continue
				}
				joined[id] = true
				w.each(n, func(x, y view.NodeID) {
					if y == id || x == id {
						w.after(time.Duration(r.Int64N(int64(8*time.Second))), func() { w.feed(x, Event{GossipAlive, y}) })
					}
				})
			}
		}
		w.reach = func(a, b view.NodeID) bool { return true }
		healed := w.now
		for whole := false; !whole && w.now-healed < time.Minute; {
			w.run(100 * time.Millisecond)
			whole = true
			for _, d := range w.nodes {
				whole = whole && d.Size() == n
			}
		}
		times = append(times, w.now-healed)
	}
	slices.Sort(times)
	t.Logf("heal of 25|25: median %v, worst %v", times[5], times[9])
	if times[9] > 25*time.Second {
		t.Fatalf("a cut took %v to heal", times[9])
	}
}

// A node that sees nobody tries everybody and the seeds, often and for ever.
func TestLoneNodeKeepsTrying(t *testing.T) {
	w := coldWorld(t, LAN(), 5, 1, 30)
	w.reach = func(a, b view.NodeID) bool { return false }
	w.run(24 * time.Hour)
	for id := view.NodeID(2); id <= 5; id++ {
		at := w.hist[1].redials[id]
		if len(at) < 24*60*60/4 {
			t.Errorf("%d redials of %v in a day alone", len(at), id)
		}
		if last := at[len(at)-1]; w.now-last > time.Minute {
			t.Errorf("last redial of %v %v ago", id, w.now-last)
		}
	}
	d, seeks := New(1, LAN(), rng(31)), 0
	for now := time.Duration(0); now < time.Minute; now = max(d.Next(), now+time.Millisecond) {
		for _, e := range d.Step(now, Event{Kind: Tick}) {
			if e.Action == Seek {
				seeks++
			}
			if seeks == 0 && now > time.Second {
				t.Fatal("no look at the seeds in the first second")
			}
		}
	}
	if seeks < 10 {
		t.Fatalf("an empty roster looked at the seeds %d times in a minute", seeks)
	}
}

// Who answers us but is unknown to gossip is joined, soon, and watched by our
// own probes meanwhile.
func TestMemberGossipDoesNotKnowIsJoinedAndWatched(t *testing.T) {
	w := coldWorld(t, LAN(), 3, 1, 32)
	w.feed(1, Event{ProbeOK, 2})
	w.feed(1, Event{GossipAlive, 3})
	w.run(30 * time.Second)
	if n := len(w.hist[1].redials[2]); n < 3 {
		t.Fatalf("%d redials of a member that gossip does not know", n)
	}
	start := w.now
	w.reach = func(a, b view.NodeID) bool { return b != 2 }
	w.run(LAN().Watch + 2*time.Second)
	if n, _, _ := w.count(2, view.Failed, start); n != 1 {
		t.Fatalf("2 fell silent, gossip never knew it, and it is %v", w.nodes[1].State(2))
	}
}

func TestQuietMeshIsLeftAlone(t *testing.T) {
	w := newWorld(t, LAN(), 50, 1, 33)
	probes := len(w.hist[1].starts)
	w.run(time.Hour)
	if got := len(w.hist[1].starts) - probes; got != 0 || len(w.changes) != 0 {
		t.Fatalf("%d probes and %d changes in a quiet hour", got, len(w.changes))
	}
}

// A member out of contact is dialled at once where the roster says that it has moved, by
// a few of those who hear of it.
func TestMovedMemberIsDialledAtOnce(t *testing.T) {
	for what, c := range map[string]struct {
		events         []Event
		size           int
		fewest, utmost int // redials of 100
	}{
		"one that is lost":           {nil, 2, 100, 100},
		"one that is lost of many":   {nil, 100, 1, 10},
		"one in contact":             {[]Event{{ProbeOK, 2}, {GossipAlive, 2}}, 2, 0, 0},
		"one in contact, not joined": {[]Event{{ProbeOK, 2}}, 2, 0, 0},
		"one that left":              {[]Event{{Gone, 2}}, 2, 0, 0},
	} {
		redials := 0
		for seed := range uint64(100) {
			d := New(1, LAN(), rng(seed))
			d.Step(0, Event{Joined, 2})
			for id := view.NodeID(3); id < view.NodeID(c.size+2); id++ {
				d.Step(0, Event{Joined, id})
				d.Step(0, Event{ProbeOK, id})
			}
			d.Step(time.Minute, Event{}) // a round, so that none is due
			for _, ev := range c.events {
				d.Step(time.Minute, ev)
			}
			if slices.Contains(d.Step(time.Minute, Event{Moved, 2}), Effect{Action: Redial, ID: 2}) {
				redials++
			}
		}
		if redials < c.fewest || redials > c.utmost {
			t.Errorf("%s: dialled by %d of 100", what, redials)
		}
	}
}

// One that lives, as gossip says, and did not answer where it was is probed.
func TestMovedMemberIsProbedAtOnce(t *testing.T) {
	d, now := New(1, LAN(), rng(1)), time.Duration(0)
	probe := Effect{Action: Probe, ID: 2}
	d.Step(now, Event{Joined, 2})
	d.Step(now, Event{GossipAlive, 2})
	for failed := 0; failed < 10; now += 10 * time.Millisecond {
		if slices.Contains(d.Step(now, Event{}), probe) {
			d.Step(now, Event{ProbeFailed, 2})
			failed++
		}
	}
	if now += time.Second; slices.Contains(d.Step(now, Event{}), probe) {
		t.Fatal("a probe was due")
	}
	if !slices.Contains(d.Step(now, Event{Moved, 2}), probe) {
		t.Error("not probed at once where it is now")
	}
}
