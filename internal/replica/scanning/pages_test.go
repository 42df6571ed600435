package scanning

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const shards = 16

// shelf is a store with records, and its pages.
type shelf struct {
	*Pages
	disk    *storage.Store
	bucket  *layout.Bucket
	silence *peering.Silence
	lags    map[int]bool
	asked   int // how often it was asked whether it lags
	onAsk   func()
}

func newShelf(t *testing.T, storing int) *shelf {
	t.Helper()
	disk, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store", MemTableBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.Close() })
	v := view.View{Self: 1, Roster: 1}
	for id := view.NodeID(1); id <= view.NodeID(storing); id++ {
		v.Members = append(v.Members, view.Member{ID: id, Name: id.String(), Zone: id.String(), Weight: 1, Storing: true, State: view.Alive})
	}
	silence := peering.NewSilence(time.Minute)
	homes, err := layout.New(layout.Options{Self: 1, Shards: shards, Stores: true, Silence: silence, HealAfter: -1, Log: slog.New(slog.DiscardHandler)}, v)
	if err != nil {
		t.Fatal(err)
	}
	group := lifecycle.NewGroup(context.Background())
	t.Cleanup(group.Close)
	s := &shelf{disk: disk, silence: silence, lags: make(map[int]bool)}
	if s.bucket, err = homes.Buckets.AddDefinition(wire.BucketDef{Name: "b", Copies: 1}); err != nil {
		t.Fatal(err)
	}
	homes.FollowBucket(s.bucket, func(int) bool { return true })
	s.Pages = NewPages(PagesOptions{Disk: disk, Homes: homes, Shards: shards, Wait: time.Second, Group: group, Lags: func(shard int) bool {
		if s.asked++; s.onAsk != nil {
			s.onAsk()
		}
		if shard >= shards {
			t.Errorf("asked of shard %d", shard)
		}
		return s.lags[shard]
	}})
	return s
}

func itemOfValue(value string) []byte {
	a := version.Actor{Store: 1, Session: 1, Seq: 1}
	it := version.Item{Ctx: version.Context{{A: a, N: 1}}, HLC: 1, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}, HLC: 1, Value: []byte(value)}}}
	return wire.AppendItem(nil, &it)
}

func (s *shelf) put(t *testing.T, values map[string]string) {
	t.Helper()
	err := s.disk.Update(context.Background(), func(tx *storage.Tx) error {
		for key, value := range values {
			at := s.opts.Homes.LocateKey(s.bucket.ID, key)
			if err := tx.Set(at.Record, wire.AppendRecord(nil, wire.Record{Item: itemOfValue(value), Home: true})); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func allShards() []byte { return []byte{255, 255} }

func (s *shelf) read(t *testing.T, q wire.PageRequest) wire.PageReply {
	t.Helper()
	q.Bucket = s.bucket.ID
	m, err := s.Read(context.Background(), &q)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Pages, one after the other, are all records of the shards within the bounds, in order,
// and none holds more than it may.
func TestPagesAreTheRecordsInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := newShelf(t, 3)
	values := make(map[string]string)
	for i := range 700 {
		key := fmt.Sprintf("%c%d", 'a'+rng.IntN(5), rng.IntN(1000)) + strings.Repeat("\xff", rng.IntN(3)) + strings.Repeat("\x00", rng.IntN(3))
		values[key] = strings.Repeat("v", rng.IntN(2)*rng.IntN(2*smallItem)) + fmt.Sprint(i)
	}
	s.put(t, values)
	for range 60 {
		q := wire.PageRequest{Shards: allShards(), Records: 1 + rng.Uint64N(50), Bytes: 100 + rng.Uint64N(5000), Reverse: rng.IntN(2) == 0, KeysOnly: rng.IntN(3) == 0, Scan: uint64(rng.IntN(4))}
		if rng.IntN(2) == 0 {
			q.Shards = []byte{byte(rng.Uint32()), byte(rng.Uint32())}
		}
		if rng.IntN(2) == 0 {
			q.Lower, q.Upper, q.Bounded = "b5", "d\xff", true
		}
		var want []string
		for key := range values {
			if boundsOf(&q).Has(key) && scan.Shards(q.Shards).Has(s.opts.Homes.ShardOf(s.bucket.ID, key)) {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		if q.Reverse {
			slices.Reverse(want)
		}
		var got []string
		for more := true; more; {
			m, bytes := s.read(t, q), 0
			for i, e := range m.Entries {
				value := values[e.Key]
				if q.KeysOnly {
					value = ""
				}
				if string(e.Item) != string(itemOfValue(value)) {
					t.Fatalf("%q has another item", e.Key)
				}
				if got = append(got, e.Key); i < len(m.Entries)-1 {
					bytes += len(e.Key) + len(e.Item)
				}
			}
			if len(m.Entries) > int(q.Records) || bytes > int(q.Bytes) {
				t.Fatalf("a page of %d records and %d bytes, may have %d and %d", len(m.Entries), bytes, q.Records, q.Bytes)
			}
			if exceeds(&q, &m) {
				t.Fatalf("a page of %d records is refused, %d and %d bytes were wanted", len(m.Entries), q.Records, q.Bytes)
			}
			if more = m.More; more {
				rest := boundsOf(&q).Beyond(m.UpTo)
				q.Lower, q.Upper, q.Bounded = rest.Lower, rest.Upper, rest.Bounded
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v: %d keys, want %d", q, len(got), len(want))
		}
	}
}

// Whatever is asked for, a page is small, but for one record that is not.
func TestPageIsBounded(t *testing.T) {
	s := newShelf(t, 1)
	values := map[string]string{"a": strings.Repeat("v", 1<<20)}
	for i := range 3000 {
		values[fmt.Sprintf("b%04d", i)] = strings.Repeat("v", 40)
	}
	s.put(t, values)
	q := wire.PageRequest{Shards: allShards(), Records: 1 << 62, Bytes: 1 << 62}
	if m := s.read(t, q); len(m.Entries) != 1 || !m.More || m.UpTo != "a" {
		t.Errorf("%d entries behind a large one, up to %q", len(m.Entries), m.UpTo)
	}
	q.Lower = "b"
	if m := s.read(t, q); len(m.Entries) > maxRecords || !m.More {
		t.Errorf("a page of %d records", len(m.Entries))
	}
	q.Records, q.Bytes = 0, 0
	if m := s.read(t, q); len(m.Entries) != 1 {
		t.Errorf("a page without room has %d records", len(m.Entries))
	}
}

func TestWhatAStoreVouchesFor(t *testing.T) {
	s := newShelf(t, 2)
	values := make(map[string]string)
	for i := range 200 {
		values[fmt.Sprint(i)] = "v"
	}
	s.put(t, values)
	q := wire.PageRequest{Shards: allShards(), Records: maxRecords, Bytes: maxBytes}
	m := s.read(t, q)
	homeOf := 0
	for shard := range shards {
		if scan.Shards(m.Vouched).Has(shard) != s.opts.Homes.IsHome(layout.Slice{Bucket: s.bucket.ID, Shard: shard}) {
			t.Errorf("shard %d: vouched %v", shard, scan.Shards(m.Vouched).Has(shard))
		}
		if scan.Shards(m.Vouched).Has(shard) {
			homeOf++
		}
	}
	if len(m.Entries) != 200 || homeOf == 0 || homeOf == shards {
		t.Fatalf("%d entries, vouched for %d shards", len(m.Entries), homeOf)
	}
	// One that lags in a shard shows nothing of it, be it found out before or behind.
	const shard = 3
	for _, late := range []bool{false, true} {
		s.lags[shard], s.asked = !late, 0
		s.onAsk = func() { s.lags[shard] = s.lags[shard] || late && s.asked > shards }
		m := s.read(t, q)
		for _, e := range m.Entries {
			if s.opts.Homes.ShardOf(s.bucket.ID, e.Key) == shard {
				t.Errorf("late %v: shows %q", late, e.Key)
			}
		}
		if scan.Shards(m.Vouched).Has(shard) {
			t.Errorf("late %v: vouches for what it may not show", late)
		}
	}
	// One that loses a part of its disk while it reads vouches for nothing of that.
	s.lags, s.asked = make(map[int]bool), 0
	own := 0
	for ; !s.opts.Homes.IsHome(layout.Slice{Bucket: s.bucket.ID, Shard: own}); own++ {
	}
	s.onAsk = func() {
		if s.asked == shards+1 {
			s.opts.Homes.NoteLoss(func(at layout.Slice) bool { return at.Shard == own })
		}
	}
	if m := s.read(t, q); scan.Shards(m.Vouched).Has(own) {
		t.Error("vouches for what it has lost")
	}
	// Of a bucket that has not come here it holds what it holds, and there are no more
	// shards than there are.
	q.Bucket, q.Shards = 77, []byte{255, 255, 255}
	if m, err := s.Read(context.Background(), &q); err != nil || m.Code != wire.CodeOK || string(m.Vouched) != "\x00\x00\x00" || len(m.Entries) != 0 {
		t.Errorf("unknown bucket: %+v, %v", m, err)
	}
}

func TestDamagedRecordIsShownAsThat(t *testing.T) {
	s := newShelf(t, 1)
	s.put(t, map[string]string{"a": "v", "b": "v", "c": "v"})
	err := s.disk.Update(context.Background(), func(tx *storage.Tx) error {
		return tx.Set(s.opts.Homes.LocateKey(s.bucket.ID, "b").Record, []byte("no record"))
	})
	if err != nil {
		t.Fatal(err)
	}
	m := s.read(t, wire.PageRequest{Shards: allShards(), Records: 10, Bytes: 1000})
	if len(m.Entries) != 3 || len(m.Entries[1].Item) != 0 || len(m.Entries[2].Item) == 0 {
		t.Errorf("%+v", m.Entries)
	}
}

func TestPagesBeyondThoseAtOnceAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPages(PagesOptions{Wait: time.Second})
		for range pagesAtOnce {
			p.turns <- struct{}{}
		}
		begin := time.Now()
		m, err := p.Read(context.Background(), &wire.PageRequest{})
		if m.Code != wire.CodeOverloaded || err != nil || time.Since(begin) != time.Second {
			t.Errorf("code %d, %v, after %v", m.Code, err, time.Since(begin))
		}
	})
}

// readOrder reads a page of all shards and returns how it was made.
func (s *shelf) readOrder(t *testing.T, q wire.PageRequest) *order {
	t.Helper()
	q.Bucket = s.bucket.ID
	o := newOrder(&q, standing{allShards(), allShards()})
	if err := o.readPage(context.Background(), s.disk, &q); err != nil {
		t.Fatal(err)
	}
	return o
}

// A page of a few large records does not read many of them ahead, one of small ones does.
func TestReadAheadFollowsTheSizeOfRecords(t *testing.T) {
	for _, size := range []int{10, 10_000} {
		s := newShelf(t, 1)
		values := make(map[string]string)
		for i := range 600 {
			values[fmt.Sprintf("%04d", i)] = strings.Repeat("v", size)
		}
		s.put(t, values)
		ahead := func(q wire.PageRequest) (all int) {
			for _, o := range s.readOrder(t, q).shards.all {
				all += len(o.ahead)
			}
			return all
		}
		if n := ahead(wire.PageRequest{Records: 400, Bytes: maxBytes}); size > firstBytes && n > shards || size < 100 && n < 2*shards {
			t.Errorf("values of %d bytes: %d records are read ahead behind a page", size, n)
		}
		// Values that are not wanted are read all the same.
		if n := ahead(wire.PageRequest{Records: 400, Bytes: maxBytes, KeysOnly: true}); size > firstBytes && n > shards {
			t.Errorf("values of %d bytes: %d records without values are read ahead behind a page", size, n)
		}
	}
}

// dueContext ends at a time, of which it does nothing but tell.
type dueContext struct {
	context.Context
	at time.Time
}

func (c dueContext) Deadline() (time.Time, bool) { return c.at, true }

// A page that takes long ends with what it has in time to be of use.
func TestPageEndsWhenHalfItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, 1)
		s.put(t, map[string]string{"a": "v", "b": "v", "c": "v"})
		q := wire.PageRequest{Bucket: s.bucket.ID, Shards: allShards(), Records: 100, Bytes: maxBytes}
		for _, late := range []bool{false, true} {
			ctx := dueContext{t.Context(), time.Now().Add(time.Second)}
			if late {
				ctx.at = time.Now()
			}
			m, err := s.Read(ctx, &q)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(m.Entries); late && (n != 1 || !m.More || m.UpTo != "a") || !late && (n != 3 || m.More) {
				t.Errorf("late %v: %d records, more %v behind %q", late, n, m.More, m.UpTo)
			}
		}
		_ = s.disk.Close()
	})
}
