package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/replica/version"
)

// image is the disk of a node as a crash at one moment leaves it, and what
// had been acknowledged by then.
type image struct {
	fs    *vfs.MemFS
	acked map[string]int       // key -> number of the last write acknowledged
	dots  map[version.Dot]bool // shown to clients
	// How many operations of each key had begun by then, if the test wants to know.
	issued map[string]int
}

// crashes takes an image at every sync, with part of what is not synced. What
// part is drawn from the seed and the number of the image alone: the storage
// engine syncs on goroutines of its own, whose order no seed decides.
type crashes struct {
	mem  *vfs.MemFS
	seed uint64

	mu     sync.Mutex
	acked  map[string]int
	dots   map[version.Dot]bool
	images []image
	issued func() map[string]int // nil: nobody wants to know
}

func (c *crashes) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
	default:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rng := rand.New(rand.NewPCG(c.seed, uint64(len(c.images))))
	clone := c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	img := image{fs: clone, acked: maps.Clone(c.acked), dots: maps.Clone(c.dots)}
	if c.issued != nil {
		img.issued = c.issued()
	}
	c.images = append(c.images, img)
	return nil
}

func (c *crashes) String() string { return "crash images" }

// A crash at any sync leaves every write that was acknowledged before it, and
// the store that opens on what is left never gives out a dot again.
func TestReplica_05_CrashAtEverySyncPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		net := newFakeNet(t)
		n := net.add(true)
		c := &crashes{mem: n.fs.(*vfs.MemFS), seed: 1, acked: map[string]int{}, dots: map[version.Dot]bool{}}
		n.fs = errorfs.Wrap(n.fs, c)
		b := openBucket(t, n.open(), "b", BucketConfig{})
		for i := range 120 {
			key := fmt.Sprintf("k%d", i%17)
			var r Result
			var err error
			if i%5 == 4 {
				r, err = b.Delete(ctx, key, nil)
			} else {
				r, err = b.Put(ctx, key, []byte(fmt.Sprint(i)), nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			c.mu.Lock()
			c.acked[key] = i
			if r.Dot != (version.Dot{}) { // there was something to delete
				if c.dots[r.Dot] {
					t.Errorf("dot %v given out twice", r.Dot)
				}
				c.dots[r.Dot] = true
			}
			c.mu.Unlock()
		}
		if err := n.store.Close(); err != nil {
			t.Fatal(err)
		}
		if len(c.images) < 100 {
			t.Fatalf("only %d images", len(c.images))
		}
		for i, img := range c.images {
			checkImage(t, n, i, img)
		}
		n.views.Close()
	})
}

// checkImage opens a store on an image.
func checkImage(t *testing.T, n *fakeNode, i int, img image) {
	t.Helper()
	ctx := context.Background()
	n.fs = img.fs
	n.reset()
	n.net.publish()
	s := n.open()
	defer s.Close()
	b := openBucket(t, s, "b", BucketConfig{})
	for key, last := range img.acked {
		it, err := b.Get(ctx, key, nil)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatalf("image %d: %s: %v", i, key, err)
		}
		v, ok := it.Value()
		var got int
		if ok {
			fmt.Sscan(string(v), &got)
		}
		deleted := last%5 == 4
		if ok && got < last || !ok && !deleted && !laterDelete(last) {
			t.Fatalf("image %d: %s is %q %v, write %d was acknowledged (a delete: %v)", i, key, v, ok, last, deleted)
		}
	}
	for key := range img.acked {
		r, err := b.Put(ctx, key, []byte("after"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if img.dots[r.Dot] {
			t.Fatalf("image %d: dot %v given out again", i, r.Dot)
		}
	}
}

// laterDelete tells whether the write after last of the same key, which may
// have been under way, is a delete.
func laterDelete(last int) bool { return (last+17)%5 == 4 }

// A client that gives up while its write is being synced learns that the write
// may be kept. It is, and its copies are made all the same.
func TestClientGivesUpDuringTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet(t)
		hung := make(chan struct{})
		slow := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
				<-hung
			}
			return nil
		})}
		var buckets []*Bucket
		for i := range 3 {
			n := net.add(true)
			if i == 0 {
				n.fs = errorfs.Wrap(n.fs, &slow)
			}
			buckets = append(buckets, openBucket(t, n.open(), "b", BucketConfig{}))
			defer func() {
				if err := n.store.Close(); err != nil {
					t.Error(err)
				}
				n.views.Close()
			}()
		}
		time.Sleep(time.Minute)
		key := "k"
		for i := 0; buckets[0].s.homes.Now().RouteOf(buckets[0].b, buckets[0].s.homes.LocateKey(buckets[0].b.ID, key).Shard).Lead != buckets[0].s.id; i++ {
			key = fmt.Sprint("k", i) // one that the first node coordinates
		}
		mustPut(t, buckets[0], key, "old")
		slow.On()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := buckets[0].Put(ctx, key, []byte("new"), nil)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "may or may not be kept") {
			t.Errorf("the client that gave up: %v", err)
		}
		wantValue(t, buckets[1], key, "old")
		slow.Off()
		close(hung)
		synctest.Wait()
		for i := 2; i >= 0; i-- {
			wantValue(t, buckets[i], key, "new")
		}
	})
}

// A disk that fails at any write: what was acknowledged is there when the
// disk works again, and the store says that it failed.
func TestReplica_21_FailedSyncStopsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		net := newFakeNet(t)
		n := net.add(true)
		mem := n.fs.(*vfs.MemFS)
		fail := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncTo {
				return errors.New("the disk said no")
			}
			return nil
		})}
		n.fs = errorfs.Wrap(mem, &fail)
		b := openBucket(t, n.open(), "b", BucketConfig{})
		mustPut(t, b, "before", "v")
		fail.On()
		if _, err := b.Put(ctx, "during", []byte("v"), nil); !errors.Is(err, ErrStorage) {
			t.Errorf("write that was not synced: %v", err)
		}
		fail.Off()
		if _, err := b.Put(ctx, "after", []byte("v"), nil); !errors.Is(err, ErrStorage) {
			t.Errorf("write after a failed sync: %v", err)
		}
		_ = n.store.Close()
		time.Sleep(time.Second)
		n.fs = mem.CrashClone(vfs.CrashCloneCfg{})
		n.reset()
		net.publish()
		b = openBucket(t, n.open(), "b", BucketConfig{})
		wantValue(t, b, "before", "v")
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
		n.views.Close()
	})
}
