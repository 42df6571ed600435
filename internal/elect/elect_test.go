package elect

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// fieldOf is a component of voters that all stand with a score.
func fieldOf(scores ...Score) Field {
	f := Field{Component: map[view.NodeID]bool{}, Contact: map[view.NodeID]bool{}, RTT: time.Millisecond}
	var all []view.NodeID
	for i, s := range scores {
		id := view.NodeID(i + 1)
		f.Component[id], f.Contact[id] = true, true
		f.Standing = append(f.Standing, Peer{id, s})
		all = append(all, id)
	}
	f.Electorate, f.Electors = OfVoters(1, all), len(all)
	return f
}

func askOf(term uint64, f Field) Ask {
	return Ask{Term: term, Electorate: f.Electorate.Sum, Lease: 2 * time.Second, Score: 1000}
}

func TestVoter(t *testing.T) {
	f := fieldOf(1000, 1000, 1000, 2000)
	const second = time.Second
	type step struct {
		at     time.Duration
		from   view.NodeID
		change func(*Ask)
		want   Reason
	}
	none := func(*Ask) {}
	term := func(n uint64) func(*Ask) { return func(a *Ask) { a.Term = n } }
	renew := func(n uint64) func(*Ask) { return func(a *Ask) { a.Term, a.Renew = n, true } }
	best := func(n uint64) func(*Ask) { return func(a *Ask) { a.Term, a.Score = n, 2000 } }
	for name, steps := range map[string][]step{
		"one at a time":         {{0, 4, best(1), Granted}, {second, 2, best(2), Busy}, {second * 3, 2, best(2), Granted}},
		"terms grow":            {{0, 4, best(5), Granted}, {3 * second, 2, best(5), OldTerm}, {3 * second, 2, best(4), OldTerm}, {3 * second, 2, best(6), Granted}},
		"renewals":              {{0, 4, best(1), Granted}, {second, 4, renew(1), Granted}, {2900 * time.Millisecond, 2, best(2), Busy}, {9 * second, 4, renew(1), Granted}, {10 * second, 2, best(2), Busy}},
		"who missed the bid":    {{0, 4, renew(3), Granted}, {second, 2, best(4), Busy}},
		"the same takes a term": {{0, 4, best(1), Granted}, {second, 4, best(2), Granted}, {second, 4, renew(1), OldTerm}},
		"another electorate":    {{0, 4, func(a *Ask) { a.Electorate++; a.Score = 2000 }, Differs}},
		"another component":     {{0, 9, best(1), OutOfHere}},
		"worse by the margin":   {{0, 2, none, Beaten}, {second, 2, term(2), Beaten}, {7 * second, 2, term(3), Granted}},
		"terms beyond belief":   {{0, 4, best(maxLeap + 1), BadTerm}, {0, 4, renew(1<<64 - 1), BadTerm}, {0, 4, best(maxLeap), Granted}},
		"the best has lapsed":   {{0, 4, best(1), Granted}, {3 * second, 2, term(2), Granted}},
		"leases out of bounds":  {{0, 4, func(a *Ask) { a.Lease = 0 }, BadLease}, {0, 4, func(a *Ask) { a.Lease = MaxLease + 1 }, BadLease}},
	} {
		v := newVoter(1, Durable{}, 0)
		for i, s := range steps {
			a := askOf(1, f)
			s.change(&a)
			was := v.durable
			ans, save := v.answerAsk(s.at, s.from, a, &f)
			if ans.Reason != s.want || ans.Max != v.durable.Max {
				t.Errorf("%s, step %d: %v (max %d), want %v", name, i, ans.Reason, ans.Max, s.want)
			}
			if save != (v.durable != was) {
				t.Errorf("%s, step %d: %+v after %+v, to be saved: %t", name, i, v.durable, was, save)
			}
		}
	}
}

// A restarted voter grants nothing to anybody for the lease that it may have
// given; one that has given none is not silent.
func TestVoterRestarts(t *testing.T) {
	f := fieldOf(1000, 1000)
	v := newVoter(1, Durable{Max: 7, Grant: token.Token{Term: 7, Node: 2}, Lease: 2 * time.Second}, time.Minute)
	ans, _ := v.answerAsk(time.Minute+time.Second, 1, askOf(8, f), &f)
	if ans.Reason != Silent || ans.Wait != time.Second {
		t.Errorf("%v for %v", ans.Reason, ans.Wait)
	}
	if ans, _ := v.answerAsk(time.Minute+2*time.Second, 1, askOf(8, f), &f); ans.Reason != Granted {
		t.Error(ans.Reason)
	}
	v = newVoter(1, Durable{Max: 7}, 0)
	if ans, _ := v.answerAsk(0, 2, askOf(8, f), &f); ans.Reason != Granted {
		t.Error(ans.Reason)
	}
}

// What is given back is free for the nominee first, and not renewed.
func TestVoterReleased(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	v := newVoter(1, Durable{}, 0)
	v.answerAsk(0, 2, askOf(1, f), &f)
	v.releaseGrant(0, 3, 1, 0)
	if id, held := v.holder(1); id != 2 || !held {
		t.Error("another has given it back")
	}
	v.releaseGrant(1, 2, 4, 3)
	for _, s := range []struct {
		at   time.Duration
		from view.NodeID
		term uint64
		want Reason
	}{{2, 2, 1, OldTerm}, {2, 1, 2, Busy}, {2, 3, 3, Granted}, {3, 1, 4, Busy}} {
		if ans, _ := v.answerAsk(s.at, s.from, askOf(s.term, f), &f); ans.Reason != s.want {
			t.Errorf("term %d of %d: %v, want %v", s.term, s.from, ans.Reason, s.want)
		}
	}
}

// won has an Election of node 1 of three win its first term at a time.
func won(t *testing.T, par Params, f Field, now time.Duration) quick {
	t.Helper()
	e := newQuick(1, par, Durable{}, now, rand.New(rand.NewPCG(1, 1)))
	e.Look(now, f)
	e.Stand(now, true)
	out := e.Tick(now + time.Second)
	if len(out) != 3 || out[0].Action != Save || out[0].Durable.Max != 1 || out[1].Action != Send || out[2].Action != Send {
		t.Fatalf("a bid: %+v", out)
	}
	out = e.Answered(now+time.Second, 2, out[1].Ask, out[1].Sent, Answer{Max: 1})
	if len(out) != 1 || out[0].Action != Lead || out[0].Token != (token.Token{Term: 1, Node: 1}) {
		t.Fatalf("a majority: %+v", out)
	}
	return e
}

func find(out []Effect, a Action) *Effect {
	if i := slices.IndexFunc(out, func(e Effect) bool { return e.Action == a }); i >= 0 {
		return &out[i]
	}
	return nil
}

// A candidate whose term is too low for a voter that is free asks above that at
// once, but only once: two may do so to each other.
func TestCandidateOutbids(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	v := newVoter(2, Durable{Max: 5}, 0)
	if ans, _ := v.answerAsk(0, 1, askOf(3, f), &f); ans.Reason != OldTerm || !ans.Holder.IsZero() {
		t.Errorf("a voter that is free: %+v", ans)
	}
	v.answerAsk(0, 3, askOf(6, f), &f)
	if ans, _ := v.answerAsk(1, 1, askOf(3, f), &f); ans.Reason != OldTerm || ans.Holder != (token.Token{Term: 6, Node: 3}) {
		t.Errorf("a voter whose grant another holds: %+v", ans)
	}
	e := newQuick(1, LAN(), Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	first := find(e.Tick(time.Second), Send)
	out := e.Answered(time.Second, 2, first.Ask, first.Sent, Answer{Reason: OldTerm, Max: 5})
	if len(out) != 3 || out[0].Action != Save || out[0].Durable.Max != 6 || out[1].Action != Send || out[1].Ask.Term != 6 {
		t.Fatalf("after term 1 was too low for one who has seen 5: %+v", out)
	}
	if out := e.Answered(time.Second, 3, first.Ask, first.Sent, Answer{Max: 1}); find(out, Lead) != nil {
		t.Errorf("a grant of the term that was given up counts: %+v", out)
	}
	if out := e.Answered(time.Second, 2, out[1].Ask, out[1].Sent, Answer{Reason: OldTerm, Max: 8}); find(out, Send) != nil {
		t.Errorf("after term 6 was too low as well: %+v", out)
	}
	if out := e.Answered(time.Second, 3, out[1].Ask, out[1].Sent, Answer{Max: 6}); find(out, Lead) == nil {
		t.Errorf("a majority: %+v", out)
	}
}

// Whoever outbids asks those who vote now.
func TestCandidateOutbidsAmongThosePresent(t *testing.T) {
	e := idler(fieldOf(1000, 1000, 1000), Durable{})
	ask := find(e.Tick(time.Second), Send)
	e.Look(time.Second, fieldOf(1000, 1000, 1000, 1000))
	again := find(e.Answered(time.Second, 2, ask.Ask, ask.Sent, Answer{Reason: OldTerm, Max: 9}), Send)
	if again == nil || again.Ask.Term != 10 || again.Ask.Electorate != e.field.Electorate.Sum || len(e.bid.refused) > 0 {
		t.Errorf("asks %+v, refused by %v", again, e.bid.refused)
	}
}

// The lease ends before the grants do, by guard and drift, and stops the work.
func TestLeaseEnds(t *testing.T) {
	par := LAN()
	e := won(t, par, fieldOf(1000, 1000, 1000), 0)
	_, until, ok := e.Leading(time.Second)
	if want := time.Second + par.Lease*99/100 - par.Guard; !ok || until != want {
		t.Errorf("leads until %v, want %v", until, want)
	}
	if _, _, ok := e.Leading(until); ok {
		t.Error("leads at the end of its lease")
	}
	if out := e.Tick(until); len(out) == 0 || out[0].Action != Stop || out[0].Why != Expired {
		t.Errorf("at the end: %+v", out)
	}
	if out := e.Tick(until + time.Minute); find(out, Send) != nil {
		t.Errorf("asks again while its work goes on: %+v", out)
	}
	out := e.Drained(until + time.Minute)
	if find(out, GiveBack) == nil {
		t.Errorf("its grants are kept: %+v", out)
	}
}

// A candidate that does not vote writes its term down, too.
func TestCandidateWritesItsTermDown(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	f.Electorate = OfVoters(1, []view.NodeID{2, 3})
	e := newQuick(1, LAN(), Durable{Max: 4}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	out := e.Tick(time.Second)
	if len(out) != 3 || out[0].Action != Save || out[0].Durable.Max != 5 || out[1].Ask.Term != 5 {
		t.Errorf("a bid: %+v", out)
	}
}

func TestLateGrantIsGivenBack(t *testing.T) {
	par := LAN()
	e := newQuick(1, par, Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, fieldOf(1000, 1000, 1000))
	e.Stand(0, true)
	ask := find(e.Tick(time.Second), Send)
	e.Tick(time.Second + par.Lease) // too late
	out := e.Answered(time.Second+par.Lease, 2, ask.Ask, ask.Sent, Answer{Max: 1})
	if back := find(out, GiveBack); back == nil || back.To != 2 || back.Term != 1 {
		t.Errorf("a late grant: %+v", out)
	}
}

// What a leader has given back since it took a higher term it does not stand on,
// though the voter's highest term is its own one, too: it is another's of that term.
func TestGrantGivenBackDoesNotCount(t *testing.T) {
	par := LAN()
	f := fieldOf(1000, 1000, 1000)
	e := won(t, par, f, 0)
	now, late := time.Second, Effect{}
	f.Electorate.Sum++
	e.Look(now, f)
	for now < par.Settle+4*time.Second && e.lead.token.Term == 1 {
		now += 100 * time.Millisecond
		for _, eff := range e.Tick(now) {
			if eff.Action == Send && eff.Ask.Renew && eff.To == 3 {
				e.Answered(now, 3, eff.Ask, eff.Sent, Answer{Max: 1})
				late = eff
			} else if eff.Action == Send && eff.To == 2 {
				e.Answered(now, 2, eff.Ask, eff.Sent, Answer{Max: eff.Ask.Term})
			}
		}
	}
	if e.lead.token.Term != 2 {
		t.Fatal("it has taken no second term")
	}
	if out := e.Answered(now, 3, late.Ask, late.Sent, Answer{Max: 1}); find(out, GiveBack) == nil {
		t.Fatalf("an answer to the first: %+v", out)
	}
	again := late.Ask
	again.Term = 2
	e.Answered(now, 3, again, now, Answer{Reason: OldTerm, Max: 2})
	if g, ok := e.grants[3]; ok {
		t.Errorf("it counts on %+v", g)
	}
}

// While the work of a lost leadership ends no grant is given back, not even one
// that is answered late: others may lead at once with it.
func TestLateGrantWhileWorkEnds(t *testing.T) {
	e := won(t, LAN(), fieldOf(1000, 1000, 1000), 0)
	ask := find(e.Tick(1500*time.Millisecond), Send)
	_, until, _ := e.Leading(time.Second)
	if find(e.Tick(until), Stop) == nil {
		t.Fatal("leads on")
	}
	if out := e.Answered(until+1, ask.To, ask.Ask, ask.Sent, Answer{Max: 1}); len(out) != 0 {
		t.Errorf("a late grant: %+v", out)
	}
	if back := find(e.Drained(until+2), GiveBack); back == nil || back.To != 2 || back.Term != 1 {
		t.Errorf("when its work has ended: %+v", back)
	}
}

// A machine that was held up beyond its lease does not go on as if nothing had
// been, though an answer waits that would have renewed it: another may have led,
// and the work goes by the token that it began with.
func TestLeaseThatEndedUnseen(t *testing.T) {
	e := won(t, LAN(), fieldOf(1000, 1000, 1000), 0)
	ask := find(e.Tick(1500*time.Millisecond), Send)
	_, until, _ := e.Leading(time.Second)
	out := e.Answered(until+1, ask.To, ask.Ask, ask.Sent, Answer{Max: 1})
	if stop := find(out, Stop); stop == nil || stop.Why != Expired {
		t.Errorf("an answer after the end: %+v", out)
	}
	if _, _, ok := e.Leading(until + 1); ok {
		t.Error("leads on")
	}
}

// A vote that was split is repeated soon, though the node that led still counts as
// in contact, and is known to lead: its lease has run out.
func TestSplitVoteIsRepeated(t *testing.T) {
	par := LAN()
	f := fieldOf(1000, 1000, 1000, 1000, 1000)
	f.Claims = []token.Token{{Term: 1, Node: 5}}
	e := newQuick(1, par, Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Stand(0, true)
	e.Asked(0, 5, askOf(1, f))
	bids := 0
	for now := time.Duration(0); now < par.Lease+time.Second; now += 10 * time.Millisecond {
		out := e.Tick(now)
		if find(out, Send) != nil {
			bids++
		}
		for _, eff := range out {
			if eff.Action == Send && eff.To != 5 { // the others have voted
				e.Answered(now, eff.To, eff.Ask, eff.Sent, Answer{Reason: OldTerm, Max: eff.Ask.Term, Holder: token.Token{Term: eff.Ask.Term, Node: 5}})
			}
		}
	}
	if bids < 2 {
		t.Errorf("%d bids in a lease and a second", bids)
	}
}

// A bid that is lost without those that cannot be asked is given up at once, and one
// that is won without them is won.
func TestNobodyWaitsForTheUnanswered(t *testing.T) {
	par := LAN()
	f := fieldOf(1000, 1000, 1000, 1000, 1000)
	for _, granted := range []bool{false, true} {
		e := newQuick(1, par, Durable{}, 0, rand.New(rand.NewPCG(1, 1)))
		e.Look(0, f)
		e.Stand(0, true)
		ask := find(e.Tick(time.Second), Send).Ask
		tell := func(id view.NodeID, r Reason) []Effect {
			return e.Answered(time.Second, id, ask, time.Second, Answer{Reason: r, Max: 1, Holder: token.Token{Term: 1, Node: 9}})
		}
		out := e.Unanswered(time.Second, 5, ask)
		out = append(out, tell(4, OldTerm)...)
		if granted {
			out = append(out, tell(2, Granted)...)
			out = append(out, e.Unanswered(time.Second, 2, ask)...) // the second of two requests
			if find(out, GiveBack) != nil || find(tell(3, Granted), Lead) == nil {
				t.Errorf("not won with three of five: %+v", out)
			}
			continue
		}
		if find(out, GiveBack) != nil {
			t.Errorf("given up while three of five may grant: %+v", out)
		}
		if find(tell(3, OldTerm), GiveBack) == nil {
			t.Error("goes on without hope")
		}
	}
}

// Who is better by the margin for long is handed the lead, when the work has
// ended.
func TestHandOver(t *testing.T) {
	par := LAN()
	f := fieldOf(1000, 1000, 1000)
	e := won(t, par, f, 0)
	now := time.Second
	better := f
	better.Standing = []Peer{{1, 1000}, {2, 1100}, {3, 1160}}
	keep := func(d time.Duration) (stop *Effect) {
		for end := now + d; now < end && stop == nil; now += 100 * time.Millisecond {
			out := e.Tick(now)
			for _, eff := range out {
				if eff.Action == Send {
					out = append(out, e.Answered(now, eff.To, eff.Ask, eff.Sent, Answer{Max: 1})...)
				}
			}
			stop = find(out, Stop)
			if find(out, GiveBack) != nil {
				t.Fatalf("gives back before its work has ended: %+v", out)
			}
		}
		return stop
	}
	e.Look(now, better)
	if stop := keep(par.Hold - time.Second); stop != nil {
		t.Fatalf("after %v: %+v", now, stop)
	}
	e.Look(now, f)
	e.Look(now, better)
	if stop := keep(par.Hold - time.Second); stop != nil {
		t.Fatalf("not better all the time, after %v: %+v", now, stop)
	}
	stop := keep(2 * time.Second)
	if stop == nil || stop.Why != HandsOver {
		t.Fatalf("after %v: %+v", now, stop)
	}
	keep(5 * time.Second)
	if _, _, ok := e.Leading(now); !ok {
		t.Error("its lease is not renewed while its work ends")
	}
	out := e.Drained(now)
	if back := find(out, GiveBack); back == nil || back.Nominee != 3 {
		t.Errorf("handed over: %+v", out)
	}
	if _, _, ok := e.Leading(now); ok {
		t.Error("leads on")
	}
}

func TestElectorates(t *testing.T) {
	var v view.View
	var all []view.NodeID
	for i := range 100 {
		id := view.NodeID(i + 1)
		v.Members = append(v.Members, view.Member{ID: id, Storing: i < 70})
		all = append(all, id)
	}
	if e := InComponent(v, all[:64]); len(e.Voters) != 64 || e.Majority() != 33 || !e.Has(1) || e.Has(65) {
		t.Errorf("64 storing: %d voters, majority %d", len(e.Voters), e.Majority())
	}
	if e := InComponent(v, all[60:80]); !slices.Equal(e.Voters, all[60:70]) {
		t.Errorf("some store: %v", e.Voters)
	}
	if e := InComponent(v, all[75:80]); !slices.Equal(e.Voters, all[75:80]) {
		t.Errorf("none stores: %v", e.Voters)
	}
	big := InComponent(v, all)
	if len(big.Voters) != committee || !slices.IsSorted(big.Voters) {
		t.Errorf("a committee of %v", big.Voters)
	}
	changed := 0
	for i := range 70 {
		less := InComponent(v, slices.Delete(slices.Clone(all), i, i+1))
		same := 0
		for _, id := range less.Voters {
			if big.Has(id) {
				same++
			}
		}
		if same < committee-1 || big.Has(all[i]) == (same == committee) {
			t.Errorf("without %d: %v of %v", all[i], less.Voters, big.Voters)
		}
		if less.Sum != big.Sum {
			changed++
		}
	}
	if changed != committee {
		t.Errorf("%d of 70 leavers change the committee", changed)
	}
	if OfVoters(1, all[:3]).Sum == OfVoters(2, all[:3]).Sum || OfVoters(1, all[:3]).Sum == InComponent(v, all[:3]).Sum {
		t.Error("the version or the scope is not in the sum")
	}
}

func TestParams(t *testing.T) {
	for _, p := range []Params{LAN(), WAN(), Edge()} {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
	err := Params{Renew: -1, Guard: -1, Drift: 900}.Validate()
	for _, want := range []string{"lease", "renewals", "guard", "drift", "pause"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name the %s", err, want)
		}
	}
}

// A leader that cannot take a new term leads on with the old one.
func TestLeaderLosesABid(t *testing.T) {
	par := LAN()
	f := fieldOf(1000, 1000, 1000)
	e := won(t, par, f, 0)
	other := fieldOf(1000, 1000, 1000, 1000)
	e.Look(time.Second, other)
	bids := 0
	for now := time.Second; now < 30*time.Second; now += 100 * time.Millisecond {
		out := e.Tick(now)
		for i := 0; i < len(out); i++ {
			switch eff := out[i]; {
			case eff.Action == Send && eff.Ask.Renew:
				out = append(out, e.Answered(now, eff.To, eff.Ask, eff.Sent, Answer{Max: 1})...)
			case eff.Action == Send:
				bids++
				out = append(out, e.Answered(now, eff.To, eff.Ask, eff.Sent, Answer{Reason: Differs, Max: 1})...)
			case eff.Action != Save:
				t.Fatalf("at %v: %+v", now, eff)
			}
		}
		if _, _, ok := e.Leading(now); !ok {
			t.Fatalf("leads no more at %v", now)
		}
	}
	if bids < 6 {
		t.Errorf("%d asked for a new term", bids)
	}
}
