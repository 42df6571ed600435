package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/mesh/view"
)

// wantFault fails unless the store tells an operator of it, in such words.
func wantFault(t *testing.T, s *Store, want error, words string) {
	t.Helper()
	h, err := s.Health(context.Background())
	if !errors.Is(err, want) || !strings.Contains(strings.Join(wordsOf(h.Problems), "\n"), words) {
		t.Errorf("health of %v: %q, %v, want %q, %v", s.id, h.Problems, err, words, want)
	}
}

// fullDisks are three stores whose disks fill up when they are told to.
func fullDisks(t *testing.T, fn func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket)) {
	disks := make([]*fullFS, 3)
	bubbleOn(t, 3, BucketConfig{}, func(i int, n *fakeNode, c *Config) {
		disks[i] = &fullFS{FS: n.fs}
		c.fs, c.ReserveBytes = disks[i], 16<<20
	}, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, buckets []*Bucket) { fn(t, disks, nodes, buckets) })
}

// A home whose disk is full takes nothing in, but what only it has goes to the
// other homes all the same.
func TestFullDiskGivesAway(t *testing.T) {
	fullDisks(t, func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket) {
		ctx, id := context.Background(), buckets[0].b.ID
		for i := range 40 {
			mustPut(t, buckets[i%3], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Minute)
		fillUp(disks[1])
		for i := range 40 {
			key := fmt.Sprint("k", i)
			if i%2 == 0 {
				loseHere(t, nodes[0].store, id, key)
				loseHere(t, nodes[2].store, id, key)
			}
			nodes[1].store.records.ForgetDigest(nodes[1].store.homes.LocateKey(id, key).Slice) // as if it had just started
		}
		writeHere(t, nodes[0].store, id, "new", "for all")
		if err := nodes[1].store.comparer.Compare(ctx, nodes[0].id); !errors.Is(err, ErrStorageFull) {
			t.Errorf("%v, want %v", err, ErrStorageFull)
		}
		for i := range 40 {
			if rec, err := nodes[0].store.records.Load(ctx, nodes[0].store.homes.LocateKey(id, fmt.Sprint("k", i))); err != nil || rec.Unknown() {
				t.Errorf("k%d was not given away, %v", i, err)
			}
		}
		time.Sleep(10 * time.Minute)
		wantEqual(t, nodes[0].store, nodes[2].store)
		for i := range 40 {
			wantValue(t, buckets[0], fmt.Sprint("k", i), "v")
		}
		at := nodes[1].store.homes.LocateKey(id, "new")
		if rec, err := nodes[1].store.records.Load(ctx, at); err != nil || !rec.Unknown() {
			t.Errorf("%v is on a disk that is full, %v", rec.Item, err)
		}
		disks[1].full.Store(false)
		time.Sleep(10 * time.Minute)
		wantEqualHomes(t, stores(nodes)...)
	})
}

// One of three homes has no room left: writes go on through any node, its own
// clients' too, on the two that have; it reads what it holds; and it is brought
// up to date when there is room again.
func TestFullDiskOfOneHome(t *testing.T) {
	fullDisks(t, func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		const keys = 30
		for i := range keys {
			mustPut(t, buckets[i%3], fmt.Sprint("k", i), "before")
		}
		fillUp(disks[1])
		led := 0 // by the node without room, through itself
		for i := range keys {
			key := fmt.Sprint("k", i)
			if buckets[1].Homes(key)[0] == nodes[1].id && i%3 == 1 {
				led++
			}
			if r := mustPut(t, buckets[i%3], key, "during"); r.Durable < 2 || r.Homes < 2 {
				t.Fatalf("put %s at %v: %+v", key, buckets[i%3].s.id, r)
			}
			wantValue(t, buckets[(i+1)%3], key, "during")
			if it, err := buckets[1].Get(ctx, key, &GetOptions{Level: One}); err != nil || len(it.Siblings()) != 1 {
				t.Fatalf("read of one store at the full one: %q, %v", it.Siblings(), err)
			}
		}
		if led == 0 {
			t.Error("no write came to the full store that it leads")
		}
		wantFault(t, nodes[1].store, nil, "the disk is full")
		for k, it := range dump(t, nodes[1].store) {
			if at, _ := layout.PlaceOf([]byte(k)); at.Bucket == buckets[1].b.ID && string(it.Sibs[0].Value) != "before" {
				t.Errorf("%s was written without room", at.Key)
			}
		}
		time.Sleep(10 * time.Minute)
		disks[1].full.Store(false)
		time.Sleep(time.Minute)
		wantEqualHomes(t, stores(nodes)...)
		for i := range keys {
			wantValue(t, buckets[1], fmt.Sprint("k", i), "during")
		}
	})
}

// No home has room: every write is refused as what it is and leaves nothing,
// here or there, also once there is room.
func TestFullDisksRefuseWrites(t *testing.T) {
	fullDisks(t, func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "k", "old")
		fillUp(disks...)
		for i, b := range buckets {
			if _, err := b.Put(ctx, "k", []byte("new"), nil); !errors.Is(err, ErrStorageFull) {
				t.Errorf("put at %d: %v", i, err)
			}
			if _, err := b.Put(ctx, "never", []byte("new"), nil); !errors.Is(err, ErrStorageFull) {
				t.Errorf("put of a new key at %d: %v", i, err)
			}
			if _, err := b.Delete(ctx, "k", nil); !errors.Is(err, ErrStorageFull) {
				t.Errorf("delete at %d: %v", i, err)
			}
			wantValue(t, b, "k", "old")
		}
		for _, d := range disks {
			d.full.Store(false)
		}
		time.Sleep(time.Hour)
		for _, b := range buckets {
			wantValue(t, b, "k", "old")
			wantNotFound(t, b, "never")
		}
		mustPut(t, buckets[1], "k", "newer")
		wantRecords(t, nodes, buckets[0], 3)
	})
}

// One of three homes has room: what only it can keep is not acknowledged as on
// two, whoever leads the write.
func TestFullDisksDoNotAck(t *testing.T) {
	fullDisks(t, func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket) {
		fillUp(disks[1:]...)
		for i := range 6 {
			r, err := buckets[i%3].Put(context.Background(), fmt.Sprint("k", i), []byte("v"), nil)
			if err == nil || r.Durable > 1 {
				t.Errorf("put k%d at %v: %+v, %v", i, buckets[i%3].s.id, r, err)
			}
		}
	})
}

// The only store that there is says what is wrong, and nothing that is not: a
// write that it refused cannot have been kept.
func TestFullDiskAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet(t).add(true)
		disk := &fullFS{FS: n.fs}
		n.fs = disk
		b := openBucket(t, n.open(func(c *Config) { c.ReserveBytes = 16 << 20 }), "b", BucketConfig{})
		mustPut(t, b, "k", "old")
		fillUp(disk)
		if _, err := b.Put(context.Background(), "k", []byte("new"), nil); !errors.Is(err, ErrStorageFull) || errors.Is(err, ErrUnavailable) {
			t.Errorf("put: %v", err)
		}
		wantValue(t, b, "k", "old")
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
		n.views.Close()
	})
}

// A sync fails at one home. It says so, syncs nothing any more, whatever it is
// asked, and the others go on without it; opened on what its disk holds it
// catches up.
func TestFailedDiskOfOneHome(t *testing.T) {
	var broken atomic.Bool
	var syncs atomic.Int64
	var mem *vfs.MemFS
	bubbleOn(t, 3, BucketConfig{}, func(i int, n *fakeNode, c *Config) {
		if i != 1 {
			return
		}
		mem = n.fs.(*vfs.MemFS)
		c.fs = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
				if broken.Load() || syncs.Load() > 0 { // it would work again then
					syncs.Add(1)
				}
				if broken.Swap(false) {
					return errors.New("the disk said no")
				}
			}
			return nil
		}))
	}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		for i := range 20 {
			mustPut(t, buckets[i%3], fmt.Sprint("k", i), "before")
		}
		time.Sleep(time.Second)
		watch := followBucket(t, "watch", buckets[1], WatchOptions{Present: true})
		time.Sleep(time.Second)
		broken.Store(true)
		want := make(map[string]string)
		for i := range 20 {
			b, key := buckets[i%2*2], fmt.Sprint("k", i)
			if r := mustPut(t, b, key, "after"); r.Durable < 2 {
				t.Fatalf("%+v", r)
			}
			wantValue(t, buckets[2-i%2*2], key, "after")
			want[key] = "after"
		}
		watch.want(time.Minute, want)
		watch.stop()
		time.Sleep(time.Hour)
		if _, err := buckets[1].Get(ctx, "k1", nil); !errors.Is(err, ErrStorage) {
			t.Errorf("read of a failed store: %v", err)
		}
		wantFault(t, nodes[1].store, ErrStorage, "the disk has failed")
		if err := nodes[1].store.Err(); !errors.Is(err, ErrStorage) {
			t.Errorf("a failed store: %v", err)
		}
		// What it does not know is not told as nothing: an alarm would end at the worst moment.
		wantMetrics(t, nodes[1].store, "up 0", "disk_failed 1", "problems 2", "records_set_aside_total 0")
		wantNoMetric(t, nodes[1].store, "copies_missing", "hints", "shards_syncing", "stores_lost")
		nodes[1].fs = mem
		nodes[1].kill()
		if n := syncs.Load(); n != 1 {
			t.Errorf("%d syncs, want the one that failed: what it has lost nobody knows", n)
		}
		buckets[1] = openBucket(t, nodes[1].restart(), "b", BucketConfig{})
		time.Sleep(time.Minute)
		for i := range 20 {
			wantValue(t, buckets[1], fmt.Sprint("k", i), "after")
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// A home is off for a month, with values that were deleted and replaced
// meanwhile. Nothing of it comes back, what it lacks it gets, and the deletes
// that were kept for its sake are forgotten in the end.
func TestGoneForAMonth(t *testing.T) {
	rarely := func(_ int, _ *fakeNode, c *Config) { c.SyncEvery = time.Hour } // a month of it is to be gone through
	bubbleOn(t, 4, BucketConfig{}, rarely, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 40 // a quarter each: deleted, deleted and written anew, replaced, left alone
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprint("k", i), "old")
		}
		time.Sleep(time.Second)
		held := 0
		for i := 0; i < keys; i += 4 {
			if slices.Contains(buckets[0].Homes(fmt.Sprint("k", i)), nodes[3].id) {
				held++
			}
		}
		if held == 0 {
			t.Fatal("the store that goes holds nothing that will be deleted")
		}
		nodes[3].kill()
		for i := range keys {
			key := fmt.Sprint("k", i)
			if i%4 < 2 {
				mustDelete(t, buckets[0], key)
			}
			time.Sleep(time.Minute)
			if i%4 == 1 || i%4 == 2 {
				mustPut(t, buckets[1], key, "new")
			}
		}
		time.Sleep(30 * 24 * time.Hour)
		blocked := 0
		for _, n := range nodes[:3] {
			h, err := n.store.Health(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if p := h.PurgeBlocked; p != nil && p.For > 3*7*24*time.Hour && slices.Equal(p.Missing, []view.NodeID{nodes[3].id}) {
				blocked++
				wantFault(t, n.store, nil, "deletes cannot be forgotten")
			}
			if n := n.store.purging.Purged(); n > 0 {
				t.Errorf("%d deletes forgotten that one member does not know of", n)
			}
		}
		if blocked == 0 {
			t.Error("nobody says what the purge has waited for, for weeks")
		}
		buckets[3] = openBucket(t, nodes[3].restart(), "b", BucketConfig{})
		time.Sleep(3 * time.Hour)
		for i := range keys {
			for _, b := range buckets {
				switch key := fmt.Sprint("k", i); i % 4 {
				case 0:
					wantNotFound(t, b, key)
				case 3:
					wantValue(t, b, key, "old")
				default:
					wantValue(t, b, key, "new")
				}
			}
		}
		wantRecords(t, nodes, buckets[0], 3*keys*3/4)
		for _, n := range nodes {
			if h, err := n.store.Health(context.Background()); err != nil || h.PurgeBlocked != nil {
				t.Errorf("%v still waits: %+v, %v", n.id, h.PurgeBlocked, err)
			}
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// All gateways lose power and come back in any order, after any time, over a
// poor network: each takes writes as soon as it is there, whoever else is, and
// nothing that was acknowledged is lost.
func TestF1_18_ColdStartInAnyOrder_Replica(t *testing.T) {
	for seed := range uint64(3) {
		inWorld(t, 5, func(w *world) {
			rng := rand.New(rand.NewPCG(seed, 18))
			want := make(map[string]string)
			for i := range 30 {
				key := fmt.Sprint("k", i)
				mustPut(t, w.boxes[i%5].bucket, key, "old")
				want[key] = "old"
			}
			w.net.SetPaths(memnet.Path{Delay: time.Duration(rng.Int64N(int64(20 * time.Millisecond))), Loss: rng.Float64() / 20})
			for _, b := range w.boxes {
				w.kill(b)
			}
			time.Sleep(time.Duration(rng.Int64N(int64(1000 * time.Hour))))
			for n, i := range rng.Perm(5) {
				b := w.boxes[i]
				w.start(b)
				b.bucket = openBucket(t, b.store, "b", BucketConfig{})
				for _, key := range []string{fmt.Sprint("dawn", n), fmt.Sprint("k", n)} {
					r, err := b.bucket.Put(context.Background(), key, []byte("new"), nil)
					if err != nil && !errors.Is(err, ErrDegraded) || r.Durable < 1 {
						t.Fatalf("seed %d: box %d, of %d: %+v, %v", seed, i, n+1, r, err)
					}
					want[key] = "new"
				}
				time.Sleep(time.Duration(rng.Int64N(int64(30 * time.Second))))
			}
			w.net.SetPaths(memnet.Path{Delay: time.Millisecond})
			time.Sleep(3 * time.Minute)
			wantEqualHomes(t, w.stores()...)
			for key, value := range want {
				for _, b := range w.boxes {
					wantValue(t, b.bucket, key, value)
				}
			}
		})
	}
}

// All disks are full but for the reserve: values are refused, deletes are not, at all homes
// and for good; what they free is noted, purged, and comes back to puts.
func TestDeletesGoOnWhenDisksAreFull(t *testing.T) {
	fullDisks(t, func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		const keys = 60
		time.Sleep(time.Hour) // for clocks that are vouched for
		for i := range keys {
			mustPut(t, buckets[i%3], fmt.Sprint("k", i), strings.Repeat("v", 1<<10))
		}
		short := putKilo(t, buckets, "short", 10*time.Minute)
		for _, d := range disks {
			d.left.Store(10 << 20) // of a reserve of 16 MiB
		}
		fillUp(disks...)
		for i := range keys {
			b, key := buckets[i%3], fmt.Sprint("k", i)
			if _, err := b.Put(ctx, key, []byte("new"), nil); !errors.Is(err, ErrStorageFull) {
				t.Fatalf("put of %s: %v", key, err)
			}
			if i%2 > 0 {
				wantValue(t, b, key, strings.Repeat("v", 1<<10))
				continue
			}
			if r, err := b.Delete(ctx, key, nil); err != nil || r.Durable < 2 {
				t.Fatalf("delete of %s: %+v, %v", key, r, err)
			}
			wantNotFound(t, buckets[(i+1)%3], key)
		}
		wantProblem(t, nodes[0].store, "the disk is full", "deletes")
		time.Sleep(17 * time.Minute)
		for i, n := range nodes {
			if bytes, _ := valueBytes(t, n); bytes != keys/2<<10 {
				t.Errorf("node %d has %d bytes of values, of which %d are alive", i, bytes, keys/2<<10)
			}
			if got := found(t, buckets[i], short); got != 0 {
				t.Errorf("node %d finds %d that have ended", i, got)
			}
		}
		time.Sleep(3 * time.Hour)
		wantRecords(t, nodes, buckets[0], 3*keys/2)
		for _, d := range disks {
			d.full.Store(false)
		}
		time.Sleep(time.Minute)
		wantEqualHomes(t, stores(nodes)...)
		for i := range keys {
			if i%2 == 0 {
				wantNotFound(t, buckets[i%3], fmt.Sprint("k", i))
			}
			mustPut(t, buckets[i%3], fmt.Sprint("k", i), "new")
		}
	})
}

// One home is full and gets values together with deletes: the deletes are taken in, or it
// would stay full.
func TestFullHomeTakesDeletesInThatComeWithValues(t *testing.T) {
	fullDisks(t, func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 40 {
			mustPut(t, buckets[0], fmt.Sprint("k", i), strings.Repeat("v", 1<<10))
		}
		disks[2].left.Store(10 << 20)
		fillUp(disks[2])
		nodes[2].kill()
		for i := range 40 {
			if i%2 == 0 {
				mustDelete(t, buckets[0], fmt.Sprint("k", i))
			}
			mustPut(t, buckets[0], fmt.Sprint("new", i), strings.Repeat("v", 1<<10))
		}
		nodes[2].restart(func(c *Config) { c.fs, c.ReserveBytes = disks[2], 16<<20 })
		time.Sleep(10 * time.Minute)
		if bytes, _ := valueBytes(t, nodes[2]); bytes != 20<<10 {
			t.Errorf("%d bytes of values at the full home, want those of the 20 that were not deleted", bytes)
		}
		disks[2].full.Store(false)
		time.Sleep(10 * time.Minute)
		wantEqualHomes(t, stores(nodes)...)
	})
}
