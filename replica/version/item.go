package version

import (
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/partition/token"
)

// Merge returns the least item that is at least a and at least b: the
// pointwise maximum of their dot statuses. A sibling is kept if both hold it,
// or if one holds it and the other has not seen it (Almeida, Shoker, Baquero
// 2018, section 7).
//
// Both must pass Check. Neither is written to, but the result may share
// memory with both, so items are to be treated as immutable once made.
//
// One dot always names one write. Should two siblings claim the same dot all
// the same (a store cloned while it ran), the higher (HLC, token, flags, expiry)
// wins on every replica, so that they still converge; see Clashes. A value
// that was blanked after its expiry stays blanked.
func Merge(a, b Item) Item {
	ge, le := a.Ctx.relateTo(b.Ctx)
	switch {
	case ge:
		return mergeInto(a, b)
	case le:
		return mergeInto(b, a)
	}
	return Item{
		Ctx:  a.Ctx.mergeWith(b.Ctx),
		HLC:  max(a.HLC, b.HLC),
		Sibs: mergeSibs(a, b),
	}
}

// mergeInto is Merge where the context of a includes that of b: b can only
// take siblings away. In honest histories it takes none.
func mergeInto(a, b Item) Item {
	out := Item{Ctx: a.Ctx, HLC: max(a.HLC, b.HLC), Sibs: a.Sibs}
	j := 0
	for i := range a.Sibs {
		s := &a.Sibs[i]
		for j < len(b.Sibs) && b.Sibs[j].Dot.Compare(s.Dot) < 0 {
			j++
		}
		held := j < len(b.Sibs) && b.Sibs[j].Dot == s.Dot
		if held && preferSibling(s, &b.Sibs[j]) == s || !held && !b.Ctx.Covers(s.Dot) {
			continue
		}
		out.Sibs = mergeSibs(a, b)
		break
	}
	return out
}

func mergeSibs(a, b Item) []Sibling {
	out := make([]Sibling, 0, len(a.Sibs)+len(b.Sibs))
	i, j := 0, 0
	for i < len(a.Sibs) || j < len(b.Sibs) {
		order := 0
		switch {
		case j == len(b.Sibs):
			order = -1
		case i == len(a.Sibs):
			order = 1
		default:
			order = a.Sibs[i].Dot.Compare(b.Sibs[j].Dot)
		}
		switch {
		case order < 0:
			if !b.Ctx.Covers(a.Sibs[i].Dot) {
				out = append(out, a.Sibs[i])
			}
			i++
		case order > 0:
			if !a.Ctx.Covers(b.Sibs[j].Dot) {
				out = append(out, b.Sibs[j])
			}
			j++
		default:
			out = append(out, *preferSibling(&a.Sibs[i], &b.Sibs[j]))
			i++
			j++
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// preferSibling chooses between two records of the same dot. They differ only if one
// was blanked after its expiry, or if the dot was given out twice.
func preferSibling(s, t *Sibling) *Sibling {
	switch {
	case s.HLC != t.HLC:
		if s.HLC > t.HLC {
			return s
		}
		return t
	case s.Token != t.Token:
		if t.Token.Less(s.Token) {
			return s
		}
		return t
	case s.Flags != t.Flags:
		if s.Flags > t.Flags {
			return s
		}
		return t
	case s.Expire != t.Expire:
		if s.Expire > t.Expire {
			return s
		}
		return t
	case len(t.Value) < len(s.Value):
		return t
	}
	return s
}

// Clashes returns the siblings of a that lose in Merge(a, b) although nothing
// covered them, because b claims their dot for another write. It is empty
// unless a store's data was cloned and both copies wrote.
func Clashes(a, b Item) []Sibling {
	var out []Sibling
	for i := range a.Sibs {
		s := &a.Sibs[i]
		if t := b.Sibling(s.Dot); t != nil && (t.HLC != s.HLC || t.Token != s.Token) && preferSibling(s, t) == t {
			out = append(out, *s)
		}
	}
	return out
}

// Sibling returns the sibling that carries dot d, or nil.
func (it Item) Sibling(d Dot) *Sibling {
	for i := range it.Sibs {
		if it.Sibs[i].Dot == d {
			return &it.Sibs[i]
		}
	}
	return nil
}

// Fence returns the highest token of all writes that the item knows of, those that were
// replaced included: no write replaces one of a higher token, so it is that of a sibling.
func (it Item) Fence() (high token.Token) {
	for i := range it.Sibs {
		if t := it.Sibs[i].Token; high.Less(t) {
			high = t
		}
	}
	return high
}

// Unknown tells whether the item has seen nothing at all. It is what a store
// without a record holds; it never means deleted.
func (it Item) Unknown() bool { return len(it.Ctx) == 0 }

// Equal tells whether both know the same dots and hold the same ones live.
// Values are not compared: a dot has one value.
func (it Item) Equal(o Item) bool {
	return slices.Equal(it.Ctx, o.Ctx) && slices.EqualFunc(it.Sibs, o.Sibs, func(s, t Sibling) bool { return s.Dot == t.Dot })
}

// Dominates tells whether it is at least o: merging o into it changes
// nothing. Whoever holds it durably holds all that o says.
func (it Item) Dominates(o Item) bool {
	if !it.Ctx.Includes(o.Ctx) {
		return false
	}
	for i := range it.Sibs {
		if s := &it.Sibs[i]; o.Ctx.Covers(s.Dot) && o.Sibling(s.Dot) == nil {
			return false
		}
	}
	return true
}

// Check reports the first broken invariant: the context is well formed, the
// siblings are sorted by dot, each dot is covered by the context and once
// there, no sibling is dated after the item, tombs carry no value.
func (it Item) Check() error {
	if err := it.Ctx.Check(); err != nil {
		return err
	}
	if it.HLC >= Limit {
		return fmt.Errorf("version: item is dated after the year 9999: %w", ErrMalformed)
	}
	for i := range it.Sibs {
		s := &it.Sibs[i]
		switch {
		case s.Dot.N == 0 || !it.Ctx.Covers(s.Dot):
			return fmt.Errorf("version: dot %v is not covered by its context: %w", s.Dot, ErrMalformed)
		case i > 0 && it.Sibs[i-1].Dot.Compare(s.Dot) >= 0:
			return fmt.Errorf("version: dots %v, %v are out of order: %w", it.Sibs[i-1].Dot, s.Dot, ErrMalformed)
		case s.HLC > it.HLC:
			return fmt.Errorf("version: dot %v is dated after its item: %w", s.Dot, ErrMalformed)
		case s.Flags&^Tomb != 0:
			return fmt.Errorf("version: dot %v has unknown flags %#x: %w", s.Dot, s.Flags, ErrMalformed)
		case s.Flags&Tomb != 0 && len(s.Value) > 0:
			return fmt.Errorf("version: tomb %v carries a value: %w", s.Dot, ErrMalformed)
		}
	}
	return nil
}
