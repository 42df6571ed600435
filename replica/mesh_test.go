package replica

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

var _ Mesh = (*mesh.Node)(nil)

// loopback starts n storing nodes of a real mesh on this host.
func loopback(b testing.TB, n int) []*Store {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var seeds []string
	out := make([]*Store, n)
	for i := range out {
		node, err := mesh.Start(ctx, mesh.Config{
			Dir: b.TempDir(), Secret: bytes.Repeat([]byte{7}, identity.SecretSize), MeshName: "loopback",
			Name: fmt.Sprintf("node-%d", i), Zone: fmt.Sprintf("zone-%d", i), Storing: true,
			Listen: "127.0.0.1:0", Seeds: seeds,
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = node.Close() })
		seeds = []string{node.Addr().String()}
		if out[i], err = Open(ctx, Config{Mesh: node}); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = out[i].Close() })
	}
	for _, s := range out {
		for s.mesh.View().Count(view.Alive) < n || len(s.homes.PeersInContact()) < n-1 {
			if ctx.Err() != nil {
				b.Fatalf("no mesh of %d nodes after 20 s: %+v", n, s.mesh.View())
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return out
}

func TestOnARealMesh(t *testing.T) {
	stores := loopback(t, 3)
	var buckets []*Bucket
	for _, s := range stores {
		buckets = append(buckets, openBucket(t, s, "b", BucketConfig{}))
	}
	for i := range 30 {
		key := fmt.Sprintf("k%d", i)
		if r := mustPut(t, buckets[i%3], key, "v"); r.Durable < 2 {
			t.Fatalf("%+v", r)
		}
		wantValue(t, buckets[(i+1)%3], key, "v")
	}
}

// load runs fn from so many clients until b.N is used up, and reports
// operations per second and the median latency.
func load(b *testing.B, clients int, fn func(client, i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	lats := make([][]time.Duration, clients)
	b.ResetTimer()
	start, cpu := time.Now(), cpuTime()
	for c := range clients {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				at := time.Now()
				if err := fn(c, int(i)); err != nil {
					b.Error(err)
					return
				}
				lats[c] = append(lats[c], time.Since(at))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-us/op")
	all := slices.Concat(lats...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/took.Seconds(), "ops/s")
	if len(all) > 0 {
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
	}
}

func BenchmarkLoopback(b *testing.B) {
	stores := loopback(b, 3)
	buckets := make([]*Bucket, len(stores))
	for i, s := range stores {
		var err error
		if buckets[i], err = s.Bucket(context.Background(), "bench", BucketConfig{}); err != nil {
			b.Fatal(err)
		}
	}
	ctx := context.Background()
	value := bytes.Repeat([]byte("v"), 1024)
	const keys = 10_000
	key := make([]string, keys)
	for i := range key {
		key[i] = fmt.Sprintf("key-%05d", i)
	}
	var fill sync.WaitGroup
	for c := range 64 {
		fill.Go(func() {
			for i := c; i < keys; i += 64 {
				if _, err := buckets[c%3].Put(ctx, key[i], value, nil); err != nil {
					b.Error(err)
				}
			}
		})
	}
	fill.Wait()
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("put/%d", clients), func(b *testing.B) {
			load(b, clients, func(c, i int) error {
				_, err := buckets[c%3].Put(ctx, key[rand.IntN(keys)], value, nil)
				return err
			})
		})
	}
	for _, s := range stores {
		b.Logf("%v: repaired %d delivered %d compared %d moved %d", s.id, s.repairs.Repaired(), s.carrier.Delivered(), s.comparer.Compared(), s.comparer.Moved())
	}
	for name, level := range map[string]Level{"one": One, "quorum": Quorum} {
		b.Run("get/"+name, func(b *testing.B) {
			load(b, 64, func(c, i int) error {
				_, err := buckets[c%3].Get(ctx, key[rand.IntN(keys)], &GetOptions{Level: level})
				return err
			})
		})
	}
}
