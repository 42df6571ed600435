package replica

import (
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

func (d adminDesk) answerPutMany(ctx context.Context, req []byte) ([]byte, error) {
	return d.answerWriteMany(ctx, req, func(b *Bucket, m *wire.AdminBatch, seen []Context) ([]BatchResult, error) {
		puts := make([]BatchPut, len(m.Entries))
		for i := range puts {
			e := &m.Entries[i]
			puts[i] = BatchPut{Key: e.Key, Value: e.Value, Context: seen[i], TTL: time.Duration(e.TTL)}
		}
		return b.PutMany(ctx, puts, &PutOptions{Level: Level(narrowToInt(m.Level)), MinDurable: narrowToInt(m.MinDurable), Token: m.Token})
	})
}

func (d adminDesk) answerDeleteMany(ctx context.Context, req []byte) ([]byte, error) {
	return d.answerWriteMany(ctx, req, func(b *Bucket, m *wire.AdminBatch, seen []Context) ([]BatchResult, error) {
		deletes := make([]BatchDelete, len(m.Entries))
		for i := range deletes {
			deletes[i] = BatchDelete{Key: m.Entries[i].Key, Context: seen[i]}
		}
		return b.DeleteMany(ctx, deletes, &DeleteOptions{Level: Level(narrowToInt(m.Level)), MinDurable: narrowToInt(m.MinDurable), Token: m.Token})
	})
}

func (d adminDesk) answerWriteMany(ctx context.Context, req []byte, write func(*Bucket, *wire.AdminBatch, []Context) ([]BatchResult, error)) ([]byte, error) {
	m, err := wire.DecodeAdminBatch(req)
	if err != nil {
		return nil, err
	}
	seen := make([]Context, len(m.Entries))
	for i := range seen {
		if err := seen[i].UnmarshalBinary(m.Entries[i].Context); err != nil {
			return nil, err
		}
	}
	var done []BatchResult
	b, err := d.findBucket(ctx, m.Bucket)
	if err == nil {
		done, err = write(b, &m, seen)
	}
	if done == nil {
		return wire.AppendAdminResults(nil, &wire.AdminResults{AdminOutcome: faults.Outcome(err)}), nil
	}
	reply := wire.AdminResults{Results: make([]wire.AdminResult, len(done))}
	for i := range done {
		if reply.Results[i], err = done[i].Result.toWire(done[i].Err); err != nil {
			return nil, err
		}
	}
	return wire.AppendAdminResults(nil, &reply), nil
}

// toWire is a result as it travels beside its error.
func (r *Result) toWire(failed error) (wire.AdminResult, error) {
	m := wire.AdminResult{
		AdminOutcome: faults.Outcome(failed), Durable: uint64(r.Durable), Homes: uint64(r.Homes), Hinted: uint64(r.Hinted),
		Dot: r.Dot, Covered: r.Covered,
	}
	var err error
	m.Context, err = r.Context.MarshalBinary()
	return m, err
}

// resultOf is the reverse.
func resultOf(m *wire.AdminResult) (Result, error) {
	// What a store has taken has an id; what is kept without one waits in an outbox.
	queued := m.Durable > 0 && m.Dot == version.Dot{}
	return Result{
		Context: Context{token: string(m.Context)}, Queued: queued, Durable: int(m.Durable), Homes: int(m.Homes), Hinted: int(m.Hinted),
		Dot: m.Dot, Covered: m.Covered,
	}, faults.FromOutcome(m.AdminOutcome)
}

const (
	itemsBytes = 1 << 20  // of an answer with many items, unless the first is larger
	readBytes  = 16 << 20 // of values of the longest length, read at a time for an answer
	firstItems = 2        // are read at a time to begin with
)

// itemRoom tells what is put into one answer with many items, and how many keys are read
// at a time for it: as many as fit if the others are as large as those before, twice as
// many as last time at most, and not more than there is memory for whatever they hold.
type itemRoom struct {
	next, most  int
	bytes, have int // of the answer
}

func newItemRoom(maxValue int) itemRoom {
	most := max(readBytes/max(maxValue, 1), 1)
	return itemRoom{next: min(firstItems, most), most: most}
}

// takeItem takes an item in unless the answer is full. The first always has room.
func (r *itemRoom) takeItem(m *wire.AdminItem) bool {
	size := 64 + len(m.Context)
	for _, v := range m.Values {
		size += len(v)
	}
	if r.have > 0 && r.bytes+size > itemsBytes {
		return false
	}
	r.bytes, r.have = r.bytes+size, r.have+1
	return true
}

// nextItems returns how many keys of those that are left are read next. At the end of the
// answer it is none.
func (r *itemRoom) nextItems(left int) int {
	n := r.next
	if r.have > 0 {
		n = min(n, max(itemsBytes-r.bytes, 0)/(r.bytes/r.have))
	}
	n = min(n, left)
	r.next = min(2*max(n, 1), r.most)
	return n
}

func (d adminDesk) answerGetMany(ctx context.Context, req []byte) ([]byte, error) {
	m, err := wire.DecodeAdminBatch(req)
	if err != nil {
		return nil, err
	}
	var reply wire.AdminItems
	b, err := d.findBucket(ctx, m.Bucket)
	if err == nil {
		err = b.fillItems(ctx, &m, &reply)
	}
	reply.AdminOutcome = faults.Outcome(err)
	return wire.AppendAdminItems(nil, &reply), nil
}

// fillItems reads keys until the answer is full: the client asks again for the others.
func (b *Bucket) fillItems(ctx context.Context, m *wire.AdminBatch, reply *wire.AdminItems) error {
	gets := make([]BatchGet, len(m.Entries))
	for i := range gets {
		gets[i].Key = m.Entries[i].Key
		if err := gets[i].Seen.UnmarshalBinary(m.Entries[i].Context); err != nil {
			return err
		}
	}
	level := Level(narrowToInt(m.Level))
	if _, err := b.checkReads(gets, &GetOptions{Level: level}); err != nil {
		return err
	}
	room := newItemRoom(b.cfg.MaxValue)
	for n := room.nextItems(len(gets)); n > 0; n = room.nextItems(len(gets)) {
		items, err := b.GetMany(ctx, gets[:n], &GetOptions{Level: level})
		if items == nil {
			return err
		}
		for i := range items {
			out, err := items[i].Item.toWire(items[i].Err)
			if err != nil {
				return err
			}
			if !room.takeItem(&out) {
				return nil
			}
			reply.Items = append(reply.Items, out)
		}
		gets = gets[n:]
	}
	return nil
}

// toWire is an item as it travels beside its error.
func (it *Item) toWire(failed error) (wire.AdminItem, error) {
	m := wire.AdminItem{AdminOutcome: faults.Outcome(failed), Replies: uint64(it.Replies), Values: it.listValues(), Last: it.placeOfLast()}
	var err error
	m.Context, err = it.Context.MarshalBinary()
	return m, err
}

// itemOf is the reverse.
func itemOf(key string, m *wire.AdminItem) (Item, error) {
	it := Item{Key: key, Context: Context{token: string(m.Context)}, Replies: int(m.Replies), values: m.Values}
	it.takeLast(m.Last)
	return it, faults.FromOutcome(m.AdminOutcome)
}

// PutMany writes many values; see Bucket.PutMany.
func (c *Client) PutMany(ctx context.Context, bucket string, puts []BatchPut, opts *PutOptions) ([]BatchResult, error) {
	var o PutOptions
	if opts != nil {
		o = *opts
	}
	b := newClientBatch(bucket, len(puts), &o)
	for i := range puts {
		p := &puts[i]
		ttl := p.TTL
		if ttl == 0 {
			ttl = o.TTL
		}
		b.addEntry(p.Key, p.Context, wire.AdminKey{Key: p.Key, TTL: int64(ttl), Value: p.Value})
	}
	return c.writeMany(ctx, wire.MethodAdminPutMany, b)
}

// DeleteMany deletes many keys; see Bucket.DeleteMany.
func (c *Client) DeleteMany(ctx context.Context, bucket string, deletes []BatchDelete, opts *DeleteOptions) ([]BatchResult, error) {
	var o PutOptions
	if opts != nil {
		o = PutOptions{Context: opts.Context, Level: opts.Level, MinDurable: opts.MinDurable, Token: opts.Token}
	}
	b := newClientBatch(bucket, len(deletes), &o)
	for i := range deletes {
		b.addEntry(deletes[i].Key, deletes[i].Context, wire.AdminKey{Key: deletes[i].Key})
	}
	return c.writeMany(ctx, wire.MethodAdminDeleteMany, b)
}

// GetMany reads many keys; see Bucket.GetMany. The node is asked again for items for which
// its answer has no room.
func (c *Client) GetMany(ctx context.Context, bucket string, gets []BatchGet, opts *GetOptions) ([]BatchItem, error) {
	var o PutOptions
	if opts != nil {
		o = PutOptions{Context: opts.Seen, Level: opts.Level}
	}
	b := newClientBatch(bucket, len(gets), &o)
	for i := range gets {
		b.addEntry(gets[i].Key, gets[i].Seen, wire.AdminKey{Key: gets[i].Key})
	}
	if err := b.check.allFaults(); err != nil {
		return nil, err
	}
	items := make([]BatchItem, 0, len(gets))
	failed := batchError{of: len(gets)}
	for len(items) < len(gets) {
		m, err := callAndDecode(ctx, c.node, wire.MethodAdminGetMany, wire.AppendAdminBatch(nil, &b.m), wire.DecodeAdminItems)
		if err == nil {
			err = faults.FromOutcome(m.AdminOutcome)
		}
		if err == nil && (len(m.Items) == 0 || len(m.Items) > len(b.m.Entries)) {
			err = errWrongAnswer
		}
		if err != nil {
			return nil, err
		}
		for i := range m.Items {
			var e BatchItem
			e.Item, e.Err = itemOf(b.m.Entries[i].Key, &m.Items[i])
			if !isPlainlyMissing(e.Err) {
				failed.addEntry(len(items), e.Err)
			}
			items = append(items, e)
		}
		b.m.Entries = b.m.Entries[len(m.Items):]
	}
	return items, failed.errorIfAny()
}

// clientBatch is a batch as it goes to a node. What the format has no room for is refused
// here.
type clientBatch struct {
	m     wire.AdminBatch
	check *batchCheck
}

func newClientBatch(bucket string, n int, o *PutOptions) *clientBatch {
	b := &clientBatch{
		m:     wire.AdminBatch{Bucket: bucket, Level: int64(o.Level), MinDurable: int64(o.MinDurable), Token: o.Token, Entries: make([]wire.AdminKey, 0, n)},
		check: newBatchCheck(n, wire.MaxKey),
	}
	if len(bucket) > maxBucketName {
		b.check.addError(longBucketName(bucket))
	}
	if !o.Context.IsZero() {
		b.check.addFault("a Context belongs to one key: it goes into the entry")
	}
	_, err := o.Level.coreLevel()
	b.check.addError(err)
	b.check.addError(checkToken(o.Token))
	return b
}

func (b *clientBatch) addEntry(key string, seen Context, e wire.AdminKey) {
	i := len(b.m.Entries)
	b.check.addKey(i, key, len(e.Value))
	if len(e.Value) > wire.MaxValue {
		b.check.addEntry(i, key, tooLarge("value", len(e.Value), wire.MaxValue))
	}
	var err error
	if e.Context, err = seen.MarshalBinary(); err != nil {
		b.check.addEntry(i, key, err)
	}
	b.m.Entries = append(b.m.Entries, e)
}

func (c *Client) writeMany(ctx context.Context, method string, b *clientBatch) ([]BatchResult, error) {
	if err := b.check.allFaults(); err != nil {
		return nil, err
	}
	m, err := callAndDecode(ctx, c.node, method, wire.AppendAdminBatch(nil, &b.m), wire.DecodeAdminResults)
	if err == nil {
		err = faults.FromOutcome(m.AdminOutcome)
	}
	if err == nil && len(m.Results) != len(b.m.Entries) {
		err = errWrongAnswer
	}
	if err != nil {
		return nil, err
	}
	done := make([]BatchResult, len(m.Results))
	failed := batchError{of: len(done)}
	for i := range done {
		done[i].Result, done[i].Err = resultOf(&m.Results[i])
		failed.addEntry(i, done[i].Err)
	}
	return done, failed.errorIfAny()
}
