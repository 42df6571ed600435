package sim

import (
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	long = flag.Bool("long", false, "run many more seeds")
	seed = flag.Uint64("seed", 0, "run this seed only, and print what happens")
)

// seeds runs a property over many seeds and says how to replay the first that
// fails. run gets a fresh world and returns after it has checked everything.
func seeds(t *testing.T, n uint64, run func(w *World)) {
	t.Helper()
	if *long {
		n *= 100
	}
	someSeeds(t, n, run)
}

// someSeeds is seeds with as many of them, also with -long.
func someSeeds(t *testing.T, n uint64, run func(w *World)) {
	t.Helper()
	if *seed != 0 {
		w := NewWorld(*seed)
		w.Trace()
		run(w)
		t.Log("\n" + w.Log())
		if err := w.Err(); err != nil {
			t.Fatal(err)
		}
		return
	}
	var next atomic.Uint64
	var failed atomic.Bool
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for !failed.Load() {
				s := next.Add(1)
				if s > n {
					return
				}
				w := NewWorld(s)
				if run(w); w.Err() != nil && !failed.Swap(true) {
					t.Errorf("seed %d: %v\nreplay: go test ./internal/sim -run '^%s$' -seed %d -v", s, w.Err(), t.Name(), s)
				}
			}
		})
	}
	wait.Wait()
}

func TestReplayIsExact(t *testing.T) {
	trace := func() string {
		w := NewWorld(7)
		w.Trace()
		everything(w)
		return w.Log()
	}
	first := trace()
	for range 5 {
		if trace() != first {
			t.Fatal("one seed, two runs")
		}
	}
	if len(first) < 1000 {
		t.Fatalf("hardly anything happens:\n%s", first)
	}
}

// everything is a cluster under every fault that destroys nothing for good.
func everything(w *World) {
	c := NewCluster(w, 3+w.Rand.IntN(3), 3, 2)
	run(c, Workload{Clients: 4, Keys: 3, Ops: 10, Blind: 0.4, Deletes: 0.2, MinDur: 1 + w.Rand.IntN(2)},
		Faults{Crash: 3, Reboot: 1, Cut: 2, Split: 1, Heal: 2, Skew: 2, SlowDisk: 1, Damage: 2, Lose: 3, NewDisk: 1})
}

// run lets clients work under faults, ends the faults, and checks.
func run(c *Cluster, l Workload, f Faults) *Workload {
	w := c.World
	c.doubt = 0.05
	w.Net.Loss, w.Net.Duplicate = 0.03, 0.03
	c.Start()
	l.Go(c)
	f.Go(c, 8e9)
	w.Run(10e9)
	c.Quiesce(&l)
	c.oracle.Verify()
	w.Logf("%d acks (%d degraded), %d refused, %d reads", l.acked, l.degraded, l.refused, c.oracle.reads)
	if w.Err() == nil && l.acked == 0 {
		w.Fail("nothing was acked")
	}
	return &l
}
