package partition

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/memnet"
)

// The side with most voters has a leader again soon after each of many cuts, short and long, also when
// its candidates have split the voters. With -long there are 1 200 cuts.
func TestSplitVotesEndSoon(t *testing.T) {
	t.Parallel()
	cuts := 15
	if *long {
		cuts = 1200
	}
	inWorld(t, 5, lan, byMajority(fiveVoters...), func(w *world) {
		rng := rand.New(rand.NewPCG(11, 0))
		most := time.Duration(0)
		for range cuts {
			mixed := slices.Clone(w.boxes)
			rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			larger, smaller := mixed[:3], mixed[3:]
			w.net.Partition(w.addrs(larger...), w.addrs(smaller...))
			took := w.until(lan.pace.Lease+700*time.Millisecond, "the larger side alone has a leader", func() bool {
				return slices.ContainsFunc(larger, (*box).leads) && !slices.ContainsFunc(smaller, (*box).leads)
			})
			most = max(most, took)
			time.Sleep(time.Duration(rng.Int64N(int64(40 * time.Second))))
			w.net.HealAll()
			w.until(time.Minute, "all see all again", w.whole)
			w.leader(3*time.Second, w.boxes...)
			time.Sleep(lan.pace.Settle + time.Duration(rng.Int64N(int64(5*time.Second))))
		}
		t.Logf("of %d cuts the slowest had a leader after %v", cuts, most)
	})
}

// A lead that is handed over comes to whom it is said, though messages overtake each other and disks are
// slow. With -long it is handed over 2 000 times.
func TestHandOverFindsTheNominee(t *testing.T) {
	t.Parallel()
	times := 150
	if *long {
		times = 2000
	}
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(12, 0))
	random := func(below time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(rng.Int64N(int64(below)))
	}
	var slow atomic.Bool
	config := func(i int, c *Config) {
		byMajority(fiveVoters...)(i, c)
		c.fs = errorfs.Wrap(c.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if slow.Load() && op.Kind == errorfs.OpFileWrite {
				time.Sleep(random(60 * time.Millisecond))
			}
			return nil
		}))
	}
	inWorld(t, 5, lan, config, func(w *world) {
		w.net.SetPaths(memnet.Path{Delay: 500 * time.Microsecond, Jitter: 60 * time.Millisecond})
		slow.Store(true)
		lead := w.boxes[0].part.leaderOf()
		for i := range times {
			from := w.leader(time.Minute, w.boxes...)
			time.Sleep(time.Second + random(time.Second))
			others := w.without(from)
			to, old := others[random(4)], from.token(lead)
			if err := from.part.HandOver(lead, to.node.ID()); errors.Is(err, ErrNotLeader) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			var now *box
			w.until(time.Minute, "another leads", func() bool {
				now = w.agreed(w.boxes...)
				return now != nil && old.Less(now.token(lead))
			})
			if now != to {
				t.Fatalf("hand-over %d: from %s to %s, and %s leads with %v", i, from.mesh.Name, to.mesh.Name, now.mesh.Name, now.token(lead))
			}
		}
	})
}
