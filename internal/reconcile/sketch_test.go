package reconcile

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func randomElement(r *rand.Rand) Fingerprint { return Element{r.Uint64(), r.Uint64()}.Fingerprint() }

func randomElements(r *rand.Rand, n int) []Fingerprint {
	out := make([]Fingerprint, n)
	for i := range out {
		out[i] = randomElement(r)
	}
	return out
}

// sketchOf returns the first symbols of a set.
func sketchOf(symbols int, set []Fingerprint) *Sketch {
	s := NewSketch(symbols)
	for _, e := range set {
		s.Add(e)
	}
	return s
}

// TestF1_22_SketchEqualsRecomputation: the order in which elements come makes no
// difference, and fewer symbols are the first of more.
func TestF1_22_SketchEqualsRecomputation(t *testing.T) {
	r := rand.New(rand.NewPCG(22, 1))
	for range 60 {
		m, set := 1+r.IntN(300), randomElements(r, r.IntN(1500))
		kept, long := sketchOf(m, set), sketchOf(2*m, set)
		r.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
		again := sketchOf(m, set)
		if !slices.Equal(kept.Symbols(), again.Symbols()) {
			t.Fatalf("%d elements, %d symbols: another order, another sketch", len(set), m)
		}
		if !slices.Equal(long.Symbols()[:m], again.Symbols()) {
			t.Fatalf("%d elements: %d symbols are not the first of %d", len(set), m, 2*m)
		}
		if n := again.Symbols()[0].Count; n != int8(len(set)) {
			t.Fatalf("symbol 0 counts %d of %d elements", n, len(set))
		}
	}
}

// TestMapping compares how many elements are in a symbol with the paper's
// probability, 1/(1+i/2); its formula for the next index comes near that.
func TestMapping(t *testing.T) {
	const elements, symbols = 40000, 512
	r := rand.New(rand.NewPCG(22, 3))
	var in [symbols]float64
	for range elements {
		for w, _ := symbolOf(randomElement(r)); w.index < symbols; w.moveToNext() {
			in[w.index]++
		}
	}
	for i := 0; i < symbols; i = 2*i + 1 {
		share, want := in[i]/elements, 1/(1+float64(i)/2)
		if math.Abs(share/want-1) > 0.15 {
			t.Errorf("symbol %d holds %.4f of the elements, want %.4f", i, share, want)
		}
	}
	if in[0] != elements {
		t.Errorf("symbol 0 holds %v elements of %d", in[0], elements)
	}
}

// TestWalkAtItsLimits gives it the random numbers at both ends, and indices
// far beyond what a sketch has.
func TestWalkAtItsLimits(t *testing.T) {
	const least, greatest = 0x61c8864680b583eb, 0x31628af67b2131ab
	if mix(least) != 0 || mix(greatest) != math.MaxUint64 {
		t.Fatal("these are no longer the states before the least and the greatest number")
	}
	w := walk{state: greatest}
	if w.moveToNext(); w.index != 1 {
		t.Errorf("from 0 to %d by the smallest step", w.index)
	}
	w = walk{state: least}
	if w.moveToNext(); w.index != 3*(1<<32-1)/2+1 {
		t.Errorf("from 0 to %d by the greatest step", w.index)
	}
	w = walk{state: least, index: horizon - 1}
	if w.moveToNext(); w.index != horizon-1+(1<<64-1)/2+1 {
		t.Errorf("from the horizon to %d by the greatest step", w.index)
	}
	if w.moveToNext(); w.index != math.MaxUint64 {
		t.Errorf("beyond the horizon to %d", w.index)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	s, e := NewSketch(1000), Fingerprint(12)
	if n := testing.AllocsPerRun(100, func() { s.Add(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSymbolBytes(t *testing.T) {
	symbols := []Symbol{{0x0102030405060708, 0x090a0b, 0x0c}, {Check: 1<<24 - 1, Count: -2}}
	b := AppendSymbols([]byte{0}, symbols)
	want := make([]byte, 1+2*SymbolBytes)
	for i := range want[:13] {
		want[i] = byte(i)
	}
	copy(want[21:], []byte{0xff, 0xff, 0xff, 0xfe})
	if !bytes.Equal(b, want) {
		t.Errorf("%x, want %x", b, want)
	}
	got, err := DecodeSymbols(b[1:])
	if err != nil || !slices.Equal(got, symbols) {
		t.Errorf("read back %v, %v", got, err)
	}
	for n := range 2 * SymbolBytes {
		if _, err := DecodeSymbols(b[:n]); (err == nil) != (n%SymbolBytes == 0) || err != nil && !errors.Is(err, ErrSymbols) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzDecodeSymbols(f *testing.F) {
	r := rand.New(rand.NewPCG(22, 4))
	mine := sketchOf(256, randomElements(r, 40)).Symbols()
	f.Add([]byte{})
	f.Add(make([]byte, SymbolBytes+1))
	f.Add(AppendSymbols(nil, sketchOf(20, randomElements(r, 1)).Symbols()))
	f.Add(AppendSymbols(nil, mine[:50]))
	f.Fuzz(func(t *testing.T, b []byte) {
		theirs, err := DecodeSymbols(b)
		if (err == nil) != (len(b)%SymbolBytes == 0) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		if again := AppendSymbols(nil, theirs); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		var p Peeling
		half := len(theirs) / 2
		p.Add(theirs[:half], mine)
		if n := min(half, len(mine)); p.Symbols() == n {
			p.Add(theirs[half:], mine[n:])
		}
		sound(t, &p)
	})
}

func BenchmarkSketchAdd(b *testing.B) {
	for _, m := range []int{64, 4096} {
		b.Run(name(m), func(b *testing.B) {
			s, e := NewSketch(m), Fingerprint(12)
			b.ReportAllocs()
			for b.Loop() {
				e++
				s.Add(e)
			}
		})
	}
}
