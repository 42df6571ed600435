package version

import (
	"errors"
	"fmt"
	"slices"
)

// ErrMalformed is wrapped by every error of a Check: the value breaks an
// invariant and must not be merged or stored.
var ErrMalformed = errors.New("malformed item")

// Get returns how many dots of birth a were seen.
func (c Context) Get(a Actor) uint64 {
	if i, ok := c.findActor(a); ok {
		return c[i].N
	}
	return 0
}

// findActor returns where a is, or would have to be inserted. Contexts are short:
// up to a few entries a scan beats bisection.
func (c Context) findActor(a Actor) (int, bool) {
	if len(c) <= 8 {
		for i := range c {
			if c[i].A == a {
				return i, true
			}
			if c[i].A.Compare(a) > 0 {
				return i, false
			}
		}
		return len(c), false
	}
	return slices.BinarySearchFunc(c, a, func(e Entry, a Actor) int { return e.A.Compare(a) })
}

// Covers tells whether the dot was seen.
func (c Context) Covers(d Dot) bool { return d.N <= c.Get(d.A) }

// With returns the context that has also seen dots 1..n of birth a. It never
// writes to c; it returns c itself when there is nothing to add.
func (c Context) With(a Actor, n uint64) Context {
	i, ok := c.findActor(a)
	if ok && c[i].N >= n || n == 0 {
		return c
	}
	if ok {
		out := slices.Clone(c)
		out[i].N = n
		return out
	}
	out := make(Context, len(c)+1)
	copy(out, c[:i])
	out[i] = Entry{a, n}
	copy(out[i+1:], c[i:])
	return out
}

// relateTo tells in one pass whether c has seen all that o has, and the other
// way round.
func (c Context) relateTo(o Context) (ge, le bool) {
	ge, le = true, true
	i, j := 0, 0
	for i < len(c) && j < len(o) && (ge || le) {
		switch x := c[i].A.Compare(o[j].A); {
		case x < 0:
			le = false
			i++
		case x > 0:
			ge = false
			j++
		default:
			ge = ge && c[i].N >= o[j].N
			le = le && c[i].N <= o[j].N
			i++
			j++
		}
	}
	return ge && j == len(o), le && i == len(c)
}

// Includes tells whether c has seen everything that o has.
func (c Context) Includes(o Context) bool {
	ge, _ := c.relateTo(o)
	return ge
}

// Join returns the pointwise maximum. It writes to neither; it returns one of
// them when that one includes the other.
func (c Context) Join(o Context) Context {
	ge, le := c.relateTo(o)
	if ge {
		return c
	}
	if le {
		return o
	}
	return c.mergeWith(o)
}

func (c Context) mergeWith(o Context) Context {
	out := make(Context, 0, len(c)+len(o))
	i, j := 0, 0
	for i < len(c) && j < len(o) {
		switch x := c[i].A.Compare(o[j].A); {
		case x < 0:
			out = append(out, c[i])
			i++
		case x > 0:
			out = append(out, o[j])
			j++
		default:
			out = append(out, Entry{c[i].A, max(c[i].N, o[j].N)})
			i++
			j++
		}
	}
	return append(append(out, c[i:]...), o[j:]...)
}

// Check reports whether the context is sorted, names each birth once and no
// birth without a dot or without a store.
func (c Context) Check() error {
	for i := range c {
		switch {
		case c[i].N == 0:
			return fmt.Errorf("version: birth %v of a context has no dot: %w", c[i].A, ErrMalformed)
		case c[i].A.Store == 0:
			return fmt.Errorf("version: birth %v of a context has no store: %w", c[i].A, ErrMalformed)
		case i > 0 && c[i-1].A.Compare(c[i].A) >= 0:
			return fmt.Errorf("version: births %v, %v of a context are out of order: %w", c[i-1].A, c[i].A, ErrMalformed)
		}
	}
	return nil
}
