package version

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/partition/token"
)

// randomItem returns a well-formed item over few births, so that items meet
// in every way. A dot's record is a function of the dot, as in a mesh.
func randomItem(r *rand.Rand) Item {
	var it Item
	for store := range uint64(3) {
		for seq := range uint32(2) {
			n := uint64(r.IntN(4))
			if n == 0 {
				continue
			}
			a := Actor{Store: store + 1, Session: 7, Seq: seq + 1}
			it.Ctx = append(it.Ctx, Entry{a, n})
			for d := range n {
				if r.IntN(3) == 0 {
					it.Sibs = append(it.Sibs, record(Dot{a, d + 1}))
				}
			}
		}
	}
	// The date is a function of the context, as it is in a mesh.
	for _, e := range it.Ctx {
		for n := range e.N {
			it.HLC = max(it.HLC, record(Dot{e.A, n + 1}).HLC)
		}
	}
	return it
}

func record(d Dot) Sibling {
	h := d.A.Store*31 + uint64(d.A.Seq)*17 + d.N*7
	s := Sibling{Dot: d, HLC: HLC(h * 2654435761 % 1000), Value: []byte{byte(h)}}
	if h%5 == 0 {
		s.Flags, s.Value = Tomb, nil
	}
	return s
}

func same(a, b Item) bool { return a.HLC == b.HLC && a.Equal(b) }

func TestF1_01_MergeLaws(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 40_000 {
		a, b, c := randomItem(r), randomItem(r), randomItem(r)
		ab := Merge(a, b)
		if !same(ab, Merge(b, a)) {
			t.Fatalf("not commutative:\n%v\n%v", a, b)
		}
		if !same(Merge(ab, c), Merge(a, Merge(b, c))) {
			t.Fatalf("not associative:\n%v\n%v\n%v", a, b, c)
		}
		if !same(Merge(a, a), a) || !same(Merge(ab, b), ab) {
			t.Fatalf("not idempotent:\n%v\n%v", a, b)
		}
		if !ab.Dominates(a) || !ab.Dominates(b) {
			t.Fatalf("not monotone:\n%v\n%v", a, b)
		}
		if a.Dominates(b) != same(ab, a) {
			t.Fatalf("Dominates is %v:\n%v\n%v", a.Dominates(b), a, b)
		}
		checkPointwise(t, a, b, ab)
	}
}

// checkPointwise compares with the definition: the maximum of each dot's
// status on the chain unseen < live < dead.
func checkPointwise(t *testing.T, a, b, m Item) {
	t.Helper()
	status := func(it Item, d Dot) int {
		switch {
		case it.Sibling(d) != nil:
			return 1
		case it.Ctx.Covers(d):
			return 2
		}
		return 0
	}
	for store := range uint64(3) {
		for seq := range uint32(2) {
			for n := range uint64(4) {
				d := Dot{Actor{store + 1, 7, seq + 1}, n + 1}
				if want := max(status(a, d), status(b, d)); status(m, d) != want {
					t.Fatalf("status of %v is %d, want %d:\n%v\n%v\n%v", d, status(m, d), want, a, b, m)
				}
			}
		}
	}
}

func TestF1_01_ClashesConverge(t *testing.T) {
	d := Dot{Actor{1, 1, 1}, 1}
	ctx := Context{{d.A, 1}}
	a := Item{ctx, 5, []Sibling{{Dot: d, HLC: 5, Value: []byte("a")}}}
	b := Item{ctx, 6, []Sibling{{Dot: d, HLC: 6, Value: []byte("b")}}}
	if x, y := Merge(a, b), Merge(b, a); string(x.Sibs[0].Value) != "b" || string(y.Sibs[0].Value) != "b" {
		t.Fatalf("merges %v and %v", x, y)
	}
	if c := Clashes(a, b); len(c) != 1 || string(c[0].Value) != "a" {
		t.Fatalf("clashes of a: %v", c)
	}
	if c := Clashes(b, a); c != nil {
		t.Fatalf("clashes of b: %v", c)
	}
	low, high := a, Item{ctx, 5, []Sibling{{Dot: d, HLC: 5, Value: []byte("a"), Token: token.Token{Term: 1, Node: 1}}}}
	if x, y := Merge(low, high), Merge(high, low); x.Fence() != high.Fence() || y.Fence() != high.Fence() || x.Fence().IsZero() {
		t.Fatalf("merges %v and %v", x, y)
	}
	if c := Clashes(low, high); len(c) != 1 {
		t.Fatalf("clashes of one token: %v", c)
	}
	blank := Item{ctx, 5, []Sibling{{Dot: d, HLC: 5}}}
	if x, y := Merge(a, blank), Merge(blank, a); x.Sibs[0].Value != nil || y.Sibs[0].Value != nil {
		t.Fatal("a blanked value came back")
	}
}

func TestF1_02_MergeKeepsInvariants(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 40_000 {
		a, b := randomItem(r), randomItem(r)
		if err := errors.Join(a.Check(), b.Check()); err != nil {
			t.Fatal(err)
		}
		if err := Merge(a, b).Check(); err != nil {
			t.Fatalf("%v:\n%v\n%v", err, a, b)
		}
		if err := a.Ctx.Join(b.Ctx).Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestF1_02_CheckFindsEveryFault(t *testing.T) {
	a, b := Actor{1, 1, 1}, Actor{2, 1, 1}
	sib := Sibling{Dot: Dot{a, 1}, HLC: 3}
	for name, it := range map[string]Item{
		"zero count":       {Ctx: Context{{a, 0}}},
		"no store":         {Ctx: Context{{Actor{0, 1, 1}, 1}}},
		"out of order":     {Ctx: Context{{b, 1}, {a, 1}}},
		"birth twice":      {Ctx: Context{{a, 1}, {a, 2}}},
		"uncovered dot":    {HLC: 3, Sibs: []Sibling{sib}},
		"dot zero":         {Ctx: Context{{a, 1}}, HLC: 3, Sibs: []Sibling{{Dot: Dot{a, 0}}}},
		"dot twice":        {Ctx: Context{{a, 1}}, HLC: 3, Sibs: []Sibling{sib, sib}},
		"dated too late":   {Ctx: Context{{a, 1}}, HLC: 2, Sibs: []Sibling{sib}},
		"past the limit":   {Ctx: Context{{a, 1}}, HLC: Limit},
		"tomb with value":  {Ctx: Context{{a, 1}}, HLC: 3, Sibs: []Sibling{{Dot: Dot{a, 1}, Flags: Tomb, Value: []byte("x")}}},
		"flags of the day": {Ctx: Context{{a, 1}}, HLC: 3, Sibs: []Sibling{{Dot: Dot{a, 1}, Flags: 128}}},
	} {
		if err := it.Check(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Item{Ctx: Context{{a, 1}, {b, 2}}, HLC: 3, Sibs: []Sibling{sib}}).Check(); err != nil {
		t.Error(err)
	}
}

func TestContextWith(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		var c Context
		want := map[Actor]uint64{}
		for range 20 {
			a := Actor{Store: uint64(r.IntN(12)) + 1, Session: 1, Seq: 1}
			n := uint64(r.IntN(5))
			before := fmt.Sprint(c)
			next := c.With(a, n)
			if fmt.Sprint(c) != before {
				t.Fatal("With wrote to its receiver")
			}
			c = next
			if n > want[a] {
				want[a] = n
			}
			if n == 0 && want[a] == 0 {
				delete(want, a)
			}
		}
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		for a, n := range want {
			if c.Get(a) != n || !c.Covers(Dot{a, n}) || c.Covers(Dot{a, n + 1}) {
				t.Fatalf("%v: %d, want %d", a, c.Get(a), n)
			}
		}
		if len(c) != len(want) {
			t.Fatalf("%d births, want %d", len(c), len(want))
		}
	}
}

func TestHLCBounds(t *testing.T) {
	if At(-5) != 0 || At(1).Millis() != 1 {
		t.Fatal("At near 1970")
	}
	late := At(1 << 62)
	if late >= Limit || late.Add(1<<62) >= Limit || late+1<<16 >= Limit {
		t.Fatal("a clock after 9999 passes the limit")
	}
	if got := At(1000).Add(-2000); got != 0 {
		t.Fatalf("before 1970: %d", got)
	}
}

func BenchmarkMerge(b *testing.B) {
	a1, a2, a3 := Actor{1, 1, 1}, Actor{2, 1, 1}, Actor{3, 1, 1}
	item := func(c Context, d Dot) Item {
		return Item{c, 100, []Sibling{{Dot: d, HLC: 100, Value: make([]byte, 1024)}}}
	}
	old := item(Context{{a1, 1}}, Dot{a1, 1})
	next := item(Context{{a1, 2}}, Dot{a1, 2})
	other := item(Context{{a1, 1}, {a2, 1}, {a3, 4}}, Dot{a2, 1})
	for _, c := range []struct {
		name string
		a, b Item
	}{{"equal", next, next}, {"newer", old, next}, {"empty", Item{}, next}, {"concurrent", next, other}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Merge(c.a, c.b)
			}
		})
	}
}
