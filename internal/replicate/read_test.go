package replicate

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

func item(dots ...uint64) version.Item {
	var it version.Item
	for _, n := range dots {
		d := version.Dot{A: version.Actor{Store: n, Session: 1, Seq: 1}, N: 1}
		it = version.Merge(it, version.Item{Ctx: version.Context{{A: d.A, N: 1}}, HLC: 1, Sibs: []version.Sibling{{Dot: d, HLC: 1}}})
	}
	return it
}

func TestReadEvidence(t *testing.T) {
	has := func(from view.NodeID) Reply { return Reply{From: from, Know: Present, Item: item(1)} }
	none := func(from view.NodeID) Reply { return Reply{From: from} }
	syncing := func(r Reply) Reply { r.Syncing = true; return r }
	corrupt := func(from view.NodeID) Reply { return Reply{From: from, Know: Corrupt} }
	for name, c := range map[string]struct {
		plan     Plan
		level    Level
		all      bool
		first    string
		replies  []Reply
		asks     string // in reply to the last of them
		done     bool
		found    bool
		degraded bool
	}{
		"one, found":                         {plan5(1), One, false, "[1 2]", []Reply{has(1)}, "[]", true, true, false},
		"one, absent here is not yet absent": {plan5(1), One, false, "[1 2]", []Reply{none(1)}, "[]", false, false, false},
		"one, absent at most homes":          {plan5(1), One, false, "[1 2]", []Reply{none(1), none(2)}, "[]", true, false, false},
		"one, found elsewhere":               {plan5(1), One, false, "[1 2]", []Reply{none(1), has(2)}, "[]", true, true, false},
		"quorum, found":                      {plan5(1), Quorum, false, "[1 2]", []Reply{has(1), none(2)}, "[]", true, true, false},
		"syncing home is no evidence":        {plan5(1), Quorum, false, "[1 2]", []Reply{none(1), syncing(none(2))}, "[3]", false, false, false},
		"syncing home's value is no quorum":  {plan5(1), Quorum, false, "[1 2]", []Reply{has(1), syncing(has(2))}, "[3]", false, false, false},
		"syncing home's value counts":        {plan5(1), Sloppy(2), false, "[1 2]", []Reply{has(1), syncing(has(2))}, "[]", true, true, false},
		"corrupt record is no evidence":      {plan5(1), Quorum, false, "[1 2]", []Reply{none(2), corrupt(1)}, "[3]", false, false, false},
		"stand-in's absence is no evidence":  {plan5(1, 2, 3), Quorum, false, "[1 4]", []Reply{none(1), none(4)}, "[5]", false, false, false},
		"nobody can vouch":                   {plan5(1, 2, 3), Quorum, false, "[1 4]", []Reply{none(1), none(4), none(5)}, "[]", true, false, true},
		"stand-in's value is shown":          {plan5(1, 2, 3), Quorum, false, "[1 4]", []Reply{none(1), has(4), none(5)}, "[]", true, true, true},
		"delete needs every home":            {plan5(1), One, true, "[1 2 3]", []Reply{none(1), none(2)}, "[]", false, false, false},
		"delete, every home":                 {plan5(1), One, true, "[1 2 3]", []Reply{none(1), none(2), none(3)}, "[]", true, false, false},
		"delete, a home is down":             {plan5(1, 3), One, true, "[1 2 4]", []Reply{none(1), none(2), none(4), none(5)}, "[]", true, false, true},
		"delete, one has it":                 {plan5(1), One, true, "[1 2 3]", []Reply{none(1), has(2)}, "[]", true, true, false},
	} {
		op := NewRead(c.plan, c.level, c.all, 0)
		if got := ids(op.Start(0)); got != c.first {
			t.Errorf("%s: asks %s first, want %s", name, got, c.first)
		}
		var asks []view.NodeID
		done := false
		for _, r := range c.replies {
			if done {
				t.Errorf("%s: done before the reply of %d", name, uint64(r.From))
			}
			asks, done = op.Replied(r, 1)
		}
		if got := ids(asks); got != c.asks || done != c.done {
			t.Errorf("%s: then asks %s, done %v; want %s, %v", name, got, done, c.asks, c.done)
		}
		if !done {
			continue
		}
		r := op.Result()
		if r.Found() != c.found || errors.Is(r.Err, ErrDegraded) != c.degraded {
			t.Errorf("%s: found %v, %v", name, r.Found(), r.Err)
		}
	}
}

func ids(list []view.NodeID) string {
	out := []uint64{}
	for _, id := range list {
		out = append(out, uint64(id))
	}
	return fmt.Sprint(out)
}

func TestReadTimeoutsAndRepair(t *testing.T) {
	op := NewRead(plan5(1), Quorum, false, 0)
	op.Start(0)
	op.Replied(Reply{From: 1, Know: Present, Item: item(1)}, 0)
	if at, ok := op.Next(); !ok || at != DefaultAckTimeout {
		t.Fatalf("tick due at %v, %v", at, ok)
	}
	if asks, done := op.Tick(DefaultAckTimeout); ids(asks) != "[3]" || done {
		t.Fatalf("asks %v, done %v", asks, done)
	}
	if _, done := op.Replied(Reply{From: 3, Know: Present, Item: item(1, 2)}, DefaultAckTimeout+1); !done {
		t.Fatal("two replies are a quorum")
	}
	if got := ids(op.Repairs()); got != "[1]" {
		t.Fatalf("repairs %s", got)
	}
	if _, done := op.Replied(Reply{From: 2, Know: Corrupt}, DefaultAckTimeout+2); done {
		t.Fatal("done twice")
	}
	if got := ids(op.Repairs()); got != "[1 2]" {
		t.Fatalf("with the late one, repairs %s", got)
	}
	if _, done := op.Replied(Reply{From: 2, Know: Corrupt}, DefaultAckTimeout+2); done || len(op.Repairs()) != 2 {
		t.Fatal("one reply counted twice")
	}
}

func TestReadEndsWithoutAnybody(t *testing.T) {
	op := NewRead(plan5(5, 1, 2, 3, 4), Quorum, false, 0)
	first := op.Start(0)
	if ids(first) != "[5]" {
		t.Fatalf("asks %v", first)
	}
	if _, done := op.Replied(Reply{From: 5, Know: Present, Item: item(1)}, 0); !done {
		t.Fatal("nobody is left to ask")
	}
	if r := op.Result(); !r.Found() || !errors.Is(r.Err, ErrDegraded) {
		t.Fatalf("%+v", r)
	}
	empty := NewRead(plan5(9, 1, 2, 3, 4, 5), One, false, 0)
	if got := empty.Start(0); len(got) != 0 {
		t.Fatalf("asks %v", got)
	}
	if _, done := empty.Tick(0); !done || !errors.Is(empty.Result().Err, ErrDegraded) {
		t.Fatal("a read that can ask nobody must end")
	}
}

func TestRoute(t *testing.T) {
	for name, c := range map[string]struct {
		plan    Plan
		lead    view.NodeID
		storing bool
		want    string
	}{
		"lead":                {plan5(1), 1, true, "[1 2 3]"},
		"home, not the lead":  {plan5(2), 1, true, "[1 2 3]"},
		"lead down":           {plan5(2, 1), 1, true, "[2 3]"},
		"stranger":            {plan5(5), 2, true, "[2 1 3 5]"},
		"no home in reach":    {plan5(4, 1, 2, 3), 1, true, "[4]"},
		"sensor":              {plan5(9), 3, false, "[3 1 2]"},
		"sensor, cut off":     {plan5(9, 1, 2, 3, 4, 5), 3, false, "[]"},
		"home does not stand": {plan5(3, 1, 2), 1, true, "[3]"},
	} {
		if got := ids(Route(c.plan, c.lead, c.storing)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// What is merged from replies is as old as the oldest of them.
func TestStampOfARead(t *testing.T) {
	early, late := purge.Stamp{Acked: purge.Round{Counter: 1}}, purge.Stamp{Acked: purge.Round{Counter: 2}, Committed: purge.Round{Counter: 1}}
	for _, stamps := range [][2]purge.Stamp{{early, late}, {late, early}} {
		op := NewRead(plan5(4), Sloppy(2), false, 0)
		op.Start(0)
		for i, st := range stamps {
			it := version.Item{Ctx: version.Context{{A: version.Actor{Store: uint64(i + 1), Seq: 1}, N: 1}}}
			op.Replied(Reply{From: view.NodeID(i + 1), Know: Present, Item: it, Stamp: st}, 0)
		}
		if _, got := op.Merged(); got != early {
			t.Errorf("merged from %v: %v", stamps, got)
		}
		if got := op.Result().Stamp; got != early {
			t.Errorf("result: %v", got)
		}
	}
}

func TestReadiness(t *testing.T) {
	homes, members := []view.NodeID{1, 2, 3}, []view.NodeID{1, 2, 3, 4, 5}
	var r Readiness
	ready := func(unit int) bool { return r.Ready(unit, 1, homes, members) }
	if ready(0) || r.Seasoned(0) {
		t.Fatal("ready before it began")
	}
	isHome := func(unit int) bool { return unit < 2 }
	r.Follow(2, isHome, func(unit int) bool { return unit == 0 })
	if !r.Seasoned(0) || r.Seasoned(1) {
		t.Fatal("a returning home is seasoned, a fresh one is not")
	}
	r.Equal(0, 5, true)
	r.Equal(0, 3, false)
	if ready(0) {
		t.Fatal("ready by a store that is no home, and by a home that is not seasoned")
	}
	r.Equal(0, 2, true)
	r.Equal(1, 2, true)
	if !ready(0) || ready(1) {
		t.Fatal("a returning home needs one of two others, a fresh one both")
	}
	r.Equal(1, 2, true)
	if ready(1) {
		t.Fatal("one peer counted twice")
	}
	r.Equal(1, 3, true)
	if !ready(1) || !r.Seasoned(1) {
		t.Fatal("not ready after all others")
	}
	if !r.Lose(1) || ready(1) || r.Seasoned(1) {
		t.Fatal("ready after records were lost")
	}
	if r.Lose(2) || r.Seasoned(2) {
		t.Fatal("something was lost of a unit that is another's")
	}
	if left := r.Follow(3, func(unit int) bool { return unit > 0 }, func(int) bool { return true }); !slices.Equal(left, []int{0}) || ready(0) || r.Seasoned(0) {
		t.Fatalf("no home any more: %v", left)
	}
	if r.Seasoned(2) {
		t.Fatal("a home that it has just become is settled")
	}
	for _, id := range members[1:] {
		if ready(2) {
			t.Fatalf("ready before %v was asked", id)
		}
		r.Equal(2, id, false)
	}
	if !ready(2) {
		t.Fatal("not ready although everyone was asked")
	}
	r.Follow(4, func(unit int) bool { return unit == 3 }, func(int) bool { return true })
	if r.Ready(3, 1, homes[:1], members) {
		t.Fatal("the only home vouches for what the one before it had")
	}
	if !r.Ready(3, 1, homes[:1], homes[:1]) {
		t.Fatal("the only store is ready")
	}
}

func TestHints(t *testing.T) {
	h := Hint{Target: 3, Homes: []view.NodeID{1, 2, 3}}
	set := func(ids ...view.NodeID) func(view.NodeID) bool {
		return func(id view.NodeID) bool { return slices.Contains(ids, id) }
	}
	if got := ids(h.Deliver(4, set(1, 2, 3))); got != "[3]" {
		t.Errorf("target alive: %s", got)
	}
	if got := ids(h.Deliver(1, set(1, 2))); got != "[2]" {
		t.Errorf("target down: %s", got)
	}
	for name, c := range map[string]struct {
		live, acked []view.NodeID
		copies      int
		want        bool
	}{
		"nobody":                    {nil, nil, 0, false},
		"target":                    {nil, []view.NodeID{3}, 0, true},
		"one live home":             {[]view.NodeID{1}, []view.NodeID{1}, 0, false},
		"two of three homes":        {[]view.NodeID{1, 2}, []view.NodeID{1, 2}, 0, false},
		"enough copies":             {[]view.NodeID{1, 2}, []view.NodeID{1, 2}, 2, true},
		"enough, but one is behind": {[]view.NodeID{1, 2}, []view.NodeID{1}, 1, false},
	} {
		h.Copies = c.copies
		if got := h.Done(4, set(c.live...), set(c.acked...)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A scan of so many homes meets every write of its level.
func TestScanMeetsWhatIsAcknowledged(t *testing.T) {
	for n := 1; n <= 16; n++ {
		if asked := Quorum.HomesToScan(n); asked+n/2+1 <= n || asked > n {
			t.Errorf("of %d homes %d are asked, and may miss a write of a quorum", n, asked)
		}
		if asked := DefaultLevel.HomesToScan(n); n <= 3 && asked+2 <= n {
			t.Errorf("of %d homes %d are asked, and may miss a write on two", n, asked)
		}
		if asked := Sloppy(1).HomesToScan(n); asked != n/2+1 {
			t.Errorf("of %d homes %d are asked, where more than half prove that a key is unknown", n, asked)
		}
		if asked := Sloppy(64).HomesToScan(n); asked != n {
			t.Errorf("of %d homes %d are asked, where all are wanted", n, asked)
		}
		if asked := One.HomesToScan(n); asked != 1 {
			t.Errorf("of %d homes %d are asked, where one is wanted", n, asked)
		}
	}
}
