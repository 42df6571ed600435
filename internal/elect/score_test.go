package elect

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	scoreDay = 24 * time.Hour
	scoreGiB = 1 << 30
)

// scoreSeeded returns chance from a seed that a failing test prints.
func scoreSeeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// scoreWorth draws a worth; every bucket, and beyond, comes up.
func scoreWorth(rng *rand.Rand) Worth {
	size := func() uint64 { return rng.Uint64() >> rng.UintN(64) }
	return Worth{
		Priority: rng.IntN(21) - 10, Mains: rng.IntN(2) == 0,
		Uptime: time.Duration(size() >> 1), RTT: time.Duration(size() >> 1),
		CPU: size(), Memory: size(), Storage: size(),
		FreeCPU: Share(rng.IntN(1100)), FreeMemory: Share(rng.IntN(1100)), FreeStorage: Share(rng.IntN(1100)),
		Reach: Share(rng.IntN(1100)),
	}
}

func scoreSomeWeights(rng *rand.Rand) Weights {
	if rng.IntN(2) == 0 {
		return Weights{}
	}
	w := func() uint8 { return uint8(rng.UintN(256)) }
	return Weights{w(), w(), w(), w(), w(), w(), w()}
}

var (
	scoreZero   = Worth{}
	scoreAll    = Worth{Mains: true, Uptime: 30 * scoreDay, CPU: 256000, FreeCPU: 1000, Memory: 64 * scoreGiB, FreeMemory: 1000, Storage: 1024 * scoreGiB, FreeStorage: 1000, Reach: 1000, RTT: 500 * time.Microsecond}
	scorePi     = Worth{Mains: true, Uptime: 3 * scoreDay, CPU: 4000, FreeCPU: 700, Memory: 2 * scoreGiB, FreeMemory: 500, Storage: 32 * scoreGiB, FreeStorage: 600, Reach: 1000, RTT: 2 * time.Millisecond}
	scoreServer = Worth{Mains: true, Uptime: 3 * scoreDay, CPU: 32000, FreeCPU: 700, Memory: 64 * scoreGiB, FreeMemory: 500, Storage: 2048 * scoreGiB, FreeStorage: 600, Reach: 1000, RTT: 2 * time.Millisecond}
)

// TestScoreGolden pins scores: nodes of any build compare theirs.
func TestScoreGolden(t *testing.T) {
	with := func(w Worth, change func(*Worth)) Worth { change(&w); return w }
	for _, c := range []struct {
		name    string
		worth   Worth
		weights Weights
		want    Score
	}{
		{"nothing known", scoreZero, Weights{}, 2000 << 16},
		{"everything", scoreAll, Weights{}, 6800 << 16},
		{"unfit", with(scoreAll, func(w *Worth) { w.Unfit = true }), Weights{}, 0},
		{"worst", with(scoreZero, func(w *Worth) { w.Priority = -8 }), Weights{}, 2000},
		{"best", with(scoreAll, func(w *Worth) { w.Priority = 8 }), Weights{}, 6800 << 32},
		{"beyond", with(scoreAll, func(w *Worth) { w.Priority = 99 }), Weights{}, 6800 << 32},
		{"below", with(scoreAll, func(w *Worth) { w.Priority = -99 }), Weights{}, 6800},
		// 2000 + 5 (4·48 + 2·32 + 4·(16+12) + 3·(12+14) + (14+14) + 4·48 + 2·40)
		{"a small board", scorePi, Weights{}, 5730 << 16},
		// 2000 + 5 (4·48 + 2·32 + 4·(16+18) + 3·(12+24) + (14+24) + 4·48 + 2·40)
		{"a server", scoreServer, Weights{}, 6050 << 16},
		{"other weights", scorePi, Weights{CPU: 3, RTT: 7}, (2000 + 4800*(3*28+7*40)/480) << 16},
		{"one weight", scorePi, Weights{Storage: 255}, (2000 + 2800) << 16},
	} {
		if got := c.worth.Score(c.weights); got != c.want {
			t.Errorf("%s: score is %d, want %d", c.name, got, c.want)
		}
	}
}

// TestScoreSteps looks at both sides of the edges of each part.
func TestScoreSteps(t *testing.T) {
	for _, c := range []struct {
		name   string
		part   func(int64) int
		values map[int64]int
	}{
		{"uptime", func(v int64) int { return scoreUptime(time.Duration(v) * time.Second) }, map[int64]int{
			-1: 0, 0: 0, 59: 0, 60: 8, 599: 8, 600: 16, 3599: 16, 3600: 24, 86399: 24, 86400: 32,
			7*86400 - 1: 32, 7 * 86400: 40, 30*86400 - 1: 40, 30 * 86400: 48, 1 << 32: 48,
		}},
		{"round trip", func(v int64) int { return scoreRTT(time.Duration(v) * time.Microsecond) }, map[int64]int{
			-1: 0, 0: 0, 1: 48, 500: 48, 501: 44, 1000: 44, 1001: 40, 2000: 40, 4000: 36, 4001: 32, 512000: 8, 512001: 4, 1024000: 4, 1024001: 0, 1 << 40: 0,
		}},
		{"doublings", func(v int64) int { return scoreDoublings(uint64(v)) }, map[int64]int{0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 2047: 11, 2048: 12, 1 << 40: 12}},
		{"shares", func(v int64) int { return scoreSteps(Share(v), 24) }, map[int64]int{0: 0, 41: 0, 42: 1, 500: 12, 999: 23, 1000: 24, 65535: 24}},
	} {
		for v, want := range c.values {
			if got := c.part(v); got != want {
				t.Errorf("%s of %d is %d, want %d", c.name, v, got, want)
			}
		}
	}
}

func TestScoreShareOf(t *testing.T) {
	for _, c := range []struct {
		part, whole uint64
		want        Share
	}{
		{0, 0, 0}, {5, 0, 0}, {0, 5, 0}, {1, 3, 333}, {2, 3, 666}, {5, 5, 1000}, {9, 5, 1000},
		{math.MaxUint64 - 1, math.MaxUint64, 999}, {math.MaxUint64 / 2, math.MaxUint64, 499}, {math.MaxUint64, math.MaxUint64, 1000},
	} {
		if got := ShareOf(c.part, c.whole); got != c.want {
			t.Errorf("%d of %d is %d, want %d", c.part, c.whole, got, c.want)
		}
	}
}

// TestScoreMonotone betters one part at a time: no score falls.
func TestScoreMonotone(t *testing.T) {
	rng := scoreSeeded(t)
	up := func(v uint64) uint64 { return v + (math.MaxUint64-v)>>rng.UintN(64) }
	share := func(s *Share) { *s += Share(rng.UintN(200)) }
	better := map[string]func(*Worth){
		"priority":     func(w *Worth) { w.Priority += rng.IntN(4) },
		"mains":        func(w *Worth) { w.Mains = true },
		"uptime":       func(w *Worth) { w.Uptime += (math.MaxInt64 - w.Uptime) >> rng.UintN(64) },
		"cpu":          func(w *Worth) { w.CPU = up(w.CPU) },
		"memory":       func(w *Worth) { w.Memory = up(w.Memory) },
		"storage":      func(w *Worth) { w.Storage = up(w.Storage) },
		"free cpu":     func(w *Worth) { share(&w.FreeCPU) },
		"free memory":  func(w *Worth) { share(&w.FreeMemory) },
		"free storage": func(w *Worth) { share(&w.FreeStorage) },
		"reach":        func(w *Worth) { share(&w.Reach) },
		"rtt":          func(w *Worth) { w.RTT -= time.Duration(rng.Uint64N(uint64(max(w.RTT, 1)))) },
	}
	grew := map[string]bool{}
	for range 20_000 {
		w, weights := scoreWorth(rng), scoreSomeWeights(rng)
		for name, change := range better {
			b := w
			change(&b)
			old, fresh := w.Score(weights), b.Score(weights)
			if fresh < old {
				t.Fatalf("better %s: %d falls to %d\n%+v\n%+v", name, old, fresh, w, b)
			}
			grew[name] = grew[name] || fresh > old
		}
	}
	for name := range better {
		if !grew[name] {
			t.Errorf("%s makes no difference", name)
		}
	}
}

// TestScorePriority: the worst node of a priority beats the best of the one
// below, by more than the margin.
func TestScorePriority(t *testing.T) {
	rng := scoreSeeded(t)
	for p := -8; p < 8; p++ {
		high, low := scoreZero, scoreAll
		high.Priority, low.Priority = p+1, p
		for range 1000 {
			weights := scoreSomeWeights(rng)
			if a, b := high.Score(weights), low.Score(weights); !Beats(a, b) {
				t.Fatalf("priority %d: %d does not beat %d", p+1, a, b)
			}
			high, low = scoreWorth(rng), scoreWorth(rng)
			high.Priority, low.Priority = p+1, p
		}
	}
}

// TestScoreMainsAndReach are enough on their own, between nodes that are equal
// otherwise.
func TestScoreMainsAndReach(t *testing.T) {
	rng := scoreSeeded(t)
	for range 10_000 {
		w := scoreWorth(rng)
		with, without := w, w
		with.Mains, without.Mains = true, false
		if !Beats(with.Score(Weights{}), without.Score(Weights{})) {
			t.Fatalf("without mains as good as with: %+v", w)
		}
		with, without = w, w
		with.Reach, without.Reach = 1000, 0
		if !Beats(with.Score(Weights{}), without.Score(Weights{})) {
			t.Fatalf("reaching nobody as good as everybody: %+v", w)
		}
	}
}

func TestScoreBeats(t *testing.T) {
	exact := func(a, b Score) bool {
		l, r := new(big.Int).SetUint64(uint64(a)), new(big.Int).SetUint64(uint64(b))
		return l.Mul(l, big.NewInt(100)).Cmp(r.Mul(r, big.NewInt(115))) > 0
	}
	rng := scoreSeeded(t)
	for range 100_000 {
		b := Score(rng.Uint64()>>2) >> rng.UintN(62) // nobody is preferred
		near := b + b/100*15
		for _, a := range []Score{near - 1, near, near + 1, near + 15, near + 16, 0, b, Score(rng.Uint64() >> 1), math.MaxInt64} {
			if got := Beats(a, b); got != exact(a, b) {
				t.Fatalf("Beats(%d, %d) is %v", a, b, got)
			}
		}
	}
	if Beats(0, 0) || !Beats(1, 0) || Beats(115, 100) || !Beats(116, 100) {
		t.Error("margin is not 15 %")
	}
}

// TestScoreSlack takes one step of all that fluctuates at once, from anywhere:
// it is no reason to publish.
func TestScoreSlack(t *testing.T) {
	rng := scoreSeeded(t)
	for range 20_000 {
		w := scoreWorth(rng)
		b := w
		step := func(s *Share, steps int) {
			if next := (int(*s)*steps/1000 + 1) * 1000; int(*s) < 1000 {
				*s = Share((next + steps - 1) / steps)
			}
		}
		step(&b.FreeCPU, 24)
		step(&b.FreeMemory, 24)
		step(&b.FreeStorage, 24)
		step(&b.Reach, 48)
		if w.RTT > 0 {
			b.RTT = b.RTT/2 + 1
		}
		for _, pair := range [][2]Worth{{w, b}, {b, w}} {
			old, fresh := pair[0].Score(Weights{}), pair[1].Score(Weights{})
			p := Published{score: old, ever: true}
			if p.compareWith(fresh) != 0 {
				t.Fatalf("%d to %d is more than 5 %%\n%+v\n%+v", old, fresh, pair[0], pair[1])
			}
		}
	}
}
