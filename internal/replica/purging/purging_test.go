package purging

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const shards = 8

var errAwayOnPurpose = errors.New("not in reach")

// town is the members of a mesh, with nothing but their records and purges.
type town struct {
	t       *testing.T
	begun   time.Time
	members []*member // the first has id 1
	// deaf: who does not hear what method; nil: all hear all.
	deaf atomic.Pointer[func(from, to view.NodeID, method string) bool] // nil: nobody is
}

type member struct {
	*Purger
	group *lifecycle.Group
	said  hearing
	b     *layout.Bucket // all members are its homes
}

// hearing hears what is logged.
type hearing struct{ heard atomic.Pointer[func(string)] }

func (h *hearing) hear(f func(string))                      { h.heard.Store(&f) }
func (h *hearing) Enabled(context.Context, slog.Level) bool { return h.heard.Load() != nil }
func (h *hearing) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *hearing) WithGroup(string) slog.Handler            { return h }
func (h *hearing) Handle(_ context.Context, r slog.Record) error {
	(*h.heard.Load())(r.Message)
	return nil
}

// withTown runs f, in virtual time, with so many members who purge only when they are told to.
func withTown(t *testing.T, n int, f func(t *testing.T, w *town)) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t, begun: time.Now()}
		for range n {
			w.join()
		}
		f(t, w)
		for _, m := range w.members {
			m.group.Close()
			if err := m.disk.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func (w *town) uptime() time.Duration { return time.Since(w.begun) }

// viewOf is a view of all members.
func (w *town) viewOf(self view.NodeID) view.View {
	n := len(w.members)
	v := view.View{Self: self, Roster: uint64(n), Storing: [16]byte{byte(n)}}
	for id := view.NodeID(1); id <= view.NodeID(n); id++ {
		v.Members = append(v.Members, view.Member{ID: id, Name: id.String(), Zone: id.String(), Weight: 1, Storing: true, State: view.Alive})
	}
	return v
}

// join lets a member in; all hear of it.
func (w *town) join() *member {
	w.t.Helper()
	m := &member{group: lifecycle.NewGroup(context.Background())}
	w.members = append(w.members, m)
	id := view.NodeID(len(w.members))
	log, silence := slog.New(&m.said), peering.NewSilence(time.Minute)
	homes, err := layout.New(layout.Options{Self: id, Shards: shards, Stores: true, Silence: silence, HealAfter: -1, Log: log}, w.viewOf(id))
	if err != nil {
		w.t.Fatal(err)
	}
	disk, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store", Reserve: -1})
	if err != nil {
		w.t.Fatal(err)
	}
	times := clocks.New(clocks.Options{
		Clock: clock.Simulated(0), MaxSkew: time.Minute, Votes: true, Group: m.group, Silence: silence, Patience: replicate.Patience(time.Second),
		Peers: func() []view.NodeID { return nil }, Ask: func(context.Context, view.NodeID) error { return nil },
	})
	records, err := keep.New(keep.Options{
		Self: id, Mesh: view.MeshID{1}, Shards: shards, Disk: disk, Dir: "store", Homes: homes, Group: m.group, Clocks: times, MaxSkew: time.Minute,
		Boot: w.uptime, Uptime: w.uptime, Log: log, Hinted: func() {}, Strayed: func() {}, Damaged: func(layout.Place) {},
	})
	if err == nil {
		err = records.Open(w.t.Context())
	}
	if err == nil {
		m.b, err = homes.Buckets.AddDefinition(wire.BucketDef{Name: "b", Copies: 9})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	m.Purger = New(Options{
		Self: id, Shards: shards, Records: records, Disk: disk, Damaged: new(DamagedLog), Homes: homes, Clocks: times,
		Every: time.Hour, Uptime: w.uptime, Log: log,
		Ask: func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
			return w.ask(ctx, id, peer, method, req)
		},
	})
	for i, m := range w.members {
		if _, err := m.homes.Apply(w.viewOf(view.NodeID(i+1)), w.uptime()); err != nil {
			w.t.Fatal(err)
		}
	}
	return m
}

// loseCalls has the calls fail that a function tells.
func (w *town) loseCalls(lost func(from, to view.NodeID, method string) bool) { w.deaf.Store(&lost) }

func (w *town) ask(ctx context.Context, from, to view.NodeID, method string, req []byte) (answer []byte, err error) {
	if deaf := w.deaf.Load(); deaf != nil && (*deaf)(from, to, method) {
		return nil, errAwayOnPurpose
	}
	m := w.members[to-1]
	switch method {
	case wire.MethodStamps:
		answer, err = m.ServeStamps(ctx, from, req)
	case wire.MethodLog:
		answer, err = m.ServeLog(ctx, from, req)
	case wire.MethodPropose:
		answer, err = m.ServePropose(ctx, from, req)
	case wire.MethodCommit:
		answer, err = m.ServeCommit(ctx, from, req)
	}
	return answer, err
}

// at is where a key lies.
func (w *town) at(key string) layout.Place {
	return w.members[0].homes.LocateKey(w.members[0].b.ID, key)
}

// besides is a place in the shard of another one.
func (w *town) besides(at layout.Place) layout.Place {
	for i := 'a'; ; i++ {
		if two := w.at(string(i)); two.Shard == at.Shard && two.Key != at.Key {
			return two
		}
	}
}

// write writes at the first member and has the others take it in. It returns the record.
func (w *town) write(at layout.Place, write reconcile.Write) keep.Stored {
	w.t.Helper()
	first, done := w.members[0], make(chan error, 1)
	_, err := first.records.CommitWrite(first.records.AtOnce(), at, write, []replicate.Role{replicate.HomeRole}, keep.Terms{Nothing: true}, func(_ keep.Written, err error) { done <- err })
	if err = errors.Join(err, <-done); err != nil {
		w.t.Fatal(err)
	}
	rec := w.load(first, at)
	for _, m := range w.members[1:] {
		if _, err := m.records.AcceptAll(w.t.Context(), []keep.Arrival{{At: at, Item: rec.Item, Raw: rec.Raw}}); err != nil {
			w.t.Fatal(err)
		}
	}
	return rec
}

func (w *town) load(m *member, at layout.Place) keep.Stored {
	w.t.Helper()
	rec, err := m.records.Load(w.t.Context(), at)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

func (w *town) update(m *member, fn func(tx keep.Tx) error) {
	w.t.Helper()
	if err := m.records.Update(w.t.Context(), "test", fn); err != nil {
		w.t.Fatal(err)
	}
}

// stand puts a member where a test wants it in the rounds of a shard.
func (w *town) stand(m *member, shard int, stamp purge.Stamp) {
	w.t.Helper()
	w.update(m, func(tx keep.Tx) error {
		next := tx.Standing(shard)
		next.Stamp = stamp
		return tx.Move(shard, next)
	})
}

// propose has members acknowledge a round of a tomb that all of them hold.
func (w *town) propose(round purge.Round, at layout.Place, members ...*member) {
	w.t.Helper()
	for _, m := range members {
		p := purge.Proposal{Shard: at.Shard, Round: round, Batch: []purge.Tomb{{Bucket: at.Bucket, Key: at.Key, Item: w.load(m, at).Item}}}
		if acked, _, err := m.acknowledgeRounds(w.t.Context(), m.homes.Now().Storing, []purge.Proposal{p}); err != nil || len(acked) != 1 {
			w.t.Fatalf("%v does not acknowledge: %v, %v", m.id, acked, err)
		}
	}
}

var put, del = reconcile.Write{Value: []byte("v")}, reconcile.Write{Tomb: true}

// All members forget a tomb once all have acknowledged it, and not before.
func TestTombsAreForgotten(t *testing.T) {
	withTown(t, 3, func(t *testing.T, w *town) {
		at := w.at("k")
		w.write(at, put)
		w.write(at, del)
		away := true
		w.loseCalls(func(_, to view.NodeID, method string) bool { return away && to == 3 && method == wire.MethodPropose })
		for _, m := range w.members {
			m.group.Go(m.FollowRounds)
		}
		pass := func() {
			for range 2 { // who has missed a round catches up in between
				for _, m := range w.members {
					_ = m.PurgeShards(t.Context())
				}
				synctest.Wait()
			}
		}
		time.Sleep(time.Hour)
		pass()
		for _, m := range w.members {
			if w.load(m, at).Unknown() {
				t.Errorf("%v has forgotten it although one has not acknowledged", m.id)
			}
		}
		away = false
		pass()
		for _, m := range w.members {
			if !w.load(m, at).Unknown() || m.Purged() != 1 {
				t.Errorf("%v has forgotten %d", m.id, m.Purged())
			}
		}
	})
}

// Whoever belongs to the mesh when the proposer itself acknowledges must be asked, too.
func TestProposerStandsByItsMembers(t *testing.T) {
	withTown(t, 3, func(t *testing.T, w *town) {
		at := w.at("k")
		w.write(at, put)
		w.write(at, del)
		pg, lay := w.members[0], w.members[0].homes.Now()
		w.join()
		graves := map[int][]layout.Place{at.Shard: {at}}
		if out, err := pg.proposeRounds(t.Context(), lay, graves, nil); err != nil || len(out) != 0 {
			t.Errorf("acknowledged by other members than are asked: %v, %v", out, err)
		}
		if pg.records.SyncedStamp(at.Shard).Acked != (purge.Round{}) {
			t.Error("acknowledged here")
		}
		if out, err := pg.proposeRounds(t.Context(), pg.homes.Now(), graves, nil); err != nil || len(out) != 1 {
			t.Errorf("%v, %v", out, err)
		}
	})
}

// Graves that cannot be purged do not keep out those behind them.
func TestPassesGoThroughAllGraves(t *testing.T) {
	withTown(t, 1, func(t *testing.T, w *town) {
		const keys = 12
		for i := range keys {
			at := w.at(string(rune('a' + i)))
			w.write(at, put)
			w.write(at, del)
		}
		time.Sleep(time.Hour)
		pg, seen := w.members[0], map[string]int{}
		for range 3 {
			graves, err := pg.findGraves(t.Context(), pg.homes.Now(), keys/3)
			if err != nil {
				t.Fatal(err)
			}
			for _, all := range graves {
				for _, g := range all {
					seen[g.Key]++
				}
			}
		}
		if len(seen) != keys {
			t.Errorf("three passes of %d have seen %v", keys/3, seen)
		}
	})
}

// A store hears that a round is committed only from the next one: it lets go of what the
// first has purged before its note of that is gone.
func TestPurgeIsFinishedBeforeTheNext(t *testing.T) {
	withTown(t, 2, func(t *testing.T, w *town) {
		one := w.at("k")
		two := w.besides(one)
		for _, at := range []layout.Place{one, two} {
			w.write(at, put)
			w.write(at, del)
		}
		first, second := purge.Round{Counter: 1, Proposer: 2}, purge.Round{Counter: 2, Proposer: 2}
		pg := w.members[0]
		w.propose(first, one, pg)
		p := purge.Proposal{
			Shard: one.Shard, Round: second, Stamp: purge.Stamp{Acked: first, Committed: first},
			Batch: []purge.Tomb{{Bucket: two.Bucket, Key: two.Key, Item: w.load(pg, two).Item}},
		}
		for range 2 { // a request that comes twice brings nothing back
			if acked, _, err := pg.acknowledgeRounds(t.Context(), pg.homes.Now().Storing, []purge.Proposal{p}); err != nil || len(acked) != 1 {
				t.Fatal(acked, err)
			}
		}
		if err := pg.commitRounds(t.Context(), []wire.ShardRound{{Shard: one.Shard, Round: wire.Round(second)}}); err != nil {
			t.Fatal(err)
		}
		if !w.load(pg, one).Unknown() || !w.load(pg, two).Unknown() || pg.Purged() != 2 {
			t.Errorf("%d of two are forgotten", pg.Purged())
		}
	})
}

// A member that was let in while a round was under way, with data from before, does not
// get past that round by acknowledging the next one, although nobody knew yet that the
// first was committed when they were asked.
func TestJoinBetweenTwoRounds(t *testing.T) {
	withTown(t, 3, func(t *testing.T, w *town) {
		one := w.at("k")
		two := w.besides(one)
		old := w.write(one, put)
		w.write(two, put)
		for _, at := range []layout.Place{one, two} {
			w.write(at, del)
		}
		first := purge.Round{Counter: 1, Proposer: 1}
		w.propose(first, one, w.members...)
		joined := w.join()
		w.update(joined, func(tx keep.Tx) error { return tx.Save(one, keep.Stored{}, old.Record, old.Raw) })
		pg := w.members[1]
		lay, graves := pg.homes.Now(), map[int][]layout.Place{one.Shard: {two}}
		told, _, err := pg.askMembers(t.Context(), lay, graves)
		if err != nil {
			t.Fatal(err)
		}
		over := []wire.ShardRound{{Shard: one.Shard, Round: wire.Round(first)}}
		for _, m := range []*member{w.members[0], w.members[2]} {
			if err := m.commitRounds(t.Context(), over); err != nil {
				t.Fatal(err)
			}
		}
		proposals, err := pg.proposeRounds(t.Context(), lay, graves, told)
		if err != nil || len(proposals) != 1 {
			t.Fatal(proposals, err)
		}
		if _, err := pg.gatherAcks(t.Context(), lay, proposals); err != nil {
			t.Fatal(err)
		}
		if stamp := joined.records.SyncedStamp(one.Shard); !stamp.Acked.Before(first) {
			t.Errorf("data from before round %v is vouched for by %v", first, stamp)
		}
		if err := joined.CatchUp(t.Context(), 1, one.Shard); err != nil && !errors.Is(err, ErrMoved) {
			t.Fatal(err)
		}
		if rec := w.load(joined, one); !rec.Unknown() && len(reconcile.Live(rec.Item, joined.clocks.Now())) > 0 {
			t.Errorf("alive after it was purged: %v", rec.Item)
		}
	})
}

// While a store sets old data aside it takes nothing in: it is about to say that it holds
// nothing older than the last purge.
func TestNothingComesInWhileOldDataGoes(t *testing.T) {
	withTown(t, 2, func(t *testing.T, w *town) {
		at := w.at("k")
		old := w.write(at, put)
		pg, round := w.members[1], purge.Round{Counter: 3, Proposer: 9}
		w.stand(pg, at.Shard, purge.Stamp{Committed: round})
		// This is said when all was gone through, and not vouched for yet.
		came := false
		pg.said.hear(func(what string) {
			came = true
			if got, err := pg.records.AcceptAll(t.Context(), []keep.Arrival{{At: at, Item: old.Item, Raw: old.Raw}}); err != nil || !got[0].Stale {
				t.Errorf("taken in: %+v, %v", got, err)
			}
		})
		if err := pg.setAside(t.Context(), at.Shard); err != nil || !came {
			t.Fatal(came, err)
		}
		if got, err := pg.records.AcceptAll(t.Context(), []keep.Arrival{{At: at, Item: old.Item, Raw: old.Raw, Stamp: pg.records.SyncedStamp(at.Shard)}}); err != nil || got[0].Stale {
			t.Errorf("not taken in afterwards: %+v, %v", got, err)
		}
		if got := pg.records.SyncedStamp(at.Shard).Acked; got != round || pg.Aside() != 1 {
			t.Errorf("stands at %v, %d are set aside", got, pg.Aside())
		}
		// Somebody's log is found meanwhile: what that has led to stays.
		later := purge.Stamp{Acked: purge.Round{Counter: 9, Proposer: 9}, Committed: round}
		w.stand(pg, at.Shard, purge.Stamp{Committed: round})
		pg.said.hear(func(string) { w.stand(pg, at.Shard, later) })
		if err := pg.setAside(t.Context(), at.Shard); err != nil {
			t.Fatal(err)
		}
		if got := pg.records.SyncedStanding(at.Shard); got.Stamp != later || got.Aside {
			t.Errorf("stands at %+v", got)
		}
	})
}

// Two stores lag as much, and nobody else's log reaches back: each sets aside what it
// cannot vouch for, else they would wait for each other for ever.
func TestTwoThatLag(t *testing.T) {
	withTown(t, 2, func(t *testing.T, w *town) {
		at := w.at("k")
		w.write(at, put)
		for _, m := range w.members {
			w.stand(m, at.Shard, purge.Stamp{Committed: purge.Round{Counter: 3, Proposer: 9}})
		}
		for i, m := range w.members {
			if err := m.SyncStamps(t.Context(), view.NodeID(2-i)); err != nil {
				t.Error(err)
			}
			if got := m.records.SyncedStamp(at.Shard); got.Lagging() {
				t.Errorf("%v still lags: %v", m.id, got)
			}
		}
	})
}

// A log that was read before entries of the own were lost proves nothing after that, and
// one with damaged entries is not whole.
func TestLogsWithHoles(t *testing.T) {
	withTown(t, 3, func(t *testing.T, w *town) { // the third may remember more
		at := w.at("k")
		w.write(at, put)
		w.write(at, del)
		round := purge.Round{Counter: 1, Proposer: 1}
		w.propose(round, at, w.members[0])
		pg := w.members[1]
		before := pg.records.SyncedStanding(at.Shard)
		read := purge.Reading{Asked: before}
		read.Page(purge.Stamp{Acked: round}, purge.Round{})
		w.update(pg, func(tx keep.Tx) error { return tx.Move(at.Shard, tx.Standing(at.Shard).LoseAny()) })
		if err := pg.caughtUp(t.Context(), at.Shard, read); !errors.Is(err, ErrMoved) || pg.records.SyncedStamp(at.Shard).Acked == round {
			t.Errorf("caught up by what was read before the loss: %v", err)
		}
		w.update(w.members[0], func(tx keep.Tx) error { return tx.Set(wire.LogKey(at.Record), []byte{1}) })
		if err := pg.CatchUp(t.Context(), 1, at.Shard); !errors.Is(err, ErrShortLog) || pg.records.SyncedStamp(at.Shard).Acked == round {
			t.Errorf("caught up by a damaged log: %v", err)
		}
		if st := w.members[0].records.SyncedStanding(at.Shard); st.From != round {
			t.Errorf("the damaged log is whole after %v", st.From)
		}
	})
}

// What a purge waits for is told after a week of running time.
func TestBlockedPurgeIsTold(t *testing.T) {
	withTown(t, 2, func(t *testing.T, w *town) {
		pg, at := w.members[0], w.at("k")
		for pg.homes.Now().RouteOf(pg.b, at.Shard).Lead != pg.id {
			at = w.at(at.Key + "k")
		}
		w.write(at, put)
		w.write(at, del)
		w.loseCalls(func(_, to view.NodeID, _ string) bool { return to == 2 })
		pg.group.Go(pg.KeepPurging)
		time.Sleep(6 * 24 * time.Hour)
		if b, ok, err := pg.DescribeBlocked(t.Context(), true); ok || err != nil {
			t.Errorf("told early: %+v, %v", b, err)
		}
		time.Sleep(2 * 24 * time.Hour)
		b, ok, err := pg.DescribeBlocked(t.Context(), true)
		if !ok || err != nil || !slices.Equal(b.Missing, []view.NodeID{2}) || b.For < 7*24*time.Hour || b.Bytes == 0 {
			t.Errorf("%+v, %v, %v", b, ok, err)
		}
		w.deaf.Store(nil)
		time.Sleep(24 * time.Hour)
		if b, ok, _ := pg.DescribeBlocked(t.Context(), true); ok || !w.load(pg, at).Unknown() {
			t.Errorf("blocked although nothing waits: %+v", b)
		}
	})
}

// Stores of earlier releases propose what has ended without its value and without a note
// that it has. Who acknowledges notes it: otherwise a clock that is set back would find an
// empty value.
func TestOldProposals(t *testing.T) {
	withTown(t, 1, func(t *testing.T, w *town) {
		m, at := w.members[0], w.at("k")
		m.clocks.Follow(nil, nil)
		time.Sleep(time.Hour)
		rec := w.write(at, reconcile.Write{Value: []byte("v"), TTL: 1000})
		time.Sleep(time.Hour)
		rec.Item.Sibs[0].Value = nil
		p := purge.Proposal{Shard: at.Shard, Round: purge.Round{Counter: 1, Proposer: 1}, Batch: []purge.Tomb{{Bucket: at.Bucket, Key: at.Key, Item: rec.Item}}}
		if acked, _, err := m.acknowledgeRounds(t.Context(), m.homes.Now().Storing, []purge.Proposal{p}); err != nil || len(acked) != 1 {
			t.Fatal(acked, err)
		}
		w.update(m, func(tx keep.Tx) error {
			b, ok, err := tx.Buried(at)
			if _, known := purge.Grave(b.Tomb, 0); !ok || !known {
				t.Errorf("remembered as %+v", b.Tomb)
			}
			return err
		})
	})
}
