package replica

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// A node writes in a cut, is evicted there, and is started again, on a real mesh
// and real disks: what only it had is in the mesh, and its old directory is gone.
func TestRealMeshEvictedNodeBringsItsWrites(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		ctx := context.Background()
		for i := range 20 {
			mustPut(t, w.boxes[i%4].bucket, fmt.Sprintf("k%d", i), "before")
		}
		time.Sleep(time.Second)
		b := w.boxes[3]
		w.net.Partition(w.addrs(0, 1, 2), w.addrs(3))
		time.Sleep(30 * time.Second)
		for i := range 20 {
			putAlone(t, b.bucket, fmt.Sprintf("k%d", i), "alone")
			putAlone(t, b.bucket, fmt.Sprintf("new%d", i), "alone")
		}
		old := b.node.ID()
		w.kill(b)
		w.net.HealAll()
		by := w.boxes[0].node
		w.until(time.Minute, "it is found to be down", func() bool {
			m, _ := by.View().Member(old)
			return m.State == view.Failed
		})
		if err := by.Evict(ctx, old); err != nil {
			t.Fatal(err)
		}
		aside := filepath.Join(b.cfg.Dir, wire.RetiredPrefix+old.String())
		w.start(b) // it hears that it was evicted
		if b.node.ID() == old {
			t.Fatal("it has its old NodeID")
		}
		if _, err := os.Stat(aside); err != nil {
			t.Error(err)
		}
		b.bucket = openBucket(t, b.store, "b", BucketConfig{})
		w.until(10*time.Minute, "all is taken in", func() bool {
			h, err := b.store.Health(ctx)
			return err == nil && h.Importing == 0 && h.ImportRefused == 0
		})
		if _, err := os.Stat(aside); err == nil {
			t.Errorf("%s is still there", aside)
		}
		time.Sleep(time.Minute)
		for i := range 20 {
			wantValue(t, w.boxes[i%3].bucket, fmt.Sprintf("k%d", i), "alone")
			wantValue(t, w.boxes[i%3].bucket, fmt.Sprintf("new%d", i), "alone")
		}
		wantEqualHomes(t, w.stores()...)
	})
}
