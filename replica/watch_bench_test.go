package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkWatched is what a put and the changes that are told of it cost three stores and
// those who watch at them, all in this process: while nobody watches, ten watch all keys, a
// thousand watch a thousandth of them each, or one watches alone.
func BenchmarkWatched(b *testing.B) {
	stores := loopback(b, 3)
	buckets := make([]*Bucket, len(stores))
	for i, s := range stores {
		var err error
		if buckets[i], err = s.Bucket(b.Context(), "bench", BucketConfig{}); err != nil {
			b.Fatal(err)
		}
	}
	const parts = 1000
	for round, c := range []struct {
		name                     string
		clients, watchers, tells int // tells: by how many watchers a put is told
		prefix                   func(i int) string
	}{
		{"none", 64, 0, 0, nil},
		{"ten", 64, 10, 10, func(int) string { return "" }},
		{"thousand", 64, parts, 1, func(i int) string { return fmt.Sprintf("%03d/", i) }},
		{"one", 1, 1, 1, func(int) string { return "" }},
	} {
		b.Run(c.name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			var all sync.WaitGroup
			defer all.Wait()
			defer cancel()
			var ready, told, waited atomic.Int64
			for i := range c.watchers {
				all.Go(func() {
					for change, err := range buckets[i%3].Watch(ctx, WatchOptions{Prefix: c.prefix(i)}) {
						switch {
						case err != nil:
							if ctx.Err() == nil {
								b.Error(err)
							}
						case change.Kind == ChangePut:
							sent, _ := change.Value()
							waited.Add(time.Now().UnixNano() - int64(binary.BigEndian.Uint64(sent)))
							told.Add(1)
						case change.Kind == ChangeCurrent && change.Open == 0:
							ready.Add(1)
						}
					}
				})
			}
			until := func(count *atomic.Int64, n int) {
				for end := time.Now().Add(time.Minute); count.Load() < int64(n); time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						b.Fatalf("%d of %d", count.Load(), n)
					}
				}
			}
			until(&ready, c.watchers)
			b.ReportAllocs()
			load(b, c.clients, func(_, i int) error {
				value := make([]byte, 1024)
				binary.BigEndian.PutUint64(value, uint64(time.Now().UnixNano()))
				_, err := buckets[i%3].Put(ctx, fmt.Sprintf("%03d/%d/%d/%d", i%parts, round, b.N, i), value, nil)
				return err
			})
			if until(&told, b.N*c.tells); c.tells > 0 {
				b.ReportMetric(float64(waited.Load())/float64(told.Load())/1e3, "told-us")
			}
		})
	}
}
