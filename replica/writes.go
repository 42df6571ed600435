package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/replica/version"
)

// Writes shows a bucket as the writes of which it consists, each by its dot, which names the store
// that has coordinated it: package backup/ledger enters them in its log. All methods may be used
// concurrently. What they return and tell must not be changed.
type Writes struct{ b *Bucket }

// Writes returns the bucket as writes.
func (b *Bucket) Writes() *Writes { return &Writes{b} }

// Name returns the name of the bucket.
func (w *Writes) Name() string { return w.b.Name() }

// Read returns the writes of a key that none has replaced, deletes among them: first the one that
// decides what Get shows under LastWriterWins. There are none if the key is not known. ErrDegraded
// comes beside what is known where too few stores could be asked.
func (w *Writes) Read(ctx context.Context, key string) ([]version.Sibling, error) {
	s := w.b.s
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	read, err := s.reader.ReadKey(ctx, w.b.b, s.homes.LocateKey(w.b.b.ID, key), replicate.DefaultLevel)
	if err != nil {
		return nil, fmt.Errorf("replica: read writes: %w", err)
	}
	all := slices.Clone(read.Item.Sibs)
	if i := reconcile.Latest(read.Item); i > 0 {
		all[0], all[i] = all[i], all[0]
	}
	return all, writing.PublicError(read.Err)
}

// Follow tells of the writes of all keys: of each key those that none has replaced, whenever they
// change, deletes and ended values among them. It begins with what is there if from is empty, else
// where an earlier call has told current of that place, which means the same as the Cursor of a
// Change. It tells what Watch tells, with the same limits, and calls current when nothing is
// missing. It ends when told returns an error, with that, or as a Watch does; a node that was
// restarted tells again what it has told since from, and what it has missed.
func (w *Writes) Follow(ctx context.Context, from string, told func(key string, all []version.Sibling) error, current func(at string) error) error {
	bw, err := w.b.beginWatch(WatchOptions{From: Cursor(from), Present: from == ""})
	if err != nil {
		return err
	}
	defer bw.reader.Close()
	for {
		e, err := bw.nextEvent(ctx)
		switch {
		case errors.Is(err, ErrBucketConflict):
			continue
		case err != nil:
			return err
		case e.Mark == nil:
			err = told(e.Key, e.Item.Sibs)
		case !e.Mark.Gap && e.Mark.Open == 0:
			err = current(string((&Change{cursor: e.Cursor}).Cursor()))
		}
		if err != nil {
			return err
		}
	}
}
