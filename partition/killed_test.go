package partition

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A leader that was killed, 50 times, is replaced each time within the lease and a
// second.
func TestKilledLeaderIsReplaced(t *testing.T) {
	t.Parallel()
	killLeaders(t, lan, 50)
}

// At the edge the bound is the lease and three seconds.
func TestKilledLeaderAtTheEdge(t *testing.T) {
	t.Parallel()
	killLeaders(t, edge, 5)
}

// killLeaders kills the leader so often. The bound is the lease, and the time that
// candidates wait for each other.
func killLeaders(t *testing.T, pr profile, times int) {
	inWorld(t, 5, pr, nil, func(w *world) {
		bound := pr.pace.Lease + max(time.Second, 3*pr.pace.Pause)
		const seed = 4
		rng := rand.New(rand.NewPCG(seed, 0))
		var took []time.Duration
		for range times {
			old := w.leader(5*pr.pace.Lease, w.boxes...)
			old.kill()
			rest := w.without(old)
			took = append(took, w.until(bound, "another leads", func() bool {
				return slices.ContainsFunc(rest, (*box).leads)
			}))
			w.leader(2*pr.pace.Lease, rest...)
			old.start()
			w.until(time.Minute, "the killed node is back", w.whole)
			// It follows by then: a majority needs no more than two of the others.
			time.Sleep(pr.pace.Settle + 2*pr.pace.Lease + time.Duration(rng.Int64N(int64(pr.pace.Lease/2))))
		}
		slices.Sort(took)
		t.Logf("another led after %v at least, median %v, %v at most", took[0], took[len(took)/2], took[len(took)-1])
	})
}

// Nodes that stop and come back, soon or late, cost the leader nothing.
func TestRestartsLeaveTheLeader(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, nil, func(w *world) {
		leader := w.agreed(w.boxes...)
		e := leader.election(leader.part.leaderOf())
		first := e.firstTerm()
		const seed = 5
		rng := rand.New(rand.NewPCG(seed, 0))
		for range 20 {
			rest := w.without(leader)
			b := rest[rng.IntN(len(rest))]
			b.kill()
			time.Sleep(time.Duration(rng.Int64N(int64(15 * time.Second))))
			b.start()
			begin := time.Now()
			for time.Since(begin) < 15*time.Second {
				if !leader.leads() || e.firstTerm() != first {
					w.dump()
					t.Fatalf("%s has lost the lead %v after %s was started", leader.mesh.Name, time.Since(begin), b.mesh.Name)
				}
				if b.leads() {
					w.dump()
					t.Fatalf("%s leads beside %s, %v after it was started", b.mesh.Name, leader.mesh.Name, time.Since(begin))
				}
				time.Sleep(20 * time.Millisecond)
			}
			w.until(time.Second, "the node is back", func() bool { return w.whole() && w.agreed(w.boxes...) == leader })
		}
	})
}
