package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// reopen opens the camera's store anew, after a crash or a Close.
func (c *camera) reopen(change ...func(*Config)) {
	c.t.Helper()
	c.node.restart(change...)
	c.b = openBucket(c.t, c.node.store, "b", BucketConfig{})
}

func TestOutboxSurvivesARestart(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		mustPut(t, c.all[0], "k", "theirs")
		c.net.split(true, c.node.id)
		for i := range 20 {
			c.queue(c.b, fmt.Sprint("k", i), "v", nil)
		}
		c.queue(c.b, "k", "mine", nil)
		for range 2 {
			c.node.kill()
			c.reopen()
			c.net.split(true, c.node.id)
			if st := c.status(); st.OutboxOps != 21 || st.OutboxDropped != 0 {
				t.Fatalf("after a crash: %+v", st)
			}
		}
		c.queue(c.b, "k", "mine too", nil)
		c.net.heal()
		time.Sleep(30 * time.Second)
		for i := range 20 {
			wantValue(t, c.all[i%3], fmt.Sprint("k", i), "v")
		}
		c.wantSiblings("k", "mine too", "theirs")
		c.node.kill()
		c.reopen()
		time.Sleep(30 * time.Second)
		if st := c.status(); st.OutboxOps != 0 || len(c.took()) != 21 {
			t.Errorf("what was delivered came back: %+v, %d deliveries", st, len(c.took()))
		}
	})
}

// outboxImage is the camera's disk as a crash leaves it, and what had been
// acknowledged and what stores had taken by then.
type outboxImage struct {
	fs    vfs.FS
	acked map[string]int
	took  []string
}

// What is acknowledged survives a crash at any sync, in the outbox or at a
// store, also in the middle of delivery.
func TestOutboxCrashAtEverySyncPoint(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		rng := rand.New(rand.NewPCG(3, 4))
		acked := map[string]int{}
		var images []outboxImage
		mem := c.node.fs.(*vfs.MemFS)
		if err := c.node.store.Close(); err != nil {
			t.Fatal(err)
		}
		// From the beginning: syncs of a log that takes the place of another are
		// not seen here.
		if err := mem.RemoveAll(c.node.dir + "/outbox"); err != nil {
			t.Fatal(err)
		}
		var on atomic.Bool
		c.node.fs = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo) && on.Load() {
				clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				c.mu.Lock()
				images = append(images, outboxImage{clone, maps.Clone(acked), slices.Clone(c.arrived)})
				c.mu.Unlock()
			}
			return nil
		}))
		c.reopen()
		on.Store(true)
		for round := range 4 {
			c.net.split(true, c.node.id)
			for i := range 25 {
				n := 25*round + i
				key := fmt.Sprintf("k%d", n%7)
				c.queue(c.b, key, fmt.Sprint(n), nil)
				c.mu.Lock()
				acked[key] = n
				c.mu.Unlock()
			}
			c.net.heal()
			time.Sleep(10 * time.Second)
		}
		on.Store(false)
		if st := c.status(); st.OutboxOps != 0 || len(images) < 100 {
			t.Fatalf("%+v, %d images", st, len(images))
		}
		for i, img := range images {
			checkOutboxImage(t, c.node.dir, i, img)
		}
	})
}

func checkOutboxImage(t *testing.T, dir string, i int, img outboxImage) {
	t.Helper()
	best := map[string]int{}
	note := func(key, value string) {
		n := 0
		fmt.Sscan(value, &n)
		best[key] = max(best[key], n)
	}
	for _, a := range img.took {
		key, value, _ := strings.Cut(a, "=")
		note(key, value)
	}
	d, err := storage.Open(storage.Options{FS: img.fs, Dir: dir + "/outbox", MemTableBytes: outbox.MemTable, CacheBytes: outbox.Cache})
	if err != nil {
		t.Fatalf("image %d: %v", i, err)
	}
	defer d.Close()
	lower, upper := wire.OutboxRange()
	err = d.Scan(context.Background(), lower, upper, func(_, v []byte) error {
		op, err := wire.DecodeOutboxOp(v)
		note(op.Key, string(op.Value))
		return err
	})
	if err != nil {
		t.Fatalf("image %d: %v", i, err)
	}
	for key, n := range img.acked {
		if best[key] < n {
			t.Fatalf("image %d: write %d of %s was acknowledged, the last that is left is %d", i, n, key, best[key])
		}
	}
}

func TestOutboxCloseWhileDelivering(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		c.net.split(true, c.node.id)
		for i := range 100 {
			c.queue(c.b, fmt.Sprint("k", i), "v", nil)
		}
		c.refusing(func(*wire.PutRequest) []byte {
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		c.net.heal()
		time.Sleep(350 * time.Millisecond)
		begin := time.Now()
		if err := c.node.store.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		if n := len(c.took()); n < 8 || n > 50 {
			t.Fatalf("%d delivered, the test wants some", n)
		}
		time.Sleep(time.Minute)
		before := len(c.took())
		c.reopen()
		if left := c.status().OutboxOps; left < 100-before || left > 100-before+8 {
			t.Errorf("%d left of 100 after %d deliveries", left, before)
		}
		time.Sleep(time.Minute)
		for i := range 100 {
			wantValue(t, c.all[0], fmt.Sprint("k", i), "v")
		}
		if st := c.status(); st.OutboxOps != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// fullFS says that the disk is full when it is told to.
type fullFS struct {
	vfs.FS
	full atomic.Bool
	left atomic.Uint64 // bytes that are free then; 0: 1 MiB
}

func (f *fullFS) Unwrap() vfs.FS { return f.FS }

// fillUp fills disks, and returns when their stores rely on an earlier look no more.
func fillUp(disks ...*fullFS) {
	for _, d := range disks {
		d.full.Store(true)
	}
	time.Sleep(time.Second)
}

func (f *fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if f.full.Load() {
		return vfs.DiskUsage{AvailBytes: cmp.Or(f.left.Load(), 1<<20), TotalBytes: 1 << 40}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 39, TotalBytes: 1 << 40}, nil
}

func TestOutboxOnAFullDisk(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		disk := &fullFS{FS: c.node.fs}
		if err := c.node.store.Close(); err != nil {
			t.Fatal(err)
		}
		c.node.fs = disk
		c.reopen(func(cfg *Config) { cfg.ReserveBytes = 16 << 20 })
		c.net.split(true, c.node.id)
		for i := range 20 {
			c.queue(c.b, fmt.Sprint("k", i), "v", nil)
		}
		fillUp(disk)
		if _, err := c.b.Put(context.Background(), "k", nil, nil); !errors.Is(err, ErrStorageFull) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("disk full: %v", err)
		}
		c.net.heal()
		time.Sleep(time.Minute)
		if st := c.status(); len(c.took()) != 20 || st.OutboxOps != 20 || !strings.Contains(st.OutboxError, "full") {
			t.Errorf("all is delivered once, though none can be forgotten: %d deliveries, %+v", len(c.took()), st)
		}
		disk.full.Store(false)
		time.Sleep(2 * time.Minute)
		if st := c.status(); len(c.took()) != 20 || st.OutboxOps != 0 || st.OutboxDelivered != 20 {
			t.Errorf("with room again: %d deliveries, %+v", len(c.took()), st)
		}
	})
}

// A disk that takes seconds for a sync, as worn flash does, blocks nothing for
// good. A client that does not wait for it learns that it cannot know.
func TestOutboxOnASlowDisk(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		mem := c.node.fs.(*vfs.MemFS)
		slow := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
				time.Sleep(5 * time.Second)
			}
			return nil
		})}
		if err := errors.Join(c.node.store.Close(), mem.RemoveAll(c.node.dir+"/outbox")); err != nil {
			t.Fatal(err)
		}
		c.node.fs = errorfs.Wrap(mem, &slow)
		c.reopen()
		c.net.split(true, c.node.id)
		slow.On()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r, err := c.b.Put(ctx, "hasty", []byte("v"), nil)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "may or may not be kept") || r.Queued {
			t.Errorf("%+v, %v", r, err)
		}
		for round := range 2 {
			for i := range 20 {
				c.queue(c.b, fmt.Sprint("k", i), fmt.Sprint(round), nil)
			}
			c.net.heal()
			time.Sleep(5 * time.Minute)
			if st := c.status(); st.OutboxOps != 0 {
				t.Fatalf("round %d: %+v", round, st)
			}
			c.wantSiblings("k7", fmt.Sprint(round))
			c.net.split(true, c.node.id)
		}
		wantValue(t, c.all[0], "hasty", "v")
	})
}

func TestOutboxFailedSync(t *testing.T) {
	alone(t, func(c *camera) {
		mem := c.node.fs.(*vfs.MemFS)
		fail := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncTo {
				return errors.New("the disk said no")
			}
			return nil
		})}
		if err := errors.Join(c.node.store.Close(), mem.RemoveAll(c.node.dir+"/outbox")); err != nil {
			t.Fatal(err)
		}
		c.node.fs = errorfs.Wrap(mem, &fail)
		c.reopen()
		c.queue(c.b, "before", "v", nil)
		fail.On()
		for range 2 {
			if r, err := c.b.Put(context.Background(), "during", nil, nil); !errors.Is(err, ErrStorage) || !errors.Is(err, ErrUnavailable) || r.Queued {
				t.Errorf("%+v, %v", r, err)
			}
			fail.Off()
		}
		if st := c.status(); !strings.Contains(st.OutboxError, "the disk said no") {
			t.Errorf("%+v", st)
		}
		if err := c.node.store.Close(); err == nil {
			t.Error("Close says nothing of it")
		}
		c.node.fs = mem.CrashClone(vfs.CrashCloneCfg{})
		c.reopen()
		if st := c.status(); st.OutboxOps != 1 {
			t.Errorf("after a restart: %+v", st)
		}
	})
}

// overwrite changes a closed outbox on disk.
func (c *camera) overwrite(seq uint64, record []byte) {
	c.t.Helper()
	d, err := storage.Open(storage.Options{FS: c.node.fs, Dir: c.node.dir + "/outbox", MemTableBytes: outbox.MemTable, CacheBytes: outbox.Cache, Reserve: -1})
	if err != nil {
		c.t.Fatal(err)
	}
	err = d.Update(context.Background(), func(tx *storage.Tx) error { return tx.Set(wire.OutboxKey(seq), record) })
	if err := errors.Join(err, d.Close()); err != nil {
		c.t.Fatal(err)
	}
}

func TestOutboxLeavesOutWhatIsDamaged(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		c.net.split(true, c.node.id)
		for i := range 5 {
			c.queue(c.b, fmt.Sprint("k", i), "v", nil)
		}
		for _, dropped := range []uint64{1, 0} { // it is counted once
			if err := c.node.store.Close(); err != nil {
				t.Fatal(err)
			}
			if dropped > 0 {
				c.overwrite(2, []byte{1, 0x93})
			}
			c.reopen()
			c.net.split(true, c.node.id)
			if st := c.status(); st.OutboxOps != 4 || st.OutboxDropped != dropped {
				t.Fatalf("%+v", st)
			}
		}
		c.net.heal()
		time.Sleep(10 * time.Second)
		if n := len(c.took()); n != 4 {
			t.Errorf("%d delivered", n)
		}
	})
}

func TestOutboxOfANewerRelease(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		if err := c.node.store.Close(); err != nil {
			t.Fatal(err)
		}
		c.overwrite(7, []byte{99, 0x93})
		for range 2 {
			_, err := Open(context.Background(), Config{Mesh: c.node, fs: c.node.fs, clock: c.node.clock, boot: "boot"})
			if !errors.Is(err, ErrNewerFormat) {
				t.Fatalf("opened: %v", err)
			}
		}
	})
}

func TestOutboxThatIsDamagedAsAWholeIsSetAside(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		fsys, dir := c.node.fs, c.node.dir+"/outbox"
		for range 2 {
			c.net.split(true, c.node.id)
			c.queue(c.b, "k", "v", nil)
			if err := c.node.store.Close(); err != nil {
				t.Fatal(err)
			}
			names, err := fsys.List(dir)
			for _, name := range names {
				if strings.HasPrefix(name, "marker.manifest") {
					err = errors.Join(err, fsys.Remove(dir+"/"+name))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			c.reopen()
			if st := c.status(); st.OutboxOps != 0 {
				t.Fatalf("%+v", st)
			}
			if names, err := fsys.List(dir + ".damaged"); err != nil || len(names) == 0 {
				t.Errorf("nothing was set aside: %v %v", names, err)
			}
		}
	})
}
