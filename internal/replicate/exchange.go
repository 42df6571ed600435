package replicate

import (
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
)

// Page is a stretch of one store's keys in one unit (a shard of a bucket),
// sorted by key: all those after After, up to and including its last mark, or
// to the end if it is the Last page.
type Page struct {
	After string
	First bool // After does not count: from the start
	Marks []Mark
	Last  bool
}

// coversKey tells whether a key lies in the stretch.
func (p *Page) coversKey(key string) bool {
	if !p.First && key <= p.After {
		return false
	}
	return p.Last || len(p.Marks) > 0 && key <= p.Marks[len(p.Marks)-1].Key
}

// Mark is a key and the hash of what a store holds of it.
type Mark struct {
	Key  string
	Hash uint64
}

// StepKind is what an Exchange wants done.
type StepKind uint8

const (
	Digests StepKind = iota + 1 // compare the digests of Units with the peer's; report by Differ
	Symbols                     // get Count symbols from From on of the records of Units, there and here; report by Sketched
	Fetch                       // get the records of Prints from the peer, merge and sync them here; report by Fetched
	Name                        // find the keys of Prints here; report by Named
	List                        // get the peer's page of Unit after After (or First), and the own marks in the same stretch; report by Listed
	Pull                        // read Keys from the peer, merge and sync them here; report by Pulled
	Push                        // send the records here of Keys to the peer; report by Pushed
	Done                        // all units are equal, but for writes that arrived meanwhile
)

// Step is the next thing that an Exchange wants done.
type Step struct {
	Kind  StepKind
	Units []int
	// Of Symbols: all symbols of one sequence must come from one state of the
	// records, there and here. Rest, if not empty, are units that seem equal. The
	// peer is to be told the Mark-th byte of each one's digest, if Tell is set, and
	// puts those in which that differs into the sketch too; the digests of the
	// others are to be compared in one sum.
	From, Count int
	Rest        []int
	Tell        bool
	Mark        int
	Prints      []reconcile.Fingerprint
	Unit        int
	After       string
	First       bool
	Keys        []string
}

// Exchange makes this store and one peer equal in a set of units. It finds out
// which units differ, by digests or by a byte of each; takes the difference of
// these apart by sketches, of which the size depends on how much differs and not
// on how much there is; and moves only the records that differ. Where most
// differs, or sketches fail, it goes through the keys page by page. It ends
// whatever is written meanwhile.
//
// Records are read again when they are moved, so a difference that was only a
// write in flight costs a merge that changes nothing.
type Exchange struct {
	sizes  []int // own keys, by unit
	theirs int   // the peer's keys in all units, -1: not known
	batch  int

	openUnits     []int // units that differ, still to be taken up
	doubtfulUnits []int // units that are equal as far as a byte of each tells
	marks         int   // how many bytes were compared
	differing     int   // units that were found to differ,
	compared      int   // of so many that were compared

	unitsAtHand []int // the units at hand, of which the keys are
	listed      bool  // gone through, the first one's now, or
	sketch      sketching
	page        Page // the last one that came

	fetch []reconcile.Fingerprint
	got   map[string]bool         // keys fetched of this stage
	mine  []reconcile.Fingerprint // what only this store has
	pull  []string
	push  []string
	moved int
}

// sketching is the state of taking the difference apart.
type sketching struct {
	peel       reconcile.Peeling
	wanted     int // symbols to get
	extensions int // times that they were not enough
	keys       int // own keys
	rest       bool
	tell       bool
}

const (
	// maxSketched bounds the keys that one sketch is made of: a store keeps
	// 8 bytes of each while it is compared.
	maxSketched = 1 << 20
	maxMarks    = 4       // bytes of units' digests that are compared before whole digests are
	fewHits     = 16      // of so many units that differ all are found by one byte, 15 times of 16
	maxSymbols  = 1 << 15 // in one step
)

// NewExchange prepares an exchange of units 0 to len(sizes)-1, of which this
// store has so many keys. batch is how many keys one step may name, 0 means 256.
func NewExchange(sizes []int, batch int) *Exchange {
	if batch <= 0 {
		batch = 256
	}
	e := &Exchange{sizes: sizes, theirs: -1, batch: batch}
	for u := range sizes {
		e.doubtfulUnits = append(e.doubtfulUnits, u)
	}
	return e
}

// Guess tells a byte of each unit's digest, here and there, and how many keys the
// peer has in all of them: units whose bytes differ differ. It is called before
// the first step, or not at all. Lists of another length tell nothing.
func (e *Exchange) Guess(mine, theirs []byte, keys int) {
	e.theirs = keys
	if len(mine) != len(e.sizes) || len(theirs) != len(e.sizes) {
		return
	}
	e.marks, e.compared = 1, len(e.sizes)
	e.doubtfulUnits = nil
	for u := range e.sizes {
		if mine[u] != theirs[u] {
			e.openUnits = append(e.openUnits, u)
		} else {
			e.doubtfulUnits = append(e.doubtfulUnits, u)
		}
	}
	e.differing = len(e.openUnits)
}

// Step returns what to do now. It returns the same step until that is
// reported done; an exchange that fails is dropped, and begun anew later.
func (e *Exchange) Step() Step {
	for {
		switch {
		case len(e.fetch) > 0:
			return Step{Kind: Fetch, Prints: e.fetch[:min(len(e.fetch), e.batch)]}
		case len(e.mine) > 0:
			return Step{Kind: Name, Prints: e.mine}
		case len(e.pull) > 0:
			return Step{Kind: Pull, Keys: e.pull[:min(len(e.pull), e.batch)]}
		case len(e.push) > 0:
			return Step{Kind: Push, Keys: e.push[:min(len(e.push), e.batch)]}
		case len(e.unitsAtHand) > 0 && e.listed:
			s := Step{Kind: List, Unit: e.unitsAtHand[0], First: e.page.First}
			if !s.First {
				s.After = e.page.Marks[len(e.page.Marks)-1].Key
			}
			return s
		case len(e.unitsAtHand) > 0 || e.sketch.rest:
			return e.symbolsStep()
		case len(e.openUnits) > 0:
			e.beginStage()
		case len(e.doubtfulUnits) > 0 && 0 < e.marks && e.marks < maxMarks:
			e.got = make(map[string]bool)
			e.sketch = sketching{rest: true, tell: true, wanted: reconcile.FirstSymbols(2)}
		case len(e.doubtfulUnits) > 0:
			return Step{Kind: Digests, Units: e.doubtfulUnits}
		default:
			return Step{Kind: Done}
		}
	}
}

func (e *Exchange) symbolsStep() Step {
	s := Step{Kind: Symbols, Units: e.unitsAtHand, From: e.sketch.peel.Symbols(), Count: min(e.sketch.wanted, maxSymbols)}
	if e.sketch.rest {
		s.Rest, s.Tell, s.Mark = e.doubtfulUnits, e.sketch.tell, e.marks
	}
	return s
}

// Differ reports which of the units have different digests.
func (e *Exchange) Differ(units []int) {
	e.differing, e.compared = len(units), len(e.doubtfulUnits)
	e.openUnits, e.doubtfulUnits = slices.Clone(units), nil
}

// beginStage takes up units that differ: all of them, or as many as one sketch may
// be made of.
func (e *Exchange) beginStage() {
	n, keys := 0, 0
	for n < len(e.openUnits) && (n == 0 || keys+e.sizes[e.openUnits[n]] <= maxSketched) {
		keys += e.sizes[e.openUnits[n]]
		n++
	}
	expected := reconcile.Expect(e.differing, e.compared) * n / max(e.differing, n)
	e.unitsAtHand, e.openUnits = e.openUnits[:n], e.openUnits[n:]
	e.got = make(map[string]bool)
	e.sketch = sketching{wanted: reconcile.FirstSymbols(expected), keys: keys}
	// The rest is looked at on the way, when this is the last that is left.
	e.sketch.rest = len(e.openUnits) == 0 && len(e.doubtfulUnits) > 0 && e.marks < maxMarks
	e.sketch.tell = e.differing > fewHits
	all := 0
	for _, size := range e.sizes {
		all += size
	}
	if keys == 0 || e.theirs >= 0 && differWidely(all, e.theirs) {
		e.beginListing()
	}
}

// differWidely tells that two sets of so many keys differ in so much that listing them is
// as good as a sketch.
func differWidely(a, b int) bool { return max(a, b)-min(a, b) > max(a, b)/4 }

// beginListing goes through the keys of the units at hand.
func (e *Exchange) beginListing() { e.listed, e.page, e.sketch = true, Page{First: true}, sketching{} }

// Sketch is what came of a Symbols step.
type Sketch struct {
	Theirs, Mine []reconcile.Symbol
	Keys         int   // the peer's, in the units
	More         []int // units of the rest, or made equal before, of which the symbols are too
	RestEqual    bool  // but for these the rest is
}

// Sketched reports the symbols asked for.
func (e *Exchange) Sketched(s Sketch) {
	k := &e.sketch
	if k.rest {
		k.rest = false
		if k.tell {
			e.marks++
		}
		e.joinUnits(s.More)
		if s.RestEqual {
			e.doubtfulUnits = nil
		}
	}
	if len(e.unitsAtHand) == 0 {
		return
	}
	sent := k.peel.Symbols()
	k.peel.Add(s.Theirs, s.Mine)
	if k.peel.Done() {
		e.fetch, e.mine = k.peel.Theirs(), k.peel.Mine()
		e.leaveStage()
		return
	}
	// A sketch is as large as the list of keys at some 2 symbols each. A peeling
	// that has failed takes nothing in.
	now, limit := k.peel.Symbols(), max(k.keys, s.Keys)+64
	if now == sent || now >= limit || differWidely(k.keys, s.Keys) {
		e.beginListing()
		return
	}
	if k.wanted -= now - sent; k.wanted <= 0 {
		k.wanted = min(reconcile.NextSymbols(now, k.extensions), limit-now)
		k.extensions++
	}
}

// joinUnits takes more units up with those at hand.
func (e *Exchange) joinUnits(more []int) {
	e.unitsAtHand = append(slices.Clip(e.unitsAtHand), more...)
	e.doubtfulUnits = slices.DeleteFunc(slices.Clone(e.doubtfulUnits), func(u int) bool { return slices.Contains(more, u) })
	for _, u := range more {
		e.sketch.keys += e.sizes[u]
	}
}

// Fetched reports that the records of the first n prints of the last Fetch step,
// whose keys are given, are merged and synced here. back names those of which
// the peer turned out to lack something.
func (e *Exchange) Fetched(n int, keys, back []string) {
	e.moved += len(keys)
	for _, k := range keys {
		e.got[k] = true
	}
	e.fetch = e.fetch[min(max(n, 0), len(e.fetch)):]
	e.push = append(e.push, back...)
	e.leaveStage()
}

// Named reports the keys that the prints of the last Name step have here. Those
// that were fetched are equal by now, or are sent back anyway.
func (e *Exchange) Named(keys []string) {
	for _, k := range keys {
		if !e.got[k] {
			e.push = append(e.push, k)
		}
	}
	e.mine = nil
	e.leaveStage()
}

// Listed reports a page of the peer and the marks of this store. Own marks
// outside of the page's stretch are ignored.
func (e *Exchange) Listed(theirs Page, mine []Mark) {
	e.pull, e.push = compareListed(theirs, mine, e.pull[:0], e.push[:0])
	if e.page = theirs; len(theirs.Marks) == 0 {
		e.page.Last = true
	}
	e.page.First = false
	e.leaveStage()
}

// compareListed tells what to get from the peer and what it lacks. What differs is
// pulled first; whether the merge must go back is known after that.
func compareListed(theirs Page, mine []Mark, pull, push []string) ([]string, []string) {
	i := 0
	for j := range mine {
		m := &mine[j]
		if !theirs.coversKey(m.Key) {
			continue
		}
		for i < len(theirs.Marks) && theirs.Marks[i].Key < m.Key {
			pull = append(pull, theirs.Marks[i].Key)
			i++
		}
		if i < len(theirs.Marks) && theirs.Marks[i].Key == m.Key {
			if theirs.Marks[i].Hash != m.Hash {
				pull = append(pull, m.Key)
			}
			i++
			continue
		}
		push = append(push, m.Key)
	}
	for ; i < len(theirs.Marks); i++ {
		pull = append(pull, theirs.Marks[i].Key)
	}
	return pull, push
}

// Pulled reports that the keys of the last Pull step are merged and synced
// here, n of them, in order (a reply may stop early). back names those of
// which the peer turned out to lack something.
func (e *Exchange) Pulled(n int, back []string) {
	e.moved += n
	e.pull = e.pull[min(max(n, 0), len(e.pull)):]
	e.push = append(e.push, back...)
	e.leaveStage()
}

// Pushed reports that the peer has acked the first n keys of the last Push
// step.
func (e *Exchange) Pushed(n int) {
	e.moved += n
	e.push = e.push[min(max(n, 0), len(e.push)):]
	e.leaveStage()
}

// leaveStage leaves what is done.
func (e *Exchange) leaveStage() {
	if len(e.fetch) > 0 || len(e.mine) > 0 || len(e.pull) > 0 || len(e.push) > 0 {
		return
	}
	switch {
	case !e.listed && e.sketch.peel.Done():
		e.unitsAtHand, e.sketch = nil, sketching{}
	case e.listed && e.page.Last:
		if e.unitsAtHand = e.unitsAtHand[1:]; len(e.unitsAtHand) > 0 {
			e.beginListing()
		} else {
			e.listed = false
		}
	}
}

// Moved returns how many records were pulled and pushed so far.
func (e *Exchange) Moved() int { return e.moved }
