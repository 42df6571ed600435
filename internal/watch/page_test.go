package watch

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// On a page of any size all but the last change of each key are superseded.
func TestPageTellsTheLastOfAKey(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for size := range 3 * smallPage {
		for range 20 {
			var p Page
			last := make(map[string]int)
			for i := range size {
				key := fmt.Sprint(rng.IntN(size))
				last[key] = i
				p.Add(&Entry{Key: key}, uint64(i))
			}
			for i, f := range p.Found {
				if f.Number != uint64(i) || f.Superseded != (last[f.Key] != i) {
					t.Fatalf("%d of %d is %+v", i, size, f)
				}
			}
		}
	}
}
