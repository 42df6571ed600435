package elect

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// bidder returns an Election of node 1 of five that asks for a term, and that ask. The lot prefers node
// 3 to it, and it to node 4; node 2 beats it.
func bidder(t *testing.T) (e quick, a Ask, f Field, now time.Duration) {
	t.Helper()
	f = fieldOf(1000, 1300, 1000, 1000, 1000)
	e = idler(f, Durable{})
	for now < time.Minute {
		now += 10 * time.Millisecond
		if asked := find(e.Tick(now), Send); asked != nil {
			return e, asked.Ask, f, now
		}
	}
	t.Fatal("does not ask")
	return
}

// refusal is what a candidate answers to another that asks for the same term.
func refusal(a Ask, rival view.NodeID) Answer {
	return Answer{Reason: OldTerm, Max: a.Term, Holder: token.Token{Term: a.Term, Node: rival}}
}

// Two candidates have split the voters, and others do not answer. One of them gives up at once, and does
// not wait for those that may be beyond a cut; the other goes on.
func TestSplitBidIsGivenUpAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		from, rival view.NodeID
		term        uint64 // above that of the bid
		contact     bool
		want        bool
	}{
		"one that the lot prefers":                  {3, 3, 0, true, true},
		"one that the lot prefers, by a voter":      {4, 3, 0, true, true},
		"one to whom the lot prefers it":            {4, 4, 0, true, false},
		"one that beats it":                         {2, 2, 0, true, true},
		"one that the lot prefers, of another term": {4, 3, 1, true, true},
		"one that the lot prefers, out of contact":  {4, 3, 0, false, false},
	} {
		e, a, f, now := bidder(t)
		f.Contact = map[view.NodeID]bool{1: true, 2: true, 3: c.contact, 4: true, 5: true}
		e.Look(now, f)
		ans := refusal(a, c.rival)
		ans.Holder.Term += c.term
		out := e.Answered(now, c.from, a, now, ans)
		if got := find(out, GiveBack) != nil; got != c.want {
			t.Errorf("refused for %s: gives up: %t", name, got)
		}
		if c.want && !bids(e, now, now+500*time.Millisecond) {
			t.Errorf("refused for %s: does not ask again soon", name)
		}
	}
}

// A candidate whose rival has given up asks again at once: for a term above that of the rival, or for
// its own if that is higher already.
func TestBidFollowsTheRival(t *testing.T) {
	for name, c := range map[string]struct {
		refused bool
		rival   int // its term, above that of the bid
		want    int // the term that is asked for, above that of the bid; -1: none is
	}{"gave up this term": {true, 0, 1}, "gave up an earlier one": {true, -1, 0}, "did not refuse": {false, 0, -1}} {
		e, a, _, now := bidder(t)
		of := func(d int) uint64 { return uint64(int(a.Term) + d) }
		if c.refused {
			e.Answered(now, 4, a, now, Answer{Reason: OldTerm, Max: of(c.rival), Holder: token.Token{Term: max(of(c.rival), 1), Node: 4}})
		}
		out := e.Returned(now, 4, of(c.rival), 0)
		again := find(append(out, e.Tick(now+20*time.Millisecond)...), Send)
		if got := again != nil; got != (c.want >= 0) || got && again.Ask.Term != of(c.want) {
			t.Errorf("%s: asks %+v", name, again)
		}
		if c.want < 1 || again == nil {
			continue
		}
		e.Answered(now, 4, again.Ask, now, refusal(again.Ask, 4))
		if more := find(e.Returned(now, 4, again.Ask.Term, 0), Send); more != nil {
			t.Errorf("asks a third time: %+v", more)
		}
	}
}

// A voter that has seen the leader's lease run out, and granted another's bid since, knows that nobody
// leads when the leader is missed.
func TestClaimThatWasOutlived(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	led := token.Token{Term: 5, Node: 2}
	e := idler(claim(f, led), Durable{})
	e.Asked(0, 2, Ask{Term: 5, Electorate: f.Electorate.Sum, Lease: 2 * time.Second, Score: 1000})
	const lapsed = 2*time.Second + time.Millisecond
	e.Tick(lapsed)
	if ans, _ := e.Asked(lapsed, 3, Ask{Term: 6, Electorate: f.Electorate.Sum, Lease: 2 * time.Second, Score: 1000}); ans.Reason != Granted {
		t.Fatalf("%+v", ans)
	}
	e.Returned(lapsed, 3, 6, 0)
	delete(f.Component, 2)
	e.Look(lapsed, f)
	if !bids(e, lapsed, lapsed+time.Second) {
		t.Error("waits for a leader whose lease has run out here")
	}
}

// What is given back after a hand-over, as its grant was on its way, names the nominee, too: it may come
// first. It does for grants of that leadership alone, and as long as voters favour the nominee.
func TestLateGrantNamesTheNominee(t *testing.T) {
	for name, c := range map[string]struct {
		term  uint64
		after time.Duration
		want  view.NodeID
	}{"of the leadership": {1, time.Millisecond, 3}, "of a later bid": {2, time.Millisecond, 0}, "long after": {1, LAN().Lease / 2, 0}} {
		e := won(t, LAN(), fieldOf(1000, 1000, 1000), 0)
		now := time.Second + time.Millisecond
		if _, ok := e.HandOver(now, 3); !ok {
			t.Fatal("there is nothing to hand over")
		}
		e.Drained(now)
		e.Stand(now, false)
		e.Asked(now, 3, Ask{Term: 2, Electorate: e.field.Electorate.Sum, Lease: LAN().Lease, Score: 1000}) // so that term 2 is on disk
		now += c.after
		out := e.Answered(now, 2, Ask{Term: c.term, Renew: true, Lease: LAN().Lease}, now, Answer{Max: c.term})
		if back := find(out, GiveBack); back == nil || back.To != 2 || back.Term != c.term || back.Nominee != c.want {
			t.Errorf("%s: %+v", name, out)
		}
	}
}
