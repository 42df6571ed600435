package scanning

import (
	"bytes"
	"container/heap"
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// How much is read ahead. For its first page an order reads all shards, perhaps in vain, so
// it reads little of each. Later it reads on in a shard only when that has run out, and what
// it reads is used. Values count although they are not wanted: they are read.
const (
	smallItem  = 2 << 10  // a larger item is left out, and read when its turn comes
	firstBytes = 4 << 10  // of a shard, for the first page
	laterBytes = 32 << 10 // of a shard, for another one
	mostAhead  = 64       // records of a shard
	mostHeld   = 2 << 20  // bytes of all shards that are held between two pages
)

// order merges the orders of several shards. The disk holds each shard in order of keys,
// so a few records of each are read ahead, and the least of all first ones comes next.
type order struct {
	standing
	q       wire.PageRequest // of the page that is read
	begun   time.Time
	read    bool // all shards have been read ahead once
	later   bool // a page was read before
	held    int  // bytes of what is read ahead
	shards  shardHeap
	c       *storage.Cursor // while a page is read
	ends    time.Time       // when the page ends with what it has; zero: when it is full
	entries []wire.PageEntry
	shardOf []int
	bytes   uint64
	more    bool
	upTo    string
}

// shardOrder is a shard, and what was read ahead of it.
type shardOrder struct {
	shard  int
	prefix []byte      // of its records
	within scan.Bounds // what was not read yet
	ahead  []aheadRecord
}

type aheadRecord struct {
	key   string
	item  []byte // empty if it is damaged
	large bool   // the item was left out
}

// size is what a record counts as while it is held.
func (r *aheadRecord) size() int { return len(r.key) + len(r.item) + 64 }

// newOrder begins an order of the shards that may be shown.
func newOrder(q *wire.PageRequest, at standing) *order {
	o := &order{standing: at, q: *q, begun: time.Now()}
	o.shards.within = boundsOf(q)
	for shard := range len(at.shown) * 8 {
		if at.shown.Has(shard) {
			o.shards.all = append(o.shards.all, &shardOrder{shard: shard, prefix: wire.RecordPrefix(shard, q.Bucket, 0), within: o.shards.within})
		}
	}
	return o
}

// limitAhead returns how many records of a shard are read ahead, how many bytes are read for
// that, and how many held; one record at least.
func (o *order) limitAhead() (records, read, held int) {
	shards := max(len(o.shards.all), 1)
	if o.later {
		return mostAhead, laterBytes, mostHeld / shards
	}
	return min(max(int(o.q.Records)/shards+2, 4), mostAhead), firstBytes, mostHeld / shards
}

func (o *order) isOld() bool { return time.Since(o.begun) > keptFor }

// goesOnWith tells whether a page begins where the last one ended.
func (o *order) goesOnWith(q *wire.PageRequest) bool {
	return !o.isOld() && q.Bucket == o.q.Bucket && q.KeysOnly == o.q.KeysOnly && bytes.Equal(q.Shards, o.q.Shards) &&
		boundsOf(q) == boundsOf(&o.q).Beyond(o.upTo)
}

func boundsOf(q *wire.PageRequest) scan.Bounds {
	return scan.Bounds{Lower: q.Lower, Upper: q.Upper, Bounded: q.Bounded, Reverse: q.Reverse}
}

// readPage reads the next page. It ends when half the time is over that whoever asks has
// for it: a page that comes too late would be asked for again, and take as long.
func (o *order) readPage(ctx context.Context, disk *storage.Store, q *wire.PageRequest) error {
	o.q, o.entries, o.shardOf, o.bytes, o.more, o.upTo = *q, nil, nil, 0, false, ""
	o.ends = time.Time{}
	if end, ok := ctx.Deadline(); ok {
		o.ends = time.Now().Add(time.Until(end) / 2)
	}
	if len(o.shards.all) == 0 || boundsOf(q).Empty() {
		return nil
	}
	first, last := o.shards.all[0].prefix, o.shards.all[0].prefix
	for _, s := range o.shards.all {
		if bytes.Compare(s.prefix, first) < 0 {
			first = s.prefix
		}
		if bytes.Compare(s.prefix, last) > 0 {
			last = s.prefix
		}
	}
	return disk.Browse(ctx, first, wire.After(last), func(c *storage.Cursor) error {
		o.c = c
		defer func() { o.c = nil }()
		if !o.read {
			if err := o.readAllAhead(); err != nil {
				return err
			}
		}
		return o.takeRecords()
	})
}

// readAllAhead reads the first records of each shard.
func (o *order) readAllAhead() error {
	all := o.shards.all
	var some []*shardOrder
	for _, s := range all {
		if err := o.readAhead(s); err != nil {
			return err
		}
		if len(s.ahead) > 0 {
			some = append(some, s)
		}
	}
	o.shards.all = some
	heap.Init(&o.shards)
	o.read = true
	return nil
}

// readAhead reads the next records of a shard.
func (o *order) readAhead(s *shardOrder) error {
	s.ahead = nil
	if s.within.Empty() {
		return nil
	}
	mostRecords, mostRead, mostHeld := o.limitAhead()
	read, held := 0, 0
	for ok := o.c.Seek(s.startKey(), o.q.Reverse); ok; ok = o.c.Step(o.q.Reverse) {
		at := o.c.Key()
		if len(at) < len(s.prefix) || string(at[:len(s.prefix)]) != string(s.prefix) {
			break
		}
		r := aheadRecord{key: string(at[len(s.prefix):])}
		if !s.within.Has(r.key) {
			break
		}
		value, err := o.c.Value()
		if err == nil {
			r.item = itemOf(value, o.q.KeysOnly)
		}
		if r.large = len(r.item) > smallItem; r.large {
			r.item = nil
		} else if !o.q.KeysOnly {
			r.item = bytes.Clone(r.item) // it is the cursor's
		}
		s.ahead = append(s.ahead, r)
		read, held = read+len(value), held+r.size()
		if read >= mostRead || held >= mostHeld || len(s.ahead) >= mostRecords {
			break // and does not so much as look at the next one
		}
	}
	if n := len(s.ahead); n > 0 {
		s.within = s.within.Beyond(s.ahead[n-1].key)
	}
	o.held += held
	return o.c.Err()
}

// startKey is where the records begin that were not read yet: in reverse, behind them.
func (s *shardOrder) startKey() []byte {
	switch {
	case !s.within.Reverse:
		return append(s.prefix[:len(s.prefix):len(s.prefix)], s.within.Lower...)
	case s.within.Bounded:
		return append(s.prefix[:len(s.prefix):len(s.prefix)], s.within.Upper...)
	}
	return wire.After(s.prefix)
}

// takeRecords takes what comes first until the page is full.
func (o *order) takeRecords() error {
	for len(o.shards.all) > 0 {
		if n := len(o.entries); n > 0 && (n >= int(min(o.q.Records, maxRecords)) || o.bytes >= min(o.q.Bytes, maxBytes) || o.isLate()) {
			o.more, o.upTo = true, o.entries[n-1].Key
			return nil
		}
		s := o.shards.all[0]
		if err := o.addEntry(s); err != nil {
			return err
		}
		o.held -= s.ahead[0].size()
		s.ahead[0] = aheadRecord{} // it is held no longer
		if s.ahead = s.ahead[1:]; len(s.ahead) == 0 {
			if err := o.readAhead(s); err != nil {
				return err
			}
		}
		if len(s.ahead) == 0 {
			heap.Pop(&o.shards)
		} else {
			heap.Fix(&o.shards, 0)
		}
	}
	return nil
}

func (o *order) isLate() bool { return !o.ends.IsZero() && !time.Now().Before(o.ends) }

// addEntry adds the next record of a shard to the page.
func (o *order) addEntry(s *shardOrder) error {
	r := s.ahead[0]
	if r.large {
		item, err := o.readLarge(s, r.key)
		if err != nil {
			return err
		}
		r.item = item
	}
	e := wire.PageEntry{Key: r.key, Item: r.item}
	o.entries, o.shardOf = append(o.entries, e), append(o.shardOf, s.shard)
	o.bytes += sizeOf(&e)
	return nil
}

// sizeOf is what an entry counts as in a page.
func sizeOf(e *wire.PageEntry) uint64 { return uint64(len(e.Key) + len(e.Item) + 16) }

// exceeds tells whether a page holds more than was asked for: it ends with the record
// that fills it, however large that is.
func exceeds(q *wire.PageRequest, m *wire.PageReply) bool {
	var bytes uint64
	for i := range m.Entries {
		if bytes >= q.Bytes {
			return true
		}
		bytes += sizeOf(&m.Entries[i])
	}
	return uint64(len(m.Entries)) > q.Records
}

// readLarge reads an item that was left out; none if it is damaged, or gone since then.
func (o *order) readLarge(s *shardOrder, key string) ([]byte, error) {
	at := append(s.prefix[:len(s.prefix):len(s.prefix)], key...)
	if !o.c.Seek(at, false) || !bytes.Equal(o.c.Key(), at) {
		return nil, o.c.Err()
	}
	value, err := o.c.Value()
	if err != nil {
		return nil, nil // reported where it was found
	}
	return bytes.Clone(itemOf(value, o.q.KeysOnly)), nil
}

// itemOf takes the item out of a record; empty if it does not read.
func itemOf(value []byte, keysOnly bool) []byte {
	rec, err := wire.DecodeRecord(value)
	if err != nil {
		return nil
	}
	if !keysOnly {
		return rec.Item
	}
	it, err := wire.DecodeItem(rec.Item)
	if err != nil {
		return nil
	}
	for i := range it.Sibs {
		it.Sibs[i].Value = nil
	}
	return wire.AppendItem(make([]byte, 0, wire.ItemSize(&it)), &it)
}

// shardHeap has the shard of the next key on top.
type shardHeap struct {
	all    []*shardOrder
	within scan.Bounds
}

func (h *shardHeap) Len() int { return len(h.all) }

func (h *shardHeap) Less(i, j int) bool {
	return h.within.Precedes(h.all[i].ahead[0].key, h.all[j].ahead[0].key)
}

func (h *shardHeap) Swap(i, j int) { h.all[i], h.all[j] = h.all[j], h.all[i] }

func (h *shardHeap) Push(x any) { h.all = append(h.all, x.(*shardOrder)) }

func (h *shardHeap) Pop() any {
	last := h.all[len(h.all)-1]
	h.all[len(h.all)-1] = nil // it is held no longer
	h.all = h.all[:len(h.all)-1]
	return last
}
