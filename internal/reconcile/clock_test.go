package reconcile

import (
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/replica/version"
)

// now2026 is a wall clock that is right.
const now2026 = version.HLC(1767225600000 << 16)

// TestF1_13_ClockAcrossRestarts lets the wall clock jump between 1970 and
// 2106 and the process die between any two readings. What is stored is the
// ceiling that belongs to the last reading shown.
func TestF1_13_ClockAcrossRestarts(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	for range 300 {
		var stored, last version.HLC
		wall := now2026
		c := NewClock(stored, 0)
		for range 300 {
			switch r.IntN(12) {
			case 0:
				c = NewClock(stored, 0)
			case 1:
				wall = version.At([]int64{0, 1767225600000, 4291747200000}[r.IntN(3)])
			case 2:
				wall = wall.Add(int64(r.IntN(100_000) - 50_000))
			case 3:
				c.Observe(wall, wall.Add(int64(r.IntN(2*DefaultMaxSkew))))
			default:
				h, ok := c.Tick(wall, 0)
				if !ok || h <= last {
					t.Fatalf("reading %d after %d, ok %v", h, last, ok)
				}
				if h > c.Ceiling() {
					t.Fatalf("reading %d above ceiling %d", h, c.Ceiling())
				}
				last, stored = h, c.Ceiling()
			}
		}
	}
}

// A store in a restart loop must not run away from the wall clock.
func TestF1_13_RestartLoopDoesNotDrift(t *testing.T) {
	var stored version.HLC
	for i := range 100 {
		wall := now2026.Add(int64(i) * 100)
		c := NewClock(stored, 0)
		h, _ := c.Tick(wall, 0)
		stored = c.Ceiling()
		if ahead := h.Millis() - wall.Millis(); ahead > DefaultMaxSkew {
			t.Fatalf("after %d restarts in %d ms the clock is %d ms ahead", i, i*100, ahead)
		}
	}
}

// One that restarts every second stays where it is.
func TestF1_13_RestartsOfASecondDoNotAddUp(t *testing.T) {
	var stored version.HLC
	for i := range 100 {
		wall := now2026.Add(int64(i) * ceilingStep)
		c := NewClock(stored, 0)
		h, _ := c.Tick(wall, 0)
		stored = c.Ceiling()
		if ahead := h.Millis() - wall.Millis(); ahead > ceilingAhead+ceilingStep {
			t.Fatalf("after %d restarts the clock is %d ms ahead", i, ahead)
		}
	}
}

func TestF1_13_WrongDatesDoNotMoveTheClock(t *testing.T) {
	c := NewClock(0, 0)
	far := version.At(4291747200000)
	if !c.Observe(now2026, far) {
		t.Fatal("no alarm for 2106")
	}
	h, ok := c.Tick(now2026, far)
	if !ok || h <= far {
		t.Fatalf("reading %d is not above the key's date %d", h, far)
	}
	if h, _ = c.Tick(now2026, 0); h > now2026.Add(1) {
		t.Fatalf("one wrong date moved the clock to %d", h.Millis())
	}
	near := now2026.Add(DefaultMaxSkew - 1)
	if c.Observe(now2026, near) {
		t.Fatal("alarm within the skew")
	}
	if h, _ = c.Tick(now2026, 0); h <= near {
		t.Fatal("a date within the skew did not move the clock")
	}
	if _, ok = c.Tick(now2026, version.Limit-1); ok {
		t.Fatal("a reading at the limit")
	}
}

// What a node dates by, from when a TTL counts and what a reader judges by, for
// clocks that are right and wrong in both directions.
func TestPeersClocks(t *testing.T) {
	const now, hour, skew = 1767225600000, 3600_000, DefaultMaxSkew
	for name, c := range map[string]struct {
		own                   int64
		peers                 []int64
		off, date, late, soon int64
	}{
		"right":               {now, []int64{now, now}, 0, now, now, now},
		"ahead":               {now + hour, []int64{now, now}, hour, now, now, now},
		"behind":              {now - hour, []int64{now, now}, -hour, now, now, now},
		"from 1970":           {0, []int64{now + 1, now}, -now, now, now, now},
		"just within":         {now + skew, []int64{now, now}, 0, now + skew, now + skew, now},
		"just not":            {now + skew + 1, []int64{now, now}, skew + 1, now, now, now},
		"a little behind":     {now - 1000, []int64{now, now}, 0, now - 1000, now, now - 1000},
		"a peer is behind":    {now, []int64{now - hour, now}, 0, now, now, now},
		"a peer is ahead":     {now, []int64{now, now + hour}, 0, now, now, now},
		"one of three behind": {now, []int64{now - hour, now, now}, 0, now, now, now},
		"four, own ahead":     {now + hour, []int64{now, now, now}, hour, now, now, now},
		"four, two and two":   {now, []int64{now, now + hour, now + hour}, 0, now, now + hour, now},
		"the other two":       {now + hour, []int64{now + hour, now, now}, 0, now + hour, now + hour, now},
		"two, own ahead":      {now + hour, []int64{now}, hour, now + hour, now + hour, now + hour},
		"two, own behind":     {now - hour, []int64{now}, -hour, now - hour, now, now - hour},
		"alone":               {now, nil, 0, now, now, now},
	} {
		p := NewPeers(c.peers, nil, true).Later(-5).Later(5)
		if got := p.Off(c.own, skew); got != c.off {
			t.Errorf("%s: off by %d, want %d", name, got, c.off)
		}
		if got := p.Now(c.own, skew); got != c.date {
			t.Errorf("%s: dated now%+d, want now%+d", name, got-now, c.date-now)
		}
		if got := p.Late(c.own, skew); got != c.late {
			t.Errorf("%s: a TTL counts from now%+d, want now%+d", name, got-now, c.late-now)
		}
		if got := p.Early(c.own, skew); got != c.soon {
			t.Errorf("%s: read at now%+d, want now%+d", name, got-now, c.soon-now)
		}
	}
	// One that keeps no time believes a single one that does.
	if p := NewPeers([]int64{now}, nil, false); p.Now(now+hour, skew) != now || p.Early(now-1000, skew) != now-1000 {
		t.Error("a clock that does not count overrules the one that does")
	}
}

// A clock that was ahead, and is known to have been, goes on from the right time.
func TestCorrectedClock(t *testing.T) {
	c := NewClock(0, 0)
	ahead := now2026.Add(3600_000)
	if h, ok := c.Tick(ahead, 0); !ok || h < ahead {
		t.Fatal(h)
	}
	c.Correct(now2026)
	h, _ := c.Tick(now2026, 0)
	if h > now2026.Add(1) || h > c.Ceiling() {
		t.Errorf("%d ms after it was corrected, ceiling %d", h.Millis()-now2026.Millis(), c.Ceiling().Millis()-now2026.Millis())
	}
	if again, _ := c.Tick(now2026, 0); again <= h {
		t.Error("it stands still")
	}
	near := now2026.Add(DefaultMaxSkew)
	c.Observe(now2026, near)
	c.Correct(now2026)
	if h, _ = c.Tick(now2026, 0); h <= near {
		t.Error("a reading within the skew was taken back")
	}
}

// What the runs before have dated is not taken back, whatever clocks agree on.
func TestCorrectedClockKeepsItsStart(t *testing.T) {
	c := NewClock(now2026, 0)
	c.Correct(0)
	if h, ok := c.Tick(0, 0); !ok || h <= now2026 {
		t.Errorf("it goes on from %d, in 1970", h.Millis())
	}
	c.Tick(now2026.Add(2*3600_000), 0)
	c.Correct(0)
	if h, _ := c.Tick(0, 0); h <= now2026 || h > now2026.Add(1) {
		t.Errorf("it goes on from start%+d", h.Millis()-now2026.Millis())
	}
}

// The end of a value counts from the latest that it may be.
func TestTTLCountsFromLate(t *testing.T) {
	w := Open(Start{Store: 1, Random: 1})
	for _, late := range []version.HLC{0, now2026.Add(-1000), now2026.Add(1000)} {
		wrote, err := w.Put(Local{}, Write{Value: []byte("v"), TTL: 500, Late: late}, now2026)
		if err != nil {
			t.Fatal(err)
		}
		if got := wrote.Local.Sibs[0].Expire; got.Millis() != max(now2026, late).Millis()+500 {
			t.Errorf("late %d: ends at now%+d", late.Millis(), got.Millis()-now2026.Millis())
		}
	}
}

// Who may say for good what has ended, and who takes back what it has dated ahead: a clock
// that goes on without a step and that more than half of all stores' agree with, and one
// that such a majority puts right.
func TestEndedAndCorrects(t *testing.T) {
	const now, skew, hour = 1767225600000, DefaultMaxSkew, 60 * 60 * 1000
	alike := []int64{now, now, now}
	for name, c := range map[string]struct {
		others     int
		near, away []int64
		ended      bool // if it is steady
		corrects   bool
	}{
		"the only one":                {0, nil, nil, true, false},
		"two that agree":              {1, []int64{now - skew}, nil, true, true},
		"two that agreed":             {1, nil, []int64{now + skew}, true, true},
		"two apart":                   {1, []int64{now + skew + 1}, nil, false, false},
		"two, one never heard":        {1, nil, nil, false, false},
		"three that agree":            {2, alike[:2], nil, true, true},
		"three, own is ahead":         {2, []int64{now - hour, now - hour}, nil, false, true},
		"three, own is behind":        {2, []int64{now + hour, now + hour}, nil, false, true},
		"three, one heard":            {2, alike[:1], nil, true, true},
		"three, none heard":           {2, nil, nil, false, false},
		"three, one off":              {2, []int64{now, now + hour}, nil, true, true},
		"three, one heard and off":    {2, []int64{now - hour}, nil, false, false},
		"three, all apart":            {2, []int64{now - hour, now + hour}, nil, false, false},
		"four, two and two":           {3, []int64{now, now + hour, now + hour}, nil, false, false},
		"five, two heard":             {4, alike[:2], nil, true, true},
		"five, one heard":             {4, alike[:1], nil, false, false},
		"a side of three of seven":    {6, alike[:2], nil, false, false},
		"the same, the others away":   {6, alike[:2], []int64{now - hour, now - hour, now - hour, now - hour}, false, true},
		"the side of four of seven":   {6, alike, nil, true, true},
		"three of seven, others like": {6, alike[:2], alike, true, true},
	} {
		p := NewPeers(c.near, c.away, true).Later(-5).Later(5)
		p.Others = c.others
		by, ended := p.Ended(now, skew, true)
		if _, unless := p.Ended(now, skew, false); ended != c.ended || unless {
			t.Errorf("%s: ends for good: %v; before it is steady: %v", name, ended, unless)
		}
		if ended && by > now-skew {
			t.Errorf("%s: by now%+d", name, by-now)
		}
		if got := p.Corrects(now, skew, false); got != c.corrects {
			t.Errorf("%s: corrects: %v", name, got)
		}
	}
	if !NewPeers(nil, nil, true).Corrects(now, skew, true) {
		t.Error("the only one never takes back what it has dated")
	}
}

// Those away count as their clocks went on. Where these say something else than those in
// contact, values live on by both.
func TestClocksOfThoseAway(t *testing.T) {
	const now, hour, skew = 1767225600000, 3600_000, DefaultMaxSkew
	for name, c := range map[string]struct {
		near, away      []int64
		off, late, soon int64
	}{
		"a side that is ahead":             {[]int64{now, now}, []int64{now - hour, now - hour, now - hour, now - hour}, hour, now, now - hour},
		"a side that is behind":            {[]int64{now, now}, []int64{now + hour, now + hour, now + hour, now + hour}, -hour, now + hour, now},
		"most were in 1970 when they went": {[]int64{now, now}, []int64{0, 0, 0, 0}, now, now, 0},
		"one that is alone":                {nil, []int64{now - hour, now - hour}, hour, now - hour, now - hour},
	} {
		p := NewPeers(c.near, c.away, true)
		if got := p.Off(now, skew); got != c.off {
			t.Errorf("%s: off by %d, want %d", name, got, c.off)
		}
		if got := p.Late(now, skew); got != c.late {
			t.Errorf("%s: a TTL counts from now%+d, want now%+d", name, got-now, c.late-now)
		}
		if got := p.Early(now, skew); got != c.soon {
			t.Errorf("%s: read at now%+d, want now%+d", name, got-now, c.soon-now)
		}
	}
}

// A clock goes on without a step as long as it goes along with the boot clock.
func TestSteady(t *testing.T) {
	const skew = DefaultMaxSkew
	s := NewSteady(1000, 0)
	for _, c := range []struct{ wall, boot, want int64 }{
		{1500, 500, 500},
		{1000 + 1000 + skew, 1000, 1000}, // set by less than matters
		{1000 + 1000 - skew, 1000, 1000},
		{1000 + 2000 + skew + 1, 2000, 0},
		{1000 + 3000 + skew + 1, 3000, 1000},
		{1000 + 4000, 4000, 0}, // and back
		{1000 + 9000, 9000, 5000},
	} {
		s = s.Look(c.wall, c.boot, skew)
		if got := s.For(c.boot); got != c.want {
			t.Errorf("at %d: for %d ms, want %d", c.boot, got, c.want)
		}
	}
}

func TestRanAhead(t *testing.T) {
	const now, skew, hour = 1767225600000, DefaultMaxSkew, 60 * 60 * 1000
	right, none := NewPeers([]int64{now, now}, nil, true), NewPeers(nil, nil, true)
	right.Others = 2
	for _, c := range []struct {
		p                      Peers
		steady                 bool
		own, last, start, want int64
	}{
		{none, false, now, now + skew, 0, 0}, {none, false, now, now + skew + 1, 0, skew + 1}, {none, false, now, now - hour, 0, 0},
		{none, true, now, now + hour, 0, 0},                 // the next write takes it back
		{none, true, now, now + hour, now + hour, hour},     // it does not
		{right, false, now, now + hour, now + skew, 0},      // it does
		{right, false, now + hour, now + hour, now, 0},      // it does
		{right, false, now, now + 2*hour, now + hour, hour}, // in part
		{right, false, now - hour, now, 0, 0},
	} {
		if got := c.p.RanAhead(c.own, skew, c.steady, c.last, c.start); got != c.want {
			t.Errorf("own now%+d, last now%+d, start now%+d: %d, want %d", c.own-now, c.last-now, c.start-now, got, c.want)
		}
	}
}
