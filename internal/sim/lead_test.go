package sim

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replicate"
)

// Leaders and former leaders write, through any store and on any side of a cut. Nothing that
// a write replaces has a higher token than its own. And once a write is acknowledged on more
// than half of the homes, none with a lower token ever is: the former leader hears of it.
func TestF1_25_FormerLeadersHearOfIt(t *testing.T) {
	var former, acked atomic.Int64
	seeds(t, 150, func(w *World) {
		c := NewCluster(w, 3+w.Rand.IntN(3), 3, 2)
		l := run(c, Workload{Clients: 4, Keys: 2, Ops: 16, Blind: 0.5, Deletes: 0.2, Leads: true, Steady: true, Levels: []replicate.Level{replicate.Quorum}},
			Faults{Crash: 2, Reboot: 1, Cut: 2, Split: 3, Heal: 4, Skew: 2, SlowDisk: 1})
		former.Add(int64(l.leads.former))
		acked.Add(int64(l.acked))
	})
	if *seed == 0 && (former.Load() < 500 || acked.Load() < 500) {
		t.Errorf("%d writes of former leaders were refused, %d acknowledged", former.Load(), acked.Load())
	}
}

// Whatever happens to stores and members, no write replaces one of a higher token that is
// not purged.
func TestF1_25_TokensOutliveTheirStores(t *testing.T) {
	seeds(t, 100, func(w *World) {
		c := NewCluster(w, 3+w.Rand.IntN(3), 3, 2)
		if w.Chance(0.5) {
			c.Purge = 400 * time.Millisecond
		}
		c.Heal = 2 * time.Second
		run(c, Workload{Clients: 4, Keys: 3, Ops: 12, Blind: 0.4, Deletes: 0.3, Leads: true, MinDur: 1 + w.Rand.IntN(2)}, Faults{
			Crash: 3, Reboot: 1, Cut: 1, Split: 1, Heal: 4, Skew: 1, SlowDisk: 1, Damage: 1, Lose: 1,
			NewDisk: 1, Join: 2, Leave: 1, Evict: 1,
		})
	})
}
