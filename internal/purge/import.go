package purge

import "github.com/skeinmesh/skein/replica/version"

// Old is a record of a store that is no member any more: it left, was evicted
// or replaced, or its disk was rolled back. It may be the only copy of a write
// that was acknowledged, and it may be what everybody else has long deleted and
// forgotten.
type Old struct {
	Item  version.Item // as it lies there
	Known version.Item // merged from what homes hold of the key now; unknown: they have no record
	Gone  version.Item // what a log says was purged of the key since; unknown: nothing
	// Whole says that the log reaches back to where the old store stood, or that
	// no round has passed since: what it does not name was not purged.
	Whole bool
}

// Import is what becomes of an Old.
type Import struct {
	Bring version.Item      // to be merged at the homes; unknown: they have it all
	Anew  []version.Sibling // values to be written as new dots, which cover nothing
	// Refused says that some value of the item may have been deleted, and nobody
	// remembers. It stays where it is.
	Refused bool
}

// Import decides what a record of an old store brings into the mesh. What the
// log names dies, and only that: a write that a delete had not seen outlives it,
// as it would have if the two had met in time.
//
// doubted tells of births that another copy of the old store has gone on with,
// so that their dots may name other writes in the mesh; nil: of none. A birth of
// which a dot is found to do so is one of them. What the item says of these is
// not merged. A value under such a dot is the mesh's own if the dates are equal;
// it is dead if the mesh has seen the dot, holds it no more, and what it holds is
// dated later; and it comes as a new dot otherwise.
func (o Old) Import(doubted func(version.Actor) bool) Import {
	known := version.Merge(o.Known, o.Gone)
	out := Import{Bring: version.Item{HLC: o.Item.HLC}}
	withheld := make(map[version.Actor]uint64) // the first dot of a birth that is
	twice := o.clashingBirths(known)
	unsure := func(a version.Actor) bool { return doubted != nil && doubted(a) || twice[a] }
	for _, s := range o.Item.Sibs {
		seen := known.Ctx.Covers(s.Dot)
		switch {
		case !seen && !o.Whole && s.Flags&version.Tomb == 0:
			// A tomb cannot bring anything back.
			out.Refused = true
			if n, ok := withheld[s.Dot.A]; !ok || s.Dot.N < n {
				withheld[s.Dot.A] = s.Dot.N
			}
		case !unsure(s.Dot.A):
			out.Bring.Sibs = append(out.Bring.Sibs, s)
		case !seen || namesAnotherWrite(s, known):
			out.Anew = append(out.Anew, s)
		}
	}
	for _, e := range o.Item.Ctx {
		if unsure(e.A) {
			continue
		}
		if n, ok := withheld[e.A]; ok {
			e.N = n - 1
		}
		if e.N > 0 {
			out.Bring.Ctx = append(out.Bring.Ctx, e)
		}
	}
	if out.Bring.Sibs = coveredSiblings(out.Bring); known.Dominates(out.Bring) || out.Refused && o.Known.Unknown() {
		out.Bring = version.Item{}
	} else {
		out.Bring = version.Merge(out.Bring, o.Gone)
	}
	return out
}

// namesAnotherWrite tells whether a dot that the mesh has seen names another write there:
// one of another date, or, if it is dead, one that is older than this value, for
// whatever has seen a write is dated no earlier.
func namesAnotherWrite(s version.Sibling, known version.Item) bool {
	if same := known.Sibling(s.Dot); same != nil {
		return same.HLC != s.HLC
	}
	return s.HLC > known.HLC
}

// clashingBirths lists the births of which a dot turns out to name two writes, although
// nobody has told that the old store had a twin.
func (o Old) clashingBirths(known version.Item) map[version.Actor]bool {
	var out map[version.Actor]bool
	for _, s := range o.Item.Sibs {
		if known.Ctx.Covers(s.Dot) && namesAnotherWrite(s, known) {
			if out == nil {
				out = make(map[version.Actor]bool)
			}
			out[s.Dot.A] = true
		}
	}
	return out
}

// coveredSiblings is the siblings of an item that its context covers.
func coveredSiblings(it version.Item) (out []version.Sibling) {
	for _, s := range it.Sibs {
		if it.Ctx.Covers(s.Dot) {
			out = append(out, s)
		}
	}
	return out
}
