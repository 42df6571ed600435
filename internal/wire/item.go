package wire

import (
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

const itemVersion = 1

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

// AppendItem appends the encoding of it, which must be valid.
func AppendItem(dst []byte, it *version.Item) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(itemVersion)
		p.writeContext(it.Ctx, it.HLC)
		p.writeArrayLen(len(it.Sibs) * 6)
		for i := range it.Sibs {
			s := &it.Sibs[i]
			p.writeUint(uint64(entryOf(it.Ctx, s.Dot.A)))
			p.writeUint(s.Dot.N)
			p.writeUint(uint64(s.HLC))
			p.writeUint(uint64(s.Flags))
			p.writeUint(uint64(s.Expire))
			p.writeBytes(s.Value)
		}
	})
}

// ItemSize returns an upper bound of what AppendItem appends.
func ItemSize(it *version.Item) int {
	n := 32 + len(it.Ctx)*36
	for i := range it.Sibs {
		n += 40 + len(it.Sibs[i].Value)
	}
	return n
}

// DecodeItem reads what AppendItem wrote. The values of the item lie in data:
// whoever keeps them keeps data, which must not change.
func DecodeItem(data []byte) (version.Item, error) {
	var it version.Item
	err := unpackWhole(data, "item", func(u *unpacker) {
		u.readVersion(itemVersion)
		it.Ctx, it.HLC = u.readContext()
		it.Sibs = u.readSiblings(it.Ctx)
		u.checkError(it.Check())
	})
	if err != nil {
		return version.Item{}, err
	}
	return it, nil
}

func entryOf(ctx version.Context, a version.Actor) int {
	i, _ := slices.BinarySearchFunc(ctx, a, func(e version.Entry, a version.Actor) int { return e.A.Compare(a) })
	return i
}

// writeContext writes the table of (Store, Session) pairs, the clock and the
// entries. Entries are sorted by actor, so equal pairs stand together.
func (p *packer) writeContext(ctx version.Context, hlc version.HLC) {
	pairs := 0
	for i := range ctx {
		if i == 0 || !samePair(ctx[i-1].A, ctx[i].A) {
			pairs++
		}
	}
	p.writeArrayLen(pairs * 2)
	for i := range ctx {
		if i == 0 || !samePair(ctx[i-1].A, ctx[i].A) {
			p.writeID(ctx[i].A.Store)
			p.writeID(ctx[i].A.Session)
		}
	}
	p.writeUint(uint64(hlc))
	p.writeArrayLen(len(ctx) * 3)
	pair := -1
	for i := range ctx {
		if i == 0 || !samePair(ctx[i-1].A, ctx[i].A) {
			pair++
		}
		p.writeUint(uint64(pair))
		p.writeUint(uint64(ctx[i].A.Seq))
		p.writeUint(ctx[i].N)
	}
}

func samePair(a, b version.Actor) bool { return a.Store == b.Store && a.Session == b.Session }

func (u *unpacker) readContext() (version.Context, version.HLC) {
	pairs := u.readArrayLen(MaxEntries * 2)
	if pairs%2 != 0 {
		u.failWith("half a store in the table")
	}
	var few [8]version.Actor
	table := few[:0]
	for range pairs / 2 {
		table = append(table, version.Actor{Store: u.readUint(), Session: u.readUint()})
		if u.err != nil {
			return nil, 0
		}
	}
	hlc := version.HLC(u.readUint())
	n := u.readArrayLen(MaxEntries * 3)
	if n%3 != 0 {
		u.failWith("part of a context entry")
	}
	if u.err != nil || n == 0 && len(table) == 0 {
		return nil, hlc
	}
	ctx := make(version.Context, n/3)
	next := 0 // first pair of the table not used yet
	for i := range ctx {
		pair := int(u.readUintMax(MaxEntries))
		if pair > next || pair >= len(table) {
			u.failWith("context entry %d of store %d", i, pair)
			return nil, 0
		}
		next = max(next, pair+1)
		e := version.Entry{A: table[pair]}
		e.A.Seq = uint32(u.readUintMax(1<<32 - 1))
		e.N = u.readUint()
		if u.err != nil {
			return nil, 0
		}
		ctx[i] = e
	}
	if next != len(table) {
		u.failWith("store %d of the table is not used", next)
	}
	u.checkError(ctx.Check())
	return ctx, hlc
}

func (u *unpacker) readSiblings(ctx version.Context) []version.Sibling {
	n := u.readArrayLen(MaxSiblings * 6)
	if n%6 != 0 {
		u.failWith("part of a sibling")
	}
	if u.err != nil || n == 0 {
		return nil
	}
	sibs := make([]version.Sibling, n/6)
	for i := range sibs {
		s := &sibs[i]
		e := u.readUint()
		if u.err != nil || e >= uint64(len(ctx)) {
			u.failWith("sibling %d of context entry %d", i, e)
			return nil
		}
		s.Dot = version.Dot{A: ctx[e].A, N: u.readUint()}
		s.HLC = version.HLC(u.readUint())
		s.Flags = uint8(u.readUintMax(255))
		s.Expire = version.HLC(u.readUint())
		s.Value = u.readBytes(MaxValue)
		if u.err != nil {
			return nil
		}
		if len(s.Value) == 0 {
			s.Value = nil
		}
	}
	return sibs
}
