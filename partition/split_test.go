package partition

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The side with most voters has a leader again soon after each of many cuts, short and long, also when
// its candidates have split the voters. With -long there are 1 200 cuts.
func TestSplitVotesEndSoon(t *testing.T) {
	t.Parallel()
	cuts := 40
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
