package reconcile

// Peeling takes the difference of two sets apart, given the symbols of both,
// from the first on, in as many pieces as it takes. A symbol that one element
// alone is left in gives that element away; taken out of the other symbols,
// it leaves new ones with one element. The zero Peeling is ready to use.
//
// Symbols come from elsewhere and may be anything: work and memory are
// bounded by their number, and those that no pair of sets could have make it
// fail or never be done.
type Peeling struct {
	left   []Symbol // theirs less ours, without the peeled elements
	peeled []peeled
	seen   map[Fingerprint]struct{} // the peeled elements
	failed bool
}

// peeled is an element that was found: its symbol as it was, whose count is 1
// if the element is theirs and -1 if it is ours, and its walk, which is at the
// first symbol that has not come.
type peeled struct {
	Symbol
	walk walk
}

// Add goes on with the next symbols of both sets, as many of theirs as of
// ours; what one list has more than the other is ignored, and so is all that
// comes once the peeling is done or has failed.
func (p *Peeling) Add(theirs, mine []Symbol) {
	if p.failed || p.Done() {
		return
	}
	old := len(p.left)
	for i := range min(len(theirs), len(mine)) {
		s := theirs[i]
		s.combineWith(mine[i], -1)
		p.left = append(p.left, s)
	}
	for i := range p.peeled {
		e := &p.peeled[i]
		for ; e.walk.index < uint64(len(p.left)); e.walk.moveToNext() {
			p.left[e.walk.index].combineWith(e.Symbol, -1)
		}
	}
	var pure []int
	for i := old; i < len(p.left); i++ {
		if p.left[i].isPure() {
			pure = append(pure, i)
		}
	}
	p.peelPure(pure)
}

// peelPure takes elements out while symbols are pure, beginning with those listed.
func (p *Peeling) peelPure(pure []int) {
	for len(pure) > 0 {
		s := p.left[pure[len(pure)-1]]
		pure = pure[:len(pure)-1]
		if !s.isPure() {
			continue // its element was found in another symbol
		}
		// A symbol that gave an element away is empty for good, and an
		// element that was found is in no symbol any more, unless the symbols
		// are wrong or a check agreed by chance. Two wrong symbols can give
		// the same element away in turn for ever.
		if _, twice := p.seen[s.Sum]; twice || len(p.peeled) == len(p.left) {
			p.failed = true
			return
		}
		if p.seen == nil {
			p.seen = make(map[Fingerprint]struct{})
		}
		p.seen[s.Sum] = struct{}{}
		found := peeled{Symbol: s}
		found.walk, _ = symbolOf(s.Sum)
		pure = p.takeOut(&found, pure)
		p.peeled = append(p.peeled, found)
	}
}

// takeOut takes a new element out of the symbols and appends those that are
// pure then.
func (p *Peeling) takeOut(e *peeled, pure []int) []int {
	for ; e.walk.index < uint64(len(p.left)); e.walk.moveToNext() {
		s := &p.left[e.walk.index]
		s.combineWith(e.Symbol, -1)
		if s.isPure() {
			pure = append(pure, int(e.walk.index))
		}
	}
	return pure
}

// Done tells whether the whole difference is known: every element is in
// symbol 0, so nothing is left once nothing is left there.
func (p *Peeling) Done() bool {
	return !p.failed && len(p.left) > 0 && p.left[0] == Symbol{}
}

// Failed tells that no further symbols will help: these are wrong, or a check
// agreed by chance, which befalls one in 8 000 differences of 1 000
// elements and proportionally fewer of smaller ones.
func (p *Peeling) Failed() bool { return p.failed }

// Symbols returns how many symbols were taken in.
func (p *Peeling) Symbols() int { return len(p.left) }

// Mine returns the fingerprints of the elements that only our set has, as far as they are known.
func (p *Peeling) Mine() []Fingerprint { return p.elementsOf(-1) }

// Theirs returns the fingerprints of the elements that only their set has, as far as they are
// known.
func (p *Peeling) Theirs() []Fingerprint { return p.elementsOf(1) }

func (p *Peeling) elementsOf(side int8) (out []Fingerprint) {
	for i := range p.peeled {
		if p.peeled[i].Count == side {
			out = append(out, p.peeled[i].Sum)
		}
	}
	return out
}
