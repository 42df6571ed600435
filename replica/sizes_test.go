package replica

import (
	"math"
	"testing"
)

// What a store takes follows the memory that is there. Only where there is enough
// of it does it take what suits a large machine.
func TestMemoryFollowsTheLimit(t *testing.T) {
	for _, c := range []struct {
		limit           uint64
		cache, memTable int64
	}{
		{math.MaxInt64, 32 << 20, 8 << 20},
		{4 << 30, 32 << 20, 8 << 20},
		{512 << 20, 32 << 20, 8 << 20},
		{256 << 20, 16 << 20, 4 << 20},
		{128 << 20, 8 << 20, 2 << 20},
		{64 << 20, 4 << 20, 1 << 20},
		{1 << 20, 2 << 20, 512 << 10},
		{0, 2 << 20, 512 << 10},
	} {
		cache, memTable := memorySizes(c.limit)
		if cache != c.cache || memTable != c.memTable {
			t.Errorf("with %d bytes of memory: cache %d, memtable %d, want %d, %d", c.limit, cache, memTable, c.cache, c.memTable)
		}
		// Three tables of up to six fifths, and garbage as large as all of it.
		if total := 2 * (cache + 3*memTable*6/5); c.limit >= 64<<20 && total > int64(c.limit/4) {
			t.Errorf("with %d bytes of memory a store takes %d", c.limit, total)
		}
	}
	for range 100 {
		if size := scatterSize(1000); size < 800 || size >= 1200 {
			t.Fatalf("1000 became %d", size)
		}
	}
}

// What the process may use is known, and the defaults keep to it; what was asked
// for stays.
func TestDefaultsKeepToTheMemoryThereIs(t *testing.T) {
	c := Config{memory: func() uint64 { return 128 << 20 }}.withDefaults()
	if c.CacheBytes != 8<<20 || c.memTable < 1<<20 || c.memTable > 3<<20 {
		t.Errorf("with 128 MiB: cache %d, memtable %d", c.CacheBytes, c.memTable)
	}
	c = Config{CacheBytes: 100 << 20, memory: func() uint64 { return 128 << 20 }}.withDefaults()
	if c.CacheBytes != 100<<20 {
		t.Errorf("a cache of 100 MiB that was asked for became %d", c.CacheBytes)
	}
	if limit := memoryLimit(); limit < 16<<20 {
		t.Errorf("this process may use %d bytes", limit)
	}
}
