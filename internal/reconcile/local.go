package reconcile

import (
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// MaxSiblings is how many siblings a key may have before a put that covers
// none of them is refused.
const MaxSiblings = 32

var (
	// ErrSiblingLimit: the key has MaxSiblings concurrent values and the put
	// has seen none of them. Reading the key and writing with what was read
	// resolves it.
	ErrSiblingLimit = errors.New("too many concurrent values")
	// ErrDate: the key is dated so far in the future that no later date fits.
	ErrDate = errors.New("date out of range")
	// ErrTTL: a time to live below zero.
	ErrTTL = errors.New("negative time to live")
)

// Local is a key's record at one store. The zero Local is that of a key of
// which the store knows nothing; it never means deleted.
type Local struct {
	version.Item
	// Mine is the birth under which this store writes the key, zero for none.
	// It is never sent anywhere and is lost together with the record: a store
	// that cannot prove which dot it gave out last starts a new birth.
	Mine version.Actor
}

// Seen is what a client has been shown of a key: the context that Get hands
// out in opaque form and that Put and Delete take back.
type Seen struct {
	Ctx   version.Context
	HLC   version.HLC
	Fence token.Token // the highest of what Ctx covers
}

// SeenOf returns what a reader of the item has seen.
func SeenOf(it version.Item) Seen { return Seen{it.Ctx, it.HLC, it.Fence()} }

// Join returns what somebody has seen who has seen both.
func (s Seen) Join(other Seen) Seen {
	return Seen{Ctx: s.Ctx.Join(other.Ctx), HLC: max(s.HLC, other.HLC), Fence: higher(s.Fence, other.Fence)}
}

// Write is one client write to one key.
type Write struct {
	Seen  *Seen  // nil: blind, covers whatever the coordinating store knows
	Value []byte // kept, not copied; ignored if Tomb
	Tomb  bool   // the write is a delete
	TTL   int64  // milliseconds until the value reads as deleted; 0: never
	// Token is that of the leader who writes, zero for none; see CheckFence.
	Token token.Token
	// Late is from when TTL counts if that is later than now; see Peers.
	Late version.HLC
}

// Wrote is what became of a Write.
type Wrote struct {
	Local   Local         // the record to store
	Dot     version.Dot   // names the write for ever
	Covered []version.Dot // live dots that the write replaced here
	Seen    Seen          // what the client may be said to have seen now; see after
	Meta    *Meta         // not nil: must be stored in the same batch
}

// Put applies a client write to the record l, which stays untouched. now is
// the wall clock's reading, or better; see Peers.
func (w *Writer) Put(l Local, p Write, now version.HLC) (Wrote, error) {
	fence := l.Fence()
	seen := Seen{l.Ctx, l.HLC, fence}
	if p.Seen != nil {
		seen = *p.Seen
		if err := seen.Ctx.Check(); err != nil {
			return Wrote{}, err
		}
	}
	if p.TTL < 0 {
		return Wrote{}, fmt.Errorf("reconcile: %d ms: %w", p.TTL, ErrTTL)
	}
	if err := CheckFence(p.Token, higher(fence, seen.Fence)); err != nil {
		return Wrote{}, err
	}
	w.doubtBirths(seen.Ctx)
	if seen.Ctx.Get(l.Mine) > l.Ctx.Get(l.Mine) {
		// Amnesia: whoever has seen a later dot of this birth than the record has
		// got it from a record that was since lost or rolled back.
		l.Mine = version.Actor{}
	}
	covered := coveredBy(l.Sibs, seen.Ctx)
	if len(l.Sibs) >= MaxSiblings && len(covered) == 0 {
		return Wrote{}, fmt.Errorf("reconcile: %d values: %w", len(l.Sibs), ErrSiblingLimit)
	}
	floor := max(l.HLC, seen.HLC)
	hlc, ok := w.clock.Tick(now, floor)
	switch {
	case floor >= version.Limit:
		return Wrote{}, fmt.Errorf("reconcile: key dated %d: %w", floor.Millis(), ErrDate)
	case !ok:
		hlc = floor // the last date there is: what covers what decides all the same
	}
	s := version.Sibling{HLC: hlc, Token: p.Token}
	if p.Tomb {
		s.Flags = version.Tomb
	} else {
		s.Value = p.Value
	}
	if p.TTL > 0 {
		s.Expire = max(w.clock.Now(now), p.Late).Add(p.TTL)
	}
	return w.writeSibling(l, seen, s, covered), nil
}

// writeSibling gives s the next dot of the store's birth for the key and puts it in
// the place of the siblings that seen covers.
func (w *Writer) writeSibling(l Local, seen Seen, s version.Sibling, covered []version.Dot) Wrote {
	mine := l.Mine
	if !w.ownsBirth(mine) {
		mine = w.mintBirth()
	}
	ctx := l.Ctx.Join(seen.Ctx)
	s.Dot = version.Dot{A: mine, N: ctx.Get(mine) + 1}
	out := Wrote{Dot: s.Dot, Covered: covered}
	out.Seen = Seen{Ctx: seenAfter(l, seen, s.Dot, ctx, len(covered)), HLC: max(seen.HLC, s.HLC), Fence: higher(seen.Fence, s.Token)}
	out.Local.Mine = mine
	out.Local.Ctx = out.Seen.Ctx
	if len(covered) < len(l.Sibs) {
		out.Local.Ctx = ctx.With(mine, s.Dot.N)
	}
	out.Local.HLC = max(l.HLC, seen.HLC, s.HLC)
	out.Local.Sibs = replaceCovered(l.Sibs, covered, s)
	out.Meta = w.unsavedMeta()
	return out
}

// seenAfter returns what a client that had seen so much has seen once it has
// written dot d. It is not simply all that the record knows: siblings that the
// client was never shown would be overwritten by its next write. Nor is it
// always seen and d, because a context is downward closed: if the store gave
// an earlier dot of the same birth to a value that is still live and that the
// client has not seen, d must stay out of it. ctx is that of the record.
func seenAfter(l Local, seen Seen, d version.Dot, ctx version.Context, covered int) version.Context {
	if covered == len(l.Sibs) {
		return ctx.With(d.A, d.N)
	}
	for i := range l.Sibs {
		if e := l.Sibs[i].Dot; e.A == d.A && !seen.Ctx.Covers(e) {
			return seen.Ctx
		}
	}
	return seen.Ctx.With(d.A, d.N)
}

// coveredBy lists the dots of sibs that ctx has seen.
func coveredBy(sibs []version.Sibling, ctx version.Context) []version.Dot {
	var out []version.Dot
	for i := range sibs {
		if ctx.Covers(sibs[i].Dot) {
			if out == nil {
				out = make([]version.Dot, 0, len(sibs)-i)
			}
			out = append(out, sibs[i].Dot)
		}
	}
	return out
}

// replaceCovered returns sibs without the covered dots and with s, in order.
func replaceCovered(sibs []version.Sibling, covered []version.Dot, s version.Sibling) []version.Sibling {
	out := make([]version.Sibling, 0, len(sibs)-len(covered)+1)
	placed := false
	for i := range sibs {
		if len(covered) > 0 && covered[0] == sibs[i].Dot {
			covered = covered[1:]
			continue
		}
		if !placed && s.Dot.Compare(sibs[i].Dot) < 0 {
			out, placed = append(out, s), true
		}
		out = append(out, sibs[i])
	}
	if !placed {
		out = append(out, s)
	}
	return out
}

// Absorbed is what became of an item from elsewhere.
type Absorbed struct {
	Local   Local // the record to store
	Changed bool  // Local differs from the record before; otherwise there is nothing to write
	Behind  bool  // the item lacks something that Local has: worth sending back
	Skewed  bool  // the item is dated more than MaxSkew ahead of the wall clock: raise an alarm
	// Fence is the token of a later leader than any that the item knows, who has written
	// the key here; zero for none. The item is merged all the same, but whoever wrote it
	// is to hear that; see CheckFence.
	Fence token.Token
	// Clashes are values that lost their dot to another write of the same
	// dot: the data of a store was cloned and both copies wrote. Import
	// keeps them.
	Clashes []version.Sibling
}

// Absorb merges an item from another store into the record l. Neither is
// written to; the result may share memory with both.
func (w *Writer) Absorb(l Local, in version.Item, now version.HLC) (Absorbed, error) {
	if err := in.Check(); err != nil {
		return Absorbed{}, err
	}
	out := Absorbed{Local: l, Skewed: w.clock.Observe(now, in.HLC)}
	w.doubtBirths(in.Ctx)
	if l.Mine.Store != 0 && in.Ctx.Get(l.Mine) > l.Ctx.Get(l.Mine) {
		// The record was rolled back: its birth has given out dots that it
		// does not know.
		out.Local.Mine = version.Actor{}
		out.Changed = true
	}
	if fence := l.Fence(); in.Fence().Less(fence) {
		out.Fence = fence
	}
	out.Clashes = clashLosers(l.Item, in)
	out.Local.Item = version.Merge(l.Item, in)
	out.Changed = out.Changed || out.Clashes != nil || !out.Local.Item.Equal(l.Item)
	out.Behind = !in.Dominates(out.Local.Item)
	return out, nil
}

// clashLosers returns the losers of both sides.
func clashLosers(a, b version.Item) []version.Sibling {
	if len(a.Sibs) == 0 || len(b.Sibs) == 0 {
		return nil
	}
	return append(version.Clashes(a, b), version.Clashes(b, a)...)
}

// Import writes a value as a new dot that covers nothing: one whose own dot
// cannot be trusted, because it was given out by data that was cloned or
// rolled back. It keeps its date, so that last-writer-wins judges it by when
// it was written.
func (w *Writer) Import(l Local, s version.Sibling) Wrote {
	return w.writeSibling(l, Seen{HLC: s.HLC}, s, nil)
}

// Disown takes out of a record all that it says of births whose dots cannot
// be trusted, and imports the values that carried them. Values that only
// this record holds are kept that way, even if the same dots name other
// writes elsewhere. Of what the doubted writes had covered, something may
// show up again beside them.
func (w *Writer) Disown(l Local, doubted func(version.Actor) bool) (Local, *Meta) {
	out := Local{Item: version.Item{HLC: l.HLC}, Mine: l.Mine}
	for _, e := range l.Ctx {
		if !doubted(e.A) {
			out.Ctx = append(out.Ctx, e)
		}
	}
	var again []version.Sibling
	for _, s := range l.Sibs {
		if doubted(s.Dot.A) {
			again = append(again, s)
		} else {
			out.Sibs = append(out.Sibs, s)
		}
	}
	if doubted(out.Mine) {
		out.Mine = version.Actor{}
	}
	var meta *Meta
	for _, s := range again {
		wrote := w.Import(out, s)
		if out = wrote.Local; wrote.Meta != nil {
			meta = wrote.Meta
		}
	}
	return out, meta
}
