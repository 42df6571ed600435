package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// manyKeys is n puts of different keys.
func manyKeys(n int, value string) []BatchPut {
	puts := make([]BatchPut, n)
	for i := range puts {
		puts[i] = BatchPut{Key: fmt.Sprint("k", i), Value: []byte(value)}
	}
	return puts
}

// mustPutMany puts a batch of which every entry must be kept on two homes.
func mustPutMany(t *testing.T, b *Bucket, puts []BatchPut) []BatchResult {
	t.Helper()
	done, err := b.PutMany(context.Background(), puts, nil)
	if err != nil || len(done) != len(puts) {
		t.Fatalf("%d results of %d, %v", len(done), len(puts), err)
	}
	for i := range done {
		if r := &done[i]; r.Err != nil || r.Durable < 2 || r.Homes < 2 {
			t.Fatalf("entry %d: %+v", i, r)
		}
	}
	return done
}

func wantMany(t *testing.T, b *Bucket, puts []BatchPut) {
	t.Helper()
	for i := range puts {
		wantValue(t, b, puts[i].Key, string(puts[i].Value))
	}
}

// One message goes to each coordinator, one to each home from each of them, and each has
// its batch committed with one sync, also from a node that stores nothing.
func TestBatchIsOneMessageForEachStore(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		groups := func() (n uint64) {
			for _, node := range nodes {
				n += node.store.disk.Stats().Groups
			}
			return n
		}
		mustPut(t, b, "first", "v")
		time.Sleep(time.Second)
		for round, from := range []*Bucket{b, buckets[0]} {
			puts := manyKeys(200, fmt.Sprint("round ", round))
			synced := groups()
			net.watchCalls(nil)
			mustPutMany(t, from, puts)
			time.Sleep(100 * time.Millisecond)
			many, _ := net.counted(wire.MethodPutMany)
			single, _ := net.counted(wire.MethodPut)
			merges, _ := net.counted(wire.MethodMerge)
			if single != 0 || many > 5 || merges > 5*4 {
				t.Errorf("%d batches, %d puts, %d merges", many, single, merges)
			}
			if n := groups() - synced; n > 5+5*4 {
				t.Errorf("%d syncs of 5 stores", n)
			}
			for _, at := range buckets {
				wantMany(t, at, puts)
			}
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// What a store coordinates itself costs one sync there, and one message and one sync for
// each other home.
func TestBatchOfOneCoordinator(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "first", "v")
		time.Sleep(time.Second)
		var before [3]uint64
		for i, n := range nodes {
			before[i] = n.store.disk.Stats().Groups
		}
		net.watchCalls(nil)
		puts := slices.DeleteFunc(manyKeys(200, "v"), func(p BatchPut) bool { return buckets[0].Homes(p.Key)[0] != nodes[0].id })
		mustPutMany(t, buckets[0], puts)
		time.Sleep(time.Second)
		if n, _ := net.counted(wire.MethodMerge); n != 2 {
			t.Errorf("%d merges for two homes", n)
		}
		for i, n := range nodes {
			if synced := n.store.disk.Stats().Groups - before[i]; synced != 1 {
				t.Errorf("%d syncs for %d writes at store %d", synced, len(puts), i)
			}
		}
	})
}

// A store that is no home and must ask what others know of a key writes what comes behind
// in the batch after that, although it would not have to ask for it.
func TestBatchWaitsForWhatOthersKnow(t *testing.T) {
	bubble(t, 5, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		keys := slices.DeleteFunc(manyKeys(200, "v"), func(p BatchPut) bool {
			homes := buckets[0].Homes(p.Key)
			return slices.Contains(homes, nodes[0].id) || slices.Contains(homes, nodes[1].id)
		})
		if len(keys) < 10 {
			t.Fatalf("%d keys have their homes elsewhere", len(keys))
		}
		net.split(true, nodes[0].id, nodes[1].id)
		time.Sleep(time.Second)
		var puts []BatchPut
		for i, k := range keys {
			mine, err := buckets[1].Put(ctx, k.Key, []byte("before"), nil)
			if i%2 == 0 && (err != nil && !errors.Is(err, ErrDegraded)) {
				t.Fatal(err)
			}
			puts = append(puts, BatchPut{Key: k.Key, Value: []byte("one")}, BatchPut{Key: k.Key, Value: []byte("two"), Context: mine.Context})
		}
		time.Sleep(time.Second)
		for _, k := range keys { // it was kept for a home
			loseHere(t, nodes[0].store, buckets[0].b.ID, k.Key)
		}
		done, err := buckets[0].PutMany(ctx, puts, nil)
		if err != nil && !errors.Is(err, ErrDegraded) {
			t.Fatal(err)
		}
		for i := 0; i < len(puts); i += 2 {
			if done[i].Dot.N != 1 || done[i+1].Dot.N != 2 || len(done[i].Covered) != 1 {
				t.Fatalf("%s: %v covers %v, then %v", puts[i].Key, done[i].Dot, done[i].Covered, done[i+1].Dot)
			}
		}
		net.heal()
		time.Sleep(time.Minute)
		wantEqualHomes(t, stores(nodes)...)
	})
}

// Writes of one key happen in the order of the batch, be the key unknown, or not known to
// be unknown, or deleted in between; and each result has its place.
func TestBatchKeepsTheOrderOfAKey(t *testing.T) {
	bubble(t, 5, BucketConfig{Copies: 3}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		for round := range 6 {
			from := []*Bucket{b, buckets[0], buckets[1]}[round%3]
			if round == 3 { // homes that lost their records do not know what there is
				for _, n := range nodes[:2] {
					for i := range 20 {
						loseHere(t, n.store, from.b.ID, fmt.Sprint("k", i))
					}
				}
			}
			var puts []BatchPut
			for n := range 7 {
				for i := range 20 {
					if i%(n+1) == 0 {
						puts = append(puts, BatchPut{Key: fmt.Sprint("k", i), Value: fmt.Appendf(nil, "%d.%d", round, n)})
					}
				}
			}
			done, err := from.PutMany(ctx, puts, nil)
			if err != nil {
				t.Fatal(err)
			}
			last := map[string]int{}
			for i := range puts {
				if p, ok := last[puts[i].Key]; ok && !slices.Equal(done[i].Covered, []version.Dot{done[p].Dot}) {
					t.Errorf("entry %d of %s covered %v, want %v", i, puts[i].Key, done[i].Covered, done[p].Dot)
				}
				last[puts[i].Key] = i
			}
			for key, i := range last {
				for _, at := range buckets {
					wantValue(t, at, key, string(puts[i].Value))
				}
			}
		}
	})
}

func TestDeleteMany(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		puts := manyKeys(30, "v")
		done := mustPutMany(t, buckets[0], puts)
		deletes := []BatchDelete{{Key: "never"}, {Key: "never"}, {Key: "k0", Context: done[0].Context}}
		for i := range puts[1:20] {
			deletes = append(deletes, BatchDelete{Key: puts[i+1].Key})
		}
		gone, err := buckets[1].DeleteMany(ctx, deletes, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range gone[2:] {
			if !slices.Equal(gone[i+2].Covered, []version.Dot{done[i].Dot}) {
				t.Errorf("delete of %s covered %v, want %v", deletes[i+2].Key, gone[i+2].Covered, done[i].Dot)
			}
		}
		for _, b := range buckets {
			wantNotFound(t, b, "never")
			for i := range 20 {
				wantNotFound(t, b, puts[i].Key)
			}
			wantMany(t, b, puts[20:])
		}
	})
}

// All that cannot be is named at once, with its place, and nothing was begun.
func TestBadBatch(t *testing.T) {
	bubble(t, 3, BucketConfig{MaxValue: 1000, MaxKey: 10}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx, b := context.Background(), buckets[0]
		other := mustPut(t, b, "other", "v").Context
		time.Sleep(time.Second)
		net.watchCalls(nil)
		puts := []BatchPut{
			{Key: "fine"}, {}, {Key: "much", Value: make([]byte, 1001)}, {Key: strings.Repeat("k", 11)}, {Key: "seen", Context: other},
		}
		done, err := b.PutMany(ctx, puts, &PutOptions{Context: other, MinDurable: 4, Level: -7})
		for _, part := range []string{
			"entry 1, key \"\": replica: the key is empty", "entry 2, key \"much\": replica: too large: value of 1001 bytes, limit 1000",
			"entry 3, key \"kkkkkkkkkkk\": replica: too large: key of 11 bytes", "entry 4, key \"seen\": replica: bad context",
			"a Context belongs to one key", "no such level: -7",
		} {
			if done != nil || err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%d results, %q lacks %q", len(done), err, part)
			}
		}
		if !errors.Is(err, ErrBadBatch) || !errors.Is(err, ErrTooLarge) || !errors.Is(err, ErrBadContext) {
			t.Errorf("%v", err)
		}
		if _, err := b.PutMany(ctx, puts[:1], &PutOptions{MinDurable: 4}); !errors.Is(err, ErrBadBucket) {
			t.Errorf("%v", err)
		}
		if n, _ := net.counted(wire.MethodMerge); n != 0 {
			t.Errorf("%d merges", n)
		}
		wantNotFound(t, b, "fine")
		if _, err := b.PutMany(ctx, manyKeys(MaxBatch+1, "v"), nil); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "1025 entries, limit 1024") {
			t.Errorf("%v", err)
		}
		big := openBucket(t, nodes[0].store, "big", BucketConfig{MaxValue: 5 << 20})
		puts = []BatchPut{{Key: "a", Value: make([]byte, 5<<20)}, {Key: "b"}}
		if _, err := big.PutMany(ctx, puts, nil); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "entry 0") {
			t.Errorf("%v", err)
		}
		if done, err := big.PutMany(ctx, puts[:1], nil); err != nil || done[0].Durable < 2 {
			t.Errorf("a single entry: %+v, %v", done, err)
		}
		if done, err := b.PutMany(ctx, nil, nil); err != nil || len(done) != 0 {
			t.Errorf("an empty batch: %v, %v", done, err)
		}
		if _, err := b.DeleteMany(ctx, []BatchDelete{{Key: strings.Repeat("k", 11)}}, nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v", err)
		}
	})
}

// What there is room for is written, and the rest of a batch is refused at once: here, and
// where another store coordinates.
func TestBatchWithoutRoom(t *testing.T) {
	small := func(i int, _ *fakeNode, c *Config) {
		if i == 0 {
			c.MaxPending = 10
		}
	}
	bubbleOn(t, 3, BucketConfig{}, small, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		mustPut(t, b, "first", "v")
		for _, from := range []*Bucket{b, buckets[0]} {
			puts := manyKeys(100, "v")
			done, err := from.PutMany(context.Background(), puts, nil)
			if !errors.Is(err, ErrOverloaded) || !strings.Contains(err.Error(), "of 100 entries of a batch") {
				t.Errorf("%v", err)
			}
			kept, refused := 0, false
			for i := range done {
				led := from == buckets[0] || nodes[0].store.homes.Now().RouteOf(from.b, nodes[0].store.homes.LocateKey(from.b.ID, puts[i].Key).Shard).Lead == nodes[0].id
				switch {
				case !led && done[i].Err != nil:
					t.Errorf("entry %d, of another store: %v", i, done[i].Err)
				case led && done[i].Err == nil && refused:
					t.Errorf("entry %d was taken behind one that was not", i)
				case led && done[i].Err == nil:
					kept++
				case led:
					refused = true
					if !errors.Is(done[i].Err, ErrOverloaded) || RetryAfter(done[i].Err) == 0 {
						t.Errorf("entry %d: %v", i, done[i].Err)
					}
				}
			}
			if kept != 10 {
				t.Errorf("%d of 10 were kept", kept)
			}
		}
		time.Sleep(time.Second)
		mustPutMany(t, buckets[0], manyKeys(10, "again"))
		mustPutMany(t, b, manyKeys(10, "and again"))
	})
}

// Behind an entry for which there is no room nothing is taken, also what would fit.
func TestBatchWithoutRoomForALargeOne(t *testing.T) {
	small := func(i int, _ *fakeNode, c *Config) { c.MaxPendingBytes = 1000 }
	bubbleOn(t, 1, BucketConfig{}, small, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		mustPut(t, b, "first", "v")
		for _, from := range []*Bucket{b, buckets[0]} {
			puts := manyKeys(12, strings.Repeat("v", 40))
			puts[10].Value = make([]byte, 900)
			done, _ := from.PutMany(context.Background(), puts, nil)
			for i := range done {
				if refused := errors.Is(done[i].Err, ErrOverloaded); refused != (i >= 10) {
					t.Errorf("entry %d: %v", i, done[i].Err)
				}
			}
		}
	})
}

// A store whose disk is full takes nothing of a batch: what it leads goes to homes that
// have room, in the order of each key. When all are full that is said of each entry.
func TestBatchOnFullDisks(t *testing.T) {
	fullDisks(t, func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPutMany(t, buckets[0], manyKeys(40, "before"))
		fillUp(disks[1])
		for i, b := range buckets {
			puts := manyKeys(40, fmt.Sprint("first", i))
			puts = append(puts, manyKeys(40, fmt.Sprint("during", i))...)
			done := mustPutMany(t, b, puts)
			for k := range 40 {
				if !slices.Equal(done[40+k].Covered, []version.Dot{done[k].Dot}) {
					t.Errorf("k%d: %v is covered, not %v", k, done[40+k].Covered, done[k].Dot)
				}
			}
			wantMany(t, buckets[(i+1)%3], puts[40:])
		}
		fillUp(disks[0])
		fillUp(disks[2])
		done, err := buckets[0].PutMany(ctx, manyKeys(40, "never"), nil)
		if !errors.Is(err, ErrStorageFull) {
			t.Error(err)
		}
		for i := range done {
			if !errors.Is(done[i].Err, ErrStorageFull) || done[i].Durable != 0 {
				t.Errorf("entry %d: %+v", i, done[i])
			}
		}
		wantMany(t, buckets[0], manyKeys(40, "during2"))
	})
}

// A home dies while a batch is on its way to it, or while it has it in hand: each entry is
// kept, or says that it is not, in bounded time; and the order of each key holds.
func TestBatchWhileAHomeDies(t *testing.T) {
	for _, method := range []string{wire.MethodPutMany, wire.MethodMerge} {
		t.Run(method, func(t *testing.T) {
			bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				guest, b := withGuest(t, net)
				defer guest.views.Close()
				defer func() { _ = guest.store.Close() }()
				mustPutMany(t, b, manyKeys(100, "before"))
				time.Sleep(time.Second) // until all homes have them
				var begins atomic.Bool
				killed := make(chan struct{})
				net.watchCalls(func(m string) {
					if m == method && begins.CompareAndSwap(false, true) {
						go func() { nodes[2].kill(); close(killed) }() // who calls may be it itself
					}
				})
				begun := time.Now()
				puts := append(manyKeys(100, "one"), manyKeys(100, "two")...)
				done, err := b.PutMany(context.Background(), puts, nil)
				if took := time.Since(begun); took > answerBound || len(done) != len(puts) {
					t.Fatalf("%d results after %v", len(done), took)
				}
				<-killed
				net.watchCalls(nil)
				for i := range done {
					if done[i].Err != nil && !errors.Is(done[i].Err, ErrDegraded) {
						t.Errorf("entry %d: %v", i, done[i].Err)
					}
				}
				_ = err
				wantMany(t, buckets[0], puts[100:])
				nodes[2].restart()
				buckets[2] = openBucket(t, nodes[2].store, "b", BucketConfig{})
				time.Sleep(5 * time.Minute)
				wantEqualHomes(t, stores(nodes)...)
				wantMany(t, buckets[2], puts[100:])
				for i := range 100 {
					it, _ := buckets[0].Get(context.Background(), puts[i].Key, nil)
					for _, v := range it.Siblings() { // two, where two stores have done it
						if string(v) != "two" {
							t.Errorf("%s has a value %q beside", puts[i].Key, v)
						}
					}
				}
			})
		})
	}
}

// Stores that are silent, or do not know the question, hold a batch no longer than a put,
// and what they were to coordinate others do.
func TestBatchWhereStoresDoNotAnswer(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		mustPutMany(t, b, manyKeys(60, "before"))
		check := func(what string, from *Bucket, value string) {
			t.Helper()
			begun := time.Now()
			puts := manyKeys(60, value)
			done, err := from.PutMany(context.Background(), puts, nil)
			if took := time.Since(begun); took > answerBound {
				t.Errorf("%s: %v", what, took)
			}
			for i := range done {
				if done[i].Err != nil && !errors.Is(done[i].Err, ErrDegraded) {
					t.Fatalf("%s: entry %d: %v", what, i, done[i].Err)
				}
			}
			_ = err
			wantMany(t, from, puts)
			time.Sleep(5 * time.Second)
		}
		old := nodes[1]
		net.refuseCalls(func(_, to view.NodeID, method string) bool { return to == old.id && method == wire.MethodPutMany })
		check("an earlier release", b, "one")
		if b.s.peering.Silence.Has(old.id) {
			t.Error("a store that does not know the question counts as silent")
		}
		check("an earlier release, from a store", buckets[0], "two")
		net.refuseCalls(nil)
		net.split(false, nodes[1].id, nodes[2].id)
		check("two are silent", b, "three")
		check("two are silent, for a store", buckets[0], "four")
		net.heal()
		time.Sleep(5 * time.Minute)
		wantEqualHomes(t, stores(nodes)...)
		wantMany(t, buckets[2], manyKeys(60, "four"))
	})
}

// A client that has no more time has an answer for each entry, and a store that closes
// lets go of a batch.
func TestBatchEndsWithItsClientOrItsStore(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		net.split(false, nodes[0].id)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		begun := time.Now()
		done, err := buckets[0].PutMany(ctx, manyKeys(30, "v"), &PutOptions{Level: Quorum})
		if took := time.Since(begun); took > 60*time.Millisecond || len(done) != 30 || err == nil {
			t.Errorf("%d results after %v, %v", len(done), took, err)
		}
		for i := range done {
			if e := done[i].Err; !errors.Is(e, ErrDegraded) && !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("entry %d: %v", i, e)
			}
		}
		ended := make(chan []BatchResult, 1)
		go func() {
			done, _ := buckets[0].PutMany(context.Background(), manyKeys(30, "w"), &PutOptions{Level: Quorum})
			ended <- done
		}()
		time.Sleep(10 * time.Millisecond)
		if err := nodes[0].store.Close(); err != nil {
			t.Fatal(err)
		}
		for i, r := range <-ended {
			if r.Err == nil {
				t.Errorf("entry %d reached a quorum alone", i)
			}
		}
		if done, err := buckets[0].PutMany(context.Background(), manyKeys(1, "x"), nil); !errors.Is(err, ErrClosed) || done != nil {
			t.Errorf("%v, %v", done, err)
		}
	})
}

// The format has room for what a batch may have.
func TestBatchFitsItsFormat(t *testing.T) {
	if MaxBatch != wire.MaxMany {
		t.Errorf("%d entries, the format has room for %d", MaxBatch, wire.MaxMany)
	}
}
