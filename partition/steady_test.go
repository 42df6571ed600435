package partition

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
)

// steady lets time pass. The leader must lead all the time, by one leadership.
func (w *world) steady(d time.Duration, what string) {
	w.t.Helper()
	leader := w.agreed(w.boxes...)
	if leader == nil {
		w.dump()
		w.t.Fatalf("%s: nobody leads at the start", what)
	}
	e := leader.election(leader.part.leaderOf())
	first := e.firstTerm()
	for begin := time.Now(); time.Since(begin) < d; time.Sleep(50 * time.Millisecond) {
		if !leader.leads() || e.firstTerm() != first {
			w.dump()
			w.t.Fatalf("%s: %s has lost the lead after %v", what, leader.mesh.Name, time.Since(begin))
		}
	}
}

// On links that lose a fifth of all packets, or three of ten on a LAN, a leader stays, though the lease of a LAN
// is shorter than the 3 s that a piece of a stream which is lost four times comes
// late: requests of elections go by packet.
func TestLeaderStaysUnderLoss(t *testing.T) { staysUnderLoss(t, 5*time.Minute) }

func TestLongLeaderStaysUnderLoss(t *testing.T) {
	if !*long {
		t.Skip("run with -long")
	}
	staysUnderLoss(t, time.Hour)
}

func staysUnderLoss(t *testing.T, d time.Duration) {
	for _, c := range []struct {
		name string
		pr   profile
		loss float64
	}{{"LAN", lan, 0.3}, {"WAN", wan, 0.2}, {"Edge", edge, 0.2}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 5, c.pr, nil, func(w *world) {
				w.net.SetPaths(memnet.Path{Delay: 500 * time.Microsecond, Jitter: 200 * time.Microsecond, Loss: c.loss})
				w.steady(d, "packets are lost")
			})
		})
	}
}

// Links that are gone for 7 to 10 s, all of them, cost no leader at the edge, though
// their streams go on only when TCP tries again.
func TestLeaderStaysThroughBlips(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, edge, nil, func(w *world) {
		w.net.Backoff(true)
		const seed = 3
		rng := rand.New(rand.NewPCG(seed, 0))
		for range 20 {
			leader := w.agreed(w.boxes...)
			first := leader.election(leader.part.leaderOf()).firstTerm()
			for i, a := range w.boxes {
				w.net.Partition(w.addrs(a), w.addrs(w.boxes[i+1:]...))
			}
			w.steady(7*time.Second+time.Duration(rng.Int64N(int64(3*time.Second))), "all links are gone")
			w.net.HealAll()
			w.steady(time.Minute+time.Duration(rng.Int64N(int64(10*time.Second))), "they are back")
			if e := leader.election(leader.part.leaderOf()); w.agreed(w.boxes...) != leader || e.firstTerm() != first {
				t.Fatal("another leads after a blip")
			}
		}
	})
}
