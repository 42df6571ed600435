package sim

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/replica/version"
)

// One side of a cut has half of the stores or less, whose clocks are set alike, ahead or
// behind by hours, and stores of which are started anew and know of nobody else's clock
// then. However long that is, no value ends for good by these clocks, here or, once the cut
// has healed, anywhere; and in the end no bytes of those that have ended are left.
func TestF1_30_ASideOfACutEndsNothing(t *testing.T) {
	var lapsed, refused atomic.Int64
	seeds(t, 80, func(w *World) {
		stores := 5 + w.Rand.IntN(3)
		if w.Chance(0.3) {
			stores = 1 + w.Rand.IntN(4)
		}
		c := NewCluster(w, stores, 3, 2)
		refused.Add(int64(c.runSideAhead()))
		lapsed.Add(int64(c.events["value lapsed"]))
	})
	if *seed == 0 && (lapsed.Load() < 300 || refused.Load() < 300) {
		t.Errorf("%d values have ended, %d times a clock was not vouched for", lapsed.Load(), refused.Load())
	}
}

// The clocks of all stores are set ahead, by what tells the time to all of them, and back
// before they count as steady. Nothing ends for good by that.
func TestF1_30_AllAheadForAWhile(t *testing.T) {
	var lapsed atomic.Int64
	seeds(t, 40, func(w *World) {
		c := NewCluster(w, 1+w.Rand.IntN(5), 3, 2)
		c.Lapse, c.Steady, c.MaxSkew = 300*time.Millisecond, 3*time.Second, time.Second
		l := Workload{Clients: 4, Keys: 8, Ops: 60, Blind: 0.5, Expires: 0.7}
		c.Start()
		l.Go(c)
		w.Run(4 * time.Second)
		off := w.Between(time.Hour, 48*time.Hour)
		for _, h := range w.Hosts {
			h.SetSkew(off)
		}
		w.Run(w.Between(0, 2900*time.Millisecond))
		for _, h := range w.Hosts {
			h.SetSkew(0)
		}
		w.Run(14 * time.Second)
		c.Quiesce(&l)
		c.oracle.Verify()
		lapsed.Add(int64(c.events["value lapsed"]))
	})
	if *seed == 0 && lapsed.Load() < 100 {
		t.Errorf("%d values have ended", lapsed.Load())
	}
}

// runSideAhead runs clients while sides of cuts have clocks that are wrong alike. It returns
// how often the clock of a store was not vouched for.
func (c *Cluster) runSideAhead() int {
	w := c.World
	c.Lapse, c.Steady, c.MaxSkew = 300*time.Millisecond, time.Second, time.Second
	if w.Chance(0.5) {
		c.Purge = 400 * time.Millisecond
	}
	l := Workload{Clients: 4, Keys: 8, Ops: 60, Blind: 0.5, Deletes: 0.1, Expires: 0.7}
	c.Start()
	l.Go(c)
	w.Run(2 * time.Second)
	for range 3 {
		side := make([]bool, len(w.Hosts))
		off := w.Between(time.Minute, 48*time.Hour) - 6*time.Hour
		for _, i := range w.Rand.Perm(len(side))[:len(side)/2] {
			side[i] = true
			w.Hosts[i].SetSkew(off)
			if w.Chance(0.6) {
				w.Hosts[i].Crash()
			}
		}
		if w.Chance(0.8) {
			w.Net.Split(func(h *Host) bool { return side[h.Index] })
		}
		for _, h := range w.Hosts {
			h.Start()
		}
		w.Run(w.Between(2*time.Second, 5*time.Second))
		if w.Chance(0.5) {
			w.Net.Heal()
			w.Run(w.Between(0, 2*time.Second))
		}
		for _, h := range w.Hosts {
			h.SetSkew(0)
		}
		w.Net.Heal()
		w.Run(time.Second)
	}
	w.Run(12 * time.Second)
	c.Quiesce(&l)
	c.oracle.Verify()
	c.oracle.checkEnded()
	return c.events["clock not vouched for"]
}

// checkEnded: once clocks are right, nothing that has ended is left with its value.
func (o *Oracle) checkEnded() {
	w := o.cluster.World
	right := version.At(Epoch.Millis() + w.now.Milliseconds() - 3*o.cluster.MaxSkew.Milliseconds())
	for _, h := range w.Hosts {
		s, ok := storeOn(h)
		if !ok {
			continue
		}
		for _, k := range h.Disk.Keys(keyRecord) {
			for _, sib := range s.record(k[len(keyRecord):]).Sibs {
				if sib.Flags&version.Tomb == 0 && sib.Deleted(right) {
					w.Fail("F1.30: host %d keeps the value of %v, which has ended", h.Index, sib.Dot)
				}
			}
		}
	}
}
