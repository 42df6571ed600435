package elect

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
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
	e := newQuick(1, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
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

// Of five voters the leader has died, and two candidates have asked at once and got two grants
// each: both ask again soon. Who holds a grant and is not in contact may be a leader that is
// not heard: it is not disturbed for long.
func TestTwoCandidatesAskAgainSoon(t *testing.T) {
	for name, c := range map[string]struct {
		contact bool
		want    bool
	}{"in contact": {true, true}, "not in contact": {false, false}} {
		f := fieldOf(1000, 1000, 1000, 1000, 1000)
		e := idler(f, Durable{})
		now, asked := time.Duration(0), (*Effect)(nil)
		for asked == nil {
			now += 10 * time.Millisecond
			asked = find(e.Tick(now), Send)
		}
		f.Contact = map[view.NodeID]bool{1: true, 2: c.contact, 3: true, 4: true, 5: true}
		e.Look(now, f)
		busy := Answer{Reason: Busy, Wait: LAN().Lease - 50*time.Millisecond, Holder: token.Token{Term: asked.Ask.Term, Node: 2}}
		for _, id := range []view.NodeID{2, 4, 5} {
			e.Answered(now, id, asked.Ask, now, busy)
		}
		if got := bids(e, now+20*time.Millisecond, now+time.Second); got != c.want {
			t.Errorf("%s: asks again within a second: %v", name, got)
		}
	}
}

// A leader in contact whose claim is not heard is disturbed by few bids: each of them is written
// to disks.
func TestLeaderThatIsNotHeardIsDisturbedLittle(t *testing.T) {
	e := idler(fieldOf(1000, 1000, 1000, 1000, 1000), Durable{})
	terms := map[uint64]bool{}
	for now := time.Duration(0); now < 20*time.Second; now += 10 * time.Millisecond {
		for _, eff := range e.Tick(now) {
			if eff.Action == Send {
				terms[eff.Ask.Term] = true
				e.Answered(now, eff.To, eff.Ask, now, Answer{Reason: Busy, Max: 1, Wait: LAN().Lease - 50*time.Millisecond, Holder: token.Token{Term: 1, Node: 2}})
			}
		}
	}
	if len(terms) < 3 || len(terms) > 9 {
		t.Errorf("%d terms were asked for in 20 s", len(terms))
	}
}

// claim returns a Field in which another claims to lead.
func claim(f Field, t token.Token) Field {
	f.Claims = []token.Token{t}
	return f
}

// idler returns an Election of node 1 of three that stands and has not asked yet.
func idler(f Field, d Durable) quick {
	e := newQuick(1, LAN(), d, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	return e
}

// bids tells whether an Election asks for a term within a while.
func bids(e quick, from, until time.Duration) bool {
	for now := from; now <= until; now += 10 * time.Millisecond {
		if find(e.Tick(now), Send) != nil {
			return true
		}
	}
	return false
}

// A leader that has given its grants back leads no more, though its notice says so
// still: it may be the last that it sent.
func TestClaimThatWasGivenBack(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	e := idler(claim(f, token.Token{Term: 5, Node: 2}), Durable{})
	if bids(e, 0, time.Minute) {
		t.Fatal("asks while another leads")
	}
	e.Returned(time.Minute, 2, 4, 0)
	if bids(e, time.Minute, 2*time.Minute) {
		t.Error("asks though it was an earlier term that was given back")
	}
	e.Returned(2*time.Minute, 2, 5, 0)
	if !bids(e, 2*time.Minute, 2*time.Minute+time.Second) {
		t.Error("waits for one who leads no more")
	}
	e = won(t, LAN(), f, 0)
	e.Returned(time.Second, 2, 5, 0)
	if out := e.Look(time.Second, claim(f, token.Token{Term: 5, Node: 2})); find(out, Stop) != nil {
		t.Error("yields to one who leads no more")
	}
	more := fieldOf(1000, 1000, 1000, 1000, 1000) // of whom it leads less than half
	if out := e.Look(time.Second, claim(more, token.Token{Term: 6, Node: 2})); find(out, Stop) == nil {
		t.Error("does not yield to one who leads again")
	}
}

// A leader whose grant has run out here, and that claims a later term, has taken it
// without this voter.
func TestClaimAboveTheLapsedGrant(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	d := Durable{Max: 5, Grant: token.Token{Term: 5, Node: 2}, Lease: time.Second}
	if bids(idler(claim(f, token.Token{Term: 6, Node: 2}), d), 0, time.Minute) {
		t.Error("asks while another leads")
	}
	if !bids(idler(claim(f, token.Token{Term: 5, Node: 2}), d), 0, time.Minute) {
		t.Error("waits for the claim of one whose lease has ended")
	}
}

// A leader that fell silent may lead for a lease yet; one that says no more that it
// does, not.
func TestClaimThatFellSilent(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	less := fieldOf(1000, 1000, 1000)
	delete(less.Component, 2)
	for name, c := range map[string]struct {
		then Field
		want bool
	}{"silent": {less, false}, "withdrawn": {f, true}} {
		e := idler(claim(f, token.Token{Term: 5, Node: 2}), Durable{})
		e.Look(time.Second, c.then)
		if got := bids(e, time.Second, time.Second+LAN().Lease-1); got != c.want {
			t.Errorf("%s: asks within a lease: %t", name, got)
		}
		if !c.want && !bids(e, time.Second+LAN().Lease, 2*time.Second+LAN().Lease) {
			t.Errorf("%s: does not ask after a lease", name)
		}
	}
}

// Terms and waits that a fault has made are not believed: they would end the
// election for good.
func TestFaultsAreNotBelieved(t *testing.T) {
	const most = 1<<64 - 1
	f := fieldOf(1000, 1000, 1000)
	e := idler(claim(f, token.Token{Term: most, Node: 2}), Durable{})
	ask := find(e.Tick(time.Second), Send)
	if ask == nil || ask.Ask.Term != 1 {
		t.Fatalf("an unbelievable claim: %+v", ask)
	}
	// One that can be believed, but none above it.
	last := idler(claim(f, token.Token{Term: maxLeap, Node: 2}), Durable{})
	if ask := find(last.Tick(time.Second), Send); ask == nil || ask.Ask.Term != 1 {
		t.Errorf("the last claim that can be believed: %+v", ask)
	}
	now := time.Second
	for range 2 {
		for _, id := range []view.NodeID{2, 3} {
			e.Answered(now, id, ask.Ask, now, Answer{Reason: Busy, Max: most, Wait: 1 << 62, Holder: token.Token{Term: most, Node: 3}})
		}
		now += MaxLease + 2*time.Minute
		if ask = find(e.Tick(now), Send); ask == nil {
			ask = find(e.Tick(now+time.Second), Send)
		}
		if ask == nil || ask.Ask.Term == 0 || ask.Ask.Term > 3 {
			t.Fatalf("after unbelievable answers: %+v", ask)
		}
	}
}

// One alone leads at once.
func TestAlone(t *testing.T) {
	e := idler(fieldOf(1000), Durable{})
	if out := e.Tick(time.Second); len(out) != 2 || out[0].Action != Save || out[1].Action != Lead {
		t.Errorf("%+v", out)
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
			v.answerAsk(now, 4, best(term, false), &f)
			if renew {
				v.answerAsk(now, 4, best(term, true), &f)
			}
			v.releaseGrant(now+second/2, 4, term, 0)
			term++
		}
		if ans, _ := v.answerAsk(8*second, 2, askOf(term, f), &f); ans.Reason != want {
			t.Errorf("renewed %t: %v, want %v", renew, ans.Reason, want)
		}
	}
}
