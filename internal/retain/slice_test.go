package retain

import (
	"math"
	"slices"
	"testing"
)

func TestNeedsBase(t *testing.T) {
	for name, c := range map[string]struct {
		chunks Chunks
		listed bool
		want   bool
	}{
		"nothing there":             {Chunks{}, true, true},
		"no base":                   {Chunks{Deltas: []int64{1}}, true, true},
		"list lost":                 {Chunks{Base: 1 << 20}, false, true},
		"no deltas":                 {Chunks{Base: 1 << 20}, true, false},
		"half":                      {Chunks{Base: 1 << 20, Deltas: []int64{1 << 18, 1 << 18}}, true, false},
		"more than half":            {Chunks{Base: 1 << 20, Deltas: []int64{1 << 18, 1<<18 + 1}}, true, true},
		"15 deltas":                 {Chunks{Base: 1 << 20, Deltas: slices.Repeat([]int64{9}, 15)}, true, false},
		"16 deltas":                 {Chunks{Base: 1 << 20, Deltas: slices.Repeat([]int64{9}, 16)}, true, true},
		"47 of nothing":             {Chunks{Base: 1 << 20, Empty: 47}, true, false},
		"48 of nothing":             {Chunks{Base: 1 << 20, Empty: 48}, true, true},
		"small":                     {Chunks{Base: 100, Deltas: []int64{90, 90, 90}}, true, false},
		"small, and has grown":      {Chunks{Base: 100, Deltas: []int64{90, 5000}}, true, true},
		"sizes that nothing can be": {Chunks{Base: 100, Deltas: []int64{math.MaxInt64, math.MaxInt64}}, true, true},
	} {
		if got := c.chunks.NeedsBase(c.listed); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
