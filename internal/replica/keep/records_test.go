package keep

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

var errOnPurpose = errors.New("on purpose")

// What a failed update has done is not done: births, digests and standings are as before.
func TestFailedUpdateLeavesNoTrace(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		at := c.at("k")
		c.mustPut(at, "v")
		c.wantTrueDigest(at.Slice)
		before, standing := c.writer, c.rounds.current[at.Shard]
		err := c.Update(t.Context(), "test", func(tx Tx) error {
			old, err := tx.Load(at)
			if err != nil {
				return err
			}
			old.Mine.Session++ // a birth of before: a new one must be minted
			r, wrote, err := old.Commit(tx.Writer(), reconcile.Write{Value: []byte("w")}, 1<<40, nil)
			if err != nil || wrote.Meta == nil {
				t.Errorf("no birth was minted: %v", err)
			}
			if err := tx.Move(at.Shard, purge.Standing{Stamp: purge.Stamp{Acked: roundOf(3)}}); err != nil {
				return err
			}
			if err := tx.Save(at, old, r, wire.AppendItem(nil, &r.Item)); err != nil {
				return err
			}
			return errOnPurpose
		})
		if !errors.Is(err, errOnPurpose) {
			t.Fatal(err)
		}
		if c.writer != before || c.rounds.current[at.Shard] != standing {
			t.Error("the writer counts a birth, or the rounds one, that was not stored")
		}
		c.wantTrueDigest(at.Slice)
		if rec := c.mustLoad(at); string(rec.Sibs[0].Value) != "v" {
			t.Errorf("the record says %q", rec.Sibs[0].Value)
		}
	})
}

// A digest follows every commit, also one between the look at the disk and the sum, and
// is built anew when a record changed of which nobody can say what it was.
func TestDigestsFollowCommits(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		for i := range 40 {
			c.mustPut(c.at(fmt.Sprint("k", i)), "v")
		}
		at := c.at("k1")
		c.wantTrueDigest(at.Slice)
		c.mustPut(at, "w")
		c.wantTrueDigest(at.Slice)

		c.ForgetDigest(at.Slice)
		todo, err := c.beginBuild(t.Context(), c.disk, []layout.Slice{at.Slice})
		if err != nil || len(todo) != 1 {
			t.Fatal(todo, err)
		}
		seen, err := c.collectElements(t.Context(), c.disk, at.Slice)
		if err != nil {
			t.Fatal(err)
		}
		c.mustPut(at, "since")
		c.finishSum(at.Slice, seen)
		if _, keys, ok := c.BuiltDigest(at.Slice); !ok || keys != len(seen) {
			t.Errorf("built %v, %d keys of %d", ok, keys, len(seen))
		}
		c.wantTrueDigest(at.Slice)

		c.mustUpdate(func(tx Tx) error { return tx.Set(at.Record, []byte{1}) })
		if err := c.GiveUp(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := c.BuiltDigest(at.Slice); ok {
			t.Error("the digest is still that of the damaged record")
		}
		c.wantTrueDigest(at.Slice)
	})
}

// Stamps are shown once they are synced, and survive a restart; so does the session,
// unless the machine was booted.
func TestOpeningGoesOn(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		at := c.at("k")
		c.mustPut(at, "v")
		c.mustUpdate(func(tx Tx) error {
			err := tx.Move(at.Shard, purge.Standing{Stamp: purge.Stamp{Acked: roundOf(3), Committed: roundOf(2)}})
			if c.SyncedStamp(at.Shard) != (purge.Stamp{}) || tx.Standing(at.Shard).Stamp.Acked != roundOf(3) {
				t.Error("an unsynced stamp is shown, or the update does not know its own")
			}
			return err
		})
		session, sum := c.writer.Session(), c.StampSum()
		c.shut()
		c.open()
		if got := c.SyncedStamp(at.Shard); got.Acked != roundOf(3) || c.StampSum() != sum || c.writer.Session() != session {
			t.Errorf("stamp %v, session %x, was %x", got, c.writer.Session(), session)
		}
		if shard, peer, ok := c.CatchUps.TakeNext(); !ok || shard != at.Shard || peer != 0 {
			t.Errorf("to be finished: shard %d, peer %v, %v", shard, peer, ok)
		}
		c.shut()
		c.machine = "another boot"
		c.open()
		if c.writer.Session() == session {
			t.Error("the session went on although the machine was booted")
		}
	})
}

// A note of where the store stands keeps that the shard holds something, though the
// record came in the same update: a store that holds a tomb has something to catch up with.
func TestRecordFillsItsShard(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		in := dated(2, "v")
		in.At = c.at("k")
		c.mustUpdate(func(tx Tx) error {
			next := tx.Standing(in.At.Shard)
			if _, _, err := tx.acceptItem(&in); err != nil || next.Filled {
				t.Errorf("filled before: %v, %v", next.Filled, err)
			}
			next.Stamp.Acked = roundOf(1)
			return tx.Move(in.At.Shard, next)
		})
		if !c.SyncedStanding(in.At.Shard).Filled {
			t.Error("the shard counts as empty")
		}
	})
}

// What was read before a round that this store has acknowledged is not taken in, and who
// knows of later rounds is to be caught up with.
func TestStaleArrivals(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		in := dated(2, "v")
		in.At, in.From = c.at("k"), 2
		c.mustPut(c.at("k"), "mine")
		c.mustUpdate(func(tx Tx) error {
			return tx.Move(in.At.Shard, purge.Standing{Stamp: purge.Stamp{Acked: roundOf(3), Committed: roundOf(3)}, Filled: true})
		})
		got, err := c.AcceptAll(t.Context(), []Arrival{in})
		if err != nil || !got[0].Stale || len(c.mustLoad(in.At).Sibs) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		in.Stamp = purge.Stamp{Acked: roundOf(5), Committed: roundOf(5)}
		got, err = c.AcceptAll(t.Context(), []Arrival{in})
		if err != nil || got[0].Stale || !got[0].Behind || len(c.mustLoad(in.At).Sibs) != 2 {
			t.Errorf("%+v, %v", got, err)
		}
		if !c.LagsSomewhere() {
			t.Error("it does not lag")
		}
		shard, peer, ok := c.CatchUps.TakeNext()
		if ok && peer == 0 { // the rounds before are over, too
			shard, peer, ok = c.CatchUps.TakeNext()
		}
		if !ok || shard != in.At.Shard || peer != 2 {
			t.Errorf("to catch up with: shard %d, peer %v, %v", shard, peer, ok)
		}
	})
}

// A record goes with its last role. That it is kept for others is told after the commit,
// and so is that it does not belong here.
func TestRolesAndWhoIsTold(t *testing.T) {
	withCellar(t, 4, func(t *testing.T, c *cellar) {
		own, other := c.keyOf(true), c.keyOf(false)
		wrote := c.mustPut(own, "v", replicate.HomeRole, replicate.Role{For: 3})
		if c.hinted != 1 || c.strayed != 0 || c.entries(wire.IndexHint) != 1 {
			t.Errorf("told of hints %d and strays %d times", c.hinted, c.strayed)
		}
		in := dated(2, "v")
		in.At = other
		if _, err := c.AcceptAll(t.Context(), []Arrival{in}); err != nil || c.strayed != 1 {
			t.Errorf("told of strays %d times, %v", c.strayed, err)
		}
		in.Role = replicate.Role{For: 4}
		if _, err := c.AcceptAll(t.Context(), []Arrival{in}); err != nil || c.hinted != 2 {
			t.Errorf("told of hints %d times, %v", c.hinted, err)
		}
		strays, unknown, err := c.ListStrays(t.Context(), c.homes.Now())
		if err != nil || unknown != 0 || len(strays) != 1 || strays[0] != other.Slice {
			t.Errorf("strays %v and %d, %v", strays, unknown, err)
		}
		marks, last, err := c.ListFormerMarks(t.Context(), other.Slice, "", true)
		if err != nil || !last || len(marks) != 1 {
			t.Fatalf("%v, %v, %v", marks, last, err)
		}
		if n, err := c.DropHomeRoles(t.Context(), c.homes.Now(), other.Slice, marks); n != 1 || err != nil || c.mustLoad(other).Home {
			t.Errorf("dropped %d, %v", n, err)
		}
		late := make(map[layout.Slice]bool)
		counts, err := c.CountHints(t.Context(), func(id view.NodeID) bool { return id == 4 }, late)
		if err != nil || counts[own.Slice] != 1 || counts[other.Slice] != 1 || late[own.Slice] || !late[other.Slice] {
			t.Errorf("hints %v, late %v, %v", counts, late, err)
		}
		settled := []Settled{{own, 3, wrote.Local.Item}, {other, 4, in.Item}}
		if n, err := c.SettleHints(t.Context(), settled); n != 2 || err != nil {
			t.Fatalf("settled %d, %v", n, err)
		}
		if rec := c.mustLoad(own); !rec.Home || len(rec.Hints) > 0 {
			t.Errorf("the record of a home: %+v", rec.Record)
		}
		if rec := c.mustLoad(other); !rec.Unknown() {
			t.Errorf("left without a role: %+v", rec.Record)
		}
		// What a home keeps for another store it keeps for itself, too.
		in.At, in.Role = own, replicate.Role{For: 4}
		if _, err := c.AcceptAll(t.Context(), []Arrival{in}); err != nil {
			t.Fatal(err)
		}
		c.mustUpdate(func(tx Tx) error {
			old, err := tx.Load(own)
			r := old.Record
			r.Home = false
			return errors.Join(err, tx.Save(own, old, r, old.Raw))
		})
		if n, err := c.SettleHints(t.Context(), []Settled{{own, 4, c.mustLoad(own).Item}}); n != 1 || err != nil || !c.mustLoad(own).Home {
			t.Errorf("settled %d, %v; a home keeps %+v", n, err, c.mustLoad(own).Record)
		}
		if targets, err := c.ListHintTargets(t.Context()); err != nil || len(targets) > 0 {
			t.Errorf("kept for %v, %v", targets, err)
		}
	})
}

// A write is not based on nothing where there may be something, nor committed too late.
func TestTermsOfWrites(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		at := c.at("k")
		commit := func(w reconcile.Write, on Terms) error {
			done := make(chan error, 1)
			if _, err := c.CommitWrite(c.AtOnce(), at, w, []replicate.Role{replicate.HomeRole}, on, func(_ Written, err error) { done <- err }); err != nil {
				return err
			}
			return <-done
		}
		put, del := reconcile.Write{Value: []byte("v")}, reconcile.Write{Tomb: true}
		for i, one := range []struct {
			w    reconcile.Write
			on   Terms
			want error
		}{{put, Terms{}, ErrUninformed}, {del, Terms{Nothing: true}, ErrUninformed}, {put, Terms{Nothing: true, By: 1}, peering.ErrLate}, {put, Terms{Nothing: true}, nil}, {del, Terms{}, nil}} {
			time.Sleep(time.Millisecond)
			if err := commit(one.w, one.on); !errors.Is(err, one.want) {
				t.Errorf("write %d: %v", i, err)
			}
		}
		c.mustUpdate(func(tx Tx) error { return tx.Set(at.Record, []byte{1}) })
		if err := commit(put, Terms{Nothing: true}); !errors.Is(err, ErrUninformed) {
			t.Errorf("on a damaged record: %v", err)
		}
		if err := commit(put, Terms{Nothing: true, Damage: true}); err != nil {
			t.Errorf("on a damaged record that nobody else has: %v", err)
		}
	})
}

// What is lost proves nothing any more, here or after a restart, and the index is made whole.
func TestLosses(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		at := c.at("k")
		c.mustPut(at, "v", replicate.HomeRole, replicate.Role{For: 9})
		c.FollowBucket(c.b)
		if !c.b.ProvesAbsence(at.Shard) {
			t.Fatal("the only one does not vouch")
		}
		c.wantTrueDigest(at.Slice)
		lower, upper := wire.RecordRange()
		c.lose(lower, upper, at.Record)
		if _, _, ok := c.BuiltDigest(at.Slice); ok || c.b.ProvesAbsence(at.Shard) {
			t.Error("what was lost is vouched for")
		}
		if note, err := c.disk.Get(t.Context(), metaSettled(c.b)); err != nil || c.homes.ReadSettled(note)(at.Shard) {
			t.Errorf("a restart makes up for the loss, %v", err)
		}
		if c.SeeToLoss(t.Context(), lower, upper) || c.LostHints() != 1 {
			t.Errorf("%d hints are lost", c.LostHints())
		}

		again := c.at("again")
		c.mustPut(again, "v", replicate.HomeRole, replicate.Role{For: 9})
		lower, upper = wire.IndexBounds()
		c.lose(lower, upper, wire.IndexKey(wire.IndexHint, 9, again.Record), wire.IndexKey(wire.IndexHint, 9, at.Record))
		if c.entries(wire.IndexHint) != 0 {
			t.Fatal("nothing was lost")
		}
		if !c.SeeToLoss(t.Context(), lower, upper) || c.entries(wire.IndexHint) != 1 {
			t.Errorf("%d entries again", c.entries(wire.IndexHint))
		}
		if c.RestoreIndex(t.Context()) {
			t.Error("it was not whole yet")
		}

		c.mustUpdate(func(tx Tx) error {
			return tx.Move(at.Shard, purge.Standing{Stamp: purge.Stamp{Acked: roundOf(4)}, From: roundOf(1)})
		})
		c.lose(wire.LogRange(at.Shard))
		if st := c.SyncedStanding(at.Shard); st.From != roundOf(4) {
			t.Errorf("the log is whole after %v", st.From)
		}
	})
}

// Damage that nobody reads is found within a period.
func TestScrubbing(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		at := c.at("k")
		c.mustPut(at, "v")
		c.mustUpdate(func(tx Tx) error { return tx.Set(at.Record, []byte{1, 0x93}) })
		c.group.Go(func(ctx context.Context) { c.KeepScrubbing(ctx, 7*24*time.Hour) })
		time.Sleep(7*24*time.Hour - time.Hour)
		synctest.Wait()
		if len(c.listDamaged()) > 0 || c.Scrubs() > 0 {
			t.Error("scrubbed early")
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if found := c.listDamaged(); len(found) != 1 || found[0].Key != "k" || c.Scrubs() != 1 {
			t.Errorf("damaged: %v, %d passes", found, c.Scrubs())
		}
	})
}
