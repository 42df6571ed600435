package replicate

import (
	"math/rand/v2"
	"testing"
	"time"
)

// However writes come, by themselves or in batches: a batch is let in whole where nothing
// else is under way; else the first of its writes that fit are, and none behind one that
// does not; and what is under way beside others is never more than the window.
func TestIntakeOfBatches(t *testing.T) {
	for seed := range uint64(200) {
		chance := rand.New(rand.NewPCG(seed, 1))
		in := NewIntake(50*time.Millisecond, 1000, 4000)
		var under []int64
		sum := func() (n int64) {
			for _, b := range under {
				n += b
			}
			return n
		}
		for range 200 {
			if len(under) > 0 && chance.IntN(3) == 0 {
				last := len(under) - 1
				in.Leave(under[last])
				under = under[:last]
				continue
			}
			sizes := make([]int64, 1+chance.IntN(20))
			for i := range sizes {
				sizes[i] = 1 + chance.Int64N(300)
			}
			before := sum()
			n := in.BeginAll(sizes)
			under = append(under, sizes[:n]...)
			switch {
			case before == 0 && n != len(sizes):
				t.Fatalf("seed %d: %d of %d alone", seed, n, len(sizes))
			case before > 0 && n > 0 && sum() > 1000:
				t.Fatalf("seed %d: %d bytes under way beside others", seed, sum())
			case n < len(sizes) && sum()+sizes[n] <= 1000:
				t.Fatalf("seed %d: one of %d bytes was refused beside %d", seed, sizes[n], sum())
			}
		}
	}
}
