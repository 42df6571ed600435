package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// keyIn finds a key of a shard.
func keyIn(s *Store, b *Bucket, shard int, name string) layout.Place {
	for i := 0; ; i++ {
		if at := s.homes.LocateKey(b.b.ID, fmt.Sprint(name, i)); at.Shard == shard {
			return at
		}
	}
}

// proposal asks to purge what a store holds of keys of one shard.
func proposal(t *testing.T, s *Store, counter uint64, by view.NodeID, keys ...layout.Place) purge.Proposal {
	t.Helper()
	p := purge.Proposal{Shard: keys[0].Shard, Round: purge.Round{Counter: counter, Proposer: by}}
	for _, at := range keys {
		rec, err := s.records.Load(context.Background(), at)
		if err != nil || rec.Unknown() {
			t.Fatalf("%s: %v, %v", at.Key, rec.Item, err)
		}
		p.Batch = append(p.Batch, purge.Tomb{Bucket: at.Bucket, Key: at.Key, Item: rec.Item})
	}
	return p
}

func wantAcked(t *testing.T, p purge.Proposal, stores ...*Store) {
	t.Helper()
	for _, s := range stores {
		req := wire.ProposeRequest{Members: s.homes.Now().Storing, Proposals: []wire.Proposal{{
			Shard: p.Shard, Round: wire.Round(p.Round), Stamp: keep.WireStamp(p.Stamp),
		}}}
		for _, tomb := range p.Batch {
			w := wire.Tomb{Bucket: tomb.Bucket, Key: tomb.Key, Item: wire.AppendItem(nil, &tomb.Item)}
			req.Proposals[0].Tombs = append(req.Proposals[0].Tombs, w)
		}
		answer, err := s.purging.ServePropose(context.Background(), 99, wire.AppendProposeRequest(nil, &req))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := wire.DecodeProposeReply(answer); err != nil || len(m.Acked) != 1 {
			t.Fatalf("%v does not acknowledge %v: %v", s.id, p.Round, err)
		}
	}
}

func mustCommit(t *testing.T, p purge.Proposal, stores ...*Store) {
	t.Helper()
	for _, s := range stores {
		req := wire.CommitRequest{Rounds: []wire.ShardRound{{Shard: p.Shard, Round: wire.Round(p.Round)}}}
		if _, err := s.purging.ServeCommit(context.Background(), 99, wire.AppendCommitRequest(nil, &req)); err != nil {
			t.Fatal(err)
		}
	}
}

// setStamp puts a store where a test wants it in the rounds of a shard.
func setStamp(t *testing.T, s *Store, shard int, stamp purge.Stamp) {
	t.Helper()
	err := s.records.Update(context.Background(), "set a stamp", func(tx keep.Tx) error {
		next := tx.Standing(shard)
		next.Stamp = stamp
		return tx.Move(shard, next)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A store that goes down between the commit of a round and letting go of its
// tombs lets go of them when it is back.
func TestPurgeIsFinishedAfterARestart(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		mustDelete(t, buckets[1], "k")
		time.Sleep(time.Second)
		s := nodes[0].store
		p := proposal(t, s, 1, s.id, s.homes.LocateKey(buckets[0].b.ID, "k"))
		wantAcked(t, p, stores(nodes)...)
		mustCommit(t, p, nodes[1].store, nodes[2].store)
		setStamp(t, s, p.Shard, purge.Stamp{Acked: p.Round, Committed: p.Round})
		nodes[0].kill()
		nodes[0].restart()
		time.Sleep(time.Minute)
		wantRecords(t, nodes, buckets[1], 0)
	})
}

// A store hears that a round is committed only from the next one.
func TestPurgeIsFinishedBeforeTheNext(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s := nodes[0].store
		one := s.homes.LocateKey(buckets[0].b.ID, "k")
		two := keyIn(s, buckets[0], one.Shard, "other")
		for _, at := range []layout.Place{one, two} {
			mustPut(t, buckets[0], at.Key, "v")
			mustDelete(t, buckets[1], at.Key)
		}
		time.Sleep(time.Second)
		first, second := proposal(t, s, 1, s.id, one), proposal(t, s, 2, s.id, two)
		wantAcked(t, first, stores(nodes)...)
		mustCommit(t, first, nodes[1].store, nodes[2].store)
		second.Stamp.Committed = first.Round
		wantAcked(t, second, stores(nodes)...)
		mustCommit(t, second, stores(nodes)...)
		// A request that comes twice brings nothing back.
		wantAcked(t, second, stores(nodes)...)
		time.Sleep(time.Minute)
		wantRecords(t, nodes, buckets[1], 0)
	})
}

// A home that lags behind a purge does not answer from its own data.
func TestLaggingHomeDoesNotAnswer(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "k", "old")
		time.Sleep(time.Second)
		s := nodes[0].store
		at := s.homes.LocateKey(buckets[0].b.ID, "k")
		old, err := s.records.Load(ctx, at)
		if err != nil || old.Unknown() {
			t.Fatal(err)
		}
		mustDelete(t, buckets[1], "k")
		time.Sleep(time.Hour)
		wantRecords(t, nodes, buckets[0], 0)
		committed := s.records.SyncedStamp(at.Shard).Committed
		err = s.records.Update(ctx, "roll back", func(tx keep.Tx) error {
			return tx.Save(at, keep.Stored{}, old.Record, old.Raw)
		})
		if err != nil {
			t.Fatal(err)
		}
		setStamp(t, s, at.Shard, purge.Stamp{Committed: committed})
		it, err := buckets[0].Get(ctx, "k", &GetOptions{Level: One})
		if v, ok := it.Value(); ok {
			t.Errorf("read %q, which was purged: %v", v, err)
		}
	})
}

// A store catches up with two peers at a time. That another round was taken in
// meanwhile does not mean that the peer could not help: nothing is set aside.
func TestCatchUpWithTwoAtATime(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		for i := range 40 {
			mustPut(t, buckets[1], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Second)
		s := nodes[0].store
		at := s.homes.LocateKey(buckets[0].b.ID, "k0")
		first, second := purge.Round{Counter: 1, Proposer: 9}, purge.Round{Counter: 2, Proposer: 9}
		setStamp(t, nodes[1].store, at.Shard, purge.Stamp{Acked: first, Committed: second})
		setStamp(t, nodes[2].store, at.Shard, purge.Stamp{Acked: second, Committed: second})
		log := nodes[2].handler(wire.MethodLog)
		meanwhile := true
		_ = nodes[2].Handle(wire.MethodLog, func(c context.Context, from view.NodeID, req []byte) ([]byte, error) {
			if meanwhile {
				meanwhile = false
				if err := s.purging.CatchUp(ctx, nodes[1].id, at.Shard); err == nil {
					t.Error("caught up with a peer that lags itself")
				}
			}
			return log(c, from, req)
		})
		_ = s.purging.CatchUp(ctx, nodes[2].id, at.Shard)
		time.Sleep(time.Minute)
		if n := s.purging.Aside(); n > 0 {
			t.Errorf("%d records were set aside", n)
		}
		if got := s.records.SyncedStamp(at.Shard); got.Acked != second {
			t.Errorf("stamp %v after a minute", got)
		}
	})
}

// Entries that a peer forgets while its log is read, or that are damaged there,
// are missing: the stamp must not say otherwise.
func TestLogWithHoles(t *testing.T) {
	for _, damage := range []bool{false, true} {
		bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			ctx := context.Background()
			mustPut(t, buckets[0], "k", "old")
			time.Sleep(time.Second)
			s, peer := nodes[0].store, nodes[1].store
			at := s.homes.LocateKey(buckets[0].b.ID, "k")
			tomb := proposal(t, s, 1, 9, at).Batch[0].Item
			r := purge.Round{Counter: 1, Proposer: 9}
			var all []layout.Place
			for i := range 1024 + 9 {
				all = append(all, keyIn(s, buckets[0], at.Shard, fmt.Sprint(i, ".")))
			}
			err := peer.records.Update(ctx, "fill the log", func(tx keep.Tx) error {
				for _, at := range all {
					if _, err := tx.LogPurged(at, purge.Buried{}.Bury(r, tomb)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			setStamp(t, peer, at.Shard, purge.Stamp{Acked: r})
			pages := 0
			log := nodes[1].handler(wire.MethodLog)
			_ = nodes[1].Handle(wire.MethodLog, func(c context.Context, from view.NodeID, req []byte) ([]byte, error) {
				if pages++; pages == 2 {
					err := peer.records.Update(ctx, "forget, or lose", func(tx keep.Tx) error {
						for _, at := range all {
							if damage {
								if err := tx.Set(wire.LogKey(at.Record), []byte{1}); err != nil {
									return err
								}
							} else if err := tx.Delete(wire.LogKey(at.Record)); err != nil {
								return err
							}
						}
						if damage {
							return nil
						}
						next := tx.Standing(at.Shard)
						next.From = r
						return tx.Move(at.Shard, next)
					})
					if err != nil {
						t.Error(err)
					}
				}
				return log(c, from, req)
			})
			_ = s.purging.CatchUp(ctx, peer.id, at.Shard)
			if got := s.records.SyncedStamp(at.Shard).Acked; pages != 2 || got == r {
				t.Errorf("damage %v: acknowledged %v after %d pages of a log with holes", damage, got, pages)
			}
			// Whoever reads the log later is told as well.
			pages = 9
			if err := s.purging.CatchUp(ctx, peer.id, at.Shard); !errors.Is(err, purging.ErrShortLog) || s.records.SyncedStamp(at.Shard).Acked == r {
				t.Errorf("damage %v: stands at %v: %v", damage, s.records.SyncedStamp(at.Shard).Acked, err)
			}
		})
	}
}

// Two tombs of a shard are left where a purge went past them: at a home that is
// not the lead. It proposes them itself.
func TestTombsThatTheLeadHasNot(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		mustDelete(t, buckets[1], "k")
		time.Sleep(time.Second)
		s := nodes[0].store
		at := s.homes.LocateKey(buckets[0].b.ID, "k")
		if s.homes.Now().RouteOf(buckets[0].b, at.Shard).Lead == s.id {
			s = nodes[1].store
		}
		old, err := s.records.Load(context.Background(), at)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		wantRecords(t, nodes, buckets[0], 0)
		// As a home has it that got it from another in the middle of the round.
		err = s.records.Update(context.Background(), "put back", func(tx keep.Tx) error {
			if err := tx.Delete(wire.LogKey(at.Record)); err != nil {
				return err
			}
			return tx.Save(at, keep.Stored{}, old.Record, old.Raw)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantRecords(t, nodes, buckets[0], 1)
		time.Sleep(6 * time.Hour)
		wantRecords(t, nodes, buckets[0], 0)
	})
}

// What has expired is forgotten without its values: the log of purges is for
// deletes, not for data.
func TestLogHoldsNoValues(t *testing.T) {
	bubble(t, 3, BucketConfig{TTL: time.Minute}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 10 {
			mustPut(t, buckets[0], fmt.Sprintf("k%d", i), string(make([]byte, 100<<10)))
		}
		time.Sleep(3 * time.Hour)
		wantRecords(t, nodes, buckets[0], 0)
		entries, size := 0, 0
		for shard := range 16 {
			lower, upper := wire.LogRange(shard)
			err := nodes[0].store.disk.Scan(context.Background(), lower, upper, func(_, v []byte) error {
				entries, size = entries+1, size+len(v)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if entries != 10 || size > 10<<10 {
			t.Errorf("%d entries of %d bytes", entries, size)
		}
	})
}

// A member that is there but cannot acknowledge holds up purges like one that is
// down, and the operator hears of it.
func TestPurgeBlockedByWhoIsUnable(t *testing.T) {
	rarely := func(_ int, _ *fakeNode, c *Config) { c.SyncEvery = time.Hour } // a week of it is to be gone through
	bubbleOn(t, 3, BucketConfig{}, rarely, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for _, n := range nodes {
			stamps := n.handler(wire.MethodStamps)
			_ = n.Handle(wire.MethodStamps, func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
				m, err := wire.DecodeStampsRequest(req)
				if err != nil || m.Members != [16]byte{} && (n == nodes[2] || from == nodes[2].id) {
					return nil, errFakeUnreachable
				}
				return stamps(ctx, from, req)
			})
		}
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprint(i), "v")
			mustDelete(t, buckets[0], fmt.Sprint(i))
		}
		time.Sleep(8 * 24 * time.Hour)
		blocked := 0
		for _, n := range nodes[:2] {
			if h, err := n.store.Health(context.Background()); err != nil {
				t.Error(err)
			} else if p := h.PurgeBlocked; p != nil {
				if blocked++; len(p.Missing) != 1 || p.Missing[0] != nodes[2].id {
					t.Errorf("%+v", p)
				}
			}
		}
		if blocked == 0 {
			t.Error("nobody says after a week what the purge waits for")
		}
	})
}

// A home that held nothing of a shard holds something when it has taken in the tomb
// of a round: from then on it has something to catch up with.
func TestATombFillsItsShard(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s := nodes[1].store
		net.split(false, nodes[1].id) // it never holds anything of the shard
		mustPut(t, buckets[0], "k", "v")
		mustDelete(t, buckets[0], "k")
		from := nodes[0].store
		at := from.homes.LocateKey(buckets[0].b.ID, "k")
		p := proposal(t, from, 1, from.id, at)
		filled := true
		err := s.records.Update(context.Background(), "look", func(tx keep.Tx) error {
			filled = tx.Standing(at.Shard).Filled
			return nil
		})
		if err != nil || filled {
			t.Fatalf("the shard is filled to begin with: %v, %v", filled, err)
		}
		wantAcked(t, p, s)
		if rec, err := s.records.Load(context.Background(), at); err != nil || rec.Unknown() || !s.records.SyncedStanding(at.Shard).Filled {
			t.Errorf("record %v, %v; the shard is filled: %v", rec.Item, err, s.records.SyncedStanding(at.Shard).Filled)
		}
	})
}

// Two stores lag as much, and nobody else's log reaches back. Each hears from the
// other that it cannot help, and sets aside what it cannot vouch for: else they
// would wait for each other for ever.
func TestTwoThatLag(t *testing.T) {
	bubble(t, 2, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "old")
		time.Sleep(time.Second)
		at := nodes[0].store.homes.LocateKey(buckets[0].b.ID, "k")
		committed := purge.Round{Counter: 3, Proposer: 9}
		for _, n := range nodes {
			setStamp(t, n.store, at.Shard, purge.Stamp{Committed: committed})
		}
		time.Sleep(time.Hour)
		for _, n := range nodes {
			if got := n.store.records.SyncedStamp(at.Shard); got.Lagging() {
				t.Errorf("%v still lags: %v", n.id, got)
			}
		}
	})
}
