package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// scanned collects a scan: "key=value" of each entry, and what the shards are that may
// lack some.
func scanned(t *testing.T, all iter.Seq2[Entry, error]) (out []string, gaps []int) {
	t.Helper()
	for e, err := range all {
		var gap *ScanGap
		switch {
		case errors.As(err, &gap):
			if !errors.Is(err, ErrDegraded) || e.Key != "" {
				t.Fatalf("beside %v: %q", err, e.Key)
			}
			gaps = append(gaps, gap.Shards...)
		case err != nil:
			t.Fatal(err)
		default:
			v, _ := e.Value()
			out = append(out, e.Key+"="+string(v))
		}
	}
	return out, gaps
}

// wantScanned fails unless a scan comes to these, and nothing may be missing.
func wantScanned(t *testing.T, what string, all iter.Seq2[Entry, error], want ...string) {
	t.Helper()
	got, gaps := scanned(t, all)
	if !slices.Equal(got, want) || gaps != nil {
		t.Fatalf("%s: %d entries %.400q, gaps %v, want %d: %.400q", what, len(got), got, gaps, len(want), want)
	}
}

// nastyKeys are in no order, and of any bytes.
func nastyKeys() (keys []string) {
	for i := range 60 {
		keys = append(keys, fmt.Sprintf("k%d", (i*37)%60))
	}
	return append(keys, "\x00", "\x00\x00", "\xff", "\xff\xff", "\xff\x00", "p", "p\x00", "p\xff", "p\xffq", "q", strings.Repeat("long", 200))
}

// openClient adds a node that stores nothing and opens the bucket there.
func openClient(t *testing.T, net *fakeNet, cfg BucketConfig) (*fakeNode, *Bucket) {
	n := net.add(false)
	return n, openBucket(t, n.open(), "b", cfg)
}

func TestScanComesToAllKeysInOrder(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		client, last := openClient(t, net, BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		var want []string
		for i, key := range nastyKeys() {
			value := fmt.Sprintf("%d", i)
			if i%10 == 3 {
				value += strings.Repeat("x", 3000)
			}
			mustPut(t, buckets[i%5], key, value)
			switch i % 7 {
			case 5:
				if _, err := buckets[i%5].Delete(ctx, key, nil); err != nil {
					t.Fatal(err)
				}
			case 6:
				if _, err := buckets[i%5].Put(ctx, key, []byte("short"), &PutOptions{TTL: time.Second}); err != nil {
					t.Fatal(err)
				}
			default:
				want = append(want, key+"="+value)
			}
		}
		time.Sleep(5 * time.Second)
		slices.SortFunc(want, func(a, b string) int {
			return strings.Compare(strings.SplitN(a, "=", 2)[0], strings.SplitN(b, "=", 2)[0])
		})
		within := func(is func(key string) bool) (out []string) {
			for _, w := range want {
				if is(strings.SplitN(w, "=", 2)[0]) {
					out = append(out, w)
				}
			}
			return out
		}
		for i, b := range append(buckets, last) {
			name := fmt.Sprint("at ", i)
			wantScanned(t, name, b.Scan(ctx, ScanOptions{}), want...)
			back := slices.Clone(want)
			slices.Reverse(back)
			wantScanned(t, name+" back", b.Scan(ctx, ScanOptions{Reverse: true}), back...)
			for _, prefix := range []string{"k", "k1", "p", "p\xff", "\xff", "\x00", "nothing"} {
				some := within(func(key string) bool { return strings.HasPrefix(key, prefix) })
				wantScanned(t, name+" "+prefix, b.Scan(ctx, ScanOptions{Prefix: prefix}), some...)
				slices.Reverse(some)
				wantScanned(t, name+" back "+prefix, b.Scan(ctx, ScanOptions{Prefix: prefix, Reverse: true}), some...)
			}
			some := within(func(key string) bool { return key >= "k2" && key < "p\x00" })
			wantScanned(t, name+" bounds", b.Scan(ctx, ScanOptions{From: "k2", To: "p\x00"}), some...)
			wantScanned(t, name+" limit", b.Scan(ctx, ScanOptions{From: "k2", To: "p\x00", Limit: 5}), some[:5]...)
			wantScanned(t, name+" bounds within a prefix", b.Scan(ctx, ScanOptions{Prefix: "k", From: "k2", To: "k4"}),
				within(func(key string) bool { return key >= "k2" && key < "k4" })...)
			if n, err := b.Count(ctx, ScanOptions{Prefix: "k"}); err != nil || n != len(within(func(key string) bool { return key[0] == 'k' })) {
				t.Fatalf("%s: counted %d, %v", name, n, err)
			}
		}
	})
}

func TestScanGoesOnAtACursor(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		for _, key := range nastyKeys() {
			mustPut(t, buckets[0], key, "v")
		}
		for _, reverse := range []bool{false, true} {
			all, _ := scanned(t, buckets[0].Scan(ctx, ScanOptions{Reverse: reverse}))
			var got []string
			opts := ScanOptions{Reverse: reverse, Limit: 7}
			for i := 0; ; i++ {
				n := len(got)
				for e, err := range buckets[i%3].Scan(ctx, opts) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, e.Key+"=v")
					opts.After = e.Cursor()
				}
				if len(got) == n {
					break
				}
			}
			if !slices.Equal(got, all) {
				t.Fatalf("reverse %v: by sevens %q, at once %q", reverse, got, all)
			}
		}
		wantScanned(t, "cursor before the range", buckets[0].Scan(ctx, ScanOptions{After: cursorOf("a"), Prefix: "p", To: "p\x01"}), "p=v", "p\x00=v")
		wantScanned(t, "cursor behind the range", buckets[0].Scan(ctx, ScanOptions{After: cursorOf("z"), Prefix: "p"}))
	})
}

func TestScanOptionsTellAllFaults(t *testing.T) {
	bad := ScanOptions{Prefix: strings.Repeat("x", wire.MaxKey+1), From: "b", To: "a", After: "no cursor", Limit: -1, Level: 99}
	err := bad.Validate()
	for _, word := range []string{"bytes", "behind To", "no cursor", "Limit is -1", "99"} {
		if !errors.Is(err, ErrBadScan) || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "options: replica:") {
			t.Errorf("%v does not tell of %q", err, word)
		}
	}
	if err := (ScanOptions{}).Validate(); err != nil {
		t.Error(err)
	}
	bubble(t, 1, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for e, err := range buckets[0].Scan(context.Background(), bad) {
			if !errors.Is(err, ErrBadScan) || e.Key != "" {
				t.Errorf("%q, %v", e.Key, err)
			}
		}
	})
}

// Values are what Get shows, and KeysOnly leaves out only the bytes.
func TestScanShowsWhatGetShows(t *testing.T) {
	bubble(t, 3, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		net.split(true, 1)
		for i := range 2 {
			if _, err := buckets[i].Put(ctx, "two", []byte{'0' + byte(i)}, nil); err != nil && !errors.Is(err, ErrDegraded) {
				t.Fatal(err)
			}
		}
		_, _ = buckets[0].Put(ctx, "one", []byte("v"), nil)
		_, _ = buckets[1].Delete(ctx, "one", &DeleteOptions{})
		net.heal()
		time.Sleep(2 * time.Minute)
		n := 0
		for e, err := range buckets[2].Scan(ctx, ScanOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			it, err := buckets[2].Get(ctx, e.Key, nil)
			if err != nil || !slices.EqualFunc(it.Siblings(), e.Siblings(), bytes.Equal) || e.Replies < 2 {
				t.Errorf("%s: scan %q of %d, get %q, %v", e.Key, e.Siblings(), e.Replies, it.Siblings(), err)
			}
			n++
			// What the entry has seen is replaced by what carries its context.
			if _, err := buckets[1].Put(ctx, e.Key, []byte("new"), &PutOptions{Context: e.Context}); err != nil {
				t.Fatal(err)
			}
			wantValue(t, buckets[0], e.Key, "new")
		}
		if n != 2 {
			t.Errorf("%d entries", n)
		}
		for e, err := range buckets[0].Scan(ctx, ScanOptions{KeysOnly: true}) {
			if v, ok := e.Value(); err != nil || len(v) != 0 || !ok || len(e.Siblings()) != 1 {
				t.Errorf("%s: %q %v, %d siblings, %v", e.Key, v, ok, len(e.Siblings()), err)
			}
		}
	})
}

func TestScanWithoutAStore(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		client, b := openClient(t, net, BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		mustPut(t, buckets[0], "k", "v")
		time.Sleep(time.Second)
		wantScanned(t, "a client", b.Scan(ctx, ScanOptions{}), "k=v")
		for _, tell := range []bool{false, true} {
			net.split(tell, client.id)
			begin := time.Now()
			n, last := 0, error(nil)
			for _, err := range b.Scan(ctx, ScanOptions{}) {
				n, last = n+1, err
			}
			if took := time.Since(begin); !errors.Is(last, ErrUnavailable) || took > 4*time.Second || n > 2 {
				t.Errorf("told %v: %d pairs, the last one %v, after %v", tell, n, last, took)
			}
		}
		// One of three is in reach: it holds everything, and cannot vouch for it.
		net.heal()
		time.Sleep(10 * time.Second)
		net.split(true, 1, 2)
		got, gaps := scanned(t, b.Scan(ctx, ScanOptions{}))
		if !slices.Equal(got, []string{"k=v"}) || len(gaps) != 16 {
			t.Errorf("one home of three: %q, gaps %v", got, gaps)
		}
		if n, err := b.Count(ctx, ScanOptions{}); n != 1 || !errors.Is(err, ErrDegraded) {
			t.Errorf("counted %d, %v", n, err)
		}
	})
}

// A home that dies between two pages, or in the middle of one, is replaced by another.
func TestHomeThatDiesInTheMiddleOfAPage(t *testing.T) {
	for _, silent := range []bool{false, true} {
		bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			ctx := context.Background()
			var want []string
			for i := range 1500 {
				key := fmt.Sprintf("key-%05d", i)
				mustPut(t, buckets[i%4], key, strings.Repeat("v", 1000))
				want = append(want, key+"="+strings.Repeat("v", 1000))
			}
			time.Sleep(15 * time.Second)
			pages := 0
			stop := func(from, to view.NodeID, method string) bool {
				if method == wire.MethodPage && to == 2 {
					pages++
				}
				return method == wire.MethodPage && to == 2 && pages > 2
			}
			if silent {
				net.mu.Lock()
				net.lost = func(from, to view.NodeID, method string, _ []byte) bool { return stop(from, to, method) }
				net.mu.Unlock()
			} else {
				net.refuseCalls(stop)
			}
			wantScanned(t, fmt.Sprint("silent ", silent), buckets[0].Scan(ctx, ScanOptions{}), want...)
			if pages < 3 {
				t.Errorf("it was asked for %d pages", pages)
			}
		})
	}
}

func TestScanEndsWithItsConsumerItsContextAndItsStore(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 200 {
			mustPut(t, buckets[0], fmt.Sprint(i), strings.Repeat("v", 2000))
		}
		for range buckets[0].Scan(context.Background(), ScanOptions{}) {
			break
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var last error
		told := 0
		for _, err := range buckets[1].Scan(ctx, ScanOptions{}) {
			cancel()
			last = err
			told++
		}
		if !errors.Is(last, context.Canceled) || told != 2 {
			t.Errorf("after its context: %v, behind %d entries", last, told-1)
		}
		n := 0
		for _, err := range buckets[2].Scan(context.Background(), ScanOptions{}) {
			if last = err; n == 0 {
				begin := time.Now()
				if err := nodes[2].store.Close(); err != nil || time.Since(begin) > 2*time.Second {
					t.Errorf("a scan that is not consumed holds Close up: %v, %v", time.Since(begin), err)
				}
			}
			n++
		}
		if !errors.Is(last, ErrClosed) || n > 200 {
			t.Errorf("after its store: %v after %d", last, n)
		}
		for e, err := range buckets[2].Scan(context.Background(), ScanOptions{}) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("of a closed store: %q, %v", e.Key, err)
			}
		}
	})
}

// A store that is asked for many pages at once answers all of them, one after the other.
func TestManyScansAtOnce(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 100 {
			mustPut(t, buckets[0], fmt.Sprint(i), strings.Repeat("v", 2000))
		}
		counts := make(chan int)
		for i := range 60 {
			go func() {
				n, err := buckets[i%3].Count(context.Background(), ScanOptions{})
				if err != nil {
					t.Error(err)
				}
				counts <- n
			}()
		}
		for range 60 {
			if n := <-counts; n != 100 {
				t.Errorf("counted %d", n)
			}
		}
		synctest.Wait()
	})
}

// Of two homes one answers before a key is deleted, the other after that was purged.
func TestScanShowsNothingThatWasPurgedMeanwhile(t *testing.T) {
	quick := func(_ int, _ *fakeNode, c *Config) { c.PurgeEvery, c.AckTimeout = 2*time.Second, 30*time.Second }
	bubbleOn(t, 3, BucketConfig{}, quick, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		client := net.add(false)
		b := openBucket(t, client.open(func(c *Config) { c.AckTimeout = 30 * time.Second }), "b", BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprint(i), "v")
		}
		time.Sleep(time.Minute)
		first, purged := true, make(chan struct{})
		net.watchCalls(func(method string) {
			net.mu.Lock()
			wait := method == wire.MethodPage && !first
			first = first && method != wire.MethodPage
			net.mu.Unlock()
			if wait {
				<-purged
			}
		})
		go func() {
			time.Sleep(100 * time.Millisecond)
			for i := range 10 {
				if _, err := buckets[1].Delete(ctx, fmt.Sprint(i), &DeleteOptions{Level: Quorum}); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(20 * time.Second)
			if n := nodes[0].store.purging.Purged(); n < 10 {
				t.Errorf("%d purged", n)
			}
			close(purged)
		}()
		var want []string
		for i := 10; i < 20; i++ {
			want = append(want, fmt.Sprint(i, "=v"))
		}
		wantScanned(t, "a key that was deleted", b.Scan(ctx, ScanOptions{}), want...)
	})
}

// A key of which one home has a damaged record, and which another has not got, is at the
// third.
func TestScanFindsWhatIsDamagedHere(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		for i := range 10 { // of these the other one has an old delete
			mustPut(t, buckets[0], fmt.Sprint("key-", i), "old")
			if _, err := buckets[0].Delete(ctx, fmt.Sprint("key-", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		net.lose(func(_, to view.NodeID, method string, _ []byte) bool { return to == 2 && method == wire.MethodMerge })
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprint("key-", i), "v")
		}
		s := nodes[0].store
		for i := range 20 {
			at := s.homes.LocateKey(buckets[0].b.ID, fmt.Sprint("key-", i))
			if err := s.disk.Update(ctx, func(tx *storage.Tx) error { return tx.Set(at.Record, []byte{1, 0x93}) }); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := buckets[0].Count(ctx, ScanOptions{}); n != 20 || err != nil {
			t.Errorf("counted %d, %v", n, err)
		}
		for e, err := range buckets[0].Scan(ctx, ScanOptions{KeysOnly: true}) {
			if v, _ := e.Value(); err != nil || len(v) > 0 || len(e.Siblings()) != 1 {
				t.Fatalf("%s=%q, %v", e.Key, v, err)
			}
		}
		net.lose(nil)
	})
}

// A home has a damaged record of a value that came after a delete, another one has the delete
// or a value that has ended; the third has the value.
func TestScanFindsWhatIsDamagedBesideADelete(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		var want []string
		for i := range 20 {
			key := fmt.Sprintf("key-%02d", i)
			want = append(want, key+"=v")
			if _, err := buckets[0].Put(ctx, key, []byte("old"), &PutOptions{Level: Sloppy(3), TTL: time.Second}); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				if _, err := buckets[0].Delete(ctx, key, &DeleteOptions{Level: Sloppy(3)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(2 * time.Second)
		net.lose(func(_, to view.NodeID, method string, _ []byte) bool { return to == 2 && method == wire.MethodMerge })
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprintf("key-%02d", i), "v")
		}
		damageRecords(t, nodes[0], buckets[0], 20)
		wantScanned(t, "beside damaged records", buckets[0].Scan(ctx, ScanOptions{}), want...)
		net.lose(nil)
	})
}

// damageRecords makes the records of the first keys unreadable at a node.
func damageRecords(t *testing.T, n *fakeNode, b *Bucket, keys int) {
	t.Helper()
	for i := range keys {
		at := n.store.homes.LocateKey(b.b.ID, fmt.Sprintf("key-%02d", i))
		if err := n.store.disk.Update(context.Background(), func(tx *storage.Tx) error { return tx.Set(at.Record, []byte{1, 0x93}) }); err != nil {
			t.Fatal(err)
		}
	}
}

// Keys that move to a new home while a scan is on its way are asked of that one, also
// where no other home has ever had them.
func TestScanFollowsKeysToTheirNewHome(t *testing.T) {
	one := BucketConfig{Copies: 1}
	bubble(t, 3, one, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		client, b := openClient(t, net, one)
		defer client.views.Close()
		defer client.store.Close()
		const keys = 1000
		for i := range keys {
			mustPut(t, buckets[0], fmt.Sprintf("%04d", i), strings.Repeat("v", 2000))
		}
		time.Sleep(10 * time.Second)
		n := 0
		var joined *fakeNode
		for e, err := range b.Scan(ctx, ScanOptions{}) {
			if err != nil && !errors.Is(err, ErrDegraded) {
				t.Fatal(err)
			}
			if err != nil {
				continue
			}
			if e.Key != fmt.Sprintf("%04d", n) {
				t.Fatalf("%q in the place of %d", e.Key, n)
			}
			if n++; n == 10 {
				joined = net.add(true)
				openBucket(t, joined.open(), "b", one)
				defer joined.views.Close()
				defer joined.store.Close()
				time.Sleep(5 * time.Minute)
			}
		}
		moved := uint64(0) // one counts them who asked to compare
		for _, node := range append(nodes, joined) {
			moved += node.store.comparer.Moved() + node.store.carrier.Moved()
		}
		if n != keys || moved < keys/10 {
			t.Errorf("%d keys, %d have moved", n, moved)
		}
	})
}
