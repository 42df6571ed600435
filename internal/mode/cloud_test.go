package mode

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestReachabilityFollowsTheModel(t *testing.T) {
	turns := 0
	for seed := range uint64(200) {
		r := rng(seed)
		par := Params{Failures: 1 + r.IntN(4), Successes: 1 + r.IntN(4)}
		m := NewReachability(par)
		var outcomes []bool
		want, bias := Unknown, 0.5
		for range 300 {
			if r.IntN(20) == 0 {
				bias = r.Float64()
			}
			ok := r.Float64() < bias
			outcomes = append(outcomes, ok)
			before := want
			if ends(outcomes, par.Failures, false) {
				want = Unreachable
			}
			if ends(outcomes, par.Successes, true) {
				want = Reachable
			}
			if want != before {
				turns++
			}
			got, changed := m.Result(ok)
			if got != want || changed != (want != before) || m.Cloud() != want {
				t.Fatalf("seed %d after %v: %v, changed %v; want %v", seed, outcomes, got, changed, want)
			}
		}
	}
	if turns < 2000 {
		t.Fatalf("only %d turns: the schedules are too tame", turns)
	}
}

// ends tells whether the last n of the outcomes are all as wanted.
func ends(outcomes []bool, n int, want bool) bool {
	return len(outcomes) >= n && !slices.Contains(outcomes[len(outcomes)-n:], !want)
}

func TestPauseIsShortInDoubtAndLongInTheDark(t *testing.T) {
	par := Defaults()
	m := NewReachability(par)
	results := func(ok bool, n int) {
		for range n {
			m.Result(ok)
		}
	}
	between := func(when string, low, high time.Duration) {
		t.Helper()
		for _, chance := range []float64{0, 0.3, 0.9999} {
			if got := m.Pause(chance); got < low || got > high {
				t.Errorf("%s: waits %v at chance %v, want %v to %v", when, got, chance, low, high)
			}
		}
		if low < high && m.Pause(0.9)-m.Pause(0.1) < (high-low)/2 {
			t.Errorf("%s: %v and %v are not spread over %v to %v", when, m.Pause(0.1), m.Pause(0.9), low, high)
		}
	}
	between("at first", par.Floor, par.Floor)
	results(true, 2)
	between("reachable", par.Interval/2, par.Interval*3/2)
	results(false, 1)
	between("after a failure", par.Floor, par.Floor)
	results(false, 2)
	between("given up", par.Floor, 2*par.Floor)
	results(false, 2)
	between("two failures later", par.Floor, 8*par.Floor)
	results(false, 1_000_000)
	between("after a week", par.Floor, par.Cap)
	results(true, 1)
	between("after a success", par.Floor, par.Floor)
	results(true, 1)
	between("back", par.Interval/2, par.Interval*3/2)
}

func TestBackoffKeepsItsBounds(t *testing.T) {
	for n := range 200 {
		low, high := Backoff(time.Second, time.Minute, n, 0), Backoff(time.Second, time.Minute, n, 1)
		want := time.Minute
		if n < 6 {
			want = time.Second << n
		}
		if low != time.Second || high != want {
			t.Errorf("after %d failures between %v and %v, want 1s and %v", n, low, high, want)
		}
	}
	if got := Backoff(time.Second, Never, 1<<20, 1); got <= 0 {
		t.Errorf("overflow: %v", got)
	}
	if got := Backoff(time.Minute, time.Second, 9, 0.5); got != time.Minute {
		t.Errorf("a limit below the floor gives %v", got)
	}
}

func ids(n int, r *rand.Rand) []view.NodeID {
	out := make([]view.NodeID, n)
	for i := range out {
		out[i] = view.NodeID(r.Uint64())
	}
	return out
}

func TestProbersAreChosenAlikeAndFairly(t *testing.T) {
	r := rng(1)
	all := ids(40, r)
	for range 400 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		component := slices.Clone(all[:1+r.IntN(len(all))])
		chosen := Probers(component, 3)
		if len(chosen) != min(3, len(component)) {
			t.Fatalf("%d of %d chosen", len(chosen), len(component))
		}
		other := slices.Clone(component)
		slices.Sort(other)
		if again := Probers(append(other, other[0]), 3); !slices.Equal(again, chosen) {
			t.Fatalf("in another order %v, not %v", again, chosen)
		}
		for _, id := range chosen {
			if !slices.Contains(component, id) {
				t.Fatalf("%v is not of the component", id)
			}
		}
		// One that goes is replaced by one, and others stay.
		gone := component[r.IntN(len(component))]
		rest := slices.DeleteFunc(slices.Clone(component), func(id view.NodeID) bool { return id == gone })
		for _, id := range chosen {
			if id != gone && !slices.Contains(Probers(rest, 3), id) {
				t.Fatalf("%v went and with it %v", gone, id)
			}
		}
	}
	lower := 0
	for i := view.NodeID(1); i <= 2000; i++ {
		if Probers([]view.NodeID{i, i + 1}, 1)[0] == i {
			lower++
		}
	}
	if lower < 900 || lower > 1100 {
		t.Fatalf("the lower of two ids is chosen %d times in 2000", lower)
	}
	if len(Probers(all, 0)) != 0 || len(Probers(all, -1)) != 0 || len(Probers(nil, 3)) != 0 {
		t.Fatal("chose somebody out of nobody, or nobody's worth of somebody")
	}
}

// All nodes of all versions must choose alike.
func TestProbersGolden(t *testing.T) {
	want := []view.NodeID{4, 5, 6}
	if got := Probers([]view.NodeID{1, 2, 3, 4, 5, 6, 7, 8, 1 << 63}, 3); !slices.Equal(got, want) {
		t.Fatalf("%d, want %d", got, want)
	}
}

// plain is what a report means, by the words of its definition.
func plain(par Params, now time.Duration, component []view.NodeID, all []Report) (fresh []Report) {
	for _, r := range all {
		if r.Cloud != Unknown && slices.Contains(component, r.Node) && now-r.At < par.FreshFor {
			fresh = append(fresh, r)
		}
	}
	return fresh
}

func TestCloudFollowsTheModel(t *testing.T) {
	seen := map[Cloud]int{}
	for seed := range uint64(300) {
		r, par := rng(seed), Defaults()
		v := NewCloudWatcher(par)
		latest := map[view.NodeID]Report{}
		want, lapses, now := Unknown, time.Duration(0), time.Duration(0)
		component := []view.NodeID{1, 2, 3}
		for range 200 {
			step := time.Duration(r.Int64N(int64(par.FreshFor)))
			if due := v.Next(); r.IntN(3) == 0 && due != Never {
				step = due - now
			}
			now += step
			if r.IntN(3) == 0 {
				id := view.NodeID(1 + r.IntN(5))
				latest[id] = Report{Node: id, Cloud: Cloud(r.IntN(3)), At: now - time.Duration(r.Int64N(int64(time.Minute)))}
			}
			if r.IntN(10) == 0 {
				component = []view.NodeID{1, view.NodeID(2 + r.IntN(4)), 3}[:1+r.IntN(3)]
			}
			var reports []Report
			for id := view.NodeID(1); id <= 5; id++ {
				if rep, ok := latest[id]; ok {
					reports = append(reports, rep)
				}
			}
			before := want
			if fresh := plain(par, now, component, reports); len(fresh) > 0 {
				want = Unreachable
				for _, rep := range fresh {
					lapses = max(lapses, rep.At+par.FreshFor+par.KeepFor)
					if rep.Cloud == Reachable {
						want = Reachable
					}
				}
			} else if now >= lapses {
				want = Unknown
			}
			got, changed := v.Step(now, component, reports)
			if got != want || changed != (want != before) || v.Cloud() != got {
				t.Fatalf("seed %d at %v: %v, changed %v; want %v; %v of %v", seed, now, got, changed, want, reports, component)
			}
			if v.Next() <= now {
				t.Fatalf("seed %d at %v: still due at %v", seed, now, v.Next())
			}
			seen[got]++
		}
	}
	if len(seen) < 3 || seen[Unknown] < 1000 || seen[Reachable] < 1000 || seen[Unreachable] < 1000 {
		t.Fatalf("the schedules are too tame: %v", seen)
	}
}

// Next must not sleep through a change: a machine stepped only when due says
// the same as one stepped all the time.
func TestCloudNextMissesNothing(t *testing.T) {
	r, par := rng(3), Defaults()
	for range 200 {
		component := []view.NodeID{1, 2, 3}
		var reports []Report
		for _, id := range component {
			reports = append(reports, Report{id, Cloud(r.IntN(3)), -time.Duration(r.Int64N(int64(par.FreshFor)))})
		}
		lazy, busy := NewCloudWatcher(par), NewCloudWatcher(par)
		lazy.Step(0, component, reports)
		for now := time.Duration(0); now < 10*time.Minute; now += time.Second {
			got, _ := busy.Step(now, component, reports)
			if now >= lazy.Next() {
				lazy.Step(now, component, reports)
			}
			if lazy.Cloud() != got {
				t.Fatalf("at %v: %v, seen late as %v: %v", now, got, lazy.Cloud(), reports)
			}
		}
	}
}

func TestReportOfTheFutureIsFreshNoLonger(t *testing.T) {
	v, par := NewCloudWatcher(Defaults()), Defaults()
	ahead := []Report{{1, Unreachable, time.Hour}}
	if got, _ := v.Step(0, []view.NodeID{1}, ahead); got != Unreachable || v.Next() != par.FreshFor {
		t.Fatalf("%v, next step at %v", got, v.Next())
	}
	if got, changed := v.Step(-time.Hour, []view.NodeID{1}, nil); got != Unreachable || changed || v.Next() != par.FreshFor+par.KeepFor {
		t.Fatalf("time went back: %v, changed %v, next %v", got, changed, v.Next())
	}
}

func TestWordsAreStable(t *testing.T) {
	for word, got := range map[string]string{
		"normal": Normal.String(), "local": Local.String(), "minority": Minority.String(), "alone": Alone.String(),
		"unknown": Unknown.String(), "reachable": Reachable.String(), "unreachable": Unreachable.String(),
	} {
		if got != word {
			t.Errorf("%q, want %q", got, word)
		}
	}
}
