package mode

import (
	"math/rand/v2"
	"testing"
	"time"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// sample is one step as the dumb model remembers it.
type sample struct {
	at    time.Duration
	holds [Alone + 1]bool
}

// model keeps all steps and goes through them again for every finding: a mode
// turns when every step of the last so-and-so-long spoke against it.
type model struct {
	par     Params
	steps   []sample
	on      [Alone + 1]bool
	settled bool
}

func (m *model) step(now time.Duration, f Facts) Mode {
	met := f.Component >= 2 && !lacksMajority(f)
	var s sample
	s.at = now
	first := now
	if len(m.steps) > 0 {
		first = m.steps[0].at
	}
	m.settled = m.settled || f.Ready || met || now >= first+m.par.ReadyAfter
	s.holds[Local] = f.Cloud == Unreachable
	s.holds[Minority] = m.settled && lacksMajority(f)
	s.holds[Alone] = m.settled && f.Component < 2 && f.Roster >= 2
	m.steps = append(m.steps, s)
	mode := Normal
	for _, c := range []Mode{Local, Minority, Alone} {
		wait := m.par.EnterAfter
		if m.on[c] {
			wait = m.par.LeaveAfter
		}
		for i := len(m.steps) - 1; i >= 0 && m.steps[i].holds[c] != m.on[c]; i-- {
			if now-m.steps[i].at >= wait {
				m.on[c] = !m.on[c]
				break
			}
		}
		if m.on[c] {
			mode = c
		}
	}
	return mode
}

func lacksMajority(f Facts) bool {
	if f.Storing > 0 {
		return f.StoringHere < f.Storing/2+1
	}
	return f.Roster > 0 && f.Component < f.Roster/2+1
}

func randomFacts(r *rand.Rand, roster int) Facts {
	f := Facts{Roster: roster, Component: 1 + r.IntN(roster), Cloud: Cloud(r.IntN(3))}
	f.Storing = r.IntN(f.Roster + 1)
	f.StoringHere = min(r.IntN(f.Storing+1), f.Component)
	f.Ready = r.IntN(20) == 0
	return f
}

func TestModesFollowTheModel(t *testing.T) {
	turns := map[[2]Mode]int{}
	for seed := range uint64(600) {
		r := rng(seed)
		par := Params{EnterAfter: 2 * time.Second, LeaveAfter: 5 * time.Second, ReadyAfter: 8 * time.Second}
		if seed%2 == 0 {
			par = Defaults()
		}
		m, dumb := New(par), &model{par: par}
		now, last := time.Duration(r.Int64N(int64(time.Hour))), Normal
		facts := randomFacts(r, 1+r.IntN(6))
		if m.Next() != 0 {
			t.Fatalf("the first step is due at %v", m.Next())
		}
		for range 300 {
			next := now + time.Duration(r.Int64N(int64(4*time.Second)))
			if r.IntN(4) == 0 {
				facts = randomFacts(r, 1+r.IntN(6))
			}
			if due := m.Next(); r.IntN(3) > 0 && due < now+20*time.Second {
				next = due // what Next promises must be exact
			}
			now = next
			mode, changed := m.Step(now, facts)
			if want := dumb.step(now, facts); mode != want {
				t.Fatalf("seed %d at %v: %v, the model says %v, facts %+v", seed, now, mode, want, facts)
			}
			if changed != (mode != last) || m.Mode() != mode {
				t.Fatalf("seed %d at %v: from %v to %v, changed %v, Mode %v", seed, now, last, mode, changed, m.Mode())
			}
			if m.Next() <= now && m.Next() != Never {
				t.Fatalf("seed %d at %v: still due at %v", seed, now, m.Next())
			}
			turns[[2]Mode{last, mode}]++
			last = mode
		}
	}
	for from := Normal; from <= Alone; from++ {
		for to := Normal; to <= Alone; to++ {
			if turns[[2]Mode{from, to}] == 0 {
				t.Errorf("never went from %v to %v: the schedules are too tame", from, to)
			}
		}
	}
}

// at steps a machine through facts, one step every half second, up to until.
func at(m *Watcher, now *time.Duration, until time.Duration, f Facts) (mode Mode) {
	for ; *now < until; *now += 500 * time.Millisecond {
		mode, _ = m.Step(*now, f)
	}
	return mode
}

var (
	whole = Facts{Roster: 5, Component: 5, Storing: 3, StoringHere: 3, Cloud: Reachable}
	lone  = Facts{Roster: 5, Component: 1, Storing: 3, StoringHere: 1, Cloud: Reachable}
)

func TestColdStartIsNotCutOff(t *testing.T) {
	m, now := New(Defaults()), 100*time.Second
	if got := at(m, &now, 115*time.Second, lone); got != Normal {
		t.Fatalf("%v within ReadyAfter of the start", got)
	}
	if got := at(m, &now, 119*time.Second, lone); got != Alone {
		t.Fatalf("%v after ReadyAfter, met nobody", got)
	}
	m, now = New(Defaults()), 100*time.Second
	told := lone
	told.Ready = true
	m.Step(now, told)
	if got := at(m, &now, 104*time.Second, lone); got != Alone {
		t.Fatalf("%v after all were tried in vain", got)
	}
	m, now = New(Defaults()), 100*time.Second
	m.Step(now, whole)
	if got := at(m, &now, 104*time.Second, lone); got != Alone {
		t.Fatalf("%v after all were met and lost", got)
	}
	dark := lone
	dark.Cloud = Unreachable
	m, now = New(Defaults()), 100*time.Second
	if got := at(m, &now, 104*time.Second, dark); got != Local {
		t.Fatalf("%v while the cloud was probed in vain", got)
	}
}

func TestSingleNodeIsAWholeMesh(t *testing.T) {
	m, now := New(Defaults()), time.Duration(0)
	if got := at(m, &now, time.Minute, Facts{Roster: 1, Component: 1, Ready: true}); got != Normal {
		t.Fatalf("a mesh of one is %v", got)
	}
}

func TestHalfIsNoMajority(t *testing.T) {
	for _, c := range []struct {
		f    Facts
		want Mode
	}{
		{Facts{Roster: 4, Component: 2, Storing: 4, StoringHere: 2}, Minority},
		{Facts{Roster: 5, Component: 2, Storing: 3, StoringHere: 2}, Normal},
		{Facts{Roster: 5, Component: 4, Storing: 3, StoringHere: 1}, Minority},
		{Facts{Roster: 5, Component: 2}, Minority},
		{Facts{Roster: 5, Component: 3}, Normal},
		{Facts{Roster: 2, Component: 1, Storing: 1, StoringHere: 1}, Alone},
	} {
		c.f.Ready = true
		m, now := New(Defaults()), time.Duration(0)
		if got := at(m, &now, time.Minute, c.f); got != c.want {
			t.Errorf("%+v: %v, want %v", c.f, got, c.want)
		}
	}
}

// A link that comes and goes faster than the delays changes nothing.
func TestFlappingTurnsNothing(t *testing.T) {
	m, now := New(Defaults()), time.Duration(0)
	at(m, &now, 10*time.Second, whole)
	for range 20 {
		if got := at(m, &now, now+2500*time.Millisecond, lone); got != Normal {
			t.Fatalf("%v after 2.5 s alone", got)
		}
		at(m, &now, now+500*time.Millisecond, whole)
	}
	at(m, &now, now+5*time.Second, lone)
	for range 20 {
		if got := at(m, &now, now+9*time.Second, whole); got != Alone {
			t.Fatalf("%v after 9 s together", got)
		}
		at(m, &now, now+500*time.Millisecond, lone)
	}
}

func TestTimeThatGoesBackStandsStill(t *testing.T) {
	m := New(Defaults())
	m.Step(time.Hour, whole)
	m.Step(time.Hour, lone)
	m.Step(0, lone)
	if got, _ := m.Step(time.Hour+2*time.Second, lone); got != Normal {
		t.Fatalf("%v after 2 s", got)
	}
	if got, changed := m.Step(time.Hour+3*time.Second, lone); got != Alone || !changed {
		t.Fatalf("%v, changed %v, after 3 s", got, changed)
	}
}

func TestZeroParamsAreDefaults(t *testing.T) {
	if got := (Params{}).withDefaults(); got != Defaults() {
		t.Fatalf("%+v", got)
	}
	if d := Defaults(); d.FreshFor <= d.Cap {
		t.Fatalf("reports lapse after %v while %v may pass between them", d.FreshFor, d.Cap)
	}
}
