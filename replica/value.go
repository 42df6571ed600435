package replica

import (
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// Level says how many stores take part in an operation before it returns.
// The zero Level is Sloppy(2).
type Level int

const (
	// One is one store: a write is synced at the store that coordinates it, a
	// read takes one answer.
	One = Level(replicate.One)
	// Quorum is more than half of the key's homes.
	Quorum = Level(replicate.Quorum)
)

// Sloppy is the level of n distinct stores, be they homes of the key or
// stand-ins for homes that are down.
func Sloppy(n int) Level { return Level(replicate.Sloppy(n)) }

func (l Level) coreLevel() (replicate.Level, error) {
	switch {
	case l == 0:
		return replicate.DefaultLevel, nil
	case l < Quorum || l > 64:
		return 0, fmt.Errorf("replica: no such level: %d", int(l))
	}
	return replicate.Level(l), nil
}

// Context is what a read has seen of a key, or a write has left behind. A
// write that carries it replaces exactly that; a write without one (the zero
// Context) replaces whatever the store that coordinates it knows. It is
// opaque, small, and may be sent through clients as bytes or text, sealed by a key
// of the mesh. It belongs to one key of one bucket. All of it counts, also at a
// store that is cut off from those that know what it covers: when the cut heals
// that is replaced there too.
type Context struct {
	seen  *reconcile.Seen // as read; nil: see token
	of    uint64          // bucket the key is in
	key   string
	seal  *wire.ContextKey // for clients
	token string           // as received from a client, not yet opened; "": blind
	// after is the number of an operation in this node's outbox that the
	// context covers as long as it is not sent through a client; 0: none.
	after uint64
}

// contextOf is for a client that has seen so much of the key.
func (b *Bucket) contextOf(key string, seen reconcile.Seen) Context {
	return Context{seen: &seen, of: b.b.ID, key: key, seal: &b.s.seal}
}

// IsZero tells whether the context is that of a blind write.
func (c Context) IsZero() bool { return c.seen == nil && c.token == "" }

// Token returns the highest token that was shown for the key, as far as the context has
// seen, zero where there is none: a write of the key must show it, or a higher one.
func (c Context) Token() token.Token {
	if c.seen == nil {
		return wire.PeekFence([]byte(c.token))
	}
	return c.seen.Fence
}

// MarshalBinary returns the context as bytes; none for the zero Context.
func (c Context) MarshalBinary() ([]byte, error) {
	if c.seen == nil {
		return []byte(c.token), nil
	}
	return wire.AppendContext(nil, (*wire.SeenContext)(c.seen), c.of, c.key, c.seal), nil
}

// UnmarshalBinary takes what MarshalBinary returned. Damage shows when the
// context is used.
func (c *Context) UnmarshalBinary(data []byte) error {
	*c = Context{token: string(data)}
	return nil
}

// MarshalText returns the context in URL-safe letters.
func (c Context) MarshalText() ([]byte, error) {
	b, err := c.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText takes what MarshalText returned.
func (c *Context) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadContext, err)
	}
	return c.UnmarshalBinary(b)
}

// seenFor returns what a write to key in b may take as seen, nil for a
// blind one.
func (c Context) seenFor(b *Bucket, key string) (*reconcile.Seen, error) {
	switch {
	case c.IsZero():
		return nil, nil
	case c.seen != nil && c.of == b.b.ID && c.key == key:
		return c.seen, nil
	case c.seen != nil:
		return nil, fmt.Errorf("%w: it is of another key", ErrBadContext)
	}
	seen, err := wire.DecodeContext([]byte(c.token), b.b.ID, key, &b.s.seal)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadContext, err)
	}
	return (*reconcile.Seen)(&seen), nil
}

// Item is what a read saw of a key.
type Item struct {
	// Key is the key that was read.
	Key string
	// Context goes into the write that follows from this read.
	Context Context
	// Replies is how many stores took part.
	Replies int

	values [][]byte // what Siblings returns; nil: last is all there is, or nothing is
	last   []byte
	live   bool
	shared bool // the bytes are not the caller's, who is given copies
}

// Value returns the value under the rule of last-writer-wins: causality
// decides first, then the later clock. ok is false when that is a delete. The
// bytes belong to the caller. Those of a Change may be copied by each call.
func (it *Item) Value() (value []byte, ok bool) {
	if it.shared && it.live {
		return append([]byte{}, it.last...), true
	}
	return it.last, it.live
}

// Siblings returns all concurrent values that no write has replaced, deletes
// left out, in an order that is equal on all nodes. The bytes belong to the
// caller; a single one has the bytes of Value, or equal ones in a Change.
func (it *Item) Siblings() [][]byte {
	values := it.listValues()
	if !it.shared {
		return values
	}
	var out [][]byte
	for _, v := range values {
		out = append(out, append([]byte{}, v...))
	}
	return out
}

// listValues returns what Siblings shows, not to be changed where it is shared.
func (it *Item) listValues() [][]byte {
	if it.values == nil && it.live {
		return [][]byte{it.last}
	}
	return it.values
}

// Result tells what became of a write.
type Result struct {
	// Context covers the write: a next write that carries it replaces this.
	Context Context
	// Durable is how many distinct stores have synced the write.
	Durable int
	// Homes is how many of them are homes of the key.
	Homes int
	// Hinted is how many homes are down and have the write kept for them.
	Hinted int
	// Dot is the write's id.
	Dot version.Dot
	// Covered are the ids of the live values, deletes included, that the
	// write replaced.
	Covered []version.Dot
	// Queued tells that no store has the write yet: it is synced in the outbox
	// of this node, which stores nothing itself, and is delivered when a store
	// can be reached. Until then no read shows it, and it has no Dot.
	Queued bool
}

// timeFor is by what a reader judges which siblings of an item have ended. The clocks are
// read only where one ends at all.
func (b *Bucket) timeFor(it version.Item) version.HLC {
	if slices.ContainsFunc(it.Sibs, func(s version.Sibling) bool { return s.Expire != 0 }) {
		return b.s.clocks.Early()
	}
	return 0
}

// newItem shows an item to a reader, who gets copies of its values: now, or from shared
// ones, which do not change, when they are asked for.
func (b *Bucket) newItem(key string, it version.Item, replies int, shared bool) (Item, error) {
	now := b.timeFor(it)
	out := Item{Key: key, Context: b.contextOf(key, reconcile.SeenOf(it)), Replies: replies, shared: shared}
	show := func(value []byte) []byte {
		if shared {
			return value
		}
		return append([]byte{}, value...)
	}
	live := reconcile.Live(it, now)
	last, ok := reconcile.Last(it, now)
	if out.live = ok; ok {
		out.last = show(last.Value)
	}
	if !ok || len(live) > 1 {
		for i := range live {
			out.values = append(out.values, show(live[i].Value))
		}
	}
	if all := b.b.Def.Siblings; all && len(live) > 0 || !all && ok {
		return out, nil
	}
	return out, ErrNotFound
}
