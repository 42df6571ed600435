package mesh

import (
	"slices"
	"testing"
	"time"
	"math/rand/v2"
	"os"
	"strconv"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestZZDetect(t *testing.T) {
	N, _ := strconv.Atoi(os.Getenv("N"))
	R, _ := strconv.Atoi(os.Getenv("R"))
	bubble(t, N, func(t *testing.T, w *world) {
		w.hasty = true
		w.form(60 * time.Second)
		var ds []time.Duration
		for range R {
			time.Sleep(20*time.Second + rand.N(2*time.Second))
			b := w.boxes[rand.IntN(N)]
			n := b.node
			b.silence()
			d := w.eventually(60*time.Second, "failed", func() bool { return w.everySees(n.id, view.Failed) })
			ds = append(ds, d)
			w.net.Restore(b.addr)
			b.node = n
			w.eventually(100*time.Second, "back", w.whole)
		}
		slices.Sort(ds)
		t.Logf("min %v median %v p90 %v max %v", ds[0], ds[len(ds)/2], ds[len(ds)*9/10], ds[len(ds)-1])
	})
}
