package replica

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// wantRecords checks how many records of a bucket all stores hold together. A
// write may be acknowledged before its last home has it: what is under way
// arrives first, but no time passes, so nothing is repaired meanwhile.
func wantRecords(t *testing.T, nodes []*fakeNode, b *Bucket, want int) {
	t.Helper()
	synctest.Wait()
	n := 0
	for _, node := range nodes {
		for k := range dump(t, node.store) {
			if at, _ := layout.PlaceOf([]byte(k)); at.Bucket == b.b.ID {
				n++
			}
		}
	}
	if n != want {
		t.Errorf("%d records, want %d", n, want)
	}
}

func mustDelete(t *testing.T, b *Bucket, key string) {
	t.Helper()
	if _, err := b.Delete(context.Background(), key, nil); err != nil {
		t.Fatalf("delete %s: %v", key, err)
	}
}

func TestDeletesAreForgottenForGood(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 40
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		for i := range keys {
			if i%2 == 0 {
				mustDelete(t, buckets[(i+1)%4], fmt.Sprintf("k%d", i))
			}
		}
		wantRecords(t, nodes, buckets[0], 3*keys)
		time.Sleep(time.Hour)
		wantRecords(t, nodes, buckets[0], 3*keys/2)
		for i := range keys {
			key := fmt.Sprintf("k%d", i)
			if i%2 == 1 {
				wantValue(t, buckets[i%4], key, "v")
				continue
			}
			wantNotFound(t, buckets[i%4], key)
			mustPut(t, buckets[(i+2)%4], key, "again")
		}
		time.Sleep(time.Hour)
		for i := 0; i < keys; i += 2 {
			wantValue(t, buckets[i%4], fmt.Sprintf("k%d", i), "again")
		}
		wantRecords(t, nodes, buckets[0], 3*keys)
		wantEqualHomes(t, stores(nodes)...)
	})
}

// Purged keys may be written, deleted and purged again any number of times,
// also across restarts.
func TestPurgedAgainAndAgain(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for round := range 4 {
			for i := range 10 {
				mustPut(t, buckets[0], fmt.Sprintf("k%d", i), fmt.Sprint(round))
				mustDelete(t, buckets[1], fmt.Sprintf("k%d", i))
			}
			time.Sleep(time.Hour)
			wantRecords(t, nodes, buckets[0], 0)
			n := nodes[round%3]
			n.kill()
			time.Sleep(time.Minute)
			buckets[round%3] = openBucket(t, n.restart(), "b", BucketConfig{})
			time.Sleep(time.Minute)
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// A member that is down has not acknowledged: nothing is forgotten until it is
// back, or given up. The value that it holds does not come back.
func TestPurgeWaitsForWhoIsDown(t *testing.T) {
	rarely := func(_ int, _ *fakeNode, c *Config) { c.SyncEvery = time.Hour } // a week of it is to be gone through
	bubbleOn(t, 4, BucketConfig{}, rarely, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Second)
		nodes[3].kill()
		for i := range 20 {
			mustDelete(t, buckets[0], fmt.Sprintf("k%d", i))
		}
		time.Sleep(24 * time.Hour)
		if got := nodes[0].store.purging.Purged(); got != 0 {
			t.Errorf("%d tombs purged without an acknowledgement of all", got)
		}
		if h, err := nodes[0].store.Health(context.Background()); err != nil || h.PurgeBlocked != nil {
			t.Errorf("after a day: %+v, %v", h.PurgeBlocked, err)
		}
		time.Sleep(7 * 24 * time.Hour)
		blocked := 0
		for _, n := range nodes[:3] {
			if h, err := n.store.Health(context.Background()); err != nil {
				t.Error(err)
			} else if h.PurgeBlocked != nil {
				if blocked++; len(h.PurgeBlocked.Missing) != 1 || h.PurgeBlocked.Missing[0] != nodes[3].id {
					t.Errorf("%+v", h.PurgeBlocked)
				}
			}
		}
		if blocked == 0 {
			t.Error("nobody says after a week what the purge waits for")
		}
		buckets[3] = openBucket(t, nodes[3].restart(), "b", BucketConfig{})
		time.Sleep(2 * time.Hour)
		for i := range 20 {
			wantNotFound(t, buckets[3], fmt.Sprintf("k%d", i))
		}
		wantRecords(t, nodes, buckets[0], 0)
	})
}

// What was read before a purge is not written back after it, however late it
// arrives: not as a hint, a copy, a repair or the answer to a comparison.
func TestF2_01_Doomstone(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "k", "old")
		time.Sleep(time.Second)
		s := nodes[0].store
		at := s.homes.LocateKey(buckets[0].b.ID, "k")
		stamp := s.records.SyncedStamp(at.Shard)
		old, err := s.records.Load(ctx, at)
		if err != nil || old.Unknown() {
			t.Fatal(err)
		}
		mustDelete(t, buckets[1], "k")
		time.Sleep(time.Hour)
		wantRecords(t, nodes, buckets[0], 0)
		offer := wire.Offer{Bucket: at.Bucket, Key: "k", Item: old.Raw, Stamp: keep.WireStamp(stamp)}
		got, err := s.offers.SendOffers(ctx, nodes[1].id, []wire.Offer{offer})
		if err != nil || !got[0].Stale {
			t.Errorf("a copy read before the purge is answered %+v, %v", got, err)
		}
		offer.For = 9
		if got, err = s.offers.SendOffers(ctx, nodes[1].id, []wire.Offer{offer}); err != nil || !got[0].Stale {
			t.Errorf("a hint read before the purge is answered %+v, %v", got, err)
		}
		s.reader.RepairHomes(at, old.Item, stamp, []view.NodeID{s.id, nodes[2].id})
		time.Sleep(time.Hour)
		wantRecords(t, nodes, buckets[0], 0)
		wantNotFound(t, buckets[2], "k")
	})
}

// A store that was no member when a tomb was purged, and brings the value,
// catches up before anybody takes that from it.
func TestOldDataCatchesUp(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "k", "old")
		time.Sleep(time.Second)
		at := nodes[0].store.homes.LocateKey(buckets[0].b.ID, "k")
		before, err := nodes[0].store.records.Load(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		mustDelete(t, buckets[0], "k")
		time.Sleep(time.Hour)
		wantRecords(t, nodes, buckets[0], 0)
		// As if the disk of node 0 had been put back to before the purge.
		s := nodes[0].store
		err = s.records.Update(ctx, "roll back", func(tx keep.Tx) error {
			if err := tx.Move(at.Shard, purge.Standing{Filled: true}); err != nil {
				return err
			}
			lower, _ := wire.LogRange(at.Shard)
			_ = lower
			if err := tx.Delete(wire.LogKey(at.Record)); err != nil {
				return err
			}
			return tx.Save(at, keep.Stored{}, before.Record, before.Raw)
		})
		if err != nil {
			t.Fatal(err)
		}
		if s.records.SyncedStamp(at.Shard) != (purge.Stamp{}) {
			t.Fatal("not rolled back")
		}
		time.Sleep(time.Hour)
		wantNotFound(t, buckets[1], "k")
		wantNotFound(t, buckets[0], "k")
		wantRecords(t, nodes, buckets[0], 0)
	})
}

// Expired values are forgotten like deletes, once all clocks agree that they
// have expired.
func TestExpiredValuesAreForgotten(t *testing.T) {
	bubble(t, 3, BucketConfig{TTL: time.Minute}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 10 {
			mustPut(t, buckets[0], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(3 * time.Minute)
		wantNotFound(t, buckets[1], "k1")
		wantRecords(t, nodes, buckets[0], 30)
		time.Sleep(2 * time.Hour)
		wantRecords(t, nodes, buckets[0], 0)
	})
}

func TestWrongClockForgetsNothing(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		if _, err := buckets[0].Put(context.Background(), "k", []byte("v"), &PutOptions{TTL: 1000 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			n.clock.SetSkew(50 * 365 * 24 * time.Hour)
			time.Sleep(2 * time.Hour)
			n.clock.SetSkew(0)
		}
		time.Sleep(time.Hour)
		wantRecords(t, nodes, buckets[0], 3)
		wantValue(t, buckets[1], "k", "v")
	})
}

// While a store catches up with a purge, page by page, what it takes in dies of
// what it has read of the log already.
func TestItemsWhileCatchingUp(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "k", "old")
		time.Sleep(time.Second)
		s := nodes[0].store
		at := s.homes.LocateKey(buckets[0].b.ID, "k")
		old, err := s.records.Load(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		other := s.homes.LocateKey(buckets[0].b.ID, "elsewhere")
		for i := 0; other.Shard != at.Shard; i++ {
			other = s.homes.LocateKey(buckets[0].b.ID, fmt.Sprint("elsewhere", i))
		}
		dead := reconcile.Local{}
		err = s.records.Update(ctx, "make a tomb", func(tx keep.Tx) error {
			wrote, err := tx.Writer().Put(old.Local, reconcile.Write{Tomb: true}, s.currentDate())
			dead = wrote.Local
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		entry := wire.Buried{Round: wire.Round{Counter: 3, Proposer: 2}, Tomb: wire.AppendItem(nil, &dead.Item)}
		page := wire.LogReply{Entries: []wire.LogEntry{{Bucket: other.Bucket, Key: other.Key, Buried: entry}}}
		_ = nodes[1].Handle(wire.MethodLog, func(context.Context, view.NodeID, []byte) ([]byte, error) {
			return wire.AppendLogReply(nil, &page), nil
		})
		if err := s.purging.CatchUp(ctx, nodes[1].id, at.Shard); err != nil {
			t.Fatal(err)
		}
		if _, err := s.records.AcceptAll(ctx, []keep.Arrival{{At: other, Item: old.Item, Raw: old.Raw}}); err != nil {
			t.Fatal(err)
		}
		rec, err := s.records.Load(ctx, other)
		if err != nil {
			t.Fatal(err)
		}
		if alive := reconcile.Live(rec.Item, s.currentDate()); len(alive) > 0 {
			t.Errorf("alive after it was purged: %v", alive)
		}
	})
}

// Whoever reads a record and its stamp meanwhile must not see the new stamp
// before the tombs that came with it.
func TestStampIsShownWhenItIsSynced(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s := nodes[0].store
		r := purge.Round{Counter: 1, Proposer: s.id}
		err := s.records.Update(context.Background(), "look", func(tx keep.Tx) error {
			next := tx.Standing(3)
			next.Stamp.Acked = r
			if err := tx.Move(3, next); err != nil {
				return err
			}
			if got := s.records.SyncedStamp(3); got.Acked == r {
				t.Error("the stamp is shown before it is synced")
			}
			return nil
		})
		if got := s.records.SyncedStamp(3); err != nil || got.Acked != r {
			t.Errorf("after the sync: %v, %v", got, err)
		}
	})
}

// A store that the roster here does not know yet gets no items: it would not be
// asked before what it was given is purged.
func TestStrangersGetNothing(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		req := wire.AppendReadRequest(nil, &wire.ReadRequest{Keys: []wire.Lookup{{Bucket: buckets[0].b.ID, Key: "k"}}})
		h := nodes[1].handlers[wire.MethodRead]
		if _, err := h(context.Background(), nodes[0].id, req); err != nil {
			t.Fatal(err)
		}
		if _, err := h(context.Background(), 77, req); err == nil {
			t.Error("a stranger is answered")
		}
	})
}

// currentDate is what things are dated by here.
func (s *Store) currentDate() version.HLC { return s.clocks.Now() }
