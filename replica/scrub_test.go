package replica

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/storage"
)

func never(c *Config) { c.SyncEvery = -1 }

// A record that nobody reads, and that is damaged, is mended from the other
// homes within a period.
func TestScrubFindsDamage(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprintf("k%d", i), "v")
		}
		for _, n := range nodes {
			n.kill()
			n.restart(never)
		}
		time.Sleep(time.Minute)
		s := nodes[1].store
		at := s.homes.LocateKey(buckets[0].b.ID, "k7")
		if err := s.disk.Update(context.Background(), func(tx *storage.Tx) error { return tx.Set(at.Record, []byte{1, 0x93}) }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * 24 * time.Hour)
		if rec, err := s.records.Load(context.Background(), at); err != nil || !rec.Damaged {
			t.Fatalf("not damaged, or mended before the scrub: %v", err)
		}
		time.Sleep(2 * 24 * time.Hour)
		if rec, err := s.records.Load(context.Background(), at); err != nil || rec.Unknown() {
			t.Errorf("after a scrub: unknown %v, %v", rec.Damaged, err)
		}
	})
}

// Boxes that are started anew every day are scrubbed, too.
func TestScrubOutlivesRestarts(t *testing.T) {
	bubble(t, 1, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		passes := 0
		for range 18 {
			nodes[0].kill()
			s := nodes[0].restart(never)
			time.Sleep(24 * time.Hour)
			passes += s.records.Scrubs()
		}
		if passes != 2 {
			t.Errorf("%d passes in 18 days", passes)
		}
	})
}
