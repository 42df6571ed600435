package takeover

import (
	"errors"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// TestSlotsOfAWrongClock looks once a minute while the clock is set, and counts what becomes due.
func TestSlotsOfAWrongClock(t *testing.T) {
	const day = 24 * time.Hour
	begin := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		set  map[int]time.Duration // after so many minutes, by so much
		want []string
	}{
		"right":               {nil, []string{"08-02", "08-03", "08-04"}},
		"ahead for an hour":   {map[int]time.Duration{60: 10 * day, 120: -10 * day}, []string{"08-02", "08-03", "08-04"}},
		"set over midnight":   {map[int]time.Duration{690: 2 * time.Hour}, []string{"08-03", "08-04"}},
		"set back over it":    {map[int]time.Duration{750: -2 * time.Hour}, []string{"08-02", "08-02", "08-03", "08-04"}},
		"corrected by little": {map[int]time.Duration{720: -30 * time.Second}, []string{"08-02", "08-03", "08-04"}},
		"of 1970, then right": {map[int]time.Duration{0: -20000 * day, 1500: 20000 * day}, []string{"10-30", "08-03", "08-04"}},
	} {
		var s Slots
		var last Drill
		var got, begun []string
		wall := begin
		for i := range 3 * 24 * 60 {
			wall = wall.Add(c.set[i])
			if slot := s.FindDue(service.Drill{Schedule: "daily"}, wall, time.Duration(i)*time.Minute); !slot.IsZero() {
				s.LeaveOut()
				got = append(got, slot.Format("01-02"))
				if last.IsNewSlot(slot) {
					last.Slot = slot
					begun = append(begun, slot.Format("01-02"))
				}
			}
			wall = wall.Add(time.Minute)
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", name, got)
			continue
		}
		for i, want := range c.want {
			if got[i] != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		for i := range begun {
			if i > 0 && begun[i] == begun[i-1] {
				t.Errorf("%s: begun twice: %q", name, begun)
			}
		}
	}
}

func TestSlotsOfAnotherSchedule(t *testing.T) {
	var s Slots
	at := time.Date(2026, 8, 1, 23, 59, 0, 0, time.UTC)
	s.FindDue(service.Drill{Schedule: "daily"}, at, 0)
	if slot := s.FindDue(service.Drill{Schedule: "weekly"}, at.Add(90*time.Second), 90*time.Second); !slot.IsZero() {
		t.Errorf("due by a schedule that is over: %v", slot)
	}
	if slot := s.FindDue(service.Drill{}, at.AddDate(1, 0, 0), 24*366*time.Hour); !slot.IsZero() {
		t.Errorf("due without a schedule: %v", slot)
	}
}

// TestADrillEndsOnce has each node judge a drill as the table says.
func TestADrillEndsOnce(t *testing.T) {
	slot := time.Date(2026, 8, 2, 0, 0, 0, 0, time.UTC)
	of := func(term uint64) token.Token { return token.Token{Term: term, Node: 1} }
	moves := Drill{Slot: slot, From: 1, To: 2, Token: of(5)}
	shadow, ended := moves, moves
	shadow.Shadow, ended.Ended = true, true
	for name, c := range map[string]struct {
		d    Drill
		self view.NodeID
		l    Look
		ends bool
		err  error
	}{
		"verified there":                  {moves, 2, Look{Verified: true, Began: of(6)}, true, nil},
		"not verified yet":                {moves, 2, Look{Began: of(6), Led: time.Hour, Open: time.Minute}, false, nil},
		"not moved yet":                   {moves, 1, Look{Verified: true, Began: of(5)}, false, nil},
		"never moved":                     {moves, 1, Look{Verified: true, Began: of(5), Open: time.Hour}, true, ErrNotMoved},
		"is back, and may not have heard": {moves, 1, Look{Verified: true, Began: of(7), Led: time.Second, Open: time.Hour}, false, nil},
		"is back":                         {moves, 1, Look{Verified: true, Began: of(7), Led: time.Minute}, true, ErrElsewhere},
		"runs at a third one":             {moves, 3, Look{Verified: true, Began: of(7), Led: time.Minute}, true, ErrElsewhere},
		"does not run it":                 {moves, 3, Look{Open: time.Hour}, false, nil},
		"gone from there":                 {moves, 1, Look{Open: time.Hour}, false, nil},
		"rehearses":                       {shadow, 2, Look{Open: time.Hour}, false, nil},
		"not heard of yet":                {shadow, 1, Look{Verified: true, Began: of(5), Open: time.Second}, false, nil},
		"not heard of":                    {shadow, 1, Look{Verified: true, Began: of(5), Open: time.Hour}, true, ErrNotHeardOf},
		"ended":                           {ended, 2, Look{Verified: true, Began: of(6), Open: time.Hour}, false, nil},
		"none":                            {Drill{}, 1, Look{Verified: true, Began: of(6), Open: time.Hour}, false, nil},
	} {
		c.l.Self, c.l.Bound, c.l.Wall = c.self, time.Minute, slot.Add(2*time.Hour)
		ends, err := c.d.Judge(c.l)
		if ends != c.ends || ends && !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, ends, err)
		}
	}
	late := Look{Self: 2, Verified: true, Began: of(6), Bound: time.Minute, Wall: slot.Add(openFor)}
	if ends, _ := moves.Judge(late); ends {
		t.Error("a drill of the day before moves a service")
	}
	if moves.IsNewSlot(slot) || moves.IsNewSlot(slot.Add(-time.Hour)) || !moves.IsNewSlot(slot.Add(time.Hour)) {
		t.Error("what was begun is new")
	}
	if !moves.IsNewSlot(slot.AddDate(-2, 0, 0)) {
		t.Error("a slot two years ahead keeps all others from being begun")
	}
}

// TestTheBestOther is the soundest one that stands.
func TestTheBestOther(t *testing.T) {
	plan := pressPlan()
	plan.Primary, plan.Backups = "a", []string{"b", "c"}
	bad := threeNodes[1]
	bad.Penalised = true
	s := newTestShell(t, plan)
	s.take("facts", s.run.FactsChanged(0, threeNodes[0], []Peer{{2, "b", preferenceOf(plan, bad)}, {3, "c", preferenceOf(plan, threeNodes[2])}}))
	if got := s.run.BestOther(); got != 3 {
		t.Errorf("%v", got)
	}
	s.take("facts", s.run.FactsChanged(0, threeNodes[0], []Peer{{2, "b", preferenceOf(plan, bad)}, {3, "c", 0}}))
	if got := s.run.BestOther(); got != 0 {
		t.Errorf("nobody stands that is sound, but %v", got)
	}
}

// TestADrillThatIsDueWaitsForTheService, for some minutes.
func TestADrillThatIsDueWaitsForTheService(t *testing.T) {
	var s Slots
	begin := time.Date(2026, 8, 1, 23, 55, 0, 0, time.UTC)
	due := 0
	for i := range 60 {
		up := time.Duration(i) * time.Minute
		if slot := s.FindDue(service.Drill{Schedule: "daily"}, begin.Add(up), up); !slot.IsZero() {
			due++
		}
	}
	if due < 10 || due > 12 {
		t.Errorf("due for %d minutes", due)
	}
}
