package replica

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// A box that is restarted every day says after a week of running what its deletes
// wait for, and how much they take. The time in which it was off does not count,
// nor does what it waited for earlier.
func TestPurgeBlockedOutlivesRestarts(t *testing.T) {
	rarely := func(c *Config) { c.SyncEvery = time.Hour } // a month of it is to be gone through
	bubbleOn(t, 3, BucketConfig{}, func(_ int, _ *fakeNode, c *Config) { rarely(c) }, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		box := nodes[0]
		blocked := func() *PurgeBlocked {
			h, err := box.store.Health(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return h.PurgeBlocked
		}
		nodes[2].kill()
		const keys = 20
		for i := range keys {
			mustPut(t, buckets[0], fmt.Sprint("k", i), "v")
			mustDelete(t, buckets[0], fmt.Sprint("k", i))
		}
		for day := range 6 {
			time.Sleep(24 * time.Hour)
			box.kill()
			if day == 3 {
				time.Sleep(20 * 24 * time.Hour)
			}
			box.restart(rarely)
			time.Sleep(time.Hour)
			if p := blocked(); p != nil {
				t.Fatalf("after %d days: %+v", day+1, p)
			}
		}
		time.Sleep(30 * time.Hour)
		p := blocked()
		if p == nil || p.For < 7*24*time.Hour || p.For > 8*24*time.Hour || p.Bytes < 16*keys || p.Bytes > 400*keys || len(p.Missing) != 1 || p.Missing[0] != nodes[2].id {
			t.Fatalf("after a week of running: %+v", p)
		}
		wantFault(t, box.store, nil, fmt.Sprintf("take %d bytes", p.Bytes))
		nodes[2].restart(rarely)
		time.Sleep(12 * time.Hour)
		if p := blocked(); p != nil {
			t.Errorf("all is purged: %+v", p)
		}
		box.kill()
		nodes[2].kill()
		box.restart(rarely)
		time.Sleep(time.Second) // until the other one has seen it
		mustPut(t, buckets[1], "again", "v")
		mustDelete(t, buckets[1], "again")
		time.Sleep(6 * 24 * time.Hour)
		if p := blocked(); p != nil {
			t.Errorf("what it waited for earlier counts: %+v", p)
		}
	})
}
