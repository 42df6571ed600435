package replica

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// On real nodes a scan from one that stores nothing goes on while a home is killed, and
// while another is cut off and comes back.
func TestRealMeshScan(t *testing.T) {
	dir := t.TempDir()
	inWorld(t, 5, func(w *world) {
		ctx := context.Background()
		camera := w.addCamera(dir)
		w.start(camera)
		camera.bucket = openBucket(t, camera.store, "b", BucketConfig{})
		const keys = 600
		for i := range keys {
			mustPut(t, w.boxes[i%5].bucket, fmt.Sprintf("%04d", i), strings.Repeat("v", 2000))
		}
		time.Sleep(20 * time.Second)
		n := 0
		for e, err := range camera.bucket.Scan(ctx, ScanOptions{}) {
			if err != nil || e.Key != fmt.Sprintf("%04d", n) {
				t.Fatalf("%q in the place of %d, %v", e.Key, n, err)
			}
			n++
			switch n {
			case 50:
				w.kill(w.boxes[3])
			case 200:
				time.Sleep(time.Minute)
				w.start(w.boxes[3])
				time.Sleep(time.Minute)
				w.net.Partition(w.addrs(0, 1, 3, 4, 5), w.addrs(2))
			case 400:
				w.net.HealAll()
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n != keys {
			t.Errorf("%d keys of %d", n, keys)
		}
	})
}
