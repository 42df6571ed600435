package replicate

import "slices"

// Mark is a key and the hash of what a store holds of it.
type Mark struct {
	Key  string
	Hash uint64
}

// Page is a stretch of one store's keys in one unit (a bucket in a shard),
// sorted by key: all those after After, up to and including its last mark, or
// to the end if it is the Last page.
type Page struct {
	After string
	First bool // After does not count: from the start
	Marks []Mark
	Last  bool
}

// covers tells whether a key lies in the stretch.
func (p *Page) covers(key string) bool {
	if !p.First && key <= p.After {
		return false
	}
	return p.Last || len(p.Marks) > 0 && key <= p.Marks[len(p.Marks)-1].Key
}

// StepKind is what an Exchange wants done.
type StepKind uint8

const (
	Digests StepKind = iota + 1 // compare the digests of Units with the peer's; report by Differ
	List                        // get the peer's page of Unit after After (or First), and the own marks in the same stretch; report by Listed
	Pull                        // read Keys of Unit from the peer, merge and sync them here; report by Pulled
	Push                        // send the records here of Keys of Unit to the peer; report by Pushed
	Done                        // all units are equal, but for writes that arrived meanwhile
)

// Step is the next thing that an Exchange wants done.
type Step struct {
	Kind  StepKind
	Units []int
	Unit  int
	After string
	First bool
	Keys  []string
}

// Exchange makes this store and one peer equal in a set of units: compare
// digests, then go through the keys of those that differ, page by page, and
// move only the records that differ. The peer holds no state of it. It ends
// after each page of the peer's keys was seen once, whatever is written
// meanwhile.
//
// Records are read again when they are moved, so a difference that was only a
// write in flight costs a merge that changes nothing.
type Exchange struct {
	units  []int // still to go through, the current one first
	after  string
	first  bool
	more   bool // the peer has further pages of the unit
	pull   []string
	push   []string
	batch  int
	asked  bool // digests were compared
	moved  int
	walked int
}

// NewExchange prepares an exchange. batch is how many keys one Pull or Push
// may name, 0 means 256.
func NewExchange(units []int, batch int) *Exchange {
	if batch <= 0 {
		batch = 256
	}
	return &Exchange{units: slices.Clone(units), batch: batch, first: true}
}

// Step returns what to do now. It returns the same step until that is
// reported done; an exchange that fails is dropped, and begun anew later.
func (e *Exchange) Step() Step {
	switch {
	case len(e.units) == 0:
		return Step{Kind: Done}
	case !e.asked:
		return Step{Kind: Digests, Units: e.units}
	case len(e.pull) > 0:
		return Step{Kind: Pull, Unit: e.units[0], Keys: e.pull[:min(len(e.pull), e.batch)]}
	case len(e.push) > 0:
		return Step{Kind: Push, Unit: e.units[0], Keys: e.push[:min(len(e.push), e.batch)]}
	}
	return Step{Kind: List, Unit: e.units[0], After: e.after, First: e.first}
}

// Differ reports which of the units have different digests.
func (e *Exchange) Differ(units []int) {
	e.asked = true
	e.units = slices.Clone(units)
	e.enter()
}

// enter begins the unit that is first in line.
func (e *Exchange) enter() { e.after, e.first, e.more = "", true, true }

// Listed reports a page of the peer and the marks of this store. Own marks
// outside of the page's stretch are ignored.
func (e *Exchange) Listed(theirs Page, mine []Mark) {
	e.pull, e.push = compare(theirs, mine, e.pull[:0], e.push[:0])
	e.walked += len(theirs.Marks)
	e.more = !theirs.Last
	if n := len(theirs.Marks); n > 0 {
		e.after, e.first = theirs.Marks[n-1].Key, false
	} else {
		e.more = false
	}
	e.advance()
}

// compare tells what to get from the peer and what it lacks. What differs is
// pulled first; whether the merge must go back is known after that.
func compare(theirs Page, mine []Mark, pull, push []string) ([]string, []string) {
	i := 0
	for j := range mine {
		m := &mine[j]
		if !theirs.covers(m.Key) {
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
	e.advance()
}

// Pushed reports that the peer has acked the first n keys of the last Push
// step.
func (e *Exchange) Pushed(n int) {
	e.moved += n
	e.push = e.push[min(max(n, 0), len(e.push)):]
	e.advance()
}

// advance leaves a unit that is done.
func (e *Exchange) advance() {
	if e.more || len(e.pull) > 0 || len(e.push) > 0 || len(e.units) == 0 {
		return
	}
	e.units = e.units[1:]
	e.enter()
}

// Moved returns how many records were pulled and pushed so far.
func (e *Exchange) Moved() int { return e.moved }
