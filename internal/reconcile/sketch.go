package reconcile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Rateless sketches (Yang, Gilad, Alizadeh, "Practical Rateless Set
// Reconciliation", SIGCOMM 2024). A set has an endless sequence of coded
// symbols, of which a Sketch is a prefix. An element is in symbol 0 and in
// ever fewer of the later ones: in symbol i with probability of about
// 1/(1+i/2). Symbols are linear, so the sequence of two sets' difference is
// that of one less that of the other, and a prefix of about 1.35 symbols for
// each differing element, more if there are few, is enough to take it apart;
// see Peeling. How large the sets are does not matter.
//
// All stores must agree on every bit of a symbol, so the mapping is made of
// integers: floating point is rounded differently where a compiler may fuse
// a product and a sum.

// Fingerprint stands for an element in sketches: equal records have equal ones,
// and those of two different ones are equal by chance once in 2^64 times. It is
// half as large as an element, and symbols are most of what a comparison sends.
type Fingerprint uint64

// Fingerprint returns the element's.
func (e Element) Fingerprint() Fingerprint { return Fingerprint(mix(e.Key ^ mix(e.Version))) }

// Symbol is a coded symbol of a set: of some of its fingerprints the XOR, the
// sum of their checks, and their number. The zero Symbol is that of no elements.
type Symbol struct {
	Sum   Fingerprint
	Check uint32 // modulo 2^24
	Count int8   // modulo 256
}

// combineWith puts the elements of another symbol in (n = 1) or takes them out
// (n = -1).
func (s *Symbol) combineWith(t Symbol, n int8) {
	s.Sum ^= t.Sum
	s.Check = (s.Check + uint32(n)*t.Check) & (1<<24 - 1)
	s.Count += n * t.Count
}

// isPure tells whether the symbol is that of a single element, which is in it
// or was taken out of it, as Count says; by chance it is wrong once in 2^24
// times. Checks have a sign, unlike the XOR, so that it is right about which.
func (s *Symbol) isPure() bool {
	if s.Count != 1 && s.Count != -1 {
		return false
	}
	_, alone := symbolOf(s.Sum)
	return s.Check == uint32(s.Count)*alone.Check&(1<<24-1)
}

// walk visits the symbols that an element is mapped to, in rising order.
type walk struct {
	state uint64 // of a splitmix64 generator (Steele, Lea, Flood, 2014)
	index uint64 // of the symbol it is at
}

// horizon bounds the length of sketches: up to there the product in next is
// below 2^64.
const horizon = 1 << 31

// symbolOf returns the walk of an element, which starts at symbol 0, and the
// symbol of it alone. Walk and check need no key of their own, elements are
// keyed hashes. They come from the same 64 bits in two ways, so neither tells
// anything of the other.
func symbolOf(f Fingerprint) (walk, Symbol) {
	return walk{state: uint64(f)}, Symbol{Sum: f, Check: uint32(mix(^uint64(f)) >> 40), Count: 1}
}

// moveToNext goes to the next symbol. From index i the paper goes on by
//
//	(i + 3/2) * (1/sqrt(u) - 1), rounded up, with u uniform in (0, 1]
//
// The larger of two uniform numbers is distributed like the square root of
// one, so no root has to be taken: sqrt(u) is s/2^32, where s is the larger
// half of a random number of 64 bits, plus 1.
func (w *walk) moveToNext() {
	if w.index >= horizon {
		w.index = 1<<64 - 1 // beyond every sketch
		return
	}
	r := mix(w.state)
	w.state += 0x9e3779b97f4a7c15
	s := max(r>>32, r&(1<<32-1)) + 1
	num, den := (2*w.index+3)*(1<<32-s), 2*s
	w.index += num / den
	if num%den != 0 || num == 0 {
		w.index++
	}
}

// Sketch is the beginning of the sequence of coded symbols of a set. It does
// not know the elements: what is added must not be in it.
type Sketch struct{ symbols []Symbol }

// NewSketch returns the first symbols of the empty set, so many.
func NewSketch(symbols int) *Sketch { return &Sketch{make([]Symbol, max(symbols, 0))} }

// Add puts an element in. Of m symbols it changes about 2 ln m.
func (s *Sketch) Add(f Fingerprint) {
	w, alone := symbolOf(f)
	for m := uint64(len(s.symbols)); w.index < m; w.moveToNext() {
		s.symbols[w.index].combineWith(alone, 1)
	}
}

// Symbols returns the symbols. They belong to the sketch and change with it.
func (s *Sketch) Symbols() []Symbol { return s.symbols }

// SymbolBytes is the size of a symbol between stores: 8 bytes sum, 3 check,
// 1 count, big-endian.
const SymbolBytes = 12

// ErrSymbols: bytes that are no whole number of symbols.
var ErrSymbols = errors.New("malformed symbols")

// AppendSymbols appends the bytes of symbols.
func AppendSymbols(dst []byte, symbols []Symbol) []byte {
	for i := range symbols {
		s := &symbols[i]
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.Sum))
		dst = binary.BigEndian.AppendUint32(dst, s.Check<<8|uint32(uint8(s.Count)))
	}
	return dst
}

// DecodeSymbols reads what AppendSymbols wrote. It keeps nothing of b.
func DecodeSymbols(b []byte) ([]Symbol, error) {
	if len(b)%SymbolBytes != 0 {
		return nil, fmt.Errorf("reconcile: %d bytes: %w", len(b), ErrSymbols)
	}
	out := make([]Symbol, len(b)/SymbolBytes)
	for i := range out {
		p := b[i*SymbolBytes:]
		last := binary.BigEndian.Uint32(p[8:])
		out[i] = Symbol{
			Sum:   Fingerprint(binary.BigEndian.Uint64(p)),
			Check: last >> 8,
			Count: int8(last),
		}
	}
	return out, nil
}
