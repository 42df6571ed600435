package replica

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func TestClientScansLikeANode(t *testing.T) {
	clients(t, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		b := openBucket(t, nodes[0].store, "b", BucketConfig{Policy: Siblings})
		for i, key := range nastyKeys() {
			mustPut(t, b, key, strings.Repeat("v", i*200))
		}
		if _, err := b.Delete(ctx, "k7", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, opts := range []ScanOptions{{}, {Reverse: true}, {Prefix: "k"}, {From: "k3", To: "p\xff"}, {Limit: 40}, {KeysOnly: true}, {After: cursorOf("k5"), Limit: 3}, {Prefix: "none"}} {
			want, _ := scanned(t, b.Scan(ctx, opts))
			n, err := b.Count(ctx, opts)
			if err != nil || n != len(want) {
				t.Fatalf("%+v: counted %d, %v, want %d", opts, n, err, len(want))
			}
			for i, c := range clients {
				wantScanned(t, fmt.Sprintf("client %d, %+v", i, opts), c.Scan(ctx, "b", opts), want...)
				if n, err := c.Count(ctx, "b", opts); err != nil || n != len(want) {
					t.Fatalf("client %d, %+v: counted %d, %v, want %d", i, opts, n, err, len(want))
				}
			}
		}
		if calls, _ := net.counted(wire.MethodAdminScan); calls < 3*10 {
			t.Errorf("%d answers, want several for each scan", calls)
		}
		// What an entry has seen is replaced by what carries its context, and a scan goes on
		// through another node.
		after := ""
		for e, err := range clients[2].Scan(ctx, "b", ScanOptions{Limit: 5}) {
			if err != nil || e.Replies != 2 {
				t.Fatal(e.Replies, err)
			}
			r, err := clients[1].Put(ctx, "b", e.Key, []byte("new"), &PutOptions{Context: e.Context})
			if err != nil || len(r.Covered) != 1 {
				t.Fatal(r, err)
			}
			after = e.Cursor()
		}
		rest, _ := scanned(t, b.Scan(ctx, ScanOptions{After: after}))
		wantScanned(t, "the rest", clients[1].Scan(ctx, "b", ScanOptions{After: after}), rest...)
		for range clients[0].Scan(ctx, "b", ScanOptions{}) {
			break
		}
	})
}

func TestClientIsToldWhatIsWrongWithAScan(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		b := openBucket(t, nodes[0].store, "b", BucketConfig{})
		for i := range 50 {
			mustPut(t, b, fmt.Sprint(i), strings.Repeat("v", 10_000))
		}
		last := func(c *Client, bucket string, opts ScanOptions) (pairs int, err error) {
			for _, err = range c.Scan(ctx, bucket, opts) {
				pairs++
			}
			return pairs, err
		}
		if n, err := last(clients[0], "none", ScanOptions{}); n != 1 || !errors.Is(err, ErrNoBucket) {
			t.Errorf("no such bucket: %v", err)
		}
		if n, err := last(clients[0], "b", ScanOptions{Limit: -1}); n != 1 || !errors.Is(err, ErrBadScan) {
			t.Errorf("bad options: %v", err)
		}
		// Another program may ask what this one would not.
		req := wire.AppendAdminScan(nil, &wire.AdminScan{Bucket: "b", After: "?"})
		m, err := callAndDecode(ctx, asker{nodes[2], 1}, wire.MethodAdminScan, req, wire.DecodeAdminPage)
		if err != nil || !errors.Is(faults.FromOutcome(m.AdminOutcome), ErrBadScan) {
			t.Errorf("bad cursor: %+v, %v", m, err)
		}
		net.split(true, 1)
		entries, gaps := scanned(t, clients[0].Scan(ctx, "b", ScanOptions{}))
		slices.Sort(gaps)
		if len(entries) != 50 || len(gaps) != 16 || len(slices.Compact(gaps)) != 16 {
			t.Errorf("beside a cut: %d entries, gaps %v", len(entries), gaps)
		}
		if n, err := clients[0].Count(ctx, "b", ScanOptions{}); n != 50 || !errors.Is(err, ErrDegraded) {
			t.Errorf("counted %d, %v", n, err)
		}
		net.split(true, 3)
		if n, err := last(clients[2], "b", ScanOptions{}); n != 1 || !errors.Is(err, ErrUnavailable) {
			t.Errorf("a node without a store in reach: %d pairs, %v", n, err)
		}
	})
}

func TestAnswerWithoutProgressComesInTime(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		b := openBucket(t, nodes[0].store, "b", BucketConfig{})
		mustPut(t, b, "k", "v")
		time.Sleep(time.Second)
		net.watchCalls(func(method string) {
			if method == wire.MethodPage {
				time.Sleep(900 * time.Millisecond)
			}
		})
		begin := time.Now()
		req := wire.AppendAdminScan(nil, &wire.AdminScan{Bucket: "b"})
		if _, err := (asker{nodes[2], 3}).Call(t.Context(), wire.MethodAdminScan, req); err != nil || time.Since(begin) > 3*time.Second {
			t.Errorf("answered after %v: %v", time.Since(begin), err)
		}
	})
}

func TestBucketsAreListed(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := context.Background()
		openBucket(t, nodes[1].store, "a", BucketConfig{Copies: 2, Policy: Siblings, Zones: []string{"x"}})
		want := []BucketInfo{{Name: "a", Copies: 2, Policy: Siblings, Zones: []string{"x"}}, {Name: "b", Copies: 3}}
		for i, n := range nodes {
			if got, err := n.store.Buckets(ctx); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("at %d: %+v, %v", i, got, err)
			}
			if got, err := clients[i].Buckets(ctx); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("client %d: %+v, %v", i, got, err)
			}
		}
		net.split(true, 1)
		openBucket(t, nodes[0].store, "c", BucketConfig{Copies: 1})
		openBucket(t, nodes[1].store, "c", BucketConfig{Copies: 2})
		if got, err := nodes[0].store.Buckets(ctx); !errors.Is(err, ErrDegraded) || len(got) != 3 || got[2].Copies != 1 || got[2].Conflict {
			t.Errorf("beside a cut: %+v, %v", got, err)
		}
		net.heal()
		time.Sleep(time.Minute)
		if got, err := clients[2].Buckets(ctx); err != nil || len(got) != 4 || !got[2].Conflict || !got[3].Conflict {
			t.Errorf("defined in two ways: %+v, %v", got, err)
		}
		b, err := nodes[0].store.Bucket(ctx, "c", BucketConfig{Copies: 1})
		if !errors.Is(err, ErrBucketConflict) {
			t.Fatal(err)
		}
		mustBe := func(what string, n int, err error) {
			if n != 0 || !errors.Is(err, ErrBucketConflict) {
				t.Errorf("%s in conflict: %d, %v", what, n, err)
			}
		}
		n, err := b.Count(ctx, ScanOptions{})
		mustBe("a bucket", n, err)
		n, err = clients[0].Count(ctx, "c", ScanOptions{})
		mustBe("a client's", n, err)
		net.split(true, 3)
		if got, err := nodes[2].store.Buckets(ctx); !errors.Is(err, ErrUnavailable) || len(got) != 4 {
			t.Errorf("out of reach: %+v, %v", got, err)
		}
	})
}

// A definition whose record two of three stores cannot read is known to the third.
func TestBucketsAreListedBesideDamage(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := t.Context()
		names := []string{"b"}
		for i := range 8 {
			names = append(names, fmt.Sprint("bucket-", i))
			openBucket(t, nodes[0].store, names[1+i], BucketConfig{})
		}
		time.Sleep(5 * time.Second)
		for _, n := range nodes[:2] {
			for _, name := range names {
				at := n.store.homes.LocateKey(layout.SystemBucket, name)
				if err := n.store.disk.Update(ctx, func(tx *storage.Tx) error { return tx.Set(at.Record, []byte{1, 0x93}) }); err != nil {
					t.Fatal(err)
				}
			}
		}
		list := func() (got []string, err error) {
			client := net.add(false)
			client.open()
			defer client.views.Close()
			defer client.store.Close()
			all, err := client.store.Buckets(ctx)
			for _, b := range all {
				got = append(got, b.Name)
			}
			return got, err
		}
		net.lose(lookupsLost)
		if got, err := list(); !errors.Is(err, ErrDegraded) {
			t.Errorf("without the third: %q, %v", got, err)
		}
		net.lose(nil)
		time.Sleep(time.Minute)
		if got, err := list(); !slices.Equal(got, names) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// The time of an answer ends while keys come: each one comes once all the same.
func TestClientScanWhoseAnswersEndInTime(t *testing.T) {
	slow := func(c *Config) { c.AckTimeout = 2 * time.Second }
	clientsOn(t, BucketConfig{}, slow, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		b := openBucket(t, nodes[0].store, "b", BucketConfig{})
		var want []string
		for i := range 50 {
			key := fmt.Sprintf("key-%02d", i)
			mustPut(t, b, key, strings.Repeat("v", 1000))
			want = append(want, key+"="+strings.Repeat("v", 1000))
		}
		time.Sleep(time.Second)
		net.watchCalls(func(method string) {
			if method == wire.MethodPage {
				time.Sleep(answerTime)
			}
		})
		for i, c := range clients {
			wantScanned(t, fmt.Sprint("client ", i), c.Scan(t.Context(), "b", ScanOptions{}), want...)
		}
	})
}

// A page takes longer than an answer has time: it goes on until there is a key.
func TestClientScanOfSlowStoresEnds(t *testing.T) {
	slow := func(c *Config) { c.AckTimeout = 2 * time.Second }
	clientsOn(t, BucketConfig{}, slow, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		b := openBucket(t, nodes[0].store, "b", BucketConfig{})
		mustPut(t, b, "a", "v")
		mustPut(t, b, "b", "v")
		time.Sleep(time.Second)
		net.watchCalls(func(method string) {
			if method == wire.MethodPage {
				time.Sleep(answerTime + 100*time.Millisecond)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i, c := range clients {
			wantScanned(t, fmt.Sprint("client ", i), c.Scan(ctx, "b", ScanOptions{}), "a=v", "b=v")
		}
		if n, err := clients[2].Count(ctx, "b", ScanOptions{}); n != 2 || err != nil {
			t.Errorf("counted %d, %v", n, err)
		}
		net.lose(func(_, _ view.NodeID, method string, _ []byte) bool { return method == wire.MethodPage })
		begin := time.Now()
		n, err := clients[2].Count(ctx, "b", ScanOptions{})
		if n != 0 || !errors.Is(err, ErrUnavailable) || time.Since(begin) > 30*time.Second {
			t.Errorf("of stores without an answer: counted %d, %v, in %v", n, err, time.Since(begin))
		}
	})
}

type callerFunc func(ctx context.Context, method string, req []byte) ([]byte, error)

func (f callerFunc) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	return f(ctx, method, req)
}

// What a node answers must be the answer to the question.
func TestClientScanTakesNoWrongAnswer(t *testing.T) {
	entries := func(keys ...string) (out []wire.AdminEntry) {
		for _, key := range keys {
			out = append(out, wire.AdminEntry{Key: key, Values: [][]byte{{}}, Last: 1})
		}
		return out
	}
	opts := ScanOptions{From: "b", To: "y", Limit: 3}
	for name, m := range map[string]wire.AdminPage{
		"more without getting on": {More: true},
		"more up to nowhere":      {More: true, After: "?", Entries: entries("c")},
		"back":                    {More: true, After: cursorOf("a")},
		"the same again":          {More: true, After: cursorOf("c"), Entries: entries("c")},
		"behind its cursor":       {More: true, After: cursorOf("c"), Entries: entries("d")},
		"in no order":             {Entries: entries("d", "c")},
		"twice":                   {Entries: entries("c", "c")},
		"before the bounds":       {Entries: entries("a")},
		"behind the bounds":       {Entries: entries("z")},
		"more than were wanted":   {Entries: entries("c", "d", "e", "f")},
	} {
		calls := 0
		c := NewClient(callerFunc(func(context.Context, string, []byte) ([]byte, error) {
			if calls++; calls > 10 {
				return nil, errors.New("asked for ever")
			}
			return wire.AppendAdminPage(nil, &m), nil
		}))
		var last error
		for _, last = range c.Scan(t.Context(), "b", opts) {
		}
		if !errors.Is(last, wire.ErrMalformed) || calls > 2 {
			t.Errorf("%s: %v after %d calls", name, last, calls)
		}
	}
}

// What a node asks the stores for to answer a client follows what an answer holds.
func TestAnswerAsksForLittleMoreThanItHolds(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 500 {
			mustPut(t, buckets[0], fmt.Sprintf("%03d", i), strings.Repeat("v", 2000))
		}
		time.Sleep(5 * time.Second)
		client := net.add(false)
		client.open()
		defer client.views.Close()
		defer client.store.Close()
		pages := 0
		net.mu.Lock()
		net.answered = func(_ *fakeNode, method string, _, answer []byte) {
			net.mu.Lock()
			defer net.mu.Unlock()
			if method == wire.MethodPage {
				pages += len(answer)
			}
		}
		net.mu.Unlock()
		req := wire.AppendAdminScan(nil, &wire.AdminScan{Bucket: "b"})
		answer, err := (asker{nodes[0], client.id}).Call(t.Context(), wire.MethodAdminScan, req)
		net.mu.Lock()
		defer net.mu.Unlock()
		if err != nil || len(answer) < answerBytes/2 || pages > 4*answerBytes {
			t.Errorf("for an answer of %d bytes stores sent %d: %v", len(answer), pages, err)
		}
	})
}
