package split

import (
	"flag"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

var (
	long = flag.Bool("long", false, "run many more seeds")
	seed = flag.Uint64("seed", 0, "run this seed only")
)

// step lets a node draw its conclusions, and checks what must hold at any time.
func (w *world) step(i int, o *simNode) {
	v := w.view(i)
	for _, c := range o.watcher.Step(at(w.now), v, o.rows, o.lives) {
		switch c.Kind {
		case VerdictReached:
			w.verdicts++
			w.checkVerdict(i, c.Verdict)
		case SituationChanged:
			if c.Situation.Kind == PartitionSuspected {
				w.suspicions++
			}
		}
	}
	s := o.watcher.Situation()
	if (s.Kind == Whole) != (len(s.Lost) == 0) {
		w.fail("node %d: %v, yet lost are %v", i+1, s.Kind, s.Lost)
	}
	parts := slices.Concat(Component(v, o.rows), s.Lost, s.Unmet)
	slices.Sort(parts)
	if len(parts) != len(w.nodes) || len(slices.Compact(parts)) != len(w.nodes) {
		w.fail("node %d: component %v, lost %v and unmet %v are not all nodes once each", i+1, Component(v, o.rows), s.Lost, s.Unmet)
	}
	if groups := Components(v, o.rows); len(slices.Concat(groups...)) != len(w.nodes) || !slices.Equal(groups[0], Component(v, o.rows)) {
		w.fail("node %d: components %v", i+1, groups)
	}
}

// checkVerdict compares a verdict with what the processes did. A process that
// began while its node was lost was restarted; one that began well before was
// cut off. If it began a moment before the node was found lost, both may be true.
func (w *world) checkVerdict(i int, got Verdict) {
	var ran, next process
	found := got.Since + got.Outage
	for _, l := range w.nodes[got.Node-1].processes {
		if at(l.began) <= found {
			ran = l
		} else if next == (process{}) {
			next = l
		}
	}
	switch {
	case got.Kind == Unsure && next.began > 0 && at(ran.ended) >= found:
		// It came, and went while its report was waited for.
	case got.Kind == Unsure && at(ran.began+delay) > found:
		// So short before it was back that a report that took its time cannot
		// tell it from just after.
	case got.Kind == Unsure,
		got.Kind == WasCut && at(ran.began) > got.Since,
		got.Kind == WasRestarted && at(ran.began+uncertain) < got.Since:
		w.fail("node %d says of %d, lost from %v to %v, that it %v; its process: %+v", i+1, got.Node, got.Since, found, got.Kind, ran)
	}
}

// checkComponents compares what every node believes with the truth.
func (w *world) checkComponents() {
	for i, o := range w.nodes {
		if !o.running {
			continue
		}
		v := w.view(i)
		if got, want := Component(v, o.rows), w.reachable(i); !slices.Equal(got, want) {
			w.fail("node %d believes to be with %v and is with %v; rows %v, view %v", i+1, got, want, o.rows, v.Members)
		}
		for x := range w.nodes {
			if x != i && !w.direct(i, x) && v.Members[x].State == view.Suspect && slices.Contains(w.reachable(i), id(x)) {
				w.relayed++
			}
		}
	}
}

func (w *world) checkWhole() {
	for i, o := range w.nodes {
		if s := o.watcher.Situation(); s.Kind != Whole || len(s.Lost)+len(s.Unmet)+len(s.Evidence) > 0 {
			w.fail("node %d: %+v, though all is well for long", i+1, s)
		}
		if o.watcher.Next() != Never {
			w.fail("node %d still waits for a verdict", i+1)
		}
	}
}

// history runs a mesh through cuts, one-way links, bridges, kills and restarts.
func history(w *world) {
	w.run(settled)
	w.checkComponents()
	w.checkWhole()
	for range 2 {
		for range 1 + w.rng.IntN(6) {
			w.mischief()
			w.run(1 + w.rng.IntN(20))
		}
		w.run(settled)
		w.checkComponents()
	}
	w.heal()
	for i, n := range w.nodes {
		if !n.running {
			w.start(i)
		}
	}
	w.run(settled)
	w.checkComponents()
	w.checkWhole()
}

// In a cut that stays every node's component is the true one, and after the
// heal so are all verdicts, and nobody is lost.
func TestF1_27_ComponentsAndVerdictsEqualTheTruth(t *testing.T) {
	manySeeds(t, 2000)
}

func TestLongHistories(t *testing.T) {
	if !*long {
		t.Skip("without -long")
	}
	manySeeds(t, 20_000)
}

func manySeeds(t *testing.T, n uint64) {
	t.Helper()
	if *seed != 0 {
		w := newWorld(*seed)
		if history(w); w.err != nil {
			t.Fatal(w.err)
		}
		return
	}
	var next, verdicts, suspicions, relayed atomic.Uint64
	var failed atomic.Bool
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for s := next.Add(1); s <= n && !failed.Load(); s = next.Add(1) {
				w := newWorld(s)
				if history(w); w.err != nil && !failed.Swap(true) {
					t.Errorf("%v\nreplay: go test ./internal/split -run '^%s$' -seed %d", w.err, t.Name(), s)
				}
				verdicts.Add(uint64(w.verdicts))
				suspicions.Add(uint64(w.suspicions))
				relayed.Add(uint64(w.relayed))
			}
		})
	}
	wait.Wait()
	t.Logf("%d seeds: %d verdicts, %d suspicions, %d members reached by relays only", n, verdicts.Load(), suspicions.Load(), relayed.Load())
	if !failed.Load() && min(verdicts.Load(), suspicions.Load(), relayed.Load()) < n/10 {
		t.Error("hardly anything happened in these histories")
	}
}
