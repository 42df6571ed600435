package elect

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// TestF2_09_OneWayLink: A leads through C, B hears of it from C only, and cannot
// be heard by A. Nobody overturns anybody, and B does not wear out its flash by
// asking.
func TestF2_09_OneWayLink(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, seed, 3, LAN())
		a, b := w.nodes[0], w.nodes[1]
		a.score, b.score, w.nodes[2].score = 1500, 1000, 1000
		w.run(time.Minute)
		if got := w.leaders(component, w.nodes...); len(got) != 1 || got[0] != a.id {
			w.fault("%v lead, want %d", got, a.id)
		}
		w.cut[0][1] = true
		clear(w.count)
		w.run(20 * time.Minute)
		for e := range elections {
			if got := w.leaders(e, w.nodes...); len(got) != 1 {
				w.fault("%v lead %d", got, e)
			}
		}
		if n := w.count["led 0"] + w.count["led 1"]; n > 6 {
			w.fault("%d leaderships in 20 minutes", n)
		}
		if n := w.count["save"]; n > 100 {
			w.fault("%d writes in 20 minutes", n)
		}
	}
}

// TestF2_10_SuspendedLeader: the machine of a leader stands still, and its clocks
// with it. When it goes on in the middle of its work another leads: the resource
// refuses it.
func TestF2_10_SuspendedLeader(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed, 3, LAN())
		w.run(20 * time.Second)
		var resource token.Fence
		old := w.nodes[w.leaders(majority, w.nodes...)[0]-1]
		first, _, _ := old.e[majority].Leading(w.clock(old))
		if !resource.Admit(first) {
			t.Fatal("the leader is refused")
		}
		old.frozen, old.stopped, old.since = true, true, w.now
		w.run(40 * time.Second)
		now := w.leaders(majority, w.nodes...)
		if len(now) != 1 || now[0] == old.id {
			w.fault("%v lead", now)
		}
		second, _, _ := w.nodes[now[0]-1].e[majority].Leading(w.clock(w.nodes[now[0]-1]))
		if !resource.Admit(second) {
			w.fault("%v is refused after %v", second, first)
		}
		old.stopped = false
		old.offset -= w.now - old.since
		if _, _, ok := old.e[majority].Leading(w.clock(old)); !ok {
			w.fault("the scenario is not the one meant: the old leader knows that it is not")
		}
		if resource.Admit(first) {
			w.fault("the resource takes %v after %v", first, second)
		}
	}
}

// A leader that is stopped by one that was up while it slept: its clock went on.
func TestSuspendedLeaderKnows(t *testing.T) {
	w := newWorld(t, 3, 3, LAN())
	w.run(20 * time.Second)
	old := w.nodes[w.leaders(component, w.nodes...)[0]-1]
	old.frozen = true
	w.run(40 * time.Second)
	old.frozen = false
	if _, _, ok := old.e[component].Leading(w.clock(old)); ok {
		t.Error("it leads on")
	}
}

// TestF1_25_FencedResource: of all that leaders of random schedules do to a
// resource nothing is applied with a lower token after a higher one.
func TestF1_25_FencedResource(t *testing.T) {
	refused := 0
	for seed := range uint64(25) {
		w := newWorld(t, seed, 3+int(seed%3), LAN())
		var resource token.Fence
		var applied []token.Token
		write := func(nd *node) {
			// Whoever believes that it leads writes, and what it sends may come late.
			tok, _, ok := nd.e[component].Leading(w.clock(nd))
			if !ok {
				return
			}
			w.after(time.Duration(w.rng.IntN(5000))*time.Millisecond, func() {
				if resource.Admit(tok) {
					applied = append(applied, tok)
				} else {
					refused++
				}
			})
		}
		for range 60 {
			w.harm()
			for range 5 {
				w.run(500 * time.Millisecond)
				for _, nd := range w.nodes {
					if nd.up && !nd.frozen {
						write(nd)
					}
				}
			}
		}
		for i := 1; i < len(applied); i++ {
			if applied[i].Less(applied[i-1]) {
				w.fault("%v is applied after %v", applied[i], applied[i-1])
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// A leader killed is replaced within a lease and a second, by the best that is
// left.
func TestLeaderKilled(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed, 5, LAN())
		w.quick = true
		w.run(20 * time.Second)
		for e := range elections {
			old := w.nodes[w.leaders(e, w.nodes...)[0]-1]
			w.crash(old)
			begin := w.now
			var now []view.NodeID
			for w.run(10 * time.Millisecond); ; w.run(10 * time.Millisecond) {
				if now = w.leaders(e, w.nodes...); len(now) > 0 || w.now-begin > time.Minute {
					break
				}
			}
			if d := w.now - begin; d > w.par.Lease+time.Second {
				w.fault("%v leads %d after %v", now, e, d)
			}
			w.start(old)
			w.run(20 * time.Second)
		}
	}
}

// A mesh cut in two has one leader on each side, and one when it has healed; a
// majority-scope election has one on the larger side, all the while.
func TestCutAndHeal(t *testing.T) {
	for seed := range uint64(12) {
		for _, par := range []Params{LAN(), WAN(), Edge()} {
			w := newWorld(t, seed, 5, par)
			w.run(20*time.Second + 4*par.Lease)
			w.split(3)
			w.run(14*w.beats() + 3*par.Lease + par.Settle)
			for _, side := range [][]*node{w.nodes[:2], w.nodes[2:]} {
				if got := w.leaders(component, side...); len(got) != 1 {
					w.fault("%v lead a side", got)
				}
			}
			if got := w.leaders(majority, w.nodes[2:]...); len(got) != 1 {
				w.fault("%v lead the larger side", got)
			}
			w.split(0)
			w.run(4*par.Lease + 2*par.Settle)
			for e := range elections {
				if got := w.leaders(e, w.nodes...); len(got) != 1 {
					w.fault("%v lead %d after the heal", got, e)
				}
			}
		}
	}
}

// Loss of a fifth of all packets for an hour changes no leader, nor does a blip
// shorter than the profile allows for.
func TestPoorLinksChangeNothing(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, seed, 5, Edge())
		w.run(2 * time.Minute)
		clear(w.count)
		for range 20 {
			w.split(w.rng.Uint64())
			w.run(7*time.Second + time.Duration(w.rng.Int64N(int64(3*time.Second))))
			w.split(0)
			w.run(time.Minute)
		}
		w.loss = 0.2
		w.run(time.Hour)
		if n := w.count["led 0"] + w.count["led 1"]; n > 0 {
			w.fault("%d new leaderships: %v", n, w.count)
		}
	}
}
