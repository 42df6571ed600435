package elect

import (
	"cmp"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "run the long tests")

// TestF1_24_LeadersOverRandomSchedules: L1 to L5 hold in all schedules of cuts,
// kills, pauses and restarts, and when it is quiet again one leads.
func TestF1_24_LeadersOverRandomSchedules(t *testing.T) { schedules(t, 1, 160) }

func TestLongSchedules(t *testing.T) {
	if !*long {
		t.Skip("runs with -long")
	}
	schedules(t, 1_000_000, 10_000)
}

// sizes of meshes; of nine, two do not vote for the majority-scope leader.
var sizes = []int{2, 3, 3, 4, 5, 3, 5, 9}

func schedules(t *testing.T, first, n uint64) {
	total := map[string]int{}
	var mu sync.Mutex
	t.Run("seeds", func(t *testing.T) {
		for part := range uint64(runtime.GOMAXPROCS(0)) {
			t.Run(fmt.Sprint(part), func(t *testing.T) {
				t.Parallel()
				for seed := first + part; seed < first+n; seed += uint64(runtime.GOMAXPROCS(0)) {
					w := newWorld(t, seed, sizes[seed%uint64(len(sizes))], []Params{LAN(), WAN(), LAN(), Edge()}[seed/8%4])
					w.mischief()
					mu.Lock()
					for k, n := range w.count {
						total[k] += n
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d schedules: %v", n, total)
	for _, k := range []string{"led 0", "led 1", "crash", "cut", "one way", "pause", "flap", "slow disk", "full disk", "failed save", "raised", Saving.String(), Unable.String(), Expired.String(), Yielded.String(), HandsOver.String(), Withdrawn.String(), Told.String(), Lapses.String(), "preference", "nominee leads"} {
		if total[k] == 0 {
			t.Errorf("no %q in any schedule", k)
		}
	}
}

// mischief disturbs a world for some minutes, then leaves it alone.
func (w *world) mischief() {
	w.loss = []float64{0, 0.02, 0.2}[w.rng.IntN(3)]
	w.swim = w.seed%3 > 0
	w.run(time.Duration(w.rng.IntN(20)) * time.Second)
	for range 8 + w.rng.IntN(8) {
		w.harm()
		w.run(time.Duration(w.rng.Int64N(int64(3 * w.par.Lease))))
	}
	w.loss = 0
	for i := range w.cut {
		clear(w.cut[i])
	}
	for _, nd := range w.nodes {
		w.thaw(nd)
		nd.crashing, nd.stands, nd.full = -1, true, false
		if nd.sync > 0 {
			nd.sync = w.par.Lease / 3 // slow flash stays what it is
		}
		if !nd.up {
			w.start(nd)
		}
	}
	calm := w.now + 12*w.par.Lease + 2*w.par.Settle + 20*time.Second
	for e := range elections {
		for quiet := 0; quiet < 4; w.run(w.par.Lease / 2) {
			switch got := w.leaders(e, w.nodes...); {
			case len(got) == 1:
				quiet++
			case w.now > calm:
				w.fault("%v lead %d when all is well", got, e)
			default:
				quiet = 0
			}
		}
	}
	w.preferredLead()
}

// preferredLead waits until those lead that are preferred most.
func (w *world) preferredLead() {
	limit := w.now + w.par.Hold<<5 + 2*w.par.Lease
	for e := range elections {
		most := slices.MaxFunc(w.nodes, func(a, b *node) int { return cmp.Compare(a.prefer[e], b.prefer[e]) }).prefer[e]
		for ; ; w.run(w.par.Lease / 2) {
			if got := w.leaders(e, w.nodes...); len(got) == 1 && w.nodes[got[0]-1].prefer[e] == most {
				break
			} else if w.now > limit {
				w.fault("%v lead %d, not one that is preferred", got, e)
			}
		}
	}
}

func (w *world) harm() {
	nd := w.nodes[w.rng.IntN(len(w.nodes))]
	switch w.rng.IntN(18) {
	case 0, 1:
		if nd.up {
			w.count["crash"]++
			w.crash(nd)
		} else {
			w.start(nd)
		}
	case 2:
		nd.crashing = w.rng.IntN(4)
		w.count["crash within effects"]++
	case 3, 4, 5:
		w.count["cut"]++
		w.split(w.rng.Uint64())
	case 6:
		w.count["one way"]++
		w.cut[w.rng.IntN(len(w.nodes))][nd.id-1] = true
	case 7:
		w.count["heal"]++
		for i := range w.cut {
			clear(w.cut[i])
		}
	case 8:
		w.count["pause"]++
		nd.frozen = true
		d := time.Duration(w.rng.Int64N(int64(4 * w.par.Lease)))
		w.after(d, func() { w.thaw(nd) })
	case 9:
		nd.stands = !nd.stands
	case 10:
		nd.score = Score(500 + w.rng.IntN(2000))
	case 11:
		w.count["flap"]++
		sides := w.rng.Uint64()
		for range 2 {
			w.split(sides)
			w.run(time.Second + time.Duration(w.rng.Int64N(int64(39*time.Second))))
			w.split(0)
			w.run(time.Second + time.Duration(w.rng.Int64N(int64(39*time.Second))))
		}
	case 13:
		w.count["slow disk"]++
		for i := range w.nodes {
			if all := w.rng.IntN(2) == 0; all || w.nodes[i] == nd {
				w.nodes[i].sync = time.Duration(w.rng.Int64N(int64(2 * w.par.Lease)))
			}
		}
	case 14:
		w.count["full disk"]++
		nd.full = !nd.full
	case 15:
		w.count["preference"]++
		nd.prefer[w.rng.IntN(elections)] = w.rng.Uint32N(3)
	case 16, 17:
		w.resign(w.rng.IntN(elections))
	case 12:
		w.count["bridge"]++ // one node sees both sides
		w.split(w.rng.Uint64())
		for i := range w.nodes {
			w.cut[i][nd.id-1], w.cut[nd.id-1][i] = false, false
		}
	}
}

// resign has whoever leads hand over, or let its lease lapse.
func (w *world) resign(e int) {
	for _, id := range w.leaders(e, w.nodes...) {
		nd := w.nodes[id-1]
		if w.rng.IntN(2) == 0 {
			to := w.nodes[w.rng.IntN(len(w.nodes))]
			effects, led := nd.e[e].HandOver(w.clock(nd), to.id)
			if w.perform(nd, e, effects); led && to != nd {
				w.after(w.par.Lease/2, func() {
					if got := w.leaders(e, w.nodes...); len(got) == 1 && got[0] == to.id {
						w.count["nominee leads"]++
					}
				})
			}
			continue
		}
		_, until, _ := nd.e[e].Leading(w.clock(nd))
		left := time.Duration(float64(until-w.clock(nd)) / (1 + nd.drift))
		w.lapses[e] = lapse{nd, nd.life, w.now + left - time.Millisecond}
		effects, _ := nd.e[e].LetLapse(w.clock(nd))
		w.perform(nd, e, effects)
	}
}

// split cuts the mesh in two by the bits of sides.
func (w *world) split(sides uint64) {
	for i := range w.nodes {
		for j := range w.nodes {
			w.cut[i][j] = sides>>i&1 != sides>>j&1
		}
	}
}

func (w *world) thaw(nd *node) {
	if !nd.frozen {
		return
	}
	nd.frozen, nd.thawed, w.stirred = false, w.now, true
	waiting := nd.waiting
	nd.waiting = nil
	for _, fn := range waiting {
		fn()
	}
}
