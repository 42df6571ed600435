package replicate

import (
	"math/rand/v2"
	"testing"
	"time"
)

// However writes come, by themselves or in batches: the first ones of a batch that fit are
// let in, and none behind one that does not; what is under way beside others is never more
// than the window. Beside nothing a batch is let in whole until the window is learned, and
// one of its writes afterwards, whatever its size.
func TestIntakeOfBatches(t *testing.T) {
	for seed := range uint64(200) {
		chance := rand.New(rand.NewPCG(seed, 1))
		in := NewIntake(50*time.Millisecond, 1000, 4000)
		learned := seed%2 == 0
		if learned {
			in.Learn(1, time.Second, 2*time.Second, true, false)
		}
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
				if chance.IntN(10) == 0 {
					sizes[i] *= 10
				}
			}
			before := sum()
			n := in.BeginAll(sizes)
			under = append(under, sizes[:n]...)
			switch {
			case before == 0 && (n == 0 || !learned && n != len(sizes)):
				t.Fatalf("seed %d: %d of %d alone", seed, n, len(sizes))
			case (before > 0 && n > 0 || n > 1 && learned) && sum() > 1000:
				t.Fatalf("seed %d: %d bytes under way beside others", seed, sum())
			case n < len(sizes) && sum()+sizes[n] <= 1000:
				t.Fatalf("seed %d: one of %d bytes was refused beside %d", seed, sizes[n], sum())
			}
		}
	}
}
