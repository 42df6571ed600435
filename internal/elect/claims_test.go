package elect

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// A leader that let a grant run out, and is back with a later term, leads: also for
// one that has led itself meanwhile, and has yielded to it.
func TestLapsedLeaderIsBack(t *testing.T) {
	par := LAN()
	f := fieldOf(1000, 1000, 1000)
	e := newQuick(1, par, Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Asked(0, 3, askOf(1, f))
	e.Stand(0, true)
	now := 3 * par.Lease // the grant has lapsed
	out := append(e.Tick(now), e.Tick(now+par.Pause*4)...)
	ask := find(out, Send)
	if now += par.Pause * 4; ask == nil || find(e.Answered(now, 2, ask.Ask, now, Answer{Max: 2}), Lead) == nil {
		t.Fatalf("does not lead in the place of one that is silent: %+v", out)
	}
	f = claim(fieldOf(1000, 1000, 1000, 1000, 1000), token.Token{Term: 2, Node: 3})
	if stop := find(e.Look(now, f), Stop); stop == nil || stop.Why != Yielded {
		t.Fatal("does not yield")
	}
	e.Drained(now)
	for end := now + time.Minute; now < end; now += 50 * time.Millisecond {
		if out := e.Tick(now); find(out, Send) != nil {
			t.Fatalf("asks for a term beside the leader that it has yielded to: %+v", out)
		}
	}
}

// A leader that was granted another term here, and has not heard so, leads on with
// the grants of others: that this one runs out says nothing. It says that it leads no
// more if it was won with that term, or has renewed the one that it claims here.
func TestUnheardGrantRunsOut(t *testing.T) {
	par := LAN()
	renewal := func(term uint64, f Field) Ask {
		a := askOf(term, f)
		a.Renew = true
		return a
	}
	for name, c := range map[string]struct {
		claim uint64
		asks  func(f Field) []Ask
		bids  bool
	}{
		"granted unheard":               {7, func(f Field) []Ask { return []Ask{askOf(8, f)} }, false},
		"won":                           {8, func(f Field) []Ask { return []Ask{askOf(8, f)} }, true},
		"raised unheard":                {7, func(f Field) []Ask { return []Ask{renewal(8, f)} }, false},
		"joined, granted unheard":       {7, func(f Field) []Ask { return []Ask{renewal(7, f), askOf(8, f)} }, false},
		"renewed before":                {7, func(f Field) []Ask { return []Ask{askOf(7, f), renewal(7, f), askOf(8, f)} }, true},
		"renewed and raised":            {7, func(f Field) []Ask { return []Ask{askOf(7, f), renewal(7, f), renewal(8, f)} }, true},
		"renewed with the term granted": {7, func(f Field) []Ask { return []Ask{askOf(8, f), renewal(8, f)} }, true},
		"renewed a lower one":           {7, func(f Field) []Ask { return []Ask{askOf(6, f), renewal(6, f), askOf(8, f)} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := fieldOf(1000, 1000, 1000, 1000, 1000)
			f.Claims = []token.Token{{Term: c.claim, Node: 4}}
			e := newQuick(1, par, Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
			e.Look(0, f)
			e.Stand(0, true)
			for _, a := range c.asks(f) {
				if ans, _ := e.Asked(0, 4, a); ans.Reason != Granted {
					t.Fatalf("%+v: %+v", a, ans)
				}
			}
			bid := false
			for now := time.Duration(0); now < 3*par.Lease; now += 50 * time.Millisecond {
				asks := find(e.Tick(now), Send) != nil
				if asks && now < par.Lease {
					t.Fatalf("a bid within the lease, after %v", now)
				}
				bid = bid || asks
			}
			if bid != c.bids {
				t.Errorf("a bid when the grant has run out: %t, want %t", bid, c.bids)
			}
		})
	}
}

// A node that did not vote for the leader does not see its lease lapse. It stands
// all the same when that one has not been in contact for a lease: the others may
// wait for it because it is better.
func TestClaimOfTheSilentEnds(t *testing.T) {
	par := LAN()
	f := fieldOf(1300, 1000, 1000, 1000, 1000)
	f.Claims = []token.Token{{Term: 1, Node: 5}}
	e := newQuick(1, par, Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	const suspected = time.Minute
	bid := func(from, to time.Duration) bool {
		for now := from; now < to; now += 10 * time.Millisecond {
			if find(e.Tick(now), Send) != nil {
				return true
			}
		}
		return false
	}
	if bid(0, suspected) {
		t.Fatal("a bid while the leader is in contact")
	}
	f.Standing, f.Contact = f.Standing[:4], map[view.NodeID]bool{1: true, 2: true, 3: true, 4: true}
	out := append(e.Look(suspected, f), e.Look(suspected+time.Second, f)...)
	if find(out, Send) != nil || bid(suspected+time.Second, suspected+par.Lease) {
		t.Fatal("a bid before the lease can have ended")
	}
	if e.Next() != suspected+par.Lease {
		t.Errorf("next at %v", e.Next())
	}
	if !bid(suspected+par.Lease, suspected+par.Lease+time.Second/2) {
		t.Error("no bid half a second after the lease has ended")
	}
}

// A nomination that comes again says nothing of the term with which its node leads
// since.
func TestNominationCountsOnce(t *testing.T) {
	par := LAN()
	f := fieldOf(1000, 1000, 1000)
	f.Claims = []token.Token{{Term: 5, Node: 3}}
	e := newQuick(1, par, Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	if find(e.Tick(time.Second), Send) != nil {
		t.Fatal("a bid against a leader")
	}
	out := e.Returned(time.Second, 3, 5, 1)
	if find(out, Send) == nil {
		t.Fatalf("nominated: %+v", out)
	}
	// It is lost, and the other leads again.
	f.Claims = []token.Token{{Term: 7, Node: 3}}
	now := time.Second + par.Lease
	e.Look(now, f)
	out = append(e.Returned(now, 3, 5, 1), e.Tick(now+par.Lease/2)...)
	if find(out, Send) != nil {
		t.Errorf("the same nomination again: %+v", out)
	}
}

// Of a leader that falls silent it is known when its lease ends by a grant of its
// term only. Else it is given a lease.
func TestUnheardGrantKnowsNoEnd(t *testing.T) {
	par := LAN()
	for claim, known := range map[uint64]bool{7: false, 8: true} {
		f := fieldOf(1000, 1000, 1000, 1000, 1000)
		f.Claims = []token.Token{{Term: claim, Node: 4}}
		e := newQuick(1, par, Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
		e.Look(0, f)
		e.Asked(0, 4, askOf(8, f))
		e.Stand(0, true)
		silent := par.Lease - 100*time.Millisecond
		gone := fieldOf(1000, 1000, 1000)
		e.Look(silent, gone)
		bid := false
		for now := silent; now < silent+par.Lease; now += 50 * time.Millisecond {
			bid = bid || find(e.Tick(now), Send) != nil
		}
		if bid != known {
			t.Errorf("a bid within a lease of the last word of a leader of term %d: %t, want %t", claim, bid, known)
		}
	}
}
