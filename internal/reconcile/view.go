package reconcile

import "github.com/skeinmesh/skein/replica/version"

// Last returns the last-writer-wins reading of an item at time now: of the
// siblings, none of which has seen another, the one with the highest (token,
// date, dot). Tombs and expired values compete. ok is false if that one reads as
// deleted, or if there is none; Unknown tells those two apart.
//
// A value that was covered by a later write is no sibling any more, whatever
// its date, so wrong clocks choose only between concurrent writes.
func Last(it version.Item, now version.HLC) (s *version.Sibling, ok bool) {
	i := Latest(it)
	if i < 0 || it.Sibs[i].Deleted(now) {
		return nil, false
	}
	return &it.Sibs[i], true
}

// Latest returns the place of the sibling that Last reads, deletes among them; -1: there is none.
func Latest(it version.Item) int {
	last := -1
	for i := range it.Sibs {
		if last < 0 || isLater(&it.Sibs[i], &it.Sibs[last]) {
			last = i
		}
	}
	return last
}

// isLater tells which of two concurrent siblings was written last. A later leader has
// written after an earlier one, whatever the clocks say.
func isLater(t, s *version.Sibling) bool {
	if c := t.Token.Compare(s.Token); c != 0 {
		return c > 0
	}
	return t.HLC > s.HLC || t.HLC == s.HLC && t.Dot.Compare(s.Dot) > 0
}

// Live returns the values of an item at time now, sorted by dot. Deletes are
// hidden next to a concurrent value (add wins); there is no value if all
// siblings read as deleted. The result shares memory with the item.
func Live(it version.Item, now version.HLC) []version.Sibling {
	dead := 0
	for i := range it.Sibs {
		if it.Sibs[i].Deleted(now) {
			dead++
		}
	}
	switch dead {
	case 0:
		return it.Sibs
	case len(it.Sibs):
		return nil
	}
	out := make([]version.Sibling, 0, len(it.Sibs)-dead)
	for i := range it.Sibs {
		if !it.Sibs[i].Deleted(now) {
			out = append(out, it.Sibs[i])
		}
	}
	return out
}
