package replica

import (
	"cmp"
	"context"
	"io"
	"sync"

	"github.com/skeinmesh/skein/internal/replica/scanning"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// bucketScan is a scan as the bucket shows it.
type bucketScan struct {
	b      *Bucket
	opts   ScanOptions
	level  replicate.Level
	reader *scanning.Reader
	left   int           // entries that may still come; -1: any number
	told   bool          // that the bucket is in conflict
	queue  []queuedEntry // of the reader, not shown yet
	moved  bool          // a key has been passed, which is at
	at     string
}

// queuedEntry is a key whose turn comes.
type queuedEntry struct {
	scanning.Entry
	again     bool // it must be read again, alone
	undecided bool // that was done, and too few stores answered
}

// Keys that must be read again are read so many at a time, and with those between them
// so many are held. A cut that has healed may leave very many.
const (
	rereadAtOnce = 16
	mostQueued   = 64
)

// beginScan begins a scan of which about so many bytes are wanted; 0: all.
func (b *Bucket) beginScan(opts ScanOptions, bytes int) (*bucketScan, error) {
	return b.beginScanOf(opts, bytes, nil)
}

// beginScanOf is beginScan of some shards; see scanning.Query.First.
func (b *Bucket) beginScanOf(opts ScanOptions, bytes int, first map[int]view.NodeID) (*bucketScan, error) {
	within, err := opts.bounds()
	if err != nil {
		return nil, err
	}
	leave, ok := b.s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	level, _ := opts.Level.coreLevel() // bounds has looked at it
	sc := &bucketScan{b: b, opts: opts, level: level, left: opts.Limit}
	if opts.Limit == 0 {
		sc.left = -1
	}
	sc.reader = b.s.beginScan(scanning.Query{Bucket: b.b, Within: within, Level: level, KeysOnly: opts.KeysOnly, Limit: opts.Limit, Bytes: bytes, First: first})
	return sc, nil
}

func (sc *bucketScan) endScan() { sc.reader.Close() }

// cursor returns where the scan has come to: behind the last key that was shown or found
// to have no live value.
func (sc *bucketScan) cursor() string {
	if !sc.moved {
		return sc.opts.After
	}
	return cursorOf(sc.at)
}

// nextEntry returns the next item that has a live value, or an error: see Scan. io.EOF
// when there is none. After the error of ctx the scan can go on. The store can be closed
// between two calls.
func (sc *bucketScan) nextEntry(ctx context.Context) (Entry, error) {
	leave, ok := sc.b.s.gate.Ops.Enter()
	if !ok {
		return Entry{}, ErrClosed
	}
	defer leave()
	if !sc.told {
		sc.told = true
		if err := sc.b.withConflict(nil); err != nil {
			return Entry{}, err
		}
	}
	for sc.left != 0 {
		e, err := sc.takeKey(ctx)
		if err != nil {
			return Entry{}, sc.b.s.scanError(err, sc.b.b)
		}
		item, err := sc.b.newItem(e.Key, e.Item, e.Replies, false)
		if err != nil {
			continue // no live value
		}
		if sc.opts.KeysOnly {
			item.clearValues()
		}
		sc.left = max(sc.left-1, -1)
		return Entry{item}, nil
	}
	return Entry{}, io.EOF
}

// takeKey returns the next key, whatever is known of it.
func (sc *bucketScan) takeKey(ctx context.Context) (scanning.Entry, error) {
	if err := sc.fillQueue(ctx); err != nil {
		return scanning.Entry{}, err
	}
	e := sc.queue[0]
	if e.undecided {
		// There may be such a key, or a later value. That is told first.
		sc.queue[0].undecided = false
		sc.reader.NoteGap(sc.b.s.homes.ShardOf(sc.b.b.ID, e.Key))
		if err := sc.reader.TakeGap(); err != nil {
			return scanning.Entry{}, err
		}
	}
	sc.queue[0] = queuedEntry{} // it is held no longer
	sc.queue = sc.queue[1:]
	sc.at, sc.moved = e.Key, true
	return e.Entry, nil
}

// fillQueue sees to it that the first key of the queue can be shown. Behind one that must
// be read again those are taken that have been settled already, and are read with it.
func (sc *bucketScan) fillQueue(ctx context.Context) error {
	if len(sc.queue) == 0 {
		e, err := sc.reader.Next(ctx)
		if err != nil {
			return err
		}
		most := mostQueued
		if sc.left > 0 {
			most = min(most, sc.left)
		}
		again := sc.enqueue(e)
		for again > 0 && again < rereadAtOnce && len(sc.queue) < most {
			e, ok := sc.reader.NextSettled()
			if !ok {
				break
			}
			again += sc.enqueue(e)
		}
	}
	if !sc.queue[0].again {
		return nil
	}
	return sc.readQueue(ctx)
}

// enqueue appends a key to the queue. It returns 1 if the key must be read again: see
// scan.Found.
func (sc *bucketScan) enqueue(e scanning.Entry) int {
	again := e.Damaged
	if e.Disputed && !again {
		_, err := sc.b.newItem(e.Key, e.Item, e.Replies, false)
		again = err == nil
	}
	sc.queue = append(sc.queue, queuedEntry{Entry: e, again: again})
	if again {
		return 1
	}
	return 0
}

// readQueue reads the keys of the queue again that must be, all at once.
func (sc *bucketScan) readQueue(ctx context.Context) error {
	var all sync.WaitGroup
	errs := make([]error, len(sc.queue))
	for i := range sc.queue {
		if sc.queue[i].again {
			all.Go(func() { errs[i] = sc.readAgain(ctx, &sc.queue[i]) })
		}
	}
	all.Wait()
	return cmp.Or(errs...)
}

// readAgain reads a key by itself. Where too few stores answer, what the pages had counts
// as well: it may be newer than what they say. Otherwise it does not: it may be from
// before a delete that was purged.
func (sc *bucketScan) readAgain(ctx context.Context, e *queuedEntry) error {
	s := sc.b.s
	read, err := s.reader.ReadKey(ctx, sc.b.b, s.homes.LocateKey(sc.b.b.ID, e.Key), sc.level)
	switch {
	case s.group.Context().Err() != nil:
		return scanning.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil || read.Err != nil: // err: of this node's disk
		e.undecided = true
		e.Item, e.Replies = version.Merge(e.Item, read.Item), max(e.Replies, read.Replies)
	default:
		e.Item, e.Replies = read.Item, read.Replies
	}
	e.again = false
	return nil
}

// clearValues leaves an item as it is without its values.
func (it *Item) clearValues() {
	for i := range it.values {
		it.values[i] = []byte{}
	}
	if it.live {
		it.last = []byte{}
	}
}
