package replica

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/reading"
)

// What a batch may hold.
const (
	// MaxBatch is how many entries a batch may have.
	MaxBatch = 1024
	// MaxBatchBytes is how many bytes the keys and values of a batch may have together,
	// unless it has a single entry.
	MaxBatchBytes = 4 << 20
)

// BatchPut is a value that PutMany writes.
type BatchPut struct {
	Key string
	// Value stays the caller's.
	Value []byte
	// Context is as in PutOptions.
	Context Context
	// TTL is as in PutOptions. Zero: as the options of the batch say.
	TTL time.Duration
}

// BatchDelete is a key that DeleteMany deletes.
type BatchDelete struct {
	Key string
	// Context is as in DeleteOptions.
	Context Context
}

// BatchGet is a key that GetMany reads.
type BatchGet struct {
	Key string
	// Seen is as in GetOptions.
	Seen Context
}

// BatchItem is what an entry of GetMany has read.
type BatchItem struct {
	Item
	// Err is what Get would have returned.
	Err error
}

// BatchResult is what became of an entry of PutMany or DeleteMany.
type BatchResult struct {
	Result
	// Err is what Put or Delete would have returned.
	Err error
}

// batchWrite is an entry of a batch of writes as its client wants it.
type batchWrite struct {
	key   string
	write reconcile.Write
	seen  Context
}

// PutMany writes many values as one Put for each would, but faster: the writes for which
// one store is to coordinate go there in one message, are committed with one sync, or few
// where they are large, and go to each home in one message. There is one result for each
// entry, in the order of puts.
//
// It promises for each entry what Put promises, and nothing for all of them: others may
// see some before the rest, and some may fail while the rest is kept. Writes of one key
// happen in the order of the batch; those of different keys in any.
//
// The error is nil if all went well. Else it says how many entries did not, and is all of
// their errors for errors.Is. ErrBadBatch names all entries that cannot be written, with
// their places, counted from 0: no results come beside it, and nothing was begun. So it is
// with ErrClosed alone. Of a batch for which there is no room the entries behind those for
// which there was end in ErrOverloaded at once.
//
// opts holds for all entries; its Context must be zero.
func (b *Bucket) PutMany(ctx context.Context, puts []BatchPut, opts *PutOptions) ([]BatchResult, error) {
	var o PutOptions
	if opts != nil {
		o = *opts
	}
	writes := make([]batchWrite, len(puts))
	for i := range puts {
		p := &puts[i]
		writes[i] = batchWrite{p.Key, b.newValue(p.Value, cmp.Or(p.TTL, o.TTL)), p.Context}
	}
	return b.writeMany(ctx, writes, &o)
}

// DeleteMany deletes many keys; see PutMany and Delete.
func (b *Bucket) DeleteMany(ctx context.Context, deletes []BatchDelete, opts *DeleteOptions) ([]BatchResult, error) {
	var o PutOptions
	if opts != nil {
		o = PutOptions{Context: opts.Context, Level: opts.Level, MinDurable: opts.MinDurable, Token: opts.Token}
	}
	writes := make([]batchWrite, len(deletes))
	for i := range deletes {
		writes[i] = batchWrite{deletes[i].Key, reconcile.Write{Tomb: true}, deletes[i].Context}
	}
	return b.writeMany(ctx, writes, &o)
}

func (b *Bucket) writeMany(ctx context.Context, writes []batchWrite, o *PutOptions) ([]BatchResult, error) {
	s, begun := b.s, time.Now()
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	entries, err := b.checkWrites(writes, o)
	if err != nil {
		return nil, b.withConflict(err)
	}
	admitted := entries
	for i, e := range entries {
		if !s.gate.Clients.MakeRoom(e.PendingBytes()) {
			admitted = entries[:i]
			break
		}
		defer s.gate.Clients.ReleaseBytes(e.PendingBytes())
	}
	for _, e := range entries[len(admitted):] {
		e.Err = admission.Overload{After: admission.RetryAfter}
	}
	if s.outbox != nil {
		b.writeOrQueueMany(ctx, admitted, o)
	} else {
		s.router.RouteMany(ctx, routesOf(admitted))
	}
	results := make([]BatchResult, len(entries))
	failed := batchError{of: len(entries)}
	for i, e := range entries {
		r := &results[i]
		if r.Result, r.Err = e.result, e.Err; !e.queued {
			r.Result, r.Err = b.newResult(e.At.Key, e.Out, e.Err)
		}
		failed.addEntry(i, r.Err)
		s.meters.countPut(begun, &r.Result, &r.Err)
	}
	return results, failed.errorIfAny()
}

// checkWrites makes requests of what a client wants, or names all that cannot be.
func (b *Bucket) checkWrites(writes []batchWrite, o *PutOptions) ([]*manyEntry, error) {
	check := newBatchCheck(len(writes), b.cfg.MaxKey)
	if !o.Context.IsZero() {
		check.addFault("a Context belongs to one key: it goes into the entry")
	}
	_, err := o.Level.coreLevel()
	check.addError(err)
	check.addError(b.checkDurable(o.MinDurable))
	check.addError(checkToken(o.Token))
	entries := make([]manyEntry, len(writes))
	out := make([]*manyEntry, len(writes))
	for i := range writes {
		w, e := &writes[i], &entries[i]
		w.write.Token = o.Token
		out[i] = e
		check.addKey(i, w.key, len(w.write.Value))
		if w.key == "" && !w.write.Tomb {
			check.addEntry(i, w.key, errEmptyKey)
		}
		if len(w.write.Value) > b.cfg.MaxValue {
			check.addEntry(i, w.key, tooLarge("value", len(w.write.Value), b.cfg.MaxValue))
		}
		if w.write.Seen, err = w.seen.seenFor(b, w.key); err != nil {
			check.addEntry(i, w.key, err)
		}
		if check.failed() {
			continue
		}
		w.write.Value = bytes.Clone(w.write.Value) // a copy may be on its way when the client has its answer
		if e.Request, err = b.newRequest(w.key, w.write, o.Level, o.MinDurable); err != nil {
			return nil, err
		}
		e.after = w.seen.after
	}
	return out, check.allFaults()
}

// GetMany reads many keys as a Get for each would, but faster: the questions for each store
// go there in one message. There is one item for each entry, in the order of gets. They are
// not of one moment. An answer holds as much as the items have; nothing else bounds it.
//
// The error is nil if all went well, also where a key was not found: ErrNotFound is then in
// its item alone. Else it is as with PutMany. opts holds for all entries; its Seen must be
// zero.
func (b *Bucket) GetMany(ctx context.Context, gets []BatchGet, opts *GetOptions) ([]BatchItem, error) {
	s, begun := b.s, time.Now()
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	var o GetOptions
	if opts != nil {
		o = *opts
	}
	reads, err := b.checkReads(gets, &o)
	if err != nil {
		return nil, b.withConflict(err)
	}
	questions := s.questions.Lanes.NewShipment()
	under := make([]reading.UnderWay, len(reads))
	for i := range reads {
		under[i] = reads[i].beginReading(ctx, questions)
	}
	questions.Leave()
	items := make([]BatchItem, len(reads))
	var behind sync.WaitGroup
	for i := range reads {
		show := func() {
			items[i].Item, items[i].Err = reads[i].showItem(ctx, under[i])
			s.meters.countGet(begun, &items[i].Item, &items[i].Err)
		}
		if gets[i].Seen.IsZero() {
			show()
		} else {
			behind.Go(show) // it may have to ask for long
		}
	}
	behind.Wait()
	failed := batchError{of: len(items)}
	for i := range items {
		if err := items[i].Err; !isPlainlyMissing(err) {
			failed.addEntry(i, err)
		}
	}
	return items, failed.errorIfAny()
}

// isPlainlyMissing tells whether an error says no more than that there is no value.
func isPlainlyMissing(err error) bool {
	return errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDegraded) && !errors.Is(err, ErrBucketConflict)
}

// checkReads makes reads of what a client wants, or names all that cannot be.
func (b *Bucket) checkReads(gets []BatchGet, o *GetOptions) ([]keyRead, error) {
	check := newBatchCheck(len(gets), b.cfg.MaxKey)
	if !o.Seen.IsZero() {
		check.addFault("what was seen is of one key: it goes into the entry")
	}
	level, err := o.Level.coreLevel()
	check.addError(err)
	reads := make([]keyRead, len(gets))
	for i := range gets {
		check.addKey(i, gets[i].Key, 0)
		if reads[i], err = b.newRead(gets[i].Key, level, gets[i].Seen); err != nil {
			check.addEntry(i, gets[i].Key, err)
		}
	}
	return reads, check.allFaults()
}

// batchCheck finds the faults of a batch.
type batchCheck struct {
	n, maxKey int
	bytes     int
	full      bool // it was said that there are too many bytes
	faults    []error
}

func newBatchCheck(n, maxKey int) *batchCheck {
	c := &batchCheck{n: n, maxKey: maxKey}
	if n > MaxBatch {
		c.addError(fmt.Errorf("%w: batch of %d entries, limit %d", ErrTooLarge, n, MaxBatch))
	}
	return c
}

func (c *batchCheck) addFault(text string) { c.addError(errors.New(text)) }

func (c *batchCheck) addError(err error) {
	if err != nil {
		c.faults = append(c.faults, fmt.Errorf("%w: %w", ErrBadBatch, err))
	}
}

func (c *batchCheck) addEntry(i int, key string, err error) {
	c.faults = append(c.faults, fmt.Errorf("%w: entry %d, key %.40q: %w", ErrBadBatch, i, key, err))
}

// addKey looks at the size of an entry.
func (c *batchCheck) addKey(i int, key string, value int) {
	if len(key) > c.maxKey {
		c.addEntry(i, key, tooLarge("key", len(key), c.maxKey))
	}
	if c.bytes += len(key) + value; c.bytes > MaxBatchBytes && c.n > 1 && !c.full {
		c.full = true
		c.addEntry(i, key, fmt.Errorf("%w: with it the batch has %d bytes, limit %d", ErrTooLarge, c.bytes, MaxBatchBytes))
	}
}

func (c *batchCheck) failed() bool { return len(c.faults) > 0 }

func (c *batchCheck) allFaults() error { return errors.Join(c.faults...) }

// batchError says that entries of a batch have failed.
type batchError struct {
	of    int
	first int // the place of the first one
	errs  []error
}

func (e *batchError) addEntry(i int, err error) {
	if err != nil && len(e.errs) == 0 {
		e.first = i
	}
	if err != nil {
		e.errs = append(e.errs, err)
	}
}

func (e *batchError) errorIfAny() error {
	if len(e.errs) == 0 {
		return nil
	}
	return e
}

func (e *batchError) Error() string {
	return fmt.Sprintf("replica: %d of %d entries of a batch, the first of them entry %d: %v", len(e.errs), e.of, e.first, e.errs[0])
}

func (e *batchError) Unwrap() []error { return e.errs }
