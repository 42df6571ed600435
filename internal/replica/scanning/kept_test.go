package scanning

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/wire"
)

// newFullShelf returns a store with so many records, named 0000 and so on.
func newFullShelf(t *testing.T, storing, records int) *shelf {
	t.Helper()
	s := newShelf(t, storing)
	values := make(map[string]string)
	for i := range records {
		values[fmt.Sprintf("%04d", i)] = "v"
	}
	s.put(t, values)
	return s
}

// keptOrder is what is kept of a scan.
func (s *shelf) keptOrder(scan uint64) *order {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	return s.kept.byScan[scan]
}

// next makes of a question the one behind its answer.
func next(q wire.PageRequest, m wire.PageReply) wire.PageRequest {
	rest := boundsOf(&q).Beyond(m.UpTo)
	q.Lower, q.Upper, q.Bounded = rest.Lower, rest.Upper, rest.Bounded
	return q
}

func firstKey(m wire.PageReply) string {
	if len(m.Entries) == 0 {
		return ""
	}
	return m.Entries[0].Key
}

// The next page of a scan goes on in the order that was kept; another question does not.
func TestNextPageGoesOnInTheOrderKept(t *testing.T) {
	first := wire.PageRequest{Shards: allShards(), Records: 10, Bytes: maxBytes, Scan: 1}
	for name, change := range map[string]func(q *wire.PageRequest){
		"":               func(*wire.PageRequest) {},
		"another scan":   func(q *wire.PageRequest) { q.Scan = 2 },
		"no scan":        func(q *wire.PageRequest) { q.Scan = 0 },
		"another place":  func(q *wire.PageRequest) { q.Lower = "0050" },
		"a bound":        func(q *wire.PageRequest) { q.Upper, q.Bounded = "0012", true },
		"the other way":  func(q *wire.PageRequest) { q.Lower, q.Upper, q.Bounded, q.Reverse = "", "0009", true, true },
		"without values": func(q *wire.PageRequest) { q.KeysOnly = true },
		"fewer shards":   func(q *wire.PageRequest) { q.Shards = []byte{255, 0} },
	} {
		s := newFullShelf(t, 1, 100)
		q := next(first, s.read(t, first))
		kept := s.keptOrder(1)
		if kept == nil {
			t.Fatal("no order is kept")
		}
		change(&q)
		want := s.read(t, wire.PageRequest{Shards: q.Shards, Records: q.Records, Bytes: q.Bytes, Lower: q.Lower, Upper: q.Upper, Bounded: q.Bounded, Reverse: q.Reverse, KeysOnly: q.KeysOnly})
		m := s.read(t, q)
		if !slices.EqualFunc(m.Entries, want.Entries, func(a, b wire.PageEntry) bool { return a.Key == b.Key && string(a.Item) == string(b.Item) }) {
			t.Errorf("%s: the page begins with %q and has %d records, want %q and %d", name, firstKey(m), len(m.Entries), firstKey(want), len(want.Entries))
		}
		if goesOn := s.keptOrder(1) == kept && kept.upTo == m.UpTo; goesOn != (name == "") {
			t.Errorf("%q: it goes on: %v", name, goesOn)
		}
	}
}

// Of a shard that has come to be vouched for, what was read ahead lacks records.
func TestOrderIsNewWhenMoreIsVouchedFor(t *testing.T) {
	s := newFullShelf(t, 3, 200)
	own := 0
	for ; !s.opts.Homes.IsHome(layout.Slice{Bucket: s.bucket.ID, Shard: own}); own++ {
	}
	q := wire.PageRequest{Shards: allShards(), Records: 5, Bytes: maxBytes, Scan: 1}
	s.lags[own] = true
	m := s.read(t, q)
	if scan.Shards(m.Vouched).Has(own) {
		t.Fatal("vouches for what lags")
	}
	s.lags[own] = false
	q = next(q, m)
	if m = s.read(t, q); !scan.Shards(m.Vouched).Has(own) {
		t.Error("does not vouch for what lags no more")
	}
	s.lags[own] = true
	if m = s.read(t, next(q, m)); scan.Shards(m.Vouched).Has(own) {
		t.Error("vouches for what lags again")
	}
	for _, e := range m.Entries {
		if s.opts.Homes.ShardOf(s.bucket.ID, e.Key) == own {
			t.Errorf("%q is shown, of what lags again", e.Key)
		}
	}
}

// What was read ahead is forgotten soon, used or not.
func TestKeptOrdersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFullShelf(t, 1, 100)
		q := wire.PageRequest{Shards: allShards(), Records: 10, Bytes: maxBytes, Scan: 1}
		begun := time.Now()
		for time.Since(begun) <= keptFor {
			q = next(q, s.read(t, q))
			time.Sleep(keptFor / 3)
		}
		s.put(t, map[string]string{strings.Repeat("0", 3) + "9x": "new", q.Lower + "x": "new"})
		if m := s.read(t, q); len(m.Entries) < 2 || m.Entries[1].Key != q.Lower+"x" && m.Entries[0].Key != q.Lower+"x" {
			t.Errorf("an order of %v ago was read on in: %q", time.Since(begun), m.Entries[0].Key)
		}
		time.Sleep(2*keptFor + time.Second)
		synctest.Wait()
		if s.keptOrder(1) != nil || s.kept.tidying {
			t.Error("an order is kept for ever")
		}
		for scan := range uint64(3 * keptOrdersAtMost) {
			q.Scan = scan + 1
			s.read(t, q)
			time.Sleep(time.Millisecond)
		}
		if n := len(s.kept.byScan); n != keptOrdersAtMost || s.keptOrder(3*keptOrdersAtMost) == nil || s.keptOrder(1) != nil {
			t.Errorf("%d orders are kept", n)
		}
		s.opts.Group.Close()
		_ = s.disk.Close()
	})
}

// What is held between two pages is bounded, and what was sent is not held.
func TestHeldAheadIsBounded(t *testing.T) {
	s := newShelf(t, 1)
	values := make(map[string]string)
	for i := range 300 {
		values[fmt.Sprintf("%04d", i)] = strings.Repeat("v", i%3*2000)
	}
	s.put(t, values)
	q := wire.PageRequest{Shards: allShards(), Records: 40, Bytes: maxBytes, Scan: 1}
	for range 5 {
		var before [][]aheadRecord
		o := s.keptOrder(1)
		if o != nil {
			for _, sh := range o.shards.all {
				before = append(before, sh.ahead)
			}
		}
		m := s.read(t, q)
		for _, ahead := range before {
			for i := range ahead {
				sent := slices.ContainsFunc(m.Entries, func(e wire.PageEntry) bool { return e.Key == ahead[i].key })
				if sent {
					t.Errorf("%q is held behind the page with it", ahead[i].key)
				}
			}
		}
		if o = s.keptOrder(1); o == nil {
			t.Fatal("nothing is kept")
		}
		held := 0
		for _, sh := range o.shards.all {
			for i := range sh.ahead {
				held += sh.ahead[i].size()
			}
		}
		if held != o.held || held > mostHeld {
			t.Errorf("%d bytes are held, counted %d", held, o.held)
		}
		q = next(q, m)
	}
	// Keys may be long: where those alone are too much nothing is kept.
	s = newShelf(t, 1)
	clear(values)
	for i := range 100 {
		values[fmt.Sprintf("%04d", i)+strings.Repeat("k", 60_000)] = ""
	}
	s.put(t, values)
	m := s.read(t, wire.PageRequest{Shards: allShards(), Records: maxRecords, Bytes: 1, Scan: 2})
	if o := s.keptOrder(2); !m.More || o != nil {
		t.Errorf("more %v, and kept: %+v", m.More, o)
	}
}
