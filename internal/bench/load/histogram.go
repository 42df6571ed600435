package load

import (
	"math/bits"
	"time"
)

// subBits is the number of bits kept below the leading one: buckets are at
// most 1/64 of their value wide.
const subBits = 6

// histogram counts durations in buckets of constant relative width. It has a
// fixed size, so that measuring a system adds nothing to that system's heap
// while it runs.
type histogram struct {
	count   int64
	buckets [(64 - subBits) << subBits]int64
}

func bucketOf(ns uint64) int {
	if ns < 1<<subBits {
		return int(ns)
	}
	shift := bits.Len64(ns) - subBits - 1
	return (shift+1)<<subBits + int(ns>>shift) - 1<<subBits
}

// bucketMiddle is the inverse of bucketOf: the middle of a bucket, in
// nanoseconds.
func bucketMiddle(i int) float64 {
	if i < 1<<subBits {
		return float64(i)
	}
	shift := i>>subBits - 1
	low := uint64(1<<subBits|i&(1<<subBits-1)) << shift
	return float64(low) + float64(uint64(1)<<shift)/2
}

func (h *histogram) addLatency(d time.Duration) {
	h.count++
	h.buckets[bucketOf(uint64(max(d, 0)))]++
}

func (h *histogram) mergeWith(other *histogram) {
	h.count += other.count
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
}

// quantile returns the q-quantile in microseconds, zero when nothing was
// counted.
func (h *histogram) quantile(q float64) float64 {
	rank := int64(q * float64(h.count))
	for i, n := range h.buckets {
		if rank < n {
			return bucketMiddle(i) / 1e3
		}
		rank -= n
	}
	return 0
}
