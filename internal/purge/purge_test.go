package purge

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// tomb is an item of n writes of one birth, the last of which is a delete.
func tomb(store, n uint64) version.Item {
	it := value(store, n)
	it.Sibs[0].Flags = version.Tomb
	return it
}

// value is an item of n writes of one birth.
func value(store, n uint64) version.Item {
	d := version.Dot{A: version.Actor{Store: store, Session: 1, Seq: 1}, N: n}
	return version.Item{Ctx: version.Context{{A: d.A, N: n}}, HLC: 5, Sibs: []version.Sibling{{Dot: d, HLC: 5}}}
}

func TestRounds(t *testing.T) {
	inOrder := []Round{{}, {1, 1}, {1, 2}, {2, 1}, {2, 9}, {3, 0}}
	for i, a := range inOrder {
		for j, b := range inOrder {
			if a.Before(b) != (i < j) || (a.Compare(b) == 0) != (i == j) {
				t.Errorf("%v, %v: before %v, compare %d", a, b, a.Before(b), a.Compare(b))
			}
		}
	}
}

func TestStamps(t *testing.T) {
	a, b := Stamp{Acked: Round{2, 1}, Committed: Round{1, 1}}, Stamp{Acked: Round{3, 1}, Committed: Round{1, 2}}
	if a.Lagging() || !b.Admits(b) || !a.Admits(b) || b.Admits(a) {
		t.Error("a store takes in what was read at its own round or a later one, nothing else")
	}
	if got := a.Least(b); got != a || b.Least(a) != a {
		t.Errorf("least %v", got)
	}
	if got := a.Heard(Stamp{Committed: Round{4, 1}}); !got.Lagging() || got.Acked != a.Acked {
		t.Errorf("after it has heard of a later round: %v", got)
	}
	if !a.Behind(b) || b.Behind(a) || a.Behind(a) || !a.Behind(Stamp{Committed: Round{2, 2}}) {
		t.Error("behind")
	}
}

func TestAcknowledge(t *testing.T) {
	us, them := [16]byte{1}, [16]byte{2}
	expired := value(1, 2)
	expired.Sibs[0].Expire = 10
	cases := map[string]struct {
		stamp   Stamp
		p       Proposal
		members [16]byte
		trusted bool
		want    error
	}{
		"first round":             {Stamp{}, Proposal{Round: Round{1, 7}, Batch: []Tomb{{Item: tomb(1, 2)}}}, us, false, nil},
		"the same again":          {Stamp{Acked: Round{1, 7}}, Proposal{Round: Round{1, 7}}, us, false, nil},
		"one before the last":     {Stamp{Acked: Round{1, 8}}, Proposal{Round: Round{1, 7}}, us, false, ErrOldRound},
		"other members":           {Stamp{}, Proposal{Round: Round{1, 7}}, them, false, ErrMembers},
		"a committed one missing": {Stamp{}, Proposal{Round: Round{3, 7}, Stamp: Stamp{Committed: Round{2, 1}}}, us, false, ErrLagging},
		"one missing that may be": {Stamp{Acked: Round{1, 9}}, Proposal{Round: Round{3, 7}, Stamp: Stamp{Acked: Round{2, 1}}}, us, false, ErrLagging},
		"a value":                 {Stamp{}, Proposal{Round: Round{1, 7}, Batch: []Tomb{{Item: tomb(1, 2)}, {Item: value(1, 2)}}}, us, true, ErrNotDead},
		"nothing":                 {Stamp{}, Proposal{Round: Round{1, 7}, Batch: []Tomb{{}}}, us, true, ErrNotDead},
		"expired":                 {Stamp{}, Proposal{Round: Round{1, 7}, Batch: []Tomb{{Item: expired}}}, us, true, nil},
		"expired, clock is off":   {Stamp{}, Proposal{Round: Round{1, 7}, Batch: []Tomb{{Item: expired}}}, us, false, ErrNotDead},
	}
	for name, c := range cases {
		c.p.Members = us
		got, err := c.stamp.Acknowledge(&c.p, c.members, 11, c.trusted)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if want := c.p.Round; err == nil && got.Acked != want || err != nil && got.Acked != c.stamp.Acked {
			t.Errorf("%s: acked %v", name, got.Acked)
		}
	}
	p := Proposal{Round: Round{1, 7}, Members: us, Batch: []Tomb{{Item: expired}}}
	if _, err := (Stamp{}).Acknowledge(&p, us, 9, true); !errors.Is(err, ErrNotDead) {
		t.Errorf("not expired by the clock here: %v", err)
	}
}

func TestNextRound(t *testing.T) {
	own := Stamp{Acked: Round{4, 2}, Committed: Round{3, 1}}
	r, stamp, err := own.Next(7, Stamp{Acked: Round{4, 1}, Committed: Round{4, 1}}, Stamp{})
	if err != nil || r != (Round{5, 7}) || stamp != (Stamp{Acked: Round{4, 2}, Committed: Round{4, 1}}) {
		t.Errorf("%v %v %v", r, stamp, err)
	}
	if _, _, err := own.Next(7, Stamp{Acked: Round{4, 3}}); !errors.Is(err, ErrLagging) {
		t.Errorf("a store that has missed a round that may be committed proposes: %v", err)
	}
	if _, _, err := (Stamp{Acked: Round{MaxCounter, 1}}).Next(7); err == nil {
		t.Error("a round beyond the last one")
	}
	if _, _, err := own.Next(7, Stamp{Acked: Round{6, 1}, Committed: Round{5, 1}}); !errors.Is(err, ErrLagging) {
		t.Errorf("a store that has missed a committed round proposes: %v", err)
	}
}

func TestGrave(t *testing.T) {
	expiring := value(1, 2)
	expiring.Sibs[0].Expire = 10
	for name, c := range map[string]struct {
		it          version.Item
		dead, known bool
		due         version.HLC
		mortal      bool
	}{
		"nothing":  {version.Item{}, false, false, 0, false},
		"a value":  {value(1, 2), false, false, 0, false},
		"a tomb":   {tomb(1, 2), true, true, 0, true},
		"expires":  {expiring, true, false, 10, true},
		"both":     {version.Merge(tomb(2, 1), expiring), true, false, 10, true},
		"one left": {version.Merge(tomb(2, 1), value(1, 1)), false, false, 0, false},
	} {
		dead, known := Grave(c.it, 10)
		due, mortal := Due(c.it)
		if dead != c.dead || known != c.known || due != c.due || mortal != c.mortal {
			t.Errorf("%s: dead %v known %v due %v %v", name, dead, known, due, mortal)
		}
	}
	if dead, _ := Grave(expiring, 9); dead {
		t.Error("dead before it has expired")
	}
}

func TestBuried(t *testing.T) {
	b := Buried{}.Bury(Round{2, 1}, tomb(1, 2)).Bury(Round{3, 1}, tomb(2, 1))
	if b.Round != (Round{3, 1}) || !b.Tomb.Equal(tomb(2, 1)) || !b.All.Equal(version.Merge(tomb(1, 2), tomb(2, 1))) {
		t.Fatalf("%+v", b)
	}
	if late := b.Bury(Round{1, 1}, tomb(3, 1)); late.Round != b.Round || !late.Tomb.Equal(b.Tomb) || late.All.Ctx.Get(version.Actor{Store: 3, Session: 1, Seq: 1}) != 1 {
		t.Errorf("an earlier round that is heard of late: %+v", late)
	}
	for _, c := range []Round{{2, 1}, {4, 1}} {
		if over := b.Hear(Stamp{Acked: Round{4, 1}, Committed: c}); over.Over {
			t.Errorf("committed because round %v is", c)
		}
	}
	b = b.Hear(Stamp{Committed: Round{3, 1}})
	if !b.Over || !b.Drop(tomb(2, 1)) || b.Drop(tomb(2, 2)) || b.Drop(version.Merge(tomb(2, 1), value(4, 1))) {
		t.Errorf("over %v; drops what was written since", b.Over)
	}
	if !b.Nothing(tomb(2, 1)) || b.Nothing(value(4, 1)) {
		t.Error("nothing new is what was purged, and nothing else")
	}
	for i := range uint64(mostRemembered) {
		one := Buried{}.Bury(Round{4 + i, 1}, tomb(100+i, 1))
		was := b.Round
		joined, from := b.Join(one).Bound(was)
		if from != (Round{}) && from != was || len(joined.All.Ctx) > mostRemembered {
			t.Fatalf("whole after %v, not %v, with %d births", from, was, len(joined.All.Ctx))
		}
		if from != (Round{}) {
			if !joined.All.Equal(joined.Tomb) {
				t.Error("what is forgotten is not what was before")
			}
			break
		}
		if b = joined; i == mostRemembered-1 {
			t.Error("remembers without bound")
		}
	}
	b = Buried{Round: Round{3, 1}, Over: true, Tomb: tomb(2, 1), All: version.Merge(tomb(1, 2), tomb(2, 1))}
	old := version.Merge(value(1, 1), value(5, 1))
	if it := b.CatchUp(old); it.Sibling(value(1, 1).Sibs[0].Dot) != nil || it.Sibling(value(5, 1).Sibs[0].Dot) == nil {
		t.Errorf("caught up: %v", it)
	}
	if again := b.Join(b); again.Round != b.Round || again.Over != b.Over || !again.All.Equal(b.All) {
		t.Errorf("joined with itself: %+v", again)
	}
}

// What is kept says nothing of what is given up, and all that it said of the
// rest.
func TestKeep(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	own := func(a version.Actor) bool { return a.Store == 1 }
	for range 2000 {
		var held version.Item
		for range 1 + r.IntN(4) {
			it := value(1+r.Uint64N(3), 1+r.Uint64N(3))
			switch r.IntN(3) {
			case 0:
				it.Sibs = nil
			case 1:
				it.Sibs[0].Flags = version.Tomb
			}
			held = version.Merge(held, it)
		}
		kept := Keep(held, own)
		if err := kept.Check(); err != nil {
			t.Fatal(err)
		}
		for _, s := range held.Sibs {
			switch {
			case own(s.Dot.A) && kept.Sibling(s.Dot) == nil:
				t.Fatalf("%v: own value %v is gone", held, s.Dot)
			case s.Flags&version.Tomb != 0:
				// What was deleted may be alive elsewhere still.
				if kept.Sibling(s.Dot) == nil {
					t.Fatalf("%v: the tomb %v is gone", held, s.Dot)
				}
			case !own(s.Dot.A) && kept.Ctx.Covers(s.Dot):
				t.Fatalf("%v: %v is given up and called deleted", held, s.Dot)
			}
		}
		if kept.Unknown() != (len(kept.Sibs) == 0) && len(held.Sibs) > 0 {
			t.Fatalf("%v: nothing of it is left but what it had replaced: %v", held, kept)
		}
		if kept.Unknown() && len(held.Sibs) > 0 {
			continue
		}
		for _, e := range held.Ctx {
			first := e.N + 1 // of the birth's values that are given up
			for _, s := range held.Sibs {
				if s.Dot.A == e.A && !own(e.A) && s.Flags&version.Tomb == 0 {
					first = min(first, s.Dot.N)
				}
			}
			for n := range first - 1 { // what it had replaced before stays dead
				d := version.Dot{A: e.A, N: n + 1}
				if held.Sibling(d) == nil && !kept.Ctx.Covers(d) {
					t.Fatalf("%v: %v was replaced, and %v does not know it", held, d, kept)
				}
			}
		}
	}
}

func TestAttempt(t *testing.T) {
	a := NewAttempt([]view.NodeID{1, 2, 3})
	for _, id := range []view.NodeID{1, 1, 9, 2} {
		a.Acked(id)
		if a.Committed() {
			t.Fatal("committed without all")
		}
	}
	if a.Acked(3); !a.Committed() {
		t.Fatal("not committed by all")
	}
}
