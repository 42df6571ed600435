package replica

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
)

// valueBytes is how many bytes of values lie at a store, those that do not read any more
// included, and in how many records.
func valueBytes(t *testing.T, n *fakeNode) (bytes, records int) {
	t.Helper()
	lower, upper := wire.RecordRange()
	err := n.store.disk.Scan(context.Background(), lower, upper, func(k, v []byte) error {
		if at, ok := layout.PlaceOf(append([]byte(nil), k...)); !ok || n.store.buckets.FindByID(at.Bucket).System {
			return nil
		}
		rec, err := wire.DecodeRecord(v)
		if err != nil {
			return err
		}
		it, err := wire.DecodeItem(rec.Item)
		for i := range it.Sibs {
			bytes += len(it.Sibs[i].Value)
		}
		records++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes, records
}

// putKilo writes values of 1 KiB that live for some time through each bucket in turn.
func putKilo(t *testing.T, buckets []*Bucket, name string, ttl time.Duration) (keys []string) {
	t.Helper()
	for i := range 60 {
		keys = append(keys, fmt.Sprint(name, i))
		if _, err := buckets[i%len(buckets)].Put(context.Background(), keys[i], []byte(strings.Repeat("v", 1024)), &PutOptions{TTL: ttl}); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// A site whose clocks were all two years ahead for an hour dates the end of what it
// writes later by the right time.
func TestWholeSiteWasAhead(t *testing.T) {
	for _, stores := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(stores), func(t *testing.T) {
			bubble(t, stores, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				for _, n := range nodes {
					n.clock.SetSkew(2 * 365 * 24 * time.Hour)
				}
				for range 60 {
					time.Sleep(time.Minute)
					putAll(t, buckets, "ahead", 0)
				}
				for _, n := range nodes {
					n.clock.SetSkew(0)
				}
				time.Sleep(2 * time.Minute)
				if stores == 1 {
					wantProblem(t, nodes[0].store, "ahead of the clock")
					time.Sleep(time.Hour)
				}
				keys := putAll(t, buckets, "new", 10*time.Minute)
				time.Sleep(9 * time.Minute)
				for i, b := range buckets {
					if n := found(t, b, keys); n != len(keys) {
						t.Errorf("node %d finds %d of %d after 9 of 10 minutes", i, n, len(keys))
					}
				}
				time.Sleep(7 * time.Minute)
				for i, b := range buckets {
					if n := found(t, b, keys); n != 0 {
						t.Errorf("node %d finds %d a quarter of an hour later", i, n)
					}
				}
				wantProblem(t, nodes[0].store)
			})
		})
	}
}

// However many stores there are, what has ended is forgotten.
func TestExpiredIsForgotten(t *testing.T) {
	for _, stores := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(stores), func(t *testing.T) {
			bubble(t, stores, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				time.Sleep(2 * time.Hour)
				putKilo(t, buckets, "k", 10*time.Minute)
				time.Sleep(2 * time.Hour)
				for i, n := range nodes {
					if bytes, records := valueBytes(t, n); records != 0 {
						t.Errorf("node %d has %d bytes in %d records", i, bytes, records)
					}
				}
			})
		})
	}
}

// The bytes of values that have ended go within minutes, also where nothing can be
// forgotten because a member is away.
func TestExpiredGivesItsBytesBack(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		time.Sleep(2 * time.Minute)
		nodes[3].kill()
		time.Sleep(time.Minute)
		keys := putKilo(t, buckets[:3], "k", 10*time.Minute)
		time.Sleep(18 * time.Minute)
		for i, n := range nodes[:3] {
			if bytes, records := valueBytes(t, n); bytes != 0 || records == 0 {
				t.Errorf("node %d has %d bytes in %d records 8 minutes after all have ended", i, bytes, records)
			}
			if got := found(t, buckets[i], keys); got != 0 {
				t.Errorf("node %d finds %d", i, got)
			}
		}
	})
}
