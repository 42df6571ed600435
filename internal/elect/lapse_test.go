package elect

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// fieldLedBy5 has the voters 1, 2 and 3, the candidates 4 and 5, better than these and no
// voters, and 5 leads.
func fieldLedBy5() Field {
	f := fieldOf(1000, 1000, 1000, 5000, 9000)
	f.Electorate, f.Electors = OfVoters(1, []view.NodeID{1, 2, 3}), 3
	f.Claims = []token.Token{{Term: 1, Node: 5}}
	return f
}

// A voter tells the best candidate once when the lease of the leader that it followed runs
// out, and nobody while it is renewed, or when the best one is itself or votes, too.
func TestVoterTellsOfALapse(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *Field)
		want   view.NodeID
	}{
		"the best is no voter": {func(*Field) {}, 4},
		"the best is gone":     {func(f *Field) { f.Standing = append(f.Standing[:3:3], f.Standing[4]) }, 0},
		"another leads":        {func(f *Field) { f.Claims = append(f.Claims, token.Token{Term: 9, Node: 2}) }, 0},
	} {
		f := fieldLedBy5()
		e := newQuick(1, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
		e.Look(0, f)
		e.Asked(0, 5, askOf(1, f))
		renew := askOf(1, f)
		renew.Renew = true
		e.Asked(time.Second, 5, renew)
		c.change(&f)
		e.Look(time.Second, f)
		if back := find(e.Tick(2900*time.Millisecond), GiveBack); back != nil {
			t.Errorf("%s: while the lease is renewed: %+v", name, back)
		}
		if c.want != 0 && e.Next() != 3*time.Second {
			t.Errorf("%s: the end of the lease is not due: %v", name, e.Next())
		}
		back := find(e.Tick(3*time.Second), GiveBack)
		if got := back != nil; got != (c.want != 0) || got && (back.To != c.want || back.Nominee != c.want || back.Term != 0) {
			t.Errorf("%s: at the end of the lease: %+v", name, back)
		}
		if back := find(e.Tick(4*time.Second), GiveBack); back != nil {
			t.Errorf("%s: once more: %+v", name, back)
		}
	}
}

// A candidate that is no voter asks for a term when a voter says that the lease has run out,
// though it takes the leader for alive, and not on the word of anybody else.
func TestCandidateBelievesVotersAboutALapse(t *testing.T) {
	for from, want := range map[view.NodeID]bool{1: true, 5: false, 6: false} {
		e := newQuick(4, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
		e.Look(0, fieldLedBy5())
		e.Stand(0, true)
		if out := e.Tick(time.Second); find(out, Send) != nil {
			t.Fatalf("asks while another leads: %+v", out)
		}
		e.Returned(time.Second, from, 0, 4)
		if got := find(e.Tick(time.Second+time.Millisecond), Send) != nil || e.bid != nil; got != want {
			t.Errorf("told by %v it asks: %t", from, got)
		}
	}
}

// A voter that gives back what it led with in favour of a candidate says nothing of whoever
// else leads, as where two parts of a mesh have just met.
func TestNominationSaysNothingOfAnotherLeader(t *testing.T) {
	e := newQuick(4, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, fieldLedBy5())
	e.Stand(0, true)
	e.Returned(time.Second, 1, 7, 4)
	if e.Tick(time.Second + time.Millisecond); e.bid != nil {
		t.Error("it asks for a term while another leads")
	}
}

// Who was not nominated has a lead that nobody has handed over.
func TestLeadThatWasNotHandedOver(t *testing.T) {
	if e := won(t, LAN(), fieldOf(1000, 1000, 1000), 0); e.HandedOver() {
		t.Error("it is known as handed over")
	}
}

// A nominee asks a voter again that has not heard of the hand-over before its request came, and
// no longer than for as long as a bid lasts.
func TestNomineeIsAheadOfTheHandOver(t *testing.T) {
	f := fieldOf(1000, 1000, 1000, 1000, 1000)
	f.Claims = []token.Token{{Term: 7, Node: 2}}
	e := newQuick(1, LAN(), Durable{Max: 7}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	now := time.Second
	sends := func(out []Effect) (asks []Effect) {
		for _, eff := range out {
			if eff.Action == Send {
				asks = append(asks, eff)
			}
		}
		return asks
	}
	asks := sends(append(e.Returned(now, 2, 7, 1), e.Tick(now)...))
	if len(asks) != 4 {
		t.Fatalf("the nominee asks %+v", asks)
	}
	busy := Answer{Reason: Busy, Max: 7, Wait: 2 * time.Second, Holder: f.Claims[0]}
	for _, a := range asks[1:] {
		e.Answered(now, a.To, a.Ask, a.Sent, busy)
	}
	if again := sends(e.Tick(now + LAN().Pause/5)); len(again) != 3 || e.bid == nil {
		t.Fatalf("three that are busy are asked again: %+v", again)
	}
	now += LAN().Lease / 2
	for _, a := range asks[1:] {
		e.Answered(now, a.To, a.Ask, a.Sent, busy)
	}
	if e.Tick(now); e.bid != nil {
		t.Error("the bid goes on")
	}
}

// A voter that was started anew says nothing of the leader that it followed before: it does not
// know until when the others have renewed its lease.
func TestVoterTellsNothingOfAnEarlierRun(t *testing.T) {
	e := newQuick(1, LAN(), Durable{Max: 1, Grant: token.Token{Term: 1, Node: 5}, Lease: LAN().Lease}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, fieldLedBy5())
	for now := time.Duration(0); now < 5*time.Second; now += 100 * time.Millisecond {
		if back := find(e.Tick(now), GiveBack); back != nil {
			t.Fatalf("after %v: %+v", now, back)
		}
	}
}

// However often a voter says that the lease has run out, the candidate asks once in a lease.
func TestALapseIsBelievedOnceInALease(t *testing.T) {
	e := newQuick(4, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, fieldLedBy5())
	e.Stand(0, true)
	terms := map[uint64]bool{}
	for now := time.Second; now < time.Second+LAN().Lease; now += time.Millisecond {
		for _, eff := range append(e.Returned(now, 1, 0, 4), e.Tick(now)...) {
			if eff.Action == Send {
				terms[eff.Ask.Term] = true
				e.Answered(now, eff.To, eff.Ask, eff.Sent, Answer{Reason: Busy, Max: 1, Wait: 2 * time.Second, Holder: token.Token{Term: 1, Node: 5}})
			}
		}
	}
	if len(terms) != 1 {
		t.Errorf("%d terms were asked for in a lease", len(terms))
	}
}

// Whoever leads since a lapse was told is not taken for lapsed.
func TestALapseIsThatOfOneLeader(t *testing.T) {
	e := newQuick(4, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	f := fieldLedBy5()
	e.Look(0, f)
	e.Returned(time.Second, 1, 0, 4)
	f.Claims = append(f.Claims, token.Token{Term: 2, Node: 3})
	e.Look(time.Second, f)
	e.Stand(time.Second, true)
	if e.Tick(time.Second + time.Millisecond); e.bid != nil {
		t.Error("it asks for a term while another leads")
	}
}

// A lapse that is told is no hand-over, also where nobody was heard to lead.
func TestALapseIsNoHandOver(t *testing.T) {
	f := fieldLedBy5()
	f.Claims = nil
	e := newQuick(4, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	e.Returned(time.Second, 1, 0, 4)
	if e.Tick(time.Second + time.Millisecond); e.bid == nil || e.bid.handedOver {
		t.Errorf("%+v", e.bid)
	}
}
