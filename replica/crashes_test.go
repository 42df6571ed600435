package replica

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/replica/version"
)

var long = flag.Bool("long", false, "look at 20 000 crash images, and run many more seeds")

// TestLongCrashImages looks at what crashes leave of stores with random
// workloads, at every sync point: nothing that was acknowledged is lost, nothing
// that was read is taken back, no dot is given out twice.
func TestLongCrashImages(t *testing.T) {
	want := int64(300)
	if *long {
		want = 20_000
	}
	var images atomic.Int64
	var seed atomic.Uint64
	t.Run("seeds", func(t *testing.T) {
		for range 2 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for images.Load() < want && !t.Failed() {
					n := seed.Add(1)
					synctest.Test(t, func(t *testing.T) { images.Add(int64(crashRun(t, n))) })
				}
			})
		}
	})
	t.Logf("%d crash images of %d workloads", images.Load(), seed.Load())
	if !t.Failed() && images.Load() < want {
		t.Errorf("only %d images", images.Load())
	}
}

// history is what a workload has done to one store.
type history struct {
	crashes
	next   int
	moment int
	issued map[string][]issuedOp // by key, in order; hides that of crashes
}

type issuedOp struct {
	number     int
	tomb       bool
	begin, end int // moments; end 0: it never ended
}

// counts tells how many operations of each key were issued.
func (h *history) counts() map[string]int {
	counts := make(map[string]int, len(h.issued))
	for k, ops := range h.issued {
		counts[k] = len(ops)
	}
	return counts
}

// crashRun runs a random workload on one store and opens every image of it. It
// returns how many there were.
func crashRun(t *testing.T, seed uint64) int {
	r := rand.New(rand.NewPCG(seed, 20))
	net := newFakeNet(t)
	n := net.add(true)
	h := &history{issued: map[string][]issuedOp{}}
	h.mem, h.seed, h.acked, h.dots = n.fs.(*vfs.MemFS), r.Uint64(), map[string]int{}, map[version.Dot]bool{}
	h.crashes.issued = h.counts
	n.fs = errorfs.Wrap(n.fs, &h.crashes)
	b := openBucket(t, n.open(func(c *Config) { c.PurgeEvery = 20 * time.Second }), "b", BucketConfig{})
	for range 3 + r.IntN(3) {
		var clients sync.WaitGroup
		for range 1 + r.IntN(3) {
			ops, random := 2+r.IntN(5), rand.New(rand.NewPCG(r.Uint64(), 1))
			clients.Go(func() {
				for range ops {
					h.one(t, b, random)
				}
			})
		}
		clients.Wait()
		if r.IntN(2) == 0 {
			time.Sleep(time.Minute) // deletes are purged
		}
	}
	if err := n.store.Close(); err != nil {
		t.Fatal(err)
	}
	for i, img := range h.images {
		n.fs = img.fs
		n.reset()
		n.net.publish()
		h.check(t, n, seed, i, img)
	}
	n.views.Close()
	return len(h.images)
}

// one does one random operation. What it shows counts as acknowledged.
func (h *history) one(t *testing.T, b *Bucket, r *rand.Rand) {
	ctx, key := context.Background(), fmt.Sprintf("k%d", r.IntN(6))
	if r.IntN(3) == 0 {
		it, err := b.Get(ctx, key, nil)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if v, ok := it.Value(); ok {
			var number int
			fmt.Sscan(string(v), &number)
			h.mu.Lock()
			h.acked[key] = max(h.acked[key], number)
			h.mu.Unlock()
		}
		return
	}
	h.mu.Lock()
	h.next++
	h.moment++
	number, tomb, place := h.next, r.IntN(3) == 0, len(h.issued[key])
	h.issued[key] = append(h.issued[key], issuedOp{number: number, tomb: tomb, begin: h.moment})
	h.mu.Unlock()
	var res Result
	var err error
	if tomb {
		res, err = b.Delete(ctx, key, nil)
	} else {
		res, err = b.Put(ctx, key, fmt.Append(nil, number), nil)
	}
	if err != nil {
		t.Errorf("write %d: %v", number, err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if res.Dot.N > 0 && h.dots[res.Dot] {
		t.Errorf("dot %v given out twice", res.Dot)
	}
	h.acked[key], h.dots[res.Dot] = max(h.acked[key], number), true
	h.moment++
	h.issued[key][place].end = h.moment
}

// check opens a store on an image.
func (h *history) check(t *testing.T, n *fakeNode, seed uint64, i int, img image) {
	t.Helper()
	ctx := context.Background()
	s := n.open()
	defer s.Close()
	b := openBucket(t, s, "b", BucketConfig{})
	for key := range maps.Keys(img.acked) {
		it, err := b.Get(ctx, key, nil)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("seed %d, image %d: %s: %v", seed, i, key, err)
		}
		var got int
		v, alive := it.Value()
		if alive {
			fmt.Sscan(string(v), &got)
		}
		if !h.allowed(key, img.acked[key], img.issued[key], got, alive) {
			t.Errorf("seed %d, image %d: %s reads %q %v, write %d was acknowledged or read", seed, i, key, v, alive, img.acked[key])
		}
		r, err := b.Put(ctx, key, []byte("0"), nil)
		if err != nil || img.dots[r.Dot] {
			t.Errorf("seed %d, image %d: dot %v again, %v", seed, i, r.Dot, err)
		}
	}
}

// allowed tells whether a key may read so after the write acked, when so many of
// its writes had been issued. Concurrent writes may have been committed in any
// order, but none that had ended before acked began is shown after it.
func (h *history) allowed(key string, acked, issued, got int, alive bool) bool {
	ops := h.issued[key][:issued]
	began := 0
	for _, op := range ops {
		if op.number == acked {
			began = op.begin
		}
	}
	for _, op := range ops {
		if (op.end == 0 || op.end > began) && op.tomb != alive && (!alive || op.number == got) {
			return true
		}
	}
	return false
}
