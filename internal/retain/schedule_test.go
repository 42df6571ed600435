package retain

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	long = flag.Bool("long", false, "run 100 times as many histories")
	seed = flag.Uint64("seed", 0, "run this history only")
)

// eachSeed runs histories until one fails.
func eachSeed(t *testing.T, n uint64, run func(t *testing.T, rng *rand.Rand)) {
	first, last := uint64(1), n
	if *long {
		last *= 100
	}
	if *seed != 0 {
		first, last = *seed, *seed
	}
	i := first
	defer func() {
		if t.Failed() {
			t.Logf("-seed %d", i)
		}
	}()
	for ; i <= last; i++ {
		if run(t, rand.New(rand.NewPCG(i, 16))); t.Failed() {
			return
		}
	}
}

const day = 24 * time.Hour

var (
	noon = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	y70  = time.Date(1970, 1, 1, 0, 0, 9, 0, time.UTC)
	y106 = time.Date(2106, 2, 7, 6, 28, 15, 0, time.UTC)
)

// testSite is one node whose schedule runs in simulated time.
type testSite struct {
	t        *testing.T
	real     time.Duration // since noon
	skew     time.Duration // of the wall clock
	boot     time.Duration // when the process began
	policies []Policy
	kept     map[string]Good
	s        *Schedule
	paused   bool
	begun    map[string][]time.Duration // of good ones, in real time
	tried    []time.Duration            // of all
	alarms   []Alarm
}

func newTestSite(t *testing.T, policies ...Policy) *testSite {
	n := &testSite{t: t, policies: policies, kept: map[string]Good{}, begun: map[string][]time.Duration{}}
	n.restart(0)
	return n
}

func (n *testSite) now() Moment {
	return Moment{noon.Add(n.real + n.skew), n.real - n.boot + time.Hour} // the running clock may begin before the process
}

// setWall sets the wall clock.
func (n *testSite) setWall(wall time.Time) { n.skew = wall.Sub(noon.Add(n.real)) }

func (n *testSite) restart(off time.Duration) {
	n.real += off
	n.boot = n.real
	n.s = NewSchedule(n.now(), n.policies, maps.Clone(n.kept))
}

// step makes what is due, each within took, and goes on to when the schedule wants to be asked.
func (n *testSite) step(took time.Duration, good bool, until time.Duration) {
	policy, ok, next := n.s.TakeDue(n.now(), n.paused)
	n.alarms = append(n.alarms, n.s.TakeAlarms(n.now())...)
	if !ok {
		if next <= n.now().Up {
			n.t.Fatalf("to be asked again at %v, now it is %v", next, n.now().Up)
		}
		n.real = min(until, n.real+next-n.now().Up)
		return
	}
	begun := n.real
	n.tried = append(n.tried, begun)
	n.real += took
	if _, ok, _ := n.s.TakeDue(n.now(), n.paused); ok || n.s.Begin(n.now(), policy) {
		n.t.Fatal("two at a time")
	}
	g := n.s.End(n.now(), good)
	if good {
		n.begun[policy] = append(n.begun[policy], begun)
		n.kept[policy] = g
	}
}

func (n *testSite) run(d time.Duration) {
	for until := n.real + d; n.real < until; {
		n.step(time.Second, true, until)
	}
}

// gaps returns the times from one good backup to the next.
func (n *testSite) gaps(policy string) (gaps []time.Duration) {
	for i, at := range n.begun[policy][1:] {
		gaps = append(gaps, at-n.begun[policy][i])
	}
	return gaps
}

var hourly = Policy{Name: "p", Every: time.Hour, Spread: 0.5}

func TestScheduleGoesOnAfterARestart(t *testing.T) {
	n := newTestSite(t, hourly)
	for range 30 * 24 { // every 50 minutes
		n.run(49*time.Minute + 58*time.Second)
		n.restart(2 * time.Second)
	}
	if got := len(n.begun["p"]); got != 600 {
		t.Errorf("%d in 600 hours", got)
	}
	for _, g := range n.gaps("p") {
		if g < time.Hour || g > time.Hour+2*time.Second {
			t.Errorf("the next one after %v", g)
		}
	}
}

func TestMissedIsMadeUpOnceAndSpread(t *testing.T) {
	var begun []time.Duration
	for i := range 100 {
		p := hourly
		p.Spread = float64(i) / 100
		n := newTestSite(t, p)
		n.run(2 * time.Hour)
		n.restart(90 * day)
		up := n.real
		n.run(time.Hour)
		if got := len(n.begun["p"]); got != 3 {
			t.Fatalf("%d, want two and one made up", got)
		}
		begun = append(begun, n.begun["p"][2]-up)
	}
	if begun[0] != 0 || begun[99] < 4*time.Minute || begun[99] > mostSpread || !slices.IsSorted(begun) || begun[50]-begun[49] != 3*time.Second {
		t.Errorf("begun after %v", begun)
	}
}

// TestNeverMadeOne has a site start for the first time.
func TestNeverMadeOne(t *testing.T) {
	n := newTestSite(t, hourly)
	n.run(time.Minute)
	if len(n.begun["p"]) != 0 {
		t.Error("all nodes of a site begin at once")
	}
	n.run(4 * time.Minute)
	if len(n.begun["p"]) != 1 {
		t.Error("none is made")
	}
}

func TestFailedIsTriedAgainAndMovesNothing(t *testing.T) {
	for every, want := range map[time.Duration][]time.Duration{
		time.Hour:        {10, 20, 40, 80, 160, 320, 600, 600, 600},
		10 * time.Minute: {10, 20, 40, 80, 150, 150, 150},
		20 * time.Second: {5, 5, 5},
	} {
		n := newTestSite(t, Policy{Name: "p", Every: every})
		n.run(every * 3 / 2)
		turn := n.begun["p"][len(n.begun["p"])-1] + every
		n.tried = nil
		for len(n.tried) <= len(want) {
			n.step(0, false, 1<<60)
		}
		if n.tried[0] != turn {
			t.Errorf("its turn is at %v, begun at %v", turn, n.tried[0])
		}
		for i, w := range want {
			if got := n.tried[i+1] - n.tried[i]; got != w*time.Second {
				t.Errorf("every %v: tried again for the %d. time after %v", every, i+1, got)
			}
		}
		n.run(2 * every)
		if at := n.begun["p"][len(n.begun["p"])-1]; (at-turn)%every != 0 {
			t.Errorf("every %v: the schedule has moved by %v", every, (at-turn)%every)
		}
		n.tried = nil
		n.real += every
		n.step(0, false, 1<<60)
		for len(n.tried) < 2 {
			n.step(0, false, 1<<60)
		}
		if got := n.tried[1] - n.tried[0]; got != want[0]*time.Second {
			t.Errorf("every %v: after a good one it is tried again after %v", every, got)
		}
	}
}

func TestPaused(t *testing.T) {
	n := newTestSite(t, hourly)
	n.run(90 * time.Minute)
	n.paused = true
	n.run(10 * time.Hour)
	if len(n.begun["p"]) != 2 {
		t.Fatal("not paused")
	}
	n.paused = false
	ended := n.real
	n.run(time.Hour)
	if got := n.begun["p"]; len(got) != 3 || got[2]-ended < mostSpread/2-lookEvery || got[2]-ended > mostSpread/2 {
		t.Errorf("made up at %v, the pause ended at %v", got, ended)
	}
	n.run(n.begun["p"][2] + time.Hour - n.real - time.Second) // short of its turn
	n.paused = true
	n.run(2 * time.Second)
	n.paused = false
	n.run(time.Second)
	if got := n.begun["p"]; len(got) != 4 || got[3]-got[2] > time.Hour+2*time.Second {
		t.Errorf("after a short pause: %v", got)
	}
}

// TestTheShortestFirst has three become due together, and one that takes for ever.
func TestTheShortestFirst(t *testing.T) {
	n := newTestSite(t, Policy{Name: "a", Every: time.Hour}, Policy{Name: "b", Every: 5 * time.Minute})
	n.kept = map[string]Good{"a": {Due: noon.Add(-59 * time.Minute)}, "b": {Due: noon.Add(-3 * time.Minute)}}
	n.restart(0)
	n.real = 150 * time.Second
	if p, _, _ := n.s.TakeDue(n.now(), false); p != "b" {
		t.Errorf("first comes %q", p)
	}

	n = newTestSite(t, Policy{Name: "c", Every: day}, Policy{Name: "hand"}, Policy{Name: "b", Every: 5 * time.Minute}, Policy{Name: "a", Every: time.Hour})
	var order []string
	for range 3 {
		p, ok, _ := n.s.TakeDue(n.now(), false)
		if !ok {
			t.Fatal("none is due")
		}
		n.kept[p] = n.s.End(n.now(), true)
		order = append(order, p)
	}
	if !slices.Equal(order, []string{"b", "a", "c"}) {
		t.Errorf("%q", order)
	}
	for range 2000 {
		n.step(6*time.Minute, true, 1<<60) // longer than an interval
	}
	if a, b, c := len(n.begun["a"]), len(n.begun["b"]), len(n.begun["c"]); c < int(n.real/(2*day)) || a < int(n.real/(2*time.Hour)) || b < 10*a/2 {
		t.Errorf("in %v: a %d, b %d, c %d", n.real, a, b, c)
	}
}

func TestByHand(t *testing.T) {
	n := newTestSite(t, hourly, Policy{Name: "hand"})
	n.run(90 * time.Minute)
	turn := n.begun["p"][1] + time.Hour
	if n.s.Begin(n.now(), "unknown") || !n.s.Begin(n.now(), "p") || n.s.Begin(n.now(), "hand") {
		t.Fatal("one that is known, one at a time")
	}
	g := n.s.End(n.now(), true)
	if want := (Good{noon.Add(turn - time.Hour), noon.Add(n.real)}); g != want {
		t.Errorf("%v, want %v", g, want)
	}
	if n.run(time.Hour); len(n.begun["p"]) != 3 || n.begun["p"][2] != turn {
		t.Errorf("%v, want the next one at %v", n.begun["p"], turn)
	}
	n.restart(10 * day)
	n.s.TakeDue(n.now(), false)
	n.s.Begin(n.now(), "p") // while it waits to be made up
	n.s.End(n.now(), true)
	before := len(n.begun["p"])
	if n.run(59 * time.Minute); len(n.begun["p"]) != before {
		t.Error("made up twice")
	}
	if n.s.Begin(n.now(), "hand") {
		if g := n.s.End(n.now(), true); !g.Due.Equal(g.Begun) {
			t.Errorf("without a schedule: %v", g)
		}
	}
}

// careful has an objective.
func careful() Policy {
	p := hourly
	p.Objective = 90 * time.Minute
	return p
}

// checkAlarms compares the alarms since the last check.
func (n *testSite) checkAlarms(want string) {
	n.t.Helper()
	got := ""
	for _, a := range n.alarms {
		got += fmt.Sprint(a.Missed, " ")
		if a.Missed != (a.Age > 90*time.Minute) || a.Missed && a.Age > 90*time.Minute+lookEvery && a.Age < 2*time.Hour {
			n.t.Errorf("%+v", a)
		}
	}
	if n.alarms = nil; got != want {
		n.t.Errorf("%q, want %q", got, want)
	}
}

// fail has all backups fail for a time.
func (n *testSite) fail(d time.Duration) {
	for until := n.real + d; n.real < until; {
		n.step(time.Second, false, until)
	}
}

func TestAlarmsByEitherClock(t *testing.T) {
	n := newTestSite(t, careful(), Policy{Name: "careless", Every: day})
	n.fail(89 * time.Minute)
	n.checkAlarms("")
	n.fail(10 * time.Hour)
	n.checkAlarms("true ")
	n.run(2 * time.Hour)
	n.checkAlarms("false ")

	// By running time alone, and by the wall clock alone.
	n.setWall(y70)
	n.fail(3 * time.Hour)
	n.checkAlarms("true ")
	n.run(time.Hour)
	n.checkAlarms("false ")
	n.setWall(noon.Add(n.real))
	for made := len(n.begun["p"]); len(n.begun["p"]) == made; {
		n.step(time.Second, true, 1<<60)
	}
	n.step(time.Second, true, 1<<60)
	n.checkAlarms("true false ") // the last one was of 1970
	n.fail(80 * time.Minute)
	n.skew -= time.Hour // not before the last one
	n.fail(20 * time.Minute)
	n.checkAlarms("true ")
	n.run(time.Hour)
	n.checkAlarms("false ")
	n.skew += 2 * time.Hour
	n.s.TakeDue(n.now(), true)
	n.alarms = n.s.TakeAlarms(n.now())
	n.checkAlarms("true ")
	n.skew -= 2 * time.Hour
	n.paused = true
	n.run(time.Minute)
	n.checkAlarms("")
	n.paused = false
}

func TestAlarmsByTheAgeOfTheLast(t *testing.T) {
	n := newTestSite(t, careful())
	n.run(time.Hour)
	n.alarms = nil
	n.restart(7 * day)
	n.paused = true
	n.run(time.Minute)
	if len(n.alarms) != 1 || n.alarms[0].Age < 7*day {
		t.Errorf("after a week: %v", n.alarms)
	}
	n.alarms, n.paused = nil, false
	n.run(5 * time.Minute)
	n.checkAlarms("false ")

	// The last one is as old as its beginning, however late it was.
	n.run(n.begun["p"][len(n.begun["p"])-1] + time.Hour - n.real)
	n.fail(15 * time.Minute)
	n.run(10 * time.Minute)
	n.fail(70 * time.Minute)
	n.checkAlarms("")
	n.fail(20 * time.Minute)
	n.checkAlarms("true ")
	n.run(time.Hour)
	n.checkAlarms("false ")

	// A good one that took longer than the objective meets it no more.
	n.run(time.Hour)
	n.fail(2 * time.Hour)
	n.alarms = nil
	for len(n.alarms) == 0 && n.real < 30*day {
		n.step(2*time.Hour, true, n.real+time.Minute)
	}
	if len(n.alarms) > 0 && !n.alarms[0].Missed {
		t.Errorf("cleared by one that is too old: %v", n.alarms)
	}
}

// TestAMonthOfBackups has a node restart, pause, fail, stand still and have its clock set, for a
// month. There is no storm: what is made beyond one for each interval is accounted for by a restart.
// There is no silence: while nothing hinders it, the next one comes after an interval.
func TestAMonthOfBackups(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, rng *rand.Rand) {
		n := newTestSite(t, Policy{Name: "p", Every: 15 * time.Minute, Spread: rng.Float64()}, Policy{Name: "q", Every: 6 * time.Hour, Spread: rng.Float64()})
		restarts, free, up := 1, time.Duration(0), time.Duration(0) // free: for how long nothing has hindered it
		wild := rng.IntN(3) > 0
		for n.real < 30*day {
			before, real := maps.Clone(n.begun), n.real
			good := rng.IntN(20) > 0
			switch e := rng.IntN(300); {
			case e == 0:
				n.restart(time.Duration(rng.Int64N(int64(3 * time.Hour))))
				restarts++
				free, real = 0, n.real
			case e == 1:
				n.restart(time.Duration(rng.Int64N(int64(3 * time.Second))))
				restarts++
				free, real = 0, n.real
			case e < 8 && wild:
				n.setWall([]time.Time{y70, noon.Add(n.real), y106, noon.Add(n.real + time.Duration(rng.Int64N(int64(2*day))) - day)}[rng.IntN(4)])
			case e == 8:
				n.paused = true
			case e < 15:
				n.paused = false
			}
			n.step(time.Duration(rng.Int64N(int64(time.Minute))), good, 1<<60)
			up += n.real - real
			if n.paused || !good {
				free = 0
				continue
			}
			free += n.real - real
			for _, p := range n.policies {
				if len(n.begun[p.Name]) > len(before[p.Name]) {
					continue
				}
				at := n.begun[p.Name]
				since := max(n.real-free, n.boot)
				if len(at) > 0 {
					since = max(since, at[len(at)-1])
				}
				// A minute for the other one, and the last retry.
				if silent := n.real - since; silent > p.Every+min(p.Every/4, lastRetry)+2*time.Minute {
					t.Errorf("at %v nothing of %s for %v", n.real, p.Name, silent)
				}
			}
		}
		for _, p := range n.policies {
			got, most := len(n.begun[p.Name]), int(up/p.Every)+restarts+1
			if got > most || wild && got < most/3 || !wild && n.real-n.begun[p.Name][got-1] > 2*day {
				t.Errorf("%d backups of %s in %v with %d restarts", got, p.Name, up, restarts)
			}
			storm := 0
			for i, g := range n.gaps(p.Name) {
				if g < p.Every/2 && n.begun[p.Name][i] >= n.boot {
					storm++
				}
			}
			if storm > 1+int((n.real-n.boot)/p.Every) { // after a late one the next turn may be near
				t.Errorf("%d of %s close together", storm, p.Name)
			}
		}
	})
}

// TestAWrongClockMakesOneMore has the clock jump as often as one likes.
func TestAWrongClockMakesOneMore(t *testing.T) {
	n := newTestSite(t, hourly)
	for i := range 10 * 24 * 60 {
		n.setWall([]time.Time{y70, y106, noon.Add(n.real)}[i%3])
		n.run(time.Minute)
	}
	if got := len(n.begun["p"]); got != 240 {
		t.Errorf("%d in 240 hours", got)
	}
	for name, wall := range map[string]time.Time{"1970": y70, "2106": y106} {
		n := newTestSite(t, hourly)
		n.run(90 * time.Minute)
		n.restart(10 * time.Minute) // 40 minutes after the last one
		n.setWall(wall)
		n.run(30 * time.Second)
		n.setWall(noon.Add(n.real)) // before a backup is made by it
		n.run(25 * time.Minute)
		if got := len(n.begun["p"]); got != 3 || n.gaps("p")[1] != time.Hour {
			t.Errorf("%s for half a minute: %v", name, n.begun["p"])
		}
		n.setWall(wall)
		n.run(48 * time.Hour)
		n.restart(0)
		n.setWall(noon.Add(n.real))
		n.run(12 * time.Hour)
		if got := len(n.begun["p"]); got < 62 || got > 64 {
			t.Errorf("%s for two days: %d", name, got)
		}
	}
	// One that is right for a while between two jumps.
	n = newTestSite(t, hourly)
	n.run(30 * time.Minute)
	n.restart(10 * time.Minute)
	n.setWall(y70)
	n.run(time.Minute)
	n.setWall(noon.Add(n.real))
	n.run(10 * time.Minute)
	n.setWall(y106)
	jump := n.real
	n.run(10 * time.Minute)
	if got := n.begun["p"]; len(got) != 2 || got[1] < jump+mostSpread/2 {
		t.Errorf("all whose clocks are set together begin at once: %v", got)
	}
	// A wall clock that stands still over each restart, as one does that nothing keeps.
	n = newTestSite(t, Policy{Name: "p", Every: day, Spread: 0.5})
	for range 30 {
		n.run(8 * time.Hour)
		n.restart(0)
		n.setWall(y70)
	}
	if got := len(n.begun["p"]); got < 10 || got > 31 {
		t.Errorf("%d in 30 starts", got)
	}
	// One that is set back again and again, and never before the last one.
	n = newTestSite(t, hourly)
	n.run(10 * time.Minute)
	n.restart(0)
	for range 70 {
		n.setWall(noon.Add(20 * time.Minute))
		n.run(time.Minute)
	}
	if got := len(n.begun["p"]); got != 2 {
		t.Errorf("%d in an interval of running time", got)
	}
}
