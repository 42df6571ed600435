package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Writers that are faster than the disks, all of them or one home's: memory
// stays within bounds, those for whom there is no room are told when to try
// again and get their turn, and what was acknowledged is there on all homes
// when the disks have caught up.
func TestWritersFasterThanTheDisk(t *testing.T) {
	t.Run("all disks slow", func(t *testing.T) { flood(t, func(int) bool { return true }) })
	t.Run("the disk of one home slow", func(t *testing.T) { flood(t, func(i int) bool { return i == 1 }) })
}

func flood(t *testing.T, isSlow func(i int) bool) {
	const (
		size = 64 << 10
		room = 2 << 20 // for waiting writes, at each store
		// What is allowed for, at each of three stores: three tables that are
		// sorted in, of 10 MiB at most, the caches, of 16 MiB, and two such
		// rooms, as for the copies on their way. What the writers want written
		// at once is 75 MiB at each store, and as much for each time that it is
		// handed on: with room for all of it memory grew by 180 MiB.
		bound = 3 * (30<<20 + 16<<20 + 2*room)
	)
	writers := 1200
	if testing.Short() {
		writers = 300
	}
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()} // real ones: a disk in memory would count
	value := func(i int) []byte { return append(bytes.Repeat([]byte("."), size), fmt.Sprint(i)...) }
	bubbleOn(t, 3, BucketConfig{}, func(i int, n *fakeNode, c *Config) {
		n.dir, c.fs, c.MaxPendingBytes = dirs[i], vfs.Default, room
		if isSlow(i) {
			c.fs = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
					time.Sleep(100 * time.Millisecond)
				}
				return nil
			}))
		}
	}, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		watch := watchHeap()
		var refused atomic.Int64
		var all sync.WaitGroup
		shared := value(0)[:size] // else the writers themselves take most of the memory
		for i := range writers {
			all.Go(func() {
				for {
					v := shared
					if i%100 == 0 {
						v = value(i)
					}
					r, err := buckets[i%3].Put(context.Background(), fmt.Sprint("k", i), v, nil)
					switch {
					case err == nil || errors.Is(err, ErrDegraded):
						if r.Durable < 1 {
							t.Errorf("acknowledged by nobody: %+v, %v", r, err)
						}
						return
					case !errors.Is(err, ErrOverloaded):
						t.Errorf("put: %v", err)
						return
					case RetryAfter(err) <= 0:
						t.Errorf("no hint when to try again: %v", err)
						return
					}
					refused.Add(1)
					time.Sleep(RetryAfter(err))
				}
			})
		}
		all.Wait()
		if grown := watch(); grown > bound {
			t.Errorf("memory has grown by %d MiB, %d MiB are allowed for", grown>>20, bound>>20)
		} else {
			t.Logf("memory has grown by %d MiB, %d writes were refused", grown>>20, refused.Load())
		}
		if refused.Load() == 0 {
			t.Error("no write was refused")
		}
		time.Sleep(5 * time.Minute)
		wantEqualHomes(t, stores(nodes)...)
		wantRecords(t, nodes, buckets[0], 3*writers)
		for i := range writers {
			want := shared
			if i%100 == 0 {
				want = value(i)
			}
			wantValue(t, buckets[(i+1)%3], fmt.Sprint("k", i), string(want))
		}
	})
}

// What waits for a store that does not answer is bounded by what the operator
// allows for. What there is no room for is kept for it on disk, and so told.
func TestCopiesForASlowStoreAreBounded(t *testing.T) {
	const room = 1 << 20
	bubbleOn(t, 3, BucketConfig{}, func(_ int, _ *fakeNode, c *Config) { c.MaxPendingBytes = room }, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		net.split(false, nodes[2].id)
		s, most := nodes[0].store, 0
		for i := range 200 {
			if r := mustPut(t, buckets[0], fmt.Sprint("k", i), strings.Repeat("v", 32<<10)); r.Durable < 2 {
				t.Fatalf("put %d: %+v", i, r)
			}
			most = max(most, s.offers.Lanes.Waiting(nodes[2].id))
		}
		if most < room/4 || most > room/2 {
			t.Errorf("%d bytes waited for one store, room is for %d", most, room/2)
		}
		time.Sleep(time.Minute)
		if st, err := s.Status(context.Background()); err != nil || st.Hints == 0 {
			t.Errorf("nothing is kept for the store that is silent: %+v, %v", st, err)
		}
		net.heal()
		time.Sleep(5 * time.Minute) // a delivery that was under way waits as long as a slow link may take
		wantEqualHomes(t, stores(nodes)...)
	})
}

// watchHeap looks at the heap every now and then, until it is asked by how much
// it had grown at most.
func watchHeap() (peak func() uint64) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	begin, done, most := heap(), make(chan struct{}), make(chan uint64)
	go func() {
		top := begin
		for {
			select {
			case <-done:
				most <- top - begin
				return
			case <-time.After(100 * time.Millisecond):
				synctest.Wait()
				top = max(top, heap())
			}
		}
	}()
	return func() uint64 { close(done); return <-most }
}
