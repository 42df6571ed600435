package replica

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/skeinmesh/skein/internal/replica/watching"
	"github.com/skeinmesh/skein/internal/wire"
)

// WatchOptions say what is watched. The zero WatchOptions means all changes of a bucket
// from now on.
type WatchOptions struct {
	// Prefix is what the keys begin with. Empty: anything.
	Prefix string
	// From has a watch go on where another one of the bucket has stopped: behind the change
	// whose Cursor this is. Empty: from now on.
	From Cursor
	// Present tells of what is there first, each key as a ChangePut. It does not count
	// beside From.
	Present bool
}

// Cursor is where a watch has come to, as URL-safe text. It means the same on all nodes, and
// outlives the program. With age more of what it stands for has been forgotten, which a
// watch says by a gap.
type Cursor string

// cursorOfWatch begins the text of a watch's cursor.
const cursorOfWatch = "w"

// ChangeKind says what a Change tells.
type ChangeKind uint8

// Kinds of changes.
const (
	// ChangePut: the Item is what the key has now, as Get shows it.
	ChangePut ChangeKind = iota + 1
	// ChangeDelete: the key was deleted. Of the Item there is Key and Context.
	ChangeDelete
	// ChangeExpire: the value of the key has ended by its TTL. Of the Item there is Key
	// and Context.
	ChangeExpire
	// ChangeGap: from here on changes of the Shards may be missing, until a ChangeCurrent
	// tells of them.
	ChangeGap
	// ChangeCurrent: what might have been missing of the Shards has been told. From here on
	// all their changes are.
	ChangeCurrent
)

// String returns put, delete, expire, gap or current.
func (k ChangeKind) String() string {
	if names := [...]string{"", "put", "delete", "expire", "gap", "current"}; int(k) < len(names) && k > 0 {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Change is what a watch tells.
type Change struct {
	Kind ChangeKind
	Item // of a key
	// Shards are those that a gap is about, or the end of one. Keys cannot be told apart by
	// them.
	Shards []int
	// Open is how many shards of the bucket are not current behind a ChangeGap or a
	// ChangeCurrent. Zero: all changes are told of.
	Open int

	cursor watching.Cursor
	text   Cursor // if it is not empty it stands for cursor
}

// Cursor returns where the watch has come to with this change: see WatchOptions.From. What
// was told before it may be told again, what comes after it is.
func (c *Change) Cursor() Cursor {
	if c.text != "" || c.cursor.IsZero() {
		return c.text
	}
	m := c.cursor.ToWire()
	return Cursor(cursorOfWatch + base64.RawURLEncoding.EncodeToString(wire.AppendWatchCursor(nil, &m)))
}

// decodeText reads what Change.Cursor wrote.
func (c Cursor) decodeText() (wire.WatchCursor, error) {
	rest, ok := strings.CutPrefix(string(c), cursorOfWatch)
	data, err := base64.RawURLEncoding.DecodeString(rest)
	if err == nil && ok {
		var m wire.WatchCursor
		if m, err = wire.DecodeWatchCursor(data); err == nil {
			return m, nil
		}
	}
	return wire.WatchCursor{}, fmt.Errorf("%w: %.40q in From is no cursor of a watch", ErrBadWatch, string(c))
}

// Validate reports all faults of the options at once, each an ErrBadWatch.
func (o WatchOptions) Validate() error {
	var errs []error
	if len(o.Prefix) > wire.MaxKey {
		errs = append(errs, fmt.Errorf("%w: Prefix of %d bytes, keys have %d at most", ErrBadWatch, len(o.Prefix), wire.MaxKey))
	}
	if o.From != "" {
		_, err := o.From.decodeText()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Watch returns the changes of the bucket's items from all nodes, as the sequence is
// consumed: what is present if that was asked for, then every put, delete and end of a TTL.
//
// Of each key the last state is told for sure. States in between may be left out. A key that
// is among the 65 536 told last never goes back: no state is told that another one told
// before has seen, and nothing is told twice. Another key may go back or be told again
// behind a gap, until its last state is told; so may any key by a watch that goes on from a
// cursor.
//
// Where changes may be missing, because a node that was followed died, was silent for three
// beats (of twice Config.AckTimeout) or has forgotten what comes next, a ChangeGap says of
// which shards. Another node is followed then and the shards are read anew; what is news is
// told, and a ChangeCurrent ends the gap. A delete that was purged during a gap is told if
// the key was among those told last by this watch; a watch that goes on from a cursor of
// another one does not know of it. A watch begins with a ChangeCurrent, behind what is
// present.
//
// A pair holds a Change, or an error beside a Change that has a Cursor alone. An error that
// is ErrBucketConflict says what is wrong with what follows, and the watch goes on. Any
// other one is the last pair: ErrBadWatch, ErrTooSlow, ErrClosed, or that of ctx. Nodes out
// of reach are no error: the watch goes on when they are back.
//
// A watch holds a page of changes of each node that it follows, 128 KiB and one item at most
// and smaller ones where these are many, and notes of the keys told last, of about 250 bytes
// each and 16 MiB at most. Nothing is fetched until it is consumed. Nodes keep their last
// 65 536 changes, of 16 MiB at most, for all who watch; whoever has not consumed what they
// must forget is ended by ErrTooSlow, and nobody waits for it. A node lets 4 096 watches of
// its own and 1 024 further ones wait for its changes, of each other node 128; those of yet
// further ones are told within a beat.
// Changes that come quickly are told together: behind some a watch waits 5 ms for the next
// ones, and half a millisecond for each other watch of that node if these are more than ten.
//
// Where four or more watches of a bucket at one node follow the same other node, that is
// asked for all its changes once, instead of by each of them for its own, unless hardly any
// is of what they watch, or there are always more. For that a node keeps the last 4 096 changes, 4 MiB at most, of 16 others at most.
func (b *Bucket) Watch(ctx context.Context, opts WatchOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w, err := b.beginWatch(opts)
		if err != nil {
			yield(Change{text: opts.From}, err)
			return
		}
		defer w.reader.Close()
		for {
			if err := ctx.Err(); err != nil { // also where there is always more to tell
				yield(Change{cursor: w.reader.Cursor()}, fmt.Errorf("replica: watch: %w", err))
				return
			}
			c, err := w.nextChange(ctx)
			if !yield(c, err) || err != nil && !errors.Is(err, ErrBucketConflict) {
				return
			}
		}
	}
}

// bucketWatch is a watch as the bucket shows it.
type bucketWatch struct {
	b      *Bucket
	reader *watching.Reader
	told   bool // that the bucket is in conflict
}

func (b *Bucket) beginWatch(opts WatchOptions) (*bucketWatch, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	leave, ok := b.s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	q := watching.Query{
		Bucket: b.b, Prefix: opts.Prefix, Present: opts.Present,
		Live: b.isLive, Due: b.dateOfEnd, BeginFill: b.fillerOf(opts.Prefix), ReadKey: b.readEverywhere,
	}
	if opts.From != "" {
		m, err := opts.From.decodeText()
		if err != nil {
			return nil, err
		}
		if m.Bucket != b.b.ID {
			return nil, fmt.Errorf("%w: From is of another bucket than %q", ErrBadWatch, b.Name())
		}
		q.From = watching.PlacesOf(&m, b.s.homes.ShardsOf(b.b))
	}
	return &bucketWatch{b: b, reader: b.s.watches.Begin(q)}, nil
}

// nextChange returns the next change, or an error: see Watch. After the error of ctx the
// watch can go on. The store can be closed between two calls.
func (w *bucketWatch) nextChange(ctx context.Context) (Change, error) {
	e, err := w.nextEvent(ctx)
	if err != nil {
		return Change{cursor: w.reader.Cursor()}, err
	}
	return w.b.changeOf(&e), nil
}

// nextEvent is nextChange, with what the reader knows.
func (w *bucketWatch) nextEvent(ctx context.Context) (e watching.Event, err error) {
	leave, ok := w.b.s.gate.Ops.Enter()
	if !ok {
		return e, ErrClosed
	}
	defer leave()
	if !w.told {
		w.told = true
		if err := w.b.withConflict(nil); err != nil {
			return e, err
		}
	}
	e, err = w.reader.Next(ctx)
	switch {
	case err == nil:
	case errors.Is(err, watching.ErrClosed):
		err = fmt.Errorf("%w: watch", ErrClosed)
	case errors.Is(err, watching.ErrTooSlow):
		err = fmt.Errorf("%w: the changes behind its cursor are forgotten", ErrTooSlow)
	default:
		err = fmt.Errorf("replica: watch: %w", err)
	}
	return e, err
}

// changeOf shows an event.
func (b *Bucket) changeOf(e *watching.Event) Change {
	c := Change{cursor: e.Cursor}
	if m := e.Mark; m != nil {
		c.Kind, c.Shards, c.Open = ChangeCurrent, m.Shards, m.Open
		if m.Gap {
			c.Kind = ChangeGap
		}
		return c
	}
	item, err := b.newItem(e.Key, e.Item, e.Replies, e.Shared)
	switch {
	case e.Live && err == nil:
		c.Kind, c.Item = ChangePut, item
		return c
	case e.Live, e.Ended: // it has ended this moment
		c.Kind = ChangeExpire
	default:
		c.Kind = ChangeDelete
	}
	c.Item = Item{Key: e.Key, Context: item.Context, Replies: e.Replies}
	return c
}
