package replica

import (
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"

	"github.com/skeinmesh/skein/internal/host"
)

// Memory that a store takes where nothing bounds it.
const (
	fullCache    = 32 << 20
	fullMemTable = 8 << 20
)

// memorySizes returns how much memory a store takes for what it has read lately,
// and for what it collects before it is sorted into tables, where the process may
// use so many bytes: a sixteenth and three times a sixty-fourth. Most of what it
// takes besides are requests under way, and the collector of garbage lets the whole
// grow to twice what is in use. From 512 MiB on the sizes are full.
func memorySizes(limit uint64) (cache, memTable int64) {
	limit = min(limit, 1<<40)
	cache = max(min(int64(limit/16), fullCache), 2<<20)
	memTable = max(min(int64(limit/64), fullMemTable), 512<<10)
	return cache, memTable
}

// memoryLimit returns how many bytes this process may use, by the limits of its
// control groups, the machine and GOMEMLIMIT, whichever is the least. What cannot
// be read is no limit.
func memoryLimit() uint64 {
	limit := uint64(math.MaxInt64)
	noDisk := func(string) (total, free uint64, err error) { return 0, 0, nil }
	figures, _ := host.New(os.DirFS("/"), "", noDisk).Read(0)
	if memory, known := figures.Memory.Get(); known {
		limit = min(limit, memory)
	}
	// A negative number only asks.
	return min(limit, uint64(debug.SetMemoryLimit(-1)))
}

// scatterSize returns a size, give or take a fifth by chance: stores that hold copies of
// the same records fill at the same pace, and would all be slow at the same moment.
func scatterSize(size int64) int64 { return size*4/5 + rand.N(size*2/5) }
