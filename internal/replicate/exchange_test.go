package replicate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/internal/reconcile"
)

// shelf is a store's unit whose records are numbers that merge by maximum.
type shelf map[string]uint64

var shelfHasher = reconcile.NewHasher([16]byte{23})

func printOf(key string, v uint64) reconcile.Fingerprint {
	return reconcile.Element{Key: shelfHasher.Key([]byte(key)), Version: v}.Fingerprint()
}

func (s shelf) page(after string, first bool, limit int) Page {
	p := Page{After: after, First: first, Last: true}
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if !first && k <= after {
			continue
		}
		if len(p.Marks) == limit {
			p.Last = false
			break
		}
		p.Marks = append(p.Marks, Mark{k, s[k]})
	}
	return p
}

func (s shelf) digest() (d reconcile.Digest) {
	for k, v := range s {
		d.Add(reconcile.Element{Key: shelfHasher.Key([]byte(k)), Version: v})
	}
	return d
}

// twins are two stores of the same units.
type twins struct {
	mine, theirs []shelf
	rand         *rand.Rand
	bits         byte // of a digest's byte that tell
	moved        int
	steps        map[StepKind]int
	symbols      int
	sketched     []int  // units that symbols are made of
	during       func() // runs before every step: others write
	// What the peer tells of units: lies, and whatever else may come.
	spoil func([]reconcile.Symbol)
}

func newTwins(seed uint64, units int) *twins {
	p := &twins{rand: rand.New(rand.NewPCG(23, seed)), bits: 0xff, steps: map[StepKind]int{}}
	for range units {
		p.mine, p.theirs = append(p.mine, shelf{}), append(p.theirs, shelf{})
	}
	return p
}

// unit returns where a key belongs.
func (p *twins) unit(key string) int { return int(shelfHasher.Key([]byte(key)) % uint64(len(p.mine))) }

func (p *twins) marks(of []shelf, units []int, mark int) (out []byte) {
	for _, u := range units {
		d := of[u].digest()
		out = append(out, byte((d.Key^d.Version)>>(8*mark))&p.bits)
	}
	return out
}

func (p *twins) sketch(of []shelf, units []int, from, count int) []reconcile.Symbol {
	s := reconcile.NewSketch(from + count)
	for _, u := range units {
		for k, v := range of[u] {
			s.Add(printOf(k, v))
		}
	}
	return s.Symbols()[from:]
}

func (p *twins) named(of []shelf, prints []reconcile.Fingerprint) map[reconcile.Fingerprint]string {
	out := map[reconcile.Fingerprint]string{}
	for _, u := range of {
		for k, v := range u {
			if f := printOf(k, v); slices.Contains(prints, f) {
				out[f] = k
			}
		}
	}
	return out
}

func (p *twins) exchange(guess bool, batch int) *Exchange {
	sizes, all, keys := make([]int, len(p.mine)), make([]int, len(p.mine)), 0
	for u := range p.mine {
		sizes[u], all[u] = len(p.mine[u]), u
		keys += len(p.theirs[u])
	}
	e := NewExchange(sizes, batch)
	if guess {
		e.Guess(p.marks(p.mine, all, 0), p.marks(p.theirs, all, 0), keys)
	}
	return e
}

// run drives an exchange to its end.
func (p *twins) run(t *testing.T, e *Exchange) {
	t.Helper()
	early, pageSize := p.rand.IntN(3) == 0, 1+p.rand.IntN(9)
	for steps := 0; ; steps++ {
		if steps > 5000 {
			t.Fatal("does not end")
		}
		if p.during != nil {
			p.during()
		}
		at := e.Step()
		p.steps[at.Kind]++
		some := func(n int) int { // a reply may stop early
			if early && n > 1 {
				return 1 + p.rand.IntN(n)
			}
			return n
		}
		switch at.Kind {
		case Done:
			return
		case Digests:
			var differ []int
			for _, u := range at.Units {
				if !maps.Equal(p.mine[u], p.theirs[u]) {
					differ = append(differ, u)
				}
			}
			e.Differ(differ)
		case Symbols:
			p.symbolsStep(e, at)
		case Fetch:
			n := some(len(at.Prints))
			found := p.named(p.theirs, at.Prints[:n])
			var keys, back []string
			for _, f := range at.Prints[:n] {
				if k, ok := found[f]; ok {
					keys = append(keys, k)
					back = append(back, p.get(k)...)
				}
			}
			e.Fetched(n, keys, back)
		case Name:
			e.Named(slices.Collect(maps.Values(p.named(p.mine, at.Prints))))
		case List:
			e.Listed(p.theirs[at.Unit].page(at.After, at.First, pageSize), p.mine[at.Unit].page(at.After, at.First, 1000).Marks)
		case Pull:
			n := some(len(at.Keys))
			var back []string
			for _, k := range at.Keys[:n] {
				back = append(back, p.get(k)...)
			}
			e.Pulled(n, back)
		case Push:
			n := some(len(at.Keys))
			for _, k := range at.Keys[:n] {
				u := p.unit(k)
				p.theirs[u][k] = max(p.theirs[u][k], p.mine[u][k])
				p.moved++
			}
			e.Pushed(n)
		}
	}
}

// get merges their record of a key here; back is the key if they are behind.
func (p *twins) get(key string) (back []string) {
	u := p.unit(key)
	p.moved++
	if v := p.theirs[u][key]; v >= p.mine[u][key] {
		p.mine[u][key] = v
		return nil
	}
	return []string{key}
}

func (p *twins) symbolsStep(e *Exchange, at Step) {
	s := Sketch{RestEqual: true}
	if at.From == 0 {
		p.sketched = slices.Clone(at.Units)
	}
	if at.Tell {
		mine, theirs := p.marks(p.mine, at.Rest, at.Mark), p.marks(p.theirs, at.Rest, at.Mark)
		for i, u := range at.Rest {
			if mine[i] != theirs[i] {
				s.More = append(s.More, u)
			}
		}
		p.sketched = append(p.sketched, s.More...)
	}
	s.Mine = p.sketch(p.mine, p.sketched, at.From, at.Count)
	s.Theirs = p.sketch(p.theirs, p.sketched, at.From, at.Count)
	p.symbols += at.Count
	if p.spoil != nil {
		p.spoil(s.Theirs)
	}
	for _, u := range p.sketched {
		s.Keys += len(p.theirs[u])
	}
	for _, u := range at.Rest {
		s.RestEqual = s.RestEqual && (maps.Equal(p.mine[u], p.theirs[u]) || slices.Contains(s.More, u))
	}
	e.Sketched(s)
}

func (p *twins) equal(t *testing.T) {
	t.Helper()
	for u := range p.mine {
		if !maps.Equal(p.mine[u], p.theirs[u]) {
			t.Fatalf("unit %d: %v, %v", u, p.mine[u], p.theirs[u])
		}
	}
}

// TestF1_23_MovesOnlyWhatDiffers runs the exchange between random stores, with
// bytes of digests that tell much or little, from nearly equal to nothing alike.
func TestF1_23_MovesOnlyWhatDiffers(t *testing.T) {
	steps := map[StepKind]int{}
	for seed := range uint64(3000) {
		p := newTwins(seed, 1+int(seed%5))
		p.bits = []byte{0xff, 3, 1, 0}[p.rand.IntN(4)]
		same := p.rand.IntN(60) // of 64 keys that both have
		differing := 0
		for k := range p.rand.IntN(200) {
			key, v := fmt.Sprintf("%03d", k), uint64(1+p.rand.IntN(3))
			u := p.unit(key)
			switch n := p.rand.IntN(64); {
			case n < same:
				p.mine[u][key], p.theirs[u][key] = v, v
				continue
			case n%4 == 0:
				p.mine[u][key] = v
			case n%4 == 1:
				p.theirs[u][key] = v
			case n%4 == 2:
				p.mine[u][key], p.theirs[u][key] = v, v+1
			default:
				p.mine[u][key], p.theirs[u][key] = v+1, v
			}
			differing++
		}
		p.run(t, p.exchange(seed%3 > 0, 1+p.rand.IntN(9)))
		p.equal(t)
		if p.moved > 2*differing {
			t.Fatalf("seed %d: %d records moved for %d differences", seed, p.moved, differing)
		}
		for k, n := range p.steps {
			steps[k] += n
		}
	}
	t.Logf("steps by kind: %v", steps)
	for k := Digests; k <= Done; k++ {
		if steps[k] == 0 {
			t.Errorf("no step of kind %d: not tested", k)
		}
	}
}

// TestF1_23_SymbolsFollowTheDifference: what is sent depends on how much
// differs, not on how much there is.
func TestF1_23_SymbolsFollowTheDifference(t *testing.T) {
	for _, differ := range []int{1, 10, 100} {
		p := newTwins(uint64(differ), 64)
		for k := range 20000 {
			key := fmt.Sprintf("%05d", k)
			u := p.unit(key)
			p.mine[u][key], p.theirs[u][key] = 1, 1
			if k%(20000/differ) == 7 {
				p.mine[u][key] = 2
			}
		}
		p.run(t, p.exchange(true, 0))
		p.equal(t)
		if p.steps[List] > 0 || p.symbols > 5*differ+16 || p.moved != 2*differ {
			t.Errorf("%d keys differ: %d symbols, %d records moved, steps %v", differ, p.symbols, p.moved, p.steps)
		}
	}
}

// TestExchangeOfFalseSymbols: whatever a peer sends, the exchange ends, and the
// keys are gone through one by one in the end.
func TestExchangeOfFalseSymbols(t *testing.T) {
	for seed := range uint64(500) {
		p := newTwins(seed, 3)
		for k := range 300 {
			key := fmt.Sprint(k)
			u := p.unit(key)
			if p.mine[u][key], p.theirs[u][key] = 1, 1; k%30 == 0 {
				p.mine[u][key] = 2
			}
		}
		p.spoil = func(s []reconcile.Symbol) {
			for i := range s {
				if p.rand.IntN(4) == 0 {
					s[i] = reconcile.Symbol{Sum: reconcile.Fingerprint(p.rand.Uint64()), Check: uint32(p.rand.IntN(1 << 24)), Count: int8(p.rand.IntN(256))}
				}
			}
		}
		p.run(t, p.exchange(seed%2 == 0, 0))
		if p.steps[List] == 0 {
			continue // the false ones were beyond those needed, or the first says nothing is left
		}
		p.equal(t)
	}
}

// TestExchangeEndsUnderWrites: records change at both stores before each step.
func TestExchangeEndsUnderWrites(t *testing.T) {
	for seed := range uint64(300) {
		p := newTwins(seed, 4)
		p.bits = 1
		p.during = func() {
			for range p.rand.IntN(8) {
				key := fmt.Sprint(p.rand.IntN(100))
				u := p.unit(key)
				if p.rand.IntN(2) == 0 {
					p.mine[u][key]++
				} else {
					p.theirs[u][key]++
				}
			}
		}
		for range 40 {
			p.during()
		}
		p.run(t, p.exchange(true, 0))
	}
}

func TestExchangeIgnoresOwnKeysBeyondThePage(t *testing.T) {
	e := NewExchange([]int{0}, 0)
	e.Differ([]int{0})
	if s := e.Step(); s.Kind != List || !s.First { // there is nothing here to make a sketch of
		t.Fatalf("%+v", s)
	}
	e.Listed(Page{First: true, Marks: []Mark{{"b", 1}}}, []Mark{{"a", 1}, {"b", 1}, {"c", 1}})
	if s := e.Step(); s.Kind != Push || fmt.Sprint(s.Keys) != "[a]" {
		t.Fatalf("%+v", s)
	}
	e.Pushed(1)
	if s := e.Step(); s.Kind != List || s.After != "b" || s.First {
		t.Fatalf("%+v", s)
	}
	e.Listed(Page{After: "b", Last: true}, []Mark{{"b", 1}, {"c", 1}})
	if s := e.Step(); s.Kind != Push || fmt.Sprint(s.Keys) != "[c]" {
		t.Fatalf("%+v", s)
	}
}

// TestExchangeOfManyKeysInParts: one sketch is made of so many keys at most, and
// what was only guessed to be equal is compared all the same.
func TestExchangeOfManyKeysInParts(t *testing.T) {
	sizes := []int{maxSketched, 1, 5, maxSketched - 5}
	e := NewExchange(sizes, 0)
	e.Guess([]byte{1, 1, 1, 1}, []byte{2, 1, 2, 2}, 2*maxSketched)
	for _, want := range [][]int{{0}, {2, 3}} {
		s := e.Step()
		if s.Kind != Symbols || !slices.Equal(s.Units, want) || (len(s.Rest) > 0) != (want[0] == 2) {
			t.Fatalf("%+v, want units %v, and the rest with the last", s, want)
		}
		e.Sketched(Sketch{Theirs: make([]reconcile.Symbol, 1), Mine: make([]reconcile.Symbol, 1), Keys: maxSketched, RestEqual: true})
	}
	if s := e.Step(); s.Kind != Done {
		t.Fatalf("%+v", s)
	}
}
