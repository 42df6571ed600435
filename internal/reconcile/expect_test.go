package reconcile

import (
	"math"
	"testing"
)

func TestExpect(t *testing.T) {
	for _, of := range []int{1, 2, 16, 271, 4096, 65536} {
		for differ := 1; differ < of; differ = 1 + differ*5/4 {
			want := 2 * float64(of) * -math.Log(1-float64(differ)/float64(of))
			if got := float64(Expect(differ, of)); math.Abs(got-want) > 1+want/20 && of-differ > 8 {
				t.Errorf("%d of %d differ: %v elements, want about %.1f", differ, of, got, want)
			}
			if Expect(differ, of) > Expect(differ+1, of) {
				t.Errorf("%d of %d differ: fewer elements than if one less did", differ+1, of)
			}
		}
	}
	for _, c := range []struct{ differ, of, want int }{
		{0, 271, 0}, {-3, 271, 0}, {1, 1, 2}, {1, 271, 2}, {2, 2, 6},
		{271, 271, 3350}, {272, 271, 3350}, // one that is hit last comes late
		{0, 0, 0}, {5, 0, 0}, {3, -1, 0}, {1, math.MaxInt32, 2},
	} {
		if got := Expect(c.differ, c.of); got != c.want {
			t.Errorf("%d of %d differ: %d elements, want %d", c.differ, c.of, got, c.want)
		}
	}
}

func TestHowManySymbols(t *testing.T) {
	for elements, want := range map[int]int{
		-1: 1, 0: 1, 1: 1, 2: 4, 5: 10, 10: 19, 20: 35, 100: 149, 1000: 1393, math.MaxInt: 738197504 + 58,
	} {
		if got := FirstSymbols(elements); got != want {
			t.Errorf("%d symbols first for %d elements, want %d", got, elements, want)
		}
	}
	for _, c := range []struct{ sent, again, want int }{
		{0, 0, 4}, {1, 0, 4}, {19, 0, 4}, {40, 0, 10}, {1000, 0, 250}, {1000, 1, 500}, {1000, 2, 1000}, {1000, 9, 1000},
		{1000, -1, 250}, {math.MaxInt, 0, 1 << 27},
	} {
		if got := NextSymbols(c.sent, c.again); got != c.want {
			t.Errorf("%d symbols after %d, again %d, want %d", got, c.sent, c.again, c.want)
		}
	}
}
