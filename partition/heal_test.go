package partition

import (
	"testing"
	"time"
)

// After a cut whoever leads the whole leads on, though streams from before it go on
// only when TCP tries again.
func TestHealCostsNoLeader(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, nil, func(w *world) {
		w.net.Backoff(true)
		for i, part := range []time.Duration{10, 13, 20, 26, 27, 29, 40} {
			part *= time.Second
			few, many := []*box{w.boxes[i%5], w.boxes[(i+1)%5]}, []*box{w.boxes[(i+2)%5], w.boxes[(i+3)%5], w.boxes[(i+4)%5]}
			w.net.Partition(w.addrs(few...), w.addrs(many...))
			time.Sleep(part)
			w.net.HealAll()
			w.until(30*time.Second, "all see all again, and one leads", func() bool { return w.whole() && w.agreed(w.boxes...) != nil })
			w.steady(20*time.Second, "after "+part.String()+" apart")
		}
	})
}
