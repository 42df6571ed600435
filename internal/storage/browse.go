package storage

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
)

// Cursor stands at a record of a store, or at none, and goes to others. It sees the
// records of one moment, synced data only.
type Cursor struct {
	s   *Store
	it  *pebble.Iterator
	ctx context.Context
}

// Browse calls fn with a cursor over the records with lower <= key < upper, for those who
// read here and there. It keeps files from being deleted until fn returns, and the cursor
// ends with it. The error is that of fn.
func (s *Store) Browse(ctx context.Context, lower, upper []byte, fn func(c *Cursor) error) error {
	return s.iterate(ctx, lower, upper, func(it *pebble.Iterator) error { return fn(&Cursor{s, it, ctx}) })
}

// Seek goes to the first record from key on, or, back, to the last one before it. It
// reports false if there is none, or if what is there cannot be read: see Err.
func (c *Cursor) Seek(key []byte, back bool) bool {
	if back {
		return c.it.SeekLT(key)
	}
	return c.it.SeekGE(key)
}

// Step goes to the next record, or back to the one before.
func (c *Cursor) Step(back bool) bool {
	if back {
		return c.it.Prev()
	}
	return c.it.Next()
}

// Key returns the key of the record. It is valid until the cursor moves.
func (c *Cursor) Key() []byte { return c.it.Key() }

// Value returns the value of the record, valid until the cursor moves. The error is
// ErrCorrupt if the record is damaged, which Options.OnCorrupt is told of.
func (c *Cursor) Value() ([]byte, error) { return c.s.readIterator(c.it) }

// Err returns why the cursor could not go on, nil if there is simply nothing further:
// ErrCorrupt, ErrStoreFailed, ErrClosed or that of the context.
func (c *Cursor) Err() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err := c.s.usable(); err != nil {
		return err
	}
	if err := c.it.Error(); err != nil {
		return c.s.unreadable(nil, err)
	}
	return nil
}
