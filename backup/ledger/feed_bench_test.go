package ledger

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

// What a feed costs the puts of a lone node with real disks, one at a time.
func BenchmarkPutBesideAFeed(b *testing.B) {
	for _, fed := range []bool{false, true} {
		b.Run(fmt.Sprint("fed=", fed), func(b *testing.B) {
			ctx, cancel := context.WithCancel(context.Background())
			node, err := mesh.Start(ctx, mesh.Config{Dir: b.TempDir(), Secret: bytes.Repeat([]byte{5}, identity.SecretSize), Storing: true, Listen: "127.0.0.1:0"})
			if err != nil {
				b.Fatal(err)
			}
			defer node.Close()
			store, err := replica.Open(ctx, replica.Config{Mesh: node})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			bucket, err := store.Bucket(ctx, "b", replica.BucketConfig{Copies: 1})
			if err != nil {
				b.Fatal(err)
			}
			l, err := Open(ctx, Config{Mesh: node, Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			done := make(chan error, 1)
			if done <- nil; fed {
				<-done
				go func() { done <- l.NewFeed(bucket.Writes()).Run(ctx) }()
			}
			i := 0
			for b.Loop() {
				if _, err := bucket.Put(ctx, fmt.Sprint("k", i%1000), make([]byte, 1000), nil); err != nil {
					b.Fatal(err)
				}
				i++
			}
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(l.Status().Size), "leaves")
		})
	}
}
