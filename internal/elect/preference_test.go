package elect

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Who is preferred more is better by any amount, whatever the scores; of equal ones the
// scores decide as they do where nobody is preferred.
func TestPreferenceBeforeScore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	worth := func() Score {
		return Score(1+rng.IntN(6800)) << (scoreLift * rng.IntN(2*scorePriority+1))
	}
	preferences := []uint32{0, 1, 2, 3, 255, 256, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	for range 20_000 {
		a, b := worth(), worth()
		p, q := preferences[rng.IntN(len(preferences))], preferences[rng.IntN(len(preferences))]
		want, order := Beats(a, b), a > b
		if p != q {
			want, order = p > q, p > q
		}
		if got := Beats(a.Prefer(p), b.Prefer(q)); got != want {
			t.Fatalf("%d preferred by %d beats %d preferred by %d: %t", a, p, b, q, got)
		}
		if got := a.Prefer(p) > b.Prefer(q); got != order {
			t.Fatalf("%d preferred by %d comes before %d preferred by %d: %t", a, p, b, q, got)
		}
	}
}

// Who must not lead is not preferred, and no score stands for a preference.
func TestPreferenceOfScoresBeyondBounds(t *testing.T) {
	if got := Score(0).Prefer(7); got != 0 {
		t.Errorf("who must not lead has %d", got)
	}
	if a, b := Score(1<<64-1).Prefer(0), Score(1000).Prefer(1); a >= b || !Beats(b, a) {
		t.Errorf("a score of a peer that no worth has, %d, is above a preferred one, %d", a, b)
	}
	for _, s := range []Score{1, 1<<25 - 1, 1 << 25, 1<<45 + 1, 1<<63 - 1, 1<<64 - 1} {
		preference, score := s.Prefer(1<<32 - 1).splitPreference()
		if s = s.Prefer(0); preference != 1<<32-1 || score > s || s-score > s>>24 {
			t.Errorf("%d is read as %d, preferred by %d", s, score, preference)
		}
	}
}

// A leader hands over to one that is preferred after Hold, however much fitter it is itself,
// and to one of equal preference by the margin only.
func TestPreferredChallenger(t *testing.T) {
	f := fieldOf(1000, 1000, 1000)
	for _, c := range []struct {
		own, other Score
		want       bool
	}{
		{Score(6000), Score(10).Prefer(1), true},
		{Score(10).Prefer(1), Score(6000), false},
		{Score(1000).Prefer(2), Score(1140).Prefer(2), false},
		{Score(1000).Prefer(2), Score(1160).Prefer(2), true},
		{Score(1000).Prefer(2), Score(9000).Prefer(1), false},
	} {
		f.Standing = []Peer{{1, c.own}, {2, c.other}}
		if got := f.challenger(1, c.own) == 2; got != c.want {
			t.Errorf("%x is challenged by %x: %t", c.own, c.other, got)
		}
		if got := f.isBeaten(1, c.own, 0); got != c.want {
			t.Errorf("%x is beaten by %x: %t", c.own, c.other, got)
		}
	}
}

// Who is told to hand over gives back to the nominee when its work has ended, not before,
// and stands on.
func TestToldToHandOver(t *testing.T) {
	e := won(t, LAN(), fieldOf(1000, 1000, 1000), 0)
	now := time.Second
	out, led := e.HandOver(now, 3)
	if stop := find(out, Stop); !led || stop == nil || stop.Why != Told || find(out, GiveBack) != nil {
		t.Fatalf("%t, %+v", led, out)
	}
	if _, again := e.HandOver(now, 2); again {
		t.Error("it was told again while its work ended")
	}
	out = e.Drained(now + time.Millisecond)
	if back := find(out, GiveBack); back == nil || back.Nominee != 3 || back.Term != 1 {
		t.Errorf("when its work has ended: %+v", out)
	}
	if _, led := e.HandOver(now+time.Second, 3); led {
		t.Error("it has handed over what it does not lead")
	}
	if !e.stands {
		t.Error("it does not stand any more")
	}
}

// A lease that is let lapse is not renewed and not given back, whenever its work ends, and
// this node asks for no other before its end.
func TestLetLapse(t *testing.T) {
	par := LAN()
	own := par.ownLease(par.Lease)
	const begin = time.Second // when it has won, and asked last
	for name, c := range map[string]struct {
		handsOver bool          // before
		drained   time.Duration // when work has ended
		lapseAt   time.Duration
	}{
		"at once":                 {false, begin, begin},
		"before the lease ends":   {false, begin + own/2, begin},
		"after it has ended":      {false, begin + own + time.Second, begin},
		"while it hands over":     {true, begin + own/2, begin + 10*time.Millisecond},
		"when it is lost already": {false, begin + own + 2*time.Second, begin + own + time.Second},
	} {
		f := fieldOf(1000, 1000, 1000)
		e := won(t, par, f, 0)
		ends := e.leaseEnd(e.lead)
		var out []Effect
		lapses, drained := false, false
		asked := time.Duration(0)
		if c.handsOver {
			out, _ = e.HandOver(begin, 3)
		}
		for now := begin; now < begin+3*par.Lease; now += 10 * time.Millisecond {
			if !lapses && now >= c.lapseAt {
				lapses = true
				more, ok := e.LetLapse(now)
				if out = append(out, more...); !ok {
					t.Errorf("%s: there was nothing to lapse", name)
				}
			}
			if !drained && now >= c.drained {
				drained = true
				out = append(out, e.Drained(now)...)
			}
			for _, eff := range append(out, e.Tick(now)...) {
				switch {
				case eff.Action == GiveBack && asked == 0:
					t.Fatalf("%s: at %v it gives back: %+v", name, now, eff)
				case eff.Action == Send && eff.Ask.Renew && lapses:
					t.Fatalf("%s: at %v it renews: %+v", name, now, eff)
				case eff.Action == Send && !eff.Ask.Renew && asked == 0:
					asked = now
				}
			}
			out = nil
		}
		if asked < max(ends, c.drained) || asked > max(ends, c.drained)+par.Lease {
			t.Errorf("%s: its lease ends at %v, its work at %v, it asks again at %v", name, ends, c.drained, asked)
		}
		if _, ok := e.LetLapse(begin + 3*par.Lease); ok && e.lead == nil {
			t.Errorf("%s: it lets lapse what it does not lead", name)
		}
	}
}
