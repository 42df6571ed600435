package elect

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// A node that was alone is back, and has come to higher terms than all the others:
// these, and their leader, go on as if nothing had happened, and it follows.
func TestLargerSideKeepsItsLeader(t *testing.T) {
	higher := 0
	for seed := range uint64(8) {
		for _, par := range []Params{LAN(), WAN(), Edge()} {
			w := newWorld(t, seed, 5, par)
			for _, nd := range w.nodes {
				nd.score, nd.storing = 1000, true
			}
			w.run(20*time.Second + 4*par.Lease + par.Settle)
			leader := w.leaders(component, w.nodes...)[0]
			alone := w.nodes[int(leader)%len(w.nodes)]
			for range 4 {
				w.split(1 << (alone.id - 1))
				w.run(14*w.beats() + 3*par.Lease + par.Settle)
				ours, _, _ := w.nodes[leader-1].e[component].Leading(w.clock(w.nodes[leader-1]))
				its, _, ok := alone.e[component].Leading(w.clock(alone))
				if !ok {
					w.fault("%d does not lead itself", alone.id)
				}
				if ours.Less(its) {
					higher++
				}
				w.split(0)
				w.run(4*par.Lease + 2*par.Settle)
				if got := w.leaders(component, w.nodes...); len(got) != 1 || got[0] != leader {
					w.fault("%v lead after %d, of all others, met one with %v", got, leader, its)
				}
			}
		}
	}
	if higher < 8 {
		t.Errorf("the one alone had the higher token only %d times", higher)
	}
}

// raising returns an Election of node 1 that leads with term 1 by the grants of two
// of three, and has met another leader.
func raising(t *testing.T, nodes int, other token.Token) (quick, []Effect) {
	t.Helper()
	f := fieldOf(1000, 1000, 1000)
	e := won(t, LAN(), f, 0)
	var scores []Score
	for range nodes {
		scores = append(scores, 1000)
	}
	return e, e.Look(time.Second, claim(fieldOf(scores...), other))
}

// Whoever leads more than half of all takes a term above that of another leader, by
// grants of those who follow it; it leads on meanwhile, and so does its work.
func TestLeaderRaisesItsTerm(t *testing.T) {
	other := token.Token{Term: 9, Node: 3}
	e, out := raising(t, 3, other)
	if find(out, Stop) != nil {
		t.Fatalf("stops: %+v", out)
	}
	ask := find(out, Send)
	if ask == nil || ask.To != 2 || ask.Ask.Term != 10 || !ask.Ask.Renew || ask.Ask.Electorate != e.lead.voters.Sum {
		t.Fatalf("asks %+v", out)
	}
	if save := find(out, Save); save == nil || save.Durable.Max != 10 || out[0].Action != Save {
		t.Errorf("its own grant is not written down first: %+v", out)
	}
	if tok, _, ok := e.Leading(time.Second); !ok || tok.Term != 1 {
		t.Errorf("leads with %v before it is granted: %t", tok, ok)
	}
	out = e.Answered(time.Second, 2, ask.Ask, ask.Sent, Answer{Max: 10})
	if named := find(out, Renamed); named == nil || named.Token != (token.Token{Term: 10, Node: 1}) || find(out, Stop) != nil {
		t.Fatalf("granted: %+v", out)
	}
	if out := e.Look(2*time.Second, e.field); find(out, Stop) != nil {
		t.Errorf("stops for a lower token: %+v", out)
	}
}

// Whoever leads half of all or less yields to a higher token, and so does one whose
// followers refuse, or do not answer.
func TestLeaderOfFewYields(t *testing.T) {
	other := token.Token{Term: 9, Node: 3}
	if _, out := raising(t, 4, other); find(out, Stop) == nil || find(out, Stop).Why != Yielded || find(out, Send) != nil {
		t.Errorf("with two of four: %+v", out)
	}
	e, out := raising(t, 3, other)
	ask := find(out, Send)
	for _, id := range []view.NodeID{2, 3} {
		out = e.Answered(time.Second, id, ask.Ask, ask.Sent, Answer{Reason: Busy, Max: 9, Holder: other})
	}
	if stop := find(out, Stop); stop == nil || stop.Why != Yielded {
		t.Errorf("refused: %+v", out)
	}
	e, _ = raising(t, 3, other)
	for now := time.Second; now <= 3*time.Second; now += 20 * time.Millisecond {
		out = e.Tick(now)
		if renew := find(out, Send); renew != nil { // its lease is renewed meanwhile
			out = append(out, e.Answered(now, 2, Ask{Term: 1, Renew: true, Lease: LAN().Lease}, now, Answer{Max: 9})...)
		}
		if stop := find(out, Stop); stop != nil {
			if stop.Why != Yielded || now < time.Second+LAN().Lease/2 {
				t.Errorf("without an answer, after %v: %v", now, stop.Why)
			}
			return
		}
	}
	t.Error("does not yield though nobody answers")
}

// Who is followed by more than half of the mesh: by grants that hold, of whichever term,
// and of a committee by the share of it.
func TestOutnumbers(t *testing.T) {
	many := view.View{}
	var component []view.NodeID
	for id := view.NodeID(1); id <= 200; id++ {
		many.Members = append(many.Members, view.Member{ID: id, Status: view.Active, Storing: id <= 160})
		component = append(component, id)
	}
	hundred := InComponent(many, component[:100])
	if len(hundred.Voters) != committee || hundred.Of != 100 || Electors(many) != 160 {
		t.Fatalf("%d vote for %d of %d", len(hundred.Voters), hundred.Of, Electors(many))
	}
	three := OfVoters(1, component[:3])
	for name, c := range map[string]struct {
		voters   Electorate
		granted  int
		term     uint64
		ends     time.Duration
		electors int
		want     bool
	}{
		"all of five":               {OfVoters(1, component[:5]), 5, 7, 1, 5, true},
		"three of five":             {three, 3, 7, 1, 5, true},
		"two of five":               {three, 2, 7, 1, 5, false},
		"half":                      {three, 2, 7, 1, 4, false},
		"a later term":              {three, 2, 8, 1, 3, true},
		"answers on their way":      {three, 2, 6, 1, 3, true},
		"grants that have run out":  {three, 3, 7, 0, 3, false},
		"a committee":               {hundred, 15, 7, 1, 160, true},
		"enough of a committee":     {hundred, 13, 7, 1, 160, true},
		"too little of a committee": {hundred, 12, 7, 1, 160, false},
		"who store nothing":         {InComponent(many, component[165:]), 35, 7, 1, 60, false},
		"nobody stores":             {InComponent(view.View{Members: many.Members[160:]}, component[165:]), 35, 7, 1, 40, true},
	} {
		e := &Election{grants: map[view.NodeID]grant{}, lead: &reign{token: token.Token{Term: 7}, voters: c.voters}}
		e.field.Electors = c.electors
		for _, id := range c.voters.Voters[:c.granted] {
			e.grants[id] = grant{term: c.term, ends: c.ends}
		}
		if got := e.outnumbers(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	gone := view.View{Members: []view.Member{{ID: 1, Storing: true, Status: view.Evicted}, {ID: 2, Status: view.Active}}}
	if Electors(gone) != 1 {
		t.Errorf("one who is gone votes, or lets others not vote: %d", Electors(gone))
	}
}

// Two leaders do not go on raising their terms above each other's, however slowly; but
// who has ceased to lead, and does so again, is another matter.
func TestRaisesEnd(t *testing.T) {
	other := token.Token{Term: 9, Node: 3}
	e, out := raising(t, 3, other)
	now := time.Second
	raise := func() {
		t.Helper()
		ask := find(out, Send)
		if ask == nil {
			t.Fatalf("asks nobody: %+v", out)
		}
		if out = e.Answered(now, 2, ask.Ask, now, Answer{Max: ask.Ask.Term}); find(out, Renamed) == nil {
			t.Fatalf("granted %d: %+v", ask.Ask.Term, out)
		}
		other.Term = ask.Ask.Term + 1
		now += LAN().Lease / 2
		e.Answered(now, 2, Ask{Term: ask.Ask.Term, Renew: true, Lease: LAN().Lease}, now, Answer{Max: ask.Ask.Term})
		e.grants[1] = grant{term: ask.Ask.Term, ends: now + LAN().Lease}
	}
	for range maxRaises - 1 {
		raise()
		out = e.Look(now, claim(e.field, other))
	}
	raise()
	met := e.field
	met.Claims = nil
	e.Look(now, met)
	for range maxRaises {
		out = e.Look(now, claim(e.field, other))
		raise()
	}
	if out = e.Look(now, claim(e.field, other)); find(out, Stop) == nil || find(out, Stop).Why != Yielded {
		t.Errorf("after %d times: %+v", maxRaises, out)
	}
}

// Several that were alone come back one after the other, each with a higher term than
// those before, or while the leader of most still asks for a term above the last one's.
func TestManyReturnOneByOne(t *testing.T) {
	few, all := fieldOf(1000, 1000, 1000, 1000, 1000), fieldOf(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
	for name, late := range map[string]bool{"answered": false, "answers on their way": true} {
		e, now := won(t, LAN(), fieldOf(1000, 1000, 1000), 0), time.Second
		answers := func(out []Effect, by ...view.NodeID) {
			t.Helper()
			for _, eff := range out {
				if eff.Action == Stop {
					t.Fatalf("%s: stops: %v", name, eff.Why)
				}
				if eff.Action == Send && slices.Contains(by, eff.To) {
					for _, eff := range e.Answered(now, eff.To, eff.Ask, eff.Sent, Answer{Max: eff.Ask.Term}) {
						if eff.Action == Stop {
							t.Fatalf("%s: stops when it is granted: %v", name, eff.Why)
						}
					}
				}
			}
		}
		// It leads all five.
		now += LAN().Settle
		e.grants[1], e.grants[2] = grant{1, now + LAN().Lease}, grant{1, now + LAN().Lease}
		e.Look(now, few)
		now += LAN().Settle
		e.grants[1], e.grants[2] = grant{1, now + LAN().Lease}, grant{1, now + LAN().Lease}
		answers(e.Tick(now), 2, 3, 4, 5)
		if e.lead == nil || e.lead.voters.Sum != few.Electorate.Sum || len(e.grants) != 5 {
			t.Fatalf("%s: leads %+v by %v", name, e.lead, e.grants)
		}
		for i := range 4 {
			all.Claims = append(all.Claims[:i:i], token.Token{Term: uint64(10 * (i + 1)), Node: view.NodeID(6 + i)})
			out := e.Look(now, all)
			if late {
				answers(out, 2, 3)
			} else {
				answers(out, 2, 3, 4, 5)
			}
			now += time.Millisecond
		}
		if tok, _, _ := e.Leading(now); tok.Term != 41 {
			t.Errorf("%s: leads with %v", name, tok)
		}
	}
}

// Where the leader of most hears of another that cannot hear it, the two do not take
// terms above each other's for ever: each costs all their voters a write.
func TestOneWayClaimsEnd(t *testing.T) {
	for _, seed := range []uint64{18, 28} { // each took a term every few seconds
		rng := rand.New(rand.NewPCG(seed, 99))
		w := newWorld(t, seed, 7, LAN())
		w.swim = true
		for _, nd := range w.nodes {
			nd.score, nd.storing = 1000, seed%3 != 0 || nd.storing
		}
		w.split(rng.Uint64())
		bridge := rng.IntN(len(w.nodes))
		for i := range w.nodes {
			w.cut[i][bridge], w.cut[bridge][i] = false, false
		}
		w.run(time.Minute)
		clear(w.count)
		w.run(15 * time.Minute)
		if n := w.count["raised"]; n > 2*maxRaises {
			w.fault("%d raises in 15 minutes: %v", n, w.count)
		}
	}
}

// A committee votes for those who are there now.
func TestCommitteeForMore(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	e := won(t, LAN(), f, 0)
	f.Electorate.Of, f.Electors = 2, 3
	e.Look(time.Second, f)
	if e.lead.voters.Of != 2 || e.outnumbers() {
		t.Errorf("two thirds of two of three: %+v", e.lead.voters)
	}
}
