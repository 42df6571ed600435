package elect

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Two nodes stand, and the better one reaches nobody but the other: what it asks
// for in vain must keep neither the other from leading, nor the others' disks busy,
// and the other must not hand over to it again and again.
func TestBestCannotWin(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, seed, 5, LAN())
		w.swim = true
		best, other := w.nodes[0], w.nodes[1]
		for _, nd := range w.nodes[2:] {
			nd.stands, nd.storing = false, true
		}
		w.run(20 * time.Second)
		for _, nd := range w.nodes[2:] {
			w.cut[nd.id-1][0], w.cut[0][nd.id-1] = true, true
		}
		best.score, other.score = 2000, 1000
		led := [elections]int{}
		for range 1200 {
			w.run(time.Second)
			for e := range elections {
				if got := w.leaders(e, w.nodes...); len(got) == 1 && got[0] == other.id {
					led[e]++
				}
			}
		}
		t.Log(seed, led, w.count)
		if min(led[component], led[majority]) < 1100 {
			w.fault("led for %d s of 1200: %v", led, w.count)
		}
		if n := w.count["save"]; n > 200 {
			w.fault("%d writes in 20 minutes", n)
		}
	}
}

// Voters that are reached by relays only cannot be asked.
func TestNoBidOutOfContact(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	f.Contact = map[view.NodeID]bool{1: true}
	e := New(1, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	if out := e.Tick(time.Minute); len(out) != 0 {
		t.Errorf("one of three in contact: %+v", out)
	}
	f.Contact = map[view.NodeID]bool{1: true, 3: true}
	e.Look(time.Minute, f)
	if out := e.Tick(2 * time.Minute); find(out, Send) == nil {
		t.Error("two of three: it does not ask")
	}
}

// That the best one asks again and again, and gives back what it cannot use, keeps
// nobody else from leading; that it leads does.
func TestVainBidsCountNothing(t *testing.T) {
	const second = time.Second
	f := fieldOf(1000, 1000, 1000, 2000)
	best := func(term uint64, renew bool) Ask {
		return Ask{Term: term, Renew: renew, Electorate: f.Electorate.Sum, Lease: 2 * second, Score: 2000}
	}
	for renew, want := range map[bool]Reason{false: Granted, true: Beaten} {
		v := newVoter(1, Durable{}, 0)
		term := uint64(1)
		for now := second; now < 8*second; now += second {
			v.ask(now, 4, best(term, false), &f)
			if renew {
				v.ask(now, 4, best(term, true), &f)
			}
			v.release(now+second/2, 4, term, 0)
			term++
		}
		if ans, _ := v.ask(8*second, 2, askOf(term, f), &f); ans.Reason != want {
			t.Errorf("renewed %t: %v, want %v", renew, ans.Reason, want)
		}
	}
}
