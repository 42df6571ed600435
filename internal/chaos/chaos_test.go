package chaos

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What is missing, or reads as something else, is found.
func TestLedgerFindsLoss(t *testing.T) {
	var l Ledger
	l.Acked("a", "1")
	l.Acked("b", "1")
	l.Acked("b", "2")
	keys := l.Keys()
	if !slices.Equal(keys, []string{"a", "b"}) || l.Count() != 3 {
		t.Fatalf("%d writes to %v", l.Count(), keys)
	}
	for _, c := range []struct {
		read    map[string][]string
		missing int
	}{
		{map[string][]string{"a": {"1"}, "b": {"2", "1"}}, 0},
		{map[string][]string{"a": {"1"}, "b": {"2"}}, 1},
		{map[string][]string{"a": {"2"}, "b": {"1", "2"}}, 1},
		{map[string][]string{"b": {"1", "2"}}, 1},
		{nil, 3},
	} {
		if got := l.Missing(keys, c.read); len(got) != c.missing {
			t.Errorf("of %v are missing %v, want %d", c.read, got, c.missing)
		}
	}
}

func TestFlaps(t *testing.T) {
	const total = 10 * time.Minute
	flaps := func(seed uint64) []time.Duration { return Flaps(rand.New(rand.NewPCG(seed, 0)), total) }
	below, above := 0, 0
	for seed := range uint64(100) {
		phases := flaps(seed)
		if !slices.Equal(phases, flaps(seed)) {
			t.Fatalf("seed %d: not the same again", seed)
		}
		var sum time.Duration
		for i, d := range phases {
			sum += d
			if last := i == len(phases)-1; d > 40*time.Second || d < time.Second && !last {
				t.Fatalf("seed %d: %v", seed, phases)
			}
			if d < 30*time.Second {
				below++
			} else {
				above++
			}
		}
		if sum != total {
			t.Fatalf("seed %d: %v in all", seed, sum)
		}
	}
	if below < above/2 || above < below/2 {
		t.Errorf("%d phases below 30 s and %d above", below, above)
	}
}

func TestTwoFlaps(t *testing.T) {
	orders := map[bool]int{}
	for seed := range uint64(100) {
		p := TwoFlaps(rand.New(rand.NewPCG(seed, 0)))
		if len(p) != 3 || (p[0] < mark) == (p[2] < mark) || p[1] < time.Second {
			t.Fatalf("seed %d: %v", seed, p)
		}
		if sum := p[0] + p[1] + p[2]; sum < time.Minute-time.Second || sum > 70*time.Second {
			t.Fatalf("seed %d: %v in all", seed, sum)
		}
		orders[p[0] < mark]++
	}
	if len(orders) != 2 {
		t.Errorf("always in one order: %v", orders)
	}
}
