package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	benchKeys  = 50_000
	benchValue = 1024
)

func benchKey(i int) []byte { return fmt.Appendf(nil, "bench/key/%06d", i) }

func openBench(b *testing.B) *Store {
	b.Helper()
	s, err := Open(Options{Dir: filepath.Join(b.TempDir(), "store")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// incompressible returns n random bytes: the worst case for disk and wear.
func incompressible(r *rand.Rand, n int) []byte {
	v := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(v[i:], r.Uint64())
	}
	return v[:n]
}

// diskWritten returns the bytes this process has caused to be written, or 0
// where the system does not tell.
func diskWritten() int64 {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if n, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			v, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return v
		}
	}
	return 0
}

func BenchmarkPutSync(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchPut(b, writers) })
	}
}

func benchPut(b *testing.B, writers int) {
	s := openBench(b)
	ctx := context.Background()
	var left atomic.Int64
	left.Store(int64(b.N))
	before := diskWritten()
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			value := incompressible(r, benchValue)
			for left.Add(-1) >= 0 {
				key := benchKey(r.IntN(benchKeys))
				value = incompressible(r, benchValue)
				err := s.Update(ctx, func(tx *Tx) error {
					if _, err := tx.Get(key); err != nil && err != ErrNotFound {
						return err
					}
					return tx.Set(key, value)
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
	b.ReportMetric(float64(b.N)/float64(s.stats.groups.Load()), "puts/sync")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(diskWritten()-before)/float64(b.N), "diskB/put")
}

// BenchmarkRawSync is the physical limit of one writer.
func BenchmarkRawSync(b *testing.B) {
	fs := vfs.Default
	f, err := fs.Create(filepath.Join(b.TempDir(), "raw"), vfs.WriteCategoryUnspecified)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	value := incompressible(rand.New(rand.NewPCG(1, 1)), benchValue+32)
	for b.Loop() {
		if _, err := f.Write(value); err != nil {
			b.Fatal(err)
		}
		if err := f.SyncData(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
}

func BenchmarkGet(b *testing.B) {
	const cached = 2_000
	s := openBench(b)
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < benchKeys; i += 100 {
		err := s.Update(context.Background(), func(tx *Tx) error {
			for j := i; j < i+100; j++ {
				if err := tx.Set(benchKey(j), incompressible(r, benchValue)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		keys int
	}{{"cached", cached}, {"uncached", benchKeys}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(2, rand.Uint64()))
				for pb.Next() {
					if _, err := s.Get(context.Background(), benchKey(r.IntN(c.keys))); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "gets/s")
		})
	}
}
