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
		time.Sleep(time.Hour)
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

// All stores of a site start without the time, in 1970, and agree on it. What they have
// written before tells that it is later: no value has ended when the time comes.
func TestAllStartIn1970(t *testing.T) {
	for _, stores := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(stores), func(t *testing.T) {
			bubble(t, stores, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				time.Sleep(2 * time.Hour)
				putAll(t, buckets, "before", 0)
				for _, n := range nodes {
					n.kill()
					n.clock.SetSkew(-30 * 365 * 24 * time.Hour)
				}
				for i, n := range nodes {
					n.restart()
					buckets[i] = openBucket(t, n.store, "b", BucketConfig{})
				}
				time.Sleep(2 * time.Minute)
				keys := putAll(t, buckets, "new", time.Hour)
				time.Sleep(2 * time.Minute)
				for _, n := range nodes {
					n.clock.SetSkew(0)
				}
				time.Sleep(50 * time.Minute)
				for i, b := range buckets {
					if n := found(t, b, keys); n != len(keys) {
						t.Errorf("node %d finds %d of %d", i, n, len(keys))
					}
				}
			})
		})
	}
}

// A store that coordinates no write any more does not tell for ever of dates that its next
// one would take back.
func TestAheadWithoutWrites(t *testing.T) {
	bubble(t, 1, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		nodes[0].clock.SetSkew(24 * time.Hour)
		putAll(t, buckets, "ahead", 0)
		nodes[0].clock.SetSkew(0)
		time.Sleep(2 * time.Minute)
		wantProblem(t, nodes[0].store, "ahead of the clock")
		time.Sleep(time.Hour)
		wantProblem(t, nodes[0].store)
	})
}

// A store of three whose clock is ahead is restarted in a cut, for days. It ends nothing for
// good, and after the cut all read on what lives.
func TestCutOffAndAhead(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		keys := putAll(t, buckets, "k", 50*time.Hour)
		time.Sleep(time.Minute)
		net.split(true, nodes[2].id)
		nodes[2].kill()
		nodes[2].clock.SetSkew(3 * time.Hour)
		nodes[2].restart()
		buckets[2] = openBucket(t, nodes[2].store, "b", BucketConfig{})
		time.Sleep(48 * time.Hour)
		net.heal()
		time.Sleep(10 * time.Minute)
		for i, b := range buckets {
			if n := found(t, b, keys); n != len(keys) {
				t.Errorf("node %d finds %d of %d", i, n, len(keys))
			}
		}
	})
}
