package reconcile

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

func name(n int) string { return strconv.Itoa(n) }

func sorted(set []Fingerprint) []Fingerprint {
	out := slices.Clone(set)
	slices.Sort(out)
	return out
}

func sameSet(a, b []Fingerprint) bool { return slices.Equal(sorted(a), sorted(b)) }

// sound checks what must be true whatever symbols came.
func sound(t *testing.T, p *Peeling) {
	t.Helper()
	all := slices.Concat(p.Mine(), p.Theirs())
	if len(all) > p.Symbols() {
		t.Fatalf("%d elements of %d symbols", len(all), p.Symbols())
	}
	if n := len(slices.Compact(sorted(all))); n != len(all) {
		t.Fatalf("%d elements found, %d different ones", len(all), n)
	}
	if p.Done() && p.Failed() {
		t.Fatal("both done and failed")
	}
}

// TestPeelingFindsTheDifference compares random sets in random pieces.
func TestPeelingFindsTheDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 2))
	for round := range 120 {
		// Small differences as often as large ones.
		d := r.IntN(2 << r.IntN(11))
		if round == 0 {
			d = 0
		}
		common := randomElements(r, r.IntN(5000-d+1))
		mine := randomElements(r, r.IntN(d+1))
		theirs := randomElements(r, d-len(mine))
		bound := 3*d + 200
		a := sketchOf(bound, slices.Concat(common, mine)).Symbols()
		b := sketchOf(bound, slices.Concat(theirs, common)).Symbols()
		var p Peeling
		if p.Done() {
			t.Fatal("done without a symbol")
		}
		for at := 0; at < bound && !p.Done(); {
			next := min(at+1+r.IntN(1+d/4), bound)
			p.Add(b[at:next], a[at:next])
			at = next
			sound(t, &p)
		}
		if !p.Done() {
			t.Fatalf("round %d: %d differ and %d symbols are not enough", round, d, bound)
		}
		if !sameSet(p.Mine(), mine) || !sameSet(p.Theirs(), theirs) {
			t.Fatalf("round %d: found %d and %d of %d and %d", round, len(p.Mine()), len(p.Theirs()), len(mine), len(theirs))
		}
		used := p.Symbols()
		if p.Add(b[:1], a[:1]); p.Symbols() != used || !p.Done() {
			t.Fatal("symbols were taken in after it was done")
		}
	}
}

// needed returns how many symbols a difference of d elements takes. What the
// sets have in common makes no difference.
func needed(r *rand.Rand, d int) int {
	bound := 4*d + 200
	theirs, mine := sketchOf(bound, randomElements(r, d)).Symbols(), make([]Symbol, bound)
	var p Peeling
	for n := range bound {
		if p.Add(theirs[n:n+1], mine[n:n+1]); p.Done() {
			return n + 1
		}
	}
	return bound
}

// TestOverhead measures how many symbols a differing element takes, and how
// often FirstSymbols are enough.
func TestOverhead(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 3))
	for _, d := range []int{1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000} {
		rounds := min(1000, max(20000/d, 30))
		sum, enough := 0, 0
		for range rounds {
			n := needed(r, d)
			sum += n
			if n <= FirstSymbols(d) {
				enough++
			}
		}
		each, share := float64(sum)/float64(rounds*d), float64(enough)/float64(rounds)
		t.Logf("%4d elements: %.2f symbols each; the first %d are enough %.2f of %d times", d, each, FirstSymbols(d), share, rounds)
		if most := map[bool]float64{true: 1.5, false: 2.2}[d >= 500]; each > most {
			t.Errorf("%d elements take %.2f symbols each, more than %.1f", d, each, most)
		}
		if share < 0.5 || d >= 10 && d <= 200 && share > 0.9 {
			t.Errorf("%d elements: the first %d symbols are enough %.2f of the times", d, FirstSymbols(d), share)
		}
	}
}

// TestDamagedSymbols flips a bit. A symbol that was not needed may be wrong:
// then the difference is known nevertheless, and right.
func TestDamagedSymbols(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 4))
	done := 0
	for range 2000 {
		d := 1 + r.IntN(60)
		mine, theirs := randomElements(r, r.IntN(d+1)), randomElements(r, r.IntN(d+1))
		m := FirstSymbols(len(mine)+len(theirs)) + r.IntN(10)
		wrong := AppendSymbols(nil, sketchOf(m, theirs).Symbols())
		at := r.IntN(len(wrong))
		wrong[at] ^= 1 << r.IntN(8)
		symbols, err := DecodeSymbols(wrong)
		if err != nil {
			t.Fatal(err)
		}
		var p Peeling
		p.Add(symbols[:m/2], sketchOf(m, mine).Symbols()[:m/2])
		p.Add(symbols[m/2:], sketchOf(m, mine).Symbols()[m/2:])
		sound(t, &p)
		if !p.Done() {
			continue
		}
		if done++; at < SymbolBytes {
			t.Fatal("done with a wrong first symbol")
		}
		if !sameSet(p.Mine(), mine) || !sameSet(p.Theirs(), theirs) {
			t.Fatalf("done, and found %d and %d of %d and %d", len(p.Mine()), len(p.Theirs()), len(mine), len(theirs))
		}
	}
	if done < 100 || done > 1900 {
		t.Errorf("done in %d of 2000 cases: one of the outcomes is not tested", done)
	}
}

func TestGarbage(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 5))
	for range 200 {
		symbols := make([]Symbol, 1+r.IntN(500))
		pool := randomElements(r, 3)
		for i := range symbols {
			switch e := pool[r.IntN(len(pool))]; r.IntN(3) {
			case 0: // looks like a single element, where it may not belong
				_, alone := symbolOf(e)
				symbols[i].combineWith(alone, int8(1-2*r.IntN(2)))
			case 1:
				symbols[i] = Symbol{randomElement(r), r.Uint32(), int8(r.IntN(256))}
			case 2:
				symbols[i] = symbols[r.IntN(i+1)]
			}
		}
		var p Peeling
		for at := range symbols {
			p.Add(symbols[at:], make([]Symbol, 1))
		}
		sound(t, &p)
	}
}

// TestSameElementTwice gives away in symbol 1 an element that symbol 2 should
// then hold, and does not: there it looks missing, and taken out of there it
// is back in symbol 1.
func TestSameElementTwice(t *testing.T) {
	e := Element{1, 2}.Fingerprint() // in 0, 1, 2 and 4
	_, alone := symbolOf(e)
	var p Peeling
	p.Add([]Symbol{{}, alone, {}, {}, {}}, make([]Symbol, 5))
	sound(t, &p)
	if !p.Failed() || p.Done() || len(p.Theirs()) != 1 || len(p.Mine()) != 0 {
		t.Errorf("failed %v, done %v, found %v and %v", p.Failed(), p.Done(), p.Mine(), p.Theirs())
	}
	p.Add(make([]Symbol, 9), make([]Symbol, 9))
	if p.Symbols() != 5 {
		t.Error("symbols were taken in after it had failed")
	}
}

// TestMoreElementsThanSymbols has symbol 1 give away a second element, made so
// that its check agrees with those of the three that were taken out there.
func TestMoreElementsThanSymbols(t *testing.T) {
	const x, y, z, v Fingerprint = 63, 116, 3218, 7204
	const again, last Fingerprint = 4290, 18
	sum := func(plus []Fingerprint, minus ...Fingerprint) (s Symbol) {
		for _, e := range plus {
			_, alone := symbolOf(e)
			s.combineWith(alone, 1)
		}
		for _, e := range minus {
			_, alone := symbolOf(e)
			s.combineWith(alone, -1)
		}
		return s
	}
	if s := sum([]Fingerprint{v}, y, z); s != sum(nil, again) {
		t.Fatalf("the check of %v does not agree", s.Sum)
	}
	symbols := []Symbol{
		sum([]Fingerprint{x, y, z, last}, v, again),
		sum([]Fingerprint{x}),
		sum([]Fingerprint{y, z}),
		sum([]Fingerprint{z}, v),
		sum([]Fingerprint{x, y}),
	}
	var p Peeling
	p.Add(symbols, make([]Symbol, len(symbols)))
	sound(t, &p)
	if n := len(p.Mine()) + len(p.Theirs()); !p.Failed() || n != len(symbols) {
		t.Errorf("%d elements of %d symbols, failed %v", n, len(symbols), p.Failed())
	}
}

func BenchmarkPeeling(b *testing.B) {
	const d = 1000
	r := rand.New(rand.NewPCG(23, 6))
	m := FirstSymbols(d) + 100
	theirs, mine := sketchOf(m, randomElements(r, d)).Symbols(), make([]Symbol, m)
	b.ReportAllocs()
	for b.Loop() {
		var p Peeling
		p.Add(theirs, mine)
		if !p.Done() {
			b.Fatal("not done")
		}
	}
}
