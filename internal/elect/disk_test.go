package elect

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// slowVoter returns an Election of node 1 that does not stand, and has saved what it read.
func slowVoter(f Field, d Durable) *Election {
	e := New(1, LAN(), d, 0, rand.New(rand.NewPCG(1, 1)))
	e.Look(0, f)
	e.Saved(0, true)
	return e
}

// answers lists what an Election answers by its effects.
func answers(out []Effect) (all []Reason) {
	for _, eff := range out {
		if eff.Action == Reply {
			all = append(all, eff.Answer.Reason)
		}
	}
	return all
}

func expect(t *testing.T, what string, out []Effect, want ...Reason) {
	t.Helper()
	if got := answers(out); !slices.Equal(got, want) {
		t.Errorf("%s: answers %v, want %v", what, got, want)
	}
}

// A grant is told when it is on disk, a refusal at once. Whoever waits for long learns
// that the voter saves, and a second grant waits for the first save.
func TestGrantIsToldWhenItIsKept(t *testing.T) {
	const ms = time.Millisecond
	f := fieldOf(1000, 1000, 1000)
	e := slowVoter(f, Durable{})
	out := e.Asked(0, 2, askOf(5, f), 1)
	if save := find(out, Save); save == nil || save.Durable.Grant != (token.Token{Term: 5, Node: 2}) {
		t.Fatalf("%+v", out)
	}
	expect(t, "not on disk", out)
	expect(t, "another", e.Asked(10*ms, 3, askOf(6, f), 2), Busy)
	expect(t, "the same again", e.Asked(10*ms, 2, askOf(5, f), 3))
	expect(t, "its earlier term", e.Asked(10*ms, 2, askOf(4, f), 4))
	expect(t, "after a while", e.Tick(LAN().Lease/4), Saving)
	e.Returned(505*ms, 2, 5, 0)
	out = e.Asked(505*ms, 3, askOf(6, f), 5)
	if expect(t, "while it saves for another", out, Saving); find(out, Save) != nil {
		t.Error("a second save")
	}
	expect(t, "what was given back meanwhile", e.Saved(508*ms, true), OldTerm, OldTerm)
	e.Asked(600*ms, 3, askOf(7, f), 6)
	expect(t, "on disk", e.Saved(700*ms, true), Granted)
	expect(t, "renewed without a save", e.Asked(800*ms, 3, Ask{Term: 7, Renew: true, Lease: LAN().Lease}, 7), Granted)
}

// While a leader's next term is on its way to the disk, also when it never arrives, its
// present one is renewed.
func TestLeaderIsRenewedWhileItsNextTermIsSaved(t *testing.T) {
	const second = time.Second
	f := fieldOf(1000, 1000, 1000)
	for _, ok := range []bool{true, false} {
		e := slowVoter(f, Durable{})
		e.Asked(0, 2, askOf(5, f), 1)
		e.Saved(0, true)
		renew := Ask{Term: 5, Renew: true, Electorate: f.Electorate.Sum, Lease: LAN().Lease}
		expect(t, "next term", e.Asked(second, 2, askOf(6, f), 2))
		expect(t, "while it is saved", e.Asked(second, 2, renew, 3), Granted)
		if id, held := e.voter.holder(3*second - 1); id != 2 || !held {
			t.Error("it is not renewed")
		}
		if ok {
			expect(t, "saved", e.Saved(second, true), Granted)
			expect(t, "the term before", e.Asked(second, 2, renew, 4), OldTerm)
			continue
		}
		expect(t, "not saved", e.Saved(second, false), Unable)
		expect(t, "after that", e.Asked(second, 2, renew, 4), Granted)
		expect(t, "another term", e.Asked(second, 2, askOf(7, f), 5), Unable)
		if out := e.Tick(second + firstRetry); find(out, Save) == nil || find(out, Save).Durable.Grant.Term != 6 {
			t.Errorf("it does not try again: %+v", out)
		}
		e.Saved(second+firstRetry, true)
		out := e.Asked(second+firstRetry, 2, askOf(7, f), 6)
		if expect(t, "its disk takes it again", append(out, e.Saved(2*second, true)...), Granted); find(out, Save) == nil {
			t.Error("granted without a save")
		}
	}
}

// What was read counts when it was saved once more, and nobody is asked before.
func TestWhatWasReadIsSavedFirst(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	d := Durable{Max: 5, Grant: token.Token{Term: 5, Node: 2}, Lease: LAN().Lease}
	e := New(1, LAN(), d, 0, rand.New(rand.NewPCG(1, 1)))
	out := e.Look(0, f)
	if save := find(out, Save); save == nil || save.Durable != d {
		t.Fatalf("%+v", out)
	}
	e.Stand(0, true)
	if find(e.Tick(time.Minute), Send) != nil {
		t.Error("it asks for a term")
	}
	expect(t, "the last grant once more", e.Asked(time.Minute, 2, askOf(5, f), 1))
	expect(t, "it is saved", e.Saved(time.Minute, true), Granted)
}

// A candidate asks while it saves its term, and leads when it has: by grants that it asks
// for once more if they have run out, under the same term.
func TestBidWaitsForSlowDisks(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	e := slowVoter(f, Durable{})
	e.Stand(0, true)
	now := time.Second
	out := e.Tick(now)
	ask := find(out, Send)
	if ask == nil || find(out, Save) == nil {
		t.Fatalf("%+v", out)
	}
	if out = e.Answered(now, 2, ask.Ask, now, Answer{Max: 1}); find(out, Lead) != nil {
		t.Fatal("it leads with a term that is not on disk")
	}
	e.Answered(now, 3, ask.Ask, now, Answer{Reason: Saving, Max: 1, Wait: 3 * time.Second})
	for end := now + 3*LAN().Lease; now < end; now += 10 * time.Millisecond {
		for _, eff := range e.Tick(now) {
			if eff.Action == GiveBack || eff.Action == Send && eff.Ask.Term != 1 {
				t.Fatalf("after %v: %+v", now, eff)
			}
			if eff.Action == Send && eff.To == 2 {
				e.Answered(now, 2, eff.Ask, eff.Sent, Answer{Max: 1})
			}
			if eff.Action == Send && eff.To == 3 {
				e.Answered(now, 3, eff.Ask, eff.Sent, Answer{Reason: Saving, Max: 1, Wait: time.Second})
			}
		}
	}
	if out = e.Saved(now, true); find(out, Lead) == nil {
		t.Errorf("it does not lead by grants that it kept: %+v", out)
	}
	if _, until, _ := e.Leading(now); until < now+LAN().Lease/8 {
		t.Errorf("for %v", until-now)
	}
}

// A grant that has run out when it comes, because it took so long to save, is asked for
// once more: that takes no save.
func TestGrantThatCameLate(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	e := slowVoter(f, Durable{})
	e.Stand(0, true)
	ask := find(e.Tick(time.Second), Send)
	e.Saved(time.Second, true)
	e.Answered(time.Second, 2, ask.Ask, time.Second, Answer{Reason: Saving, Max: 1, Wait: 3 * time.Second})
	e.Answered(time.Second, 3, ask.Ask, time.Second, Answer{Reason: Differs, Max: 1})
	out := e.Answered(4*time.Second, 2, ask.Ask, time.Second, Answer{Max: 1})
	again := find(out, Send)
	if again == nil || again.To != 2 || again.Ask.Term != 1 || again.Sent != 4*time.Second || find(out, Lead) != nil {
		t.Fatalf("%+v", out)
	}
	e.Answered(4*time.Second, 1, ask.Ask, 4*time.Second, Answer{Max: 1})
	if out = e.Answered(4*time.Second, 2, again.Ask, again.Sent, Answer{Max: 1}); find(out, Lead) == nil {
		t.Errorf("%+v", out)
	}
}

// A term that is not on disk may be used once more after a restart: what gives it back
// must not come then.
func TestNothingIsGivenBackBeforeItIsKept(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	e := slowVoter(f, Durable{})
	e.Stand(0, true)
	if find(e.Tick(time.Second), Send) == nil {
		t.Fatal("it does not ask")
	}
	if find(e.Stand(time.Second, false), GiveBack) != nil {
		t.Error("given back while the term is saved")
	}
	if back := find(e.Saved(2*time.Second, true), GiveBack); back == nil || back.Term != 1 {
		t.Error("not given back then")
	}
}

// A candidate whose disk takes nothing asks nobody, and stands again when it does.
func TestNoBidWithoutADisk(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	e := slowVoter(f, Durable{})
	e.Stand(0, true)
	e.Tick(time.Second)
	saves := 0
	for now := time.Second; now < 10*time.Minute; now += 10 * time.Millisecond {
		out := e.Tick(now)
		if find(out, Save) != nil {
			saves++
		}
		if now > time.Second && find(out, Send) != nil {
			t.Fatal("it asks")
		}
		if e.voter.saving {
			e.Saved(now, false)
		}
	}
	if saves > 30 {
		t.Errorf("%d saves in 10 minutes", saves)
	}
	now := 11 * time.Minute
	e.Tick(now)
	e.Saved(now, true)
	if find(e.Tick(now+5*time.Minute), Send) == nil {
		t.Error("it does not ask though its disk takes it")
	}
}

// Why nobody leads is said in words.
func TestObstacles(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	none := f
	none.Electorate = Electorate{}
	alone := f
	alone.Contact = map[view.NodeID]bool{1: true}
	for name, c := range map[string]struct {
		f    Field
		want string
	}{
		"no voters": {none, "no voters are known"}, "alone": {alone, "1 of 3 voters are in contact, 2 are needed"},
		"nothing": {f, ""}, "another leads": {claim(none, token.Token{Term: 1, Node: 2}), ""},
	} {
		e := slowVoter(c.f, Durable{})
		if got := e.Obstacle(0); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	e := slowVoter(f, Durable{})
	e.Asked(0, 2, askOf(1, f), 1)
	if got := e.Obstacle(LAN().Lease/2 + 1); got == "" {
		t.Error("it saves for long, and nothing is in the way")
	}
}
