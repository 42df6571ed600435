package replica

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BenchmarkShell is what the store itself costs: three nodes without a
// network under them, on disks in memory.
func BenchmarkShell(b *testing.B) {
	net := newFakeNet(b)
	nodes := []*fakeNode{net.add(true), net.add(true), net.add(true)}
	var buckets []*Bucket
	for _, n := range nodes {
		n.fs = vfs.NewMem()
		n.makeDir()
		s := n.open(func(c *Config) { c.CacheBytes = 0 })
		b.Cleanup(func() { _ = s.Close(); n.views.Close() })
		bk, err := s.Bucket(context.Background(), "bench", BucketConfig{})
		if err != nil {
			b.Fatal(err)
		}
		buckets = append(buckets, bk)
	}
	ctx := context.Background()
	value := bytes.Repeat([]byte("v"), 1024)
	const keys = 10_000
	key := make([]string, keys)
	for i := range key {
		key[i] = fmt.Sprintf("key-%05d", i)
	}
	var at atomic.Int64
	for range keys {
		i := int(at.Add(1)) % keys
		if _, err := buckets[i%3].Put(ctx, key[i], value, nil); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	b.Run("put/64", func(b *testing.B) {
		b.ReportAllocs()
		load(b, 64, func(c, i int) error {
			_, err := buckets[c%3].Put(ctx, key[rand.IntN(keys)], value, nil)
			return err
		})
	})
	for name, level := range map[string]Level{"one": One, "quorum": Quorum} {
		b.Run("get/"+name, func(b *testing.B) {
			b.ReportAllocs()
			load(b, 64, func(c, i int) error {
				_, err := buckets[c%3].Get(ctx, key[rand.IntN(keys)], &GetOptions{Level: level})
				return err
			})
		})
	}
}
