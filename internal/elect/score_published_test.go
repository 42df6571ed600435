package elect

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestScoreNoise shakes all that fluctuates by 1 % for an hour: the score that
// was published first stays.
func TestScoreNoise(t *testing.T) {
	rng := scoreSeeded(t)
	shake := func(v uint64) uint64 { return v - v/100 + rng.Uint64N(v/50+1) }
	moved := false
	for range 200 {
		w := scoreWorth(rng)
		var p Published
		first := Score(0)
		for s := range time.Duration(3600) {
			n := w
			n.FreeCPU, n.FreeMemory = Share(shake(uint64(w.FreeCPU))), Share(shake(uint64(w.FreeMemory)))
			n.FreeStorage, n.Reach = Share(shake(uint64(w.FreeStorage))), Share(shake(uint64(w.Reach)))
			n.RTT = time.Duration(shake(uint64(w.RTT/2))) * 2
			fresh := n.Score(Weights{})
			_, changed := p.Step(s*time.Second, fresh)
			if s == 0 {
				first = fresh
			} else if changed {
				t.Fatalf("published %d after %d s in place of %d: %+v", fresh, s, first, w)
			}
			moved = moved || fresh != first
		}
	}
	if !moved {
		t.Error("the noise moved no score: it proves nothing")
	}
}

// TestScoreSwing shakes scores far more, up and down: none lasts.
func TestScoreSwing(t *testing.T) {
	var p Published
	p.Step(0, 4000)
	for s := 1; s < 3600; s++ {
		fresh := Score(4000 + 1000*(1-2*(s%2)))
		if got, changed := p.Step(time.Duration(s)*time.Second, fresh); changed {
			t.Fatalf("published %d after %d s", got, s)
		}
	}
}

func TestScorePublished(t *testing.T) {
	type step struct {
		at          time.Duration // seconds
		fresh, want Score
		changed     bool
	}
	for name, steps := range map[string][]step{
		"first at once":       {{0, 1000, 1000, true}, {1, 1000, 1000, false}},
		"first is zero":       {{0, 0, 0, true}, {1, 0, 0, false}, {2, 500, 0, false}, {12, 500, 500, true}},
		"within 5 %":          {{0, 1000, 1000, true}, {1, 1050, 1000, false}, {60, 1050, 1000, false}, {61, 950, 1000, false}, {99, 950, 1000, false}},
		"more for 10 s":       {{0, 1000, 1000, true}, {5, 1051, 1000, false}, {14, 1060, 1000, false}, {15, 1070, 1070, true}},
		"less for 10 s":       {{0, 1000, 1000, true}, {5, 949, 1000, false}, {15, 900, 900, true}},
		"with a break":        {{0, 1000, 1000, true}, {5, 1100, 1000, false}, {14, 1000, 1000, false}, {15, 1100, 1000, false}, {24, 1100, 1000, false}, {25, 1100, 1100, true}},
		"above, then below":   {{0, 1000, 1000, true}, {5, 1100, 1000, false}, {14, 900, 1000, false}, {15, 900, 1000, false}, {24, 900, 900, true}},
		"zero at once":        {{0, 1000, 1000, true}, {1, 0, 0, true}, {2, 1000, 0, false}, {11, 1000, 0, false}, {12, 1000, 1000, true}},
		"zero in between":     {{0, 1000, 1000, true}, {1, 2000, 1000, false}, {2, 0, 0, true}, {3, 2000, 0, false}, {12, 2000, 0, false}, {13, 2000, 2000, true}},
		"once in 10 s":        {{0, 1000, 1000, true}, {1, 2000, 1000, false}, {11, 2000, 2000, true}, {12, 3000, 2000, false}, {21, 3000, 2000, false}, {22, 3000, 3000, true}},
		"time that goes back": {{100, 1000, 1000, true}, {50, 2000, 1000, false}, {60, 2000, 1000, false}, {109, 2000, 1000, false}, {110, 2000, 2000, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var p Published
			for i, s := range steps {
				got, changed := p.Step(s.at*time.Second, s.fresh)
				if got != s.want || changed != s.changed {
					t.Fatalf("step %d: %d, changed %v; want %d, %v", i, got, changed, s.want, s.changed)
				}
			}
		})
	}
}

// TestScorePublishedModel compares random runs with a model that looks through
// all of the past.
func TestScorePublishedModel(t *testing.T) {
	rng := scoreSeeded(t)
	changes := 0
	for range 300 {
		type seen struct {
			at    time.Duration
			fresh Score
		}
		var p Published
		var past []seen // since the last publication
		var now, lastAt time.Duration
		published, ever := Score(0), false
		lasts := func(sign int) bool {
			for i := len(past) - 1; i >= 0; i-- {
				a, b := int64(past[i].fresh)*100, int64(published)
				if sign > 0 && a <= b*105 || sign < 0 && a >= b*95 {
					return false
				}
				if now-past[i].at >= scoreHold {
					return true
				}
			}
			return false
		}
		level := Score(1000)
		for range 500 {
			now += time.Duration(rng.IntN(4000)) * time.Millisecond
			fresh := scoreWalk(rng, &level)
			past = append(past, seen{now, fresh})
			want := !ever || fresh == 0 && published != 0 || lasts(1) || lasts(-1)
			if want && ever && fresh != 0 && now-lastAt < scoreHold {
				t.Fatalf("published twice within %v", now-lastAt)
			}
			if want {
				published, ever, past, lastAt = fresh, true, nil, now
			}
			got, changed := p.Step(now, fresh)
			if got != published || changed != want {
				t.Fatalf("at %v, fresh %d: published %d, changed %v; the model says %d, %v", now, fresh, got, changed, published, want)
			}
			if changed {
				changes++
			}
		}
	}
	if changes < 3000 {
		t.Errorf("only %d changes: the runs prove little", changes)
	}
}

// scoreWalk stays near a level, which moves at times; some scores are zero.
func scoreWalk(rng *rand.Rand, level *Score) Score {
	switch rng.IntN(100) {
	case 0:
		return 0
	case 1, 2, 3, 4, 5:
		*level = 500 + Score(rng.IntN(1000))
	}
	return *level + Score(rng.IntN(80))
}
