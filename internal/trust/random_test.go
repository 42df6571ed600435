package trust

import (
	"flag"
	"sync"
	"testing"
)

var long = flag.Bool("long", false, "run 10 000 histories")

// TestT1_T2_T4_T5_T6_T7_RandomHistories runs authorities whose charters, statements and
// passports are lost, reordered and written on two sides of a cut, with clocks anywhere
// from 1970 to 2106, and thieves beside them. At any time: only a valid chain raises the
// epoch, floors never fall (T1); entries are what devices have signed (T4), within what
// their passports say (T5). After a heal: the same statements (T2), charters, and members,
// one node of each device (T6). The verdicts are those of a second writing-down of the
// rules, which knows no clock (T7).
func TestT1_T2_T4_T5_T6_T7_RandomHistories(t *testing.T) {
	first, n := uint64(1), uint64(60)
	if *long {
		first, n = 1_000_000, 10_000
	}
	total := map[string]int{}
	var mu sync.Mutex
	t.Run("seeds", func(t *testing.T) {
		for part := range uint64(2) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for seed := first + part; seed < first+n; seed += 2 {
					w := newWorld(t, seed)
					w.live(60)
					mu.Lock()
					for k, n := range w.count {
						total[k] += n
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d histories: %v", n, total)
	for _, k := range []string{"charter", "forged charter", "forged entry", "fork", "entry", "heal", "cut", "revoke device", "revoke issuer", "revoke token", "evict node"} {
		if total[k] == 0 {
			t.Errorf("no %q in any history", k)
		}
	}
}

// live runs steps at random, and ends healed.
func (w *world) live(steps int) {
	for range steps {
		s := w.anySite()
		switch w.rng.IntN(12) {
		case 0:
			w.forgeCharter(s)
		case 1:
			if !w.cut {
				w.heal()
				w.cut = true
				for i, s := range w.sites {
					s.side = i % 2
				}
				w.count["cut"]++
			} else if w.rng.IntN(2) == 0 {
				w.heal()
			}
		case 2, 3:
			if !w.cut {
				w.heal() // one operator works after the other
			}
			w.writeCharter(s.side)
		case 4:
			w.forgeEntry(s)
		case 5, 6:
			w.writeStatement(s)
		case 7, 8:
			w.speak(s)
		default:
			if to := w.anySite(); to != s && to.side == s.side {
				w.exchange(s, to, 0.3)
			}
		}
	}
	w.heal()
}
