package retain

const (
	// mostDeltas is how many deltas a restore reads on top of a base.
	mostDeltas = 16
	// mostEmpty is how many deltas it reads beside these that hold no records, but where the store
	// stood.
	mostEmpty = 48
	// freeDeltas is how many bytes of deltas are no reason for a new base: of a small slice every
	// change is half of it.
	freeDeltas = 4 << 10
)

// Chunks is what a chain holds of a slice: the sizes in bytes, as stored, of the base and of the
// deltas on top of it. Without a base it is the zero Chunks.
type Chunks struct {
	Base   int64
	Deltas []int64 // those that hold records
	Empty  int     // how many others there are
}

// NeedsBase tells whether the next backup of a slice is a base. listed is false if it is not known
// any more what the chain holds, item by item.
func (c Chunks) NeedsBase(listed bool) bool {
	var sum int64
	for _, n := range c.Deltas {
		sum += min(n, 1<<56)
	}
	return !listed || c.Base <= 0 || len(c.Deltas) >= mostDeltas || c.Empty >= mostEmpty || sum > max(c.Base/2, freeDeltas)
}
