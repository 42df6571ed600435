package wire

import (
	"math"
	"slices"

	"github.com/skeinmesh/skein/replica/version"
)

// Limits of what a decoder accepts, whatever a bucket allows.
const (
	MaxKey      = 64 << 10 // bytes of a key
	MaxValue    = 8 << 20  // bytes of a value
	MaxEntries  = 1 << 16  // entries of a context
	MaxSiblings = 1 << 12  // siblings of an item
)

const (
	itemVersion = 1
	// fencedItemVersion is that of items that leaders have written: each sibling has a token.
	fencedItemVersion = 2
)

// An encoded item names every (Store, Session) once and refers to it by
// number, and a sibling names its birth by its place in the context, which
// must cover it. It stands alone: the same bytes are stored, sent, repaired
// and handed over, so a value is encoded once in its life.
//
//	version=1
//	stores   array of: store id, session id          each used, in order of first use
//	hlc      uint
//	context  array of: store number, seq, n          sorted by actor
//	siblings array of: context number, n, hlc, flags, expire, value   sorted by dot
//
// In version 2 term and node of a token stand behind each value, zeros for none.

func itemFields(it *version.Item, c *codec) {
	fields, fenced := 6, c.codeEitherVersion(itemVersion, fencedItemVersion, !it.Fence().IsZero())
	if fenced {
		fields += 2
	}
	c.codeContext(&it.Ctx, &it.HLC)
	c.factor = looseFactor
	for i := range codeList(c, &it.Sibs, fields, MaxSiblings) {
		s := &it.Sibs[i]
		c.codeDotIn(it.Ctx, &s.Dot)
		c.codeDate(&s.HLC)
		codeBounded(c, &s.Flags, 255)
		c.codeDate(&s.Expire)
		c.codeBytesOrNil(&s.Value, MaxValue)
		if fenced {
			c.codeToken(&s.Token)
		}
	}
	if fenced && it.Fence().IsZero() {
		c.failWith("no token in an item that has them")
	}
	if c.reading && c.err == nil {
		c.checkError(it.Check())
	}
}

// AppendItem appends the encoding of it, which must be valid.
func AppendItem(dst []byte, it *version.Item) []byte { return appendFields(dst, it, itemFields) }

// DecodeItem reads what AppendItem wrote. The values of the item lie in data:
// whoever keeps them keeps data, which must not change.
func DecodeItem(data []byte) (version.Item, error) { return readFields(data, "item", itemFields) }

// ItemSize returns an upper bound of what AppendItem appends.
func ItemSize(it *version.Item) int {
	n := 32 + len(it.Ctx)*36
	for i := range it.Sibs {
		n += 40 + len(it.Sibs[i].Value)
		if !it.Sibs[i].Token.IsZero() {
			n += 18
		}
	}
	return n
}

// codeDotIn describes the dot of a sibling: its birth is told by its place in the context.
func (c *codec) codeDotIn(ctx version.Context, dot *version.Dot) {
	if !c.reading {
		place, _ := slices.BinarySearchFunc(ctx, dot.A, func(e version.Entry, a version.Actor) int { return e.A.Compare(a) })
		c.writeUint(uint64(place))
		c.writeUint(dot.N)
		return
	}
	place := c.readUint()
	dot.N = c.readUint()
	if place >= uint64(len(ctx)) {
		c.failWith("sibling of context entry %d of %d", place, len(ctx))
		return
	}
	dot.A = ctx[place].A
}

// codeDot describes the id of a write.
func (c *codec) codeDot(d *version.Dot) {
	c.codeActor(&d.A)
	c.codeNumber(&d.N)
}

func (c *codec) codeActor(a *version.Actor) {
	c.codeWide(&a.Store)
	c.codeWide(&a.Session)
	codeBounded(c, &a.Seq, math.MaxUint32)
}

func (c *codec) codeDate(d *version.HLC) { c.codeNumber((*uint64)(d)) }

// codeContext describes a context and the date that goes with it. It is the one thing that
// is written and read in two ways: equal pairs of store and session stand together, and
// whoever reads them has to keep them until the entries name them.
func (c *codec) codeContext(ctx *version.Context, date *version.HLC) {
	if c.reading {
		*ctx, *date = c.readContext()
	} else {
		c.writeContext(*ctx, *date)
	}
}

// writeContext writes the table of (Store, Session) pairs, the clock and the
// entries. Entries are sorted by actor, so equal pairs stand together.
func (c *codec) writeContext(ctx version.Context, hlc version.HLC) {
	pairs := 0
	for i := range ctx {
		if i == 0 || !samePair(ctx[i-1].A, ctx[i].A) {
			pairs++
		}
	}
	c.writeArrayLen(pairs * 2)
	for i := range ctx {
		if i == 0 || !samePair(ctx[i-1].A, ctx[i].A) {
			c.writeWide(ctx[i].A.Store)
			c.writeWide(ctx[i].A.Session)
		}
	}
	c.writeUint(uint64(hlc))
	c.writeArrayLen(len(ctx) * 3)
	pair := -1
	for i := range ctx {
		if i == 0 || !samePair(ctx[i-1].A, ctx[i].A) {
			pair++
		}
		c.writeUint(uint64(pair))
		c.writeUint(uint64(ctx[i].A.Seq))
		c.writeUint(ctx[i].N)
	}
}

func samePair(a, b version.Actor) bool { return a.Store == b.Store && a.Session == b.Session }

func (c *codec) readContext() (version.Context, version.HLC) {
	pairs := c.readArrayLen(MaxEntries * 2)
	if pairs%2 != 0 {
		c.failWith("half a store in the table")
	}
	var few [8]version.Actor
	table := few[:0]
	for range pairs / 2 {
		table = append(table, version.Actor{Store: c.readUint(), Session: c.readUint()})
		if c.err != nil {
			return nil, 0
		}
	}
	hlc := version.HLC(c.readUint())
	n := c.readArrayLen(MaxEntries * 3)
	if n%3 != 0 {
		c.failWith("part of a context entry")
	}
	if c.err != nil || n == 0 && len(table) == 0 {
		return nil, hlc
	}
	ctx := make(version.Context, n/3)
	next := 0 // first pair of the table not used yet
	for i := range ctx {
		pair := int(c.readUintMax(MaxEntries))
		if pair > next || pair >= len(table) {
			c.failWith("context entry %d of store %d", i, pair)
			return nil, 0
		}
		next = max(next, pair+1)
		e := version.Entry{A: table[pair]}
		e.A.Seq = uint32(c.readUintMax(1<<32 - 1))
		e.N = c.readUint()
		if c.err != nil {
			return nil, 0
		}
		ctx[i] = e
	}
	if next != len(table) {
		c.failWith("store %d of the table is not used", next)
	}
	c.checkError(ctx.Check())
	return ctx, hlc
}
