// Package scanning reads the keys of a bucket in order: Pages is what a store answers
// others with, from its own disk, and a Reader asks the stores and merges what they
// answer, as internal/scan says. What a value reads as, and for whom, is not known here.
package scanning

import (
	"container/heap"
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// What a page may hold, whatever is asked for.
const (
	maxRecords = 1024
	maxBytes   = 128 << 10 // one record at least, however large
)

// pagesAtOnce bounds the pages that are read at the same time. Those that are being sent
// come on top.
const pagesAtOnce = 4

// PagesOptions describe the pages of one store. All fields must be set.
type PagesOptions struct {
	Disk   *storage.Store
	Homes  *layout.Homes
	Shards int // of the mesh
	// Lags tells whether what is here of a shard may have been purged elsewhere. It is
	// shown to nobody.
	Lags func(shard int) bool
	Wait time.Duration // how long a question waits for others before it is refused
}

// Pages reads pages of a store's own records. All methods may be used concurrently.
type Pages struct {
	opts  PagesOptions
	turns chan struct{}
}

// NewPages returns the pages of a store.
func NewPages(opts PagesOptions) *Pages {
	return &Pages{opts: opts, turns: make(chan struct{}, pagesAtOnce)}
}

// Read reads one page. The reply is CodeOverloaded when too many others are being read.
// The error is that of the disk.
func (p *Pages) Read(ctx context.Context, q *wire.PageRequest) (wire.PageReply, error) {
	wait := time.NewTimer(p.opts.Wait)
	defer wait.Stop()
	select {
	case p.turns <- struct{}{}:
	case <-wait.C:
		return wire.PageReply{Code: wire.CodeOverloaded}, nil
	case <-ctx.Done():
		return wire.PageReply{}, ctx.Err()
	}
	defer func() { <-p.turns }()
	before := p.readStanding(q)
	m := newMerge(ctx, q, before.shown)
	if err := m.readPage(ctx, p.opts.Disk); err != nil {
		return wire.PageReply{}, err
	}
	// What is true of the store both before and after is true of what was read: a home
	// that has just become one may have lacked records then, and one that is no home any
	// more may have let go of some.
	after := p.readStanding(q)
	reply := wire.PageReply{Entries: m.entries[:0], More: m.more, UpTo: m.upTo, Vouched: scan.NewShards(len(before.vouched) * 8)}
	for i := range m.entries {
		if scan.Shards(after.shown).Has(m.shardOf[i]) {
			reply.Entries = append(reply.Entries, m.entries[i])
		}
	}
	for i := range reply.Vouched {
		reply.Vouched[i] = before.vouched[i] & after.vouched[i]
	}
	return reply, nil
}

// standing is what this store's records are worth in the shards of a question.
type standing struct {
	shown   scan.Shards // may be shown
	vouched scan.Shards // of which a key that is not here is unknown
}

func (p *Pages) readStanding(q *wire.PageRequest) standing {
	b := p.opts.Homes.Buckets.FindByID(q.Bucket)
	at := standing{scan.NewShards(len(q.Shards) * 8), scan.NewShards(len(q.Shards) * 8)}
	for shard := range p.opts.Shards {
		if !scan.Shards(q.Shards).Has(shard) || p.opts.Lags(shard) {
			continue
		}
		at.shown.Add(shard)
		if b != nil && b.ProvesAbsence(shard) {
			at.vouched.Add(shard)
		}
	}
	return at
}

// Values up to so many bytes are read with their key; a larger one when its turn comes, so
// that what is read ahead stays small. No more records of a shard are read ahead behind so
// many bytes of values: all shards would have to be read in vain for a page of one record.
const (
	smallValue = 256
	aheadBytes = 4 << 10
)

// merge merges the orders of several shards. The disk holds each shard in order of keys, so
// a few records of each are read ahead, and the least of all first ones comes next.
type merge struct {
	q       *wire.PageRequest
	within  scan.Bounds
	ahead   int       // records of a shard that are read at once, at most
	ends    time.Time // when the page ends with what it has; zero: when it is full
	shards  shardHeap
	c       *storage.Cursor
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
	key     string
	value   []byte // nil if it is large
	damaged bool
}

// newMerge prepares a page. It ends when half the time is over that whoever asks has for
// it: a page that comes too late would be asked for again, and take as long.
func newMerge(ctx context.Context, q *wire.PageRequest, shown scan.Shards) *merge {
	m := &merge{q: q, within: boundsOf(q)}
	if end, ok := ctx.Deadline(); ok {
		m.ends = time.Now().Add(time.Until(end) / 2)
	}
	m.shards.within = m.within
	for shard := range len(shown) * 8 {
		if shown.Has(shard) {
			m.shards.all = append(m.shards.all, &shardOrder{shard: shard, prefix: wire.RecordPrefix(shard, q.Bucket, 0), within: m.within})
		}
	}
	records := min(q.Records, maxRecords)
	m.ahead = min(max(int(records)/max(len(m.shards.all), 1)+2, 4), 64)
	return m
}

func boundsOf(q *wire.PageRequest) scan.Bounds {
	return scan.Bounds{Lower: q.Lower, Upper: q.Upper, Bounded: q.Bounded, Reverse: q.Reverse}
}

// readPage fills the page.
func (m *merge) readPage(ctx context.Context, disk *storage.Store) error {
	all := m.shards.all
	if len(all) == 0 || m.within.Empty() {
		return nil
	}
	lower, upper := all[0].prefix, wire.After(all[len(all)-1].prefix)
	return disk.Browse(ctx, lower, upper, func(c *storage.Cursor) error {
		m.c = c
		m.shards.all = nil
		for _, s := range all {
			if err := m.readAhead(s); err != nil {
				return err
			}
			if len(s.ahead) > 0 {
				m.shards.all = append(m.shards.all, s)
			}
		}
		heap.Init(&m.shards)
		return m.takeRecords()
	})
}

// readAhead reads the next records of a shard.
func (m *merge) readAhead(s *shardOrder) error {
	s.ahead = s.ahead[:0]
	if s.within.Empty() {
		return nil
	}
	bytes := 0
	for ok := m.c.Seek(s.startKey(), m.q.Reverse); ok; ok = m.c.Step(m.q.Reverse) {
		at := m.c.Key()
		if len(at) < len(s.prefix) || string(at[:len(s.prefix)]) != string(s.prefix) {
			break
		}
		r := aheadRecord{key: string(at[len(s.prefix):])}
		if !s.within.Has(r.key) {
			break
		}
		value, err := m.c.Value()
		if r.damaged = err != nil; err == nil && len(value) <= smallValue {
			r.value = append(make([]byte, 0, len(value)), value...)
		}
		s.ahead = append(s.ahead, r)
		if bytes += len(value); bytes >= aheadBytes || len(s.ahead) >= m.ahead {
			break // and does not so much as look at the next one
		}
	}
	if n := len(s.ahead); n > 0 {
		s.within = s.within.Beyond(s.ahead[n-1].key)
	}
	return m.c.Err()
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
func (m *merge) takeRecords() error {
	for len(m.shards.all) > 0 {
		if n := len(m.entries); n > 0 && (n >= int(min(m.q.Records, maxRecords)) || m.bytes >= min(m.q.Bytes, maxBytes) || m.isLate()) {
			m.more, m.upTo = true, m.entries[n-1].Key
			return nil
		}
		s := m.shards.all[0]
		if err := m.addEntry(s); err != nil {
			return err
		}
		if s.ahead = s.ahead[1:]; len(s.ahead) == 0 {
			if err := m.readAhead(s); err != nil {
				return err
			}
		}
		if len(s.ahead) == 0 {
			heap.Pop(&m.shards)
		} else {
			heap.Fix(&m.shards, 0)
		}
	}
	return nil
}

func (m *merge) isLate() bool { return !m.ends.IsZero() && !time.Now().Before(m.ends) }

// addEntry adds the next record of a shard to the page.
func (m *merge) addEntry(s *shardOrder) error {
	r := &s.ahead[0]
	if r.value == nil && !r.damaged {
		value, err := m.readLarge(s, r.key)
		if err != nil {
			return err
		}
		r.value, r.damaged = value, value == nil
	}
	e := wire.PageEntry{Key: r.key}
	if !r.damaged {
		e.Item = itemOf(r.value, m.q.KeysOnly)
	}
	m.entries, m.shardOf = append(m.entries, e), append(m.shardOf, s.shard)
	m.bytes += sizeOf(&e)
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

// readLarge reads a value that was left out; nil if it is damaged.
func (m *merge) readLarge(s *shardOrder, key string) ([]byte, error) {
	if !m.c.Seek(append(s.prefix[:len(s.prefix):len(s.prefix)], key...), false) {
		return nil, m.c.Err()
	}
	value, err := m.c.Value()
	if err != nil {
		return nil, nil // reported where it was found
	}
	return append([]byte{}, value...), nil
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
	return wire.AppendItem(nil, &it)
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
	h.all = h.all[:len(h.all)-1]
	return last
}
