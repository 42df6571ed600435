package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// world is a real mesh on a network in memory, in virtual time; the disks are
// real.
type world struct {
	t     *testing.T
	net   *memnet.Net
	boxes []*worldBox
}

type worldBox struct {
	addr   netip.Addr
	cfg    mesh.Config
	node   *mesh.Node
	store  *Store
	bucket *Bucket
	all    []*mesh.Node
}

func inWorld(t *testing.T, n int, fn func(w *world)) {
	t.Helper()
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New(1)}
		w.net.SetPaths(memnet.Path{Delay: 500 * time.Microsecond})
		defer w.close()
		for i := range n {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
			w.boxes = append(w.boxes, &worldBox{addr: addr, cfg: mesh.Config{
				Dir: dirs[i], Secret: bytes.Repeat([]byte{9}, identity.SecretSize), MeshName: "replica", Storing: true, Shards: 16,
				Name: fmt.Sprintf("node-%d", i), Zone: fmt.Sprintf("zone-%d", i%3),
				Listen: netip.AddrPortFrom(addr, 7800).String(), Seeds: []string{"10.0.0.1:7800"},
			}})
		}
		for _, b := range w.boxes {
			w.start(b)
		}
		w.until(20*time.Second, "all see all", func() bool {
			for _, b := range w.boxes {
				if b.node.View().Count(view.Alive) != n {
					return false
				}
			}
			return true
		})
		for _, b := range w.boxes {
			b.bucket = openBucket(t, b.store, "b", BucketConfig{})
		}
		time.Sleep(5 * time.Second)
		fn(w)
	})
}

func (w *world) start(b *worldBox) {
	w.t.Helper()
	cfg := b.cfg
	cfg.Network = w.net.Host(b.addr)
	var err error
	if b.node, err = mesh.Start(context.Background(), cfg); err != nil {
		w.t.Fatal(err)
	}
	b.all = append(b.all, b.node)
	if b.store, err = Open(context.Background(), Config{Mesh: b.node, SyncEvery: 10 * time.Second, ReserveBytes: -1}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) kill(b *worldBox) {
	w.net.Kill(b.addr)
	_ = b.node.Close()
	_ = b.store.Close()
}

func (w *world) close() {
	var all sync.WaitGroup
	for _, b := range w.boxes {
		if b.store != nil {
			all.Go(func() { _ = b.store.Close() })
		}
		for _, n := range b.all {
			all.Go(func() { _ = n.Close() })
		}
	}
	all.Wait()
	_ = w.net.Close()
	time.Sleep(30 * time.Second) // what memberlist leaves behind ends by then
}

func (w *world) until(limit time.Duration, what string, cond func() bool) {
	w.t.Helper()
	for begin := time.Now(); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > limit {
			w.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func (w *world) addrs(boxes ...int) (out []netip.Addr) {
	for _, i := range boxes {
		out = append(out, w.boxes[i].addr)
	}
	return out
}

func (w *world) stores() (out []*Store) {
	for _, b := range w.boxes {
		out = append(out, b.store)
	}
	return out
}

// A node that stores nothing is cut off with writes in its outbox, and starts again as
// one that stores: they are delivered, and it gets its share.
func TestRealMeshCameraBeginsToStore(t *testing.T) {
	dir := t.TempDir()
	inWorld(t, 3, func(w *world) {
		ctx := context.Background()
		camera := w.addCamera(dir)
		w.start(camera)
		w.until(20*time.Second, "the camera is in contact", func() bool { return camera.node.View().Count(view.Alive) == 4 })
		camera.bucket = openBucket(t, camera.store, "b", BucketConfig{})
		w.net.Partition(w.addrs(0, 1, 2), w.addrs(3))
		time.Sleep(time.Minute)
		for i := range 20 {
			if r, err := camera.bucket.Put(ctx, fmt.Sprintf("k%d", i), []byte("v"), nil); !r.Queued {
				t.Fatalf("put cut off: %+v, %v", r, err)
			}
		}
		w.kill(camera)
		w.net.HealAll()
		camera.cfg.Storing = true
		w.start(camera)
		w.until(5*time.Minute, "all is delivered, and the camera holds its share", func() bool {
			h, err := camera.store.Health(ctx)
			return err == nil && h.Importing == 0 && h.Syncing == 0 && len(h.Problems) == 0 && len(h.Shards) > 0
		})
		for i := range 20 {
			key := fmt.Sprintf("k%d", i)
			it, err := w.boxes[i%3].bucket.Get(ctx, key, &GetOptions{Level: Quorum})
			if v, _ := it.Value(); err != nil || string(v) != "v" || len(it.Siblings()) != 1 {
				t.Fatalf("%s is %q of %q, %v", key, v, it.Siblings(), err)
			}
		}
	})
}

// addCamera adds a box whose node stores nothing.
func (w *world) addCamera(dir string) *worldBox {
	addr := netip.AddrFrom4([4]byte{10, 0, 0, 9})
	camera := &worldBox{addr: addr, cfg: w.boxes[0].cfg}
	camera.cfg.Dir, camera.cfg.Name, camera.cfg.Storing = dir, "camera", false
	camera.cfg.Listen = netip.AddrPortFrom(addr, 7800).String()
	w.boxes = append(w.boxes, camera)
	return camera
}

// A node that stores nothing, cut off from its first moment on, then for a
// while.
func TestRealMeshOutbox(t *testing.T) {
	dir := t.TempDir()
	inWorld(t, 3, func(w *world) {
		ctx := context.Background()
		camera := w.addCamera(dir)
		w.net.Partition(w.addrs(0, 1, 2), w.addrs(3))
		w.start(camera)
		camera.bucket = openBucket(t, camera.store, "b", BucketConfig{})
		for round := range 2 {
			for i := range 20 {
				r, err := camera.bucket.Put(ctx, fmt.Sprintf("k%d", i), []byte(fmt.Sprint(round)), nil)
				if !errors.Is(err, ErrDegraded) || !r.Queued {
					t.Fatalf("put cut off: %+v, %v", r, err)
				}
			}
			time.Sleep(10 * time.Minute)
			w.net.HealAll()
			w.until(3*time.Minute, "all delivered", func() bool {
				st, err := camera.store.Status(ctx)
				return err == nil && st.OutboxOps == 0 && st.OutboxDelivered == uint64(20*(round+1))
			})
			for i := range 20 {
				key := fmt.Sprintf("k%d", i)
				it, err := w.boxes[i%3].bucket.Get(ctx, key, &GetOptions{Level: Quorum})
				if v, _ := it.Value(); err != nil || string(v) != fmt.Sprint(round) || len(it.Siblings()) != 1 {
					t.Fatalf("%s is %q of %q, %v", key, v, it.Siblings(), err)
				}
			}
			w.net.Partition(w.addrs(0, 1, 2), w.addrs(3))
		}
		w.net.HealAll()
	})
}

func TestRealMeshKillAndCut(t *testing.T) {
	inWorld(t, 5, func(w *world) {
		ctx := context.Background()
		for i := range 20 {
			mustPut(t, w.boxes[i%5].bucket, fmt.Sprintf("k%d", i), "one")
		}
		dead := w.boxes[4]
		w.kill(dead)
		for i := range 20 {
			mustPut(t, w.boxes[i%4].bucket, fmt.Sprintf("k%d", i), "two")
		}
		time.Sleep(20 * time.Second)
		w.start(dead)
		dead.bucket = openBucket(t, dead.store, "b", BucketConfig{})
		time.Sleep(30 * time.Second)
		for i := range 20 {
			wantValue(t, dead.bucket, fmt.Sprintf("k%d", i), "two")
		}
		wantEqualHomes(t, w.stores()...)

		w.net.Partition(w.addrs(0, 1, 2), w.addrs(3, 4))
		var conflicts int
		for i := range 20 {
			for _, side := range []int{0, 3} {
				_, err := w.boxes[side].bucket.Put(ctx, fmt.Sprintf("k%d", i), []byte(fmt.Sprintf("side %d", side)), nil)
				if err != nil && !errors.Is(err, ErrDegraded) {
					t.Fatalf("write on side %d: %v", side, err)
				}
			}
		}
		time.Sleep(time.Minute)
		w.net.HealAll()
		time.Sleep(2 * time.Minute)
		wantEqualHomes(t, w.stores()...)
		for i := range 20 {
			for _, b := range w.boxes {
				it, err := b.bucket.Get(ctx, fmt.Sprintf("k%d", i), nil)
				if err != nil {
					t.Fatal(err)
				}
				if v, _ := it.Value(); string(v) != "side 3" {
					t.Errorf("k%d is %q, the later write is side 3", i, v)
				}
				conflicts += len(it.Siblings()) - 1
			}
		}
		if conflicts == 0 {
			t.Error("no conflict was kept")
		}
	})
}
