package backup

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica"
	"github.com/skeinmesh/skein/replica/slice"
	"github.com/skeinmesh/skein/replica/version"
)

// putBack puts back what a mesh has at tiers, at a time; decide as in PutBackConfig.
func (w *world) putBack(b *box, by time.Time, decide func(Change) bool, tier Tier, change ...func(*PutBackConfig)) PutBackResult {
	w.t.Helper()
	cfg := PutBackConfig{Values: replica.NewValues(b.bucket), Decide: decide}
	cfg.From, cfg.Identities, cfg.Tiers, cfg.By, cfg.Buckets = b.node.Mesh(), []string{w.identity}, []NamedTier{{"t", tier}}, by, []string{"b"}
	for _, c := range change {
		c(&cfg)
	}
	got, err := PutBack(context.Background(), cfg)
	if err != nil {
		w.t.Fatalf("%+v, %v", got, err)
	}
	return got
}

func always(Change) bool { return true }

// putBackWorld has backed up k0 to k7, and then k1 was overwritten, k2 deleted, k3 deleted and forgotten.
func putBackWorld(t *testing.T, fn func(t *testing.T, w *world, old []*box, tier *memory, good time.Time, want map[string]string)) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(3, 16, "old")
		want := map[string]string{}
		for i := range 8 {
			want[fmt.Sprint("k", i)] = fmt.Sprint("old", i)
			w.put(old[i%3], fmt.Sprint("k", i), fmt.Sprint("old", i))
		}
		time.Sleep(time.Minute)
		for _, b := range old {
			w.open(b, 0, map[string]Tier{"t": tier})
		}
		w.backUp("t", old...)
		good := time.Now()
		time.Sleep(time.Minute)
		w.delete(old[0], "k3")
		time.Sleep(time.Hour) // it is purged
		w.put(old[0], "k1", "bad value")
		w.delete(old[1], "k2")
		w.put(old[1], "born later", "v")
		time.Sleep(time.Minute)
		w.backUp("t", old...)
		fn(t, w, old, tier, good, want)
	})
}

// What was overwritten or deleted by mistake comes back, after a dry run that tells of it and
// writes nothing.
func TestPutBackUndoesWritesAndDeletes(t *testing.T) {
	putBackWorld(t, func(t *testing.T, w *world, old []*box, tier *memory, good time.Time, want map[string]string) {
		before := w.items(old[0])
		told := map[string]Change{}
		got := w.putBack(old[0], good, func(c Change) bool { told[c.Key] = c; return false }, tier)
		if got.Changes != 3 || got.Unchanged != 5 || got.Brought != 0 || len(got.Faults)+len(got.Lost)+got.RefusedInAll+got.FailedInAll > 0 {
			t.Errorf("%+v", got)
		}
		for key, now := range map[string]Presence{"k1": Present, "k3": Missing} {
			if c := told[key]; c.Now != now || c.OldBytes != 4 || c.Bucket != "b" || (c.NowBytes == len("bad value")) != (now == Present) {
				t.Errorf("%s: %+v, want %v", key, c, now)
			}
		}
		if c := told["k2"]; c.Now == Present || c.NowBytes > 0 { // its delete may be forgotten as well
			t.Errorf("k2: %+v", c)
		}
		if c, _ := compareValues(&slice.Anew{}, &slice.Current{Known: true, All: [][]byte{{1}}}, false); c.Now != Deleted {
			t.Errorf("what the last writer has deleted is %v", c.Now)
		}
		w.wantItems(old[1], before)
		if got := w.putBack(old[0], good, nil, tier); got.Changes != 3 || got.Brought != 0 {
			t.Errorf("without Decide: %+v", got)
		}
		w.wantItems(old[1], before)
		if got := w.putBack(old[0], good, always, tier, func(c *PutBackConfig) { c.Keys = []string{"k3"} }); got.Brought != 1 || got.Changes != 1 {
			t.Errorf("k3: %+v", got)
		}
		if got := w.putBack(old[0], good, always, tier); got.Brought != 2 || got.RacedInAll+got.FailedInAll > 0 {
			t.Errorf("%+v", got)
		}
		want["born later"] = "v"
		w.wantItems(old[1], want)
		if got := w.putBack(old[2], good, always, tier); got.Changes != 0 || got.Unchanged != 8 {
			t.Errorf("again: %+v", got)
		}
		// What is back outlives a restore of the newest backups, which know of the deletes.
		w.restore(old[0], old[0].node.Mesh(), tier)
		w.wantItems(old[2], want)
	})
}

// A write between the dry run and the put-back shows in Seen; one at the very moment is kept, and told.
func TestPutBackMeetsWriters(t *testing.T) {
	putBackWorld(t, func(t *testing.T, w *world, old []*box, tier *memory, good time.Time, want map[string]string) {
		told := map[string]string{}
		w.putBack(old[0], good, func(c Change) bool { told[c.Key] = string(c.Seen); return false }, tier)
		w.put(old[2], "k1", "written meanwhile")
		got := w.putBack(old[1], good, func(c Change) bool { return told[c.Key] == string(c.Seen) }, tier)
		if got.Changes != 3 || got.Brought != 2 {
			t.Errorf("%+v", got)
		}
		if v := w.items(old[0])["k1"]; v != "written meanwhile" {
			t.Errorf("k1 is %q", v)
		}
		got = w.putBack(old[1], good, func(c Change) bool { w.put(old[0], c.Key, "at the same moment"); return true }, tier)
		if got.Brought != 1 || got.RacedInAll != 1 || len(got.Raced) != 1 || got.Raced[0].Key != "k1" {
			t.Errorf("%+v", got)
		}
		it, err := old[2].bucket.Get(context.Background(), "k1", &replica.GetOptions{Level: replica.Quorum})
		if err != nil || len(it.Siblings()) != 2 {
			t.Errorf("%q, %v", it.Siblings(), err)
		}
		w.delete(old[0], "k2")
		got = w.putBack(old[1], good, func(c Change) bool {
			if c.Key == "k2" {
				w.put(old[0], c.Key, "a value")
				w.delete(old[2], c.Key)
			}
			return c.Key == "k2"
		}, tier)
		if got.RacedInAll != 1 {
			t.Errorf("a delete at the same moment: %+v", got)
		}
	})
}

// A purge between the read and the write, and a node that is lost: nothing goes wrong.
func TestPutBackWhilePurgesGoOn(t *testing.T) {
	putBackWorld(t, func(t *testing.T, w *world, old []*box, tier *memory, good time.Time, want map[string]string) {
		waited := false
		got := w.putBack(old[0], good, func(c Change) bool {
			if !waited {
				waited = true
				time.Sleep(time.Hour)
			}
			return c.Key != "k1"
		}, tier)
		if got.Brought != 2 || got.FailedInAll+got.RacedInAll > 0 {
			t.Errorf("%+v", got)
		}
		w.close(old[2])
		w.all = w.all[:2]
		old[2].backup = nil
		time.Sleep(time.Minute)
		if got := w.putBack(old[1], good, always, tier); got.Brought != 1 || got.FailedInAll > 0 {
			t.Errorf("with a node lost: %+v", got)
		}
		want["born later"] = "v"
		w.wantItems(old[0], want)
		w.close(old[1])
		w.all = w.all[:1]
		time.Sleep(time.Minute)
		w.put(old[0], "k1", "bad again")
		if got := w.putBack(old[0], good, always, tier); got.Brought > 0 || got.FailedInAll == 0 {
			t.Errorf("alone, of three: %+v", got)
		}
	})
}

// Where readers see siblings all of them come back, and what was to end lives as long as it would have.
func TestPutBackOfSiblingsAndLifetimes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		b, err := old[0].store.Bucket(context.Background(), "s", replica.BucketConfig{Policy: replica.Siblings})
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		it, _ := b.Get(ctx, "two", nil)
		for _, v := range []string{"one", "another"} {
			if _, err := b.Put(ctx, "two", []byte(v), &replica.PutOptions{Context: it.Context}); err != nil && !errors.Is(err, replica.ErrDegraded) {
				t.Fatal(err)
			}
		}
		for key, ttl := range map[string]time.Duration{"long": 10 * time.Hour, "short": time.Hour} {
			if _, err := b.Put(ctx, key, []byte("ends"), &replica.PutOptions{TTL: ttl}); err != nil && !errors.Is(err, replica.ErrDegraded) {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		good := time.Now()
		time.Sleep(time.Minute)
		old[0].bucket = b
		for _, key := range []string{"two", "long", "short"} {
			w.put(old[0], key, "bad")
		}
		time.Sleep(2 * time.Hour)
		got := w.putBack(old[0], good, always, tier, func(c *PutBackConfig) { c.Buckets = []string{"s"} })
		if got.Brought != 2 || got.Lapsed != 1 || got.RacedInAll+got.FailedInAll > 0 {
			t.Errorf("%+v", got)
		}
		if it, err := b.Get(ctx, "two", nil); err != nil || !slice.SameValues(it.Siblings(), [][]byte{[]byte("one"), []byte("another")}) {
			t.Errorf("%q, %v", it.Siblings(), err)
		}
		time.Sleep(7 * time.Hour)
		w.wantItems(old[0], map[string]string{"long": "ends", "short": "bad", "two": w.items(old[0])["two"]})
		time.Sleep(time.Hour)
		if _, err := b.Get(ctx, "long", nil); !errors.Is(err, replica.ErrNotFound) {
			t.Errorf("it should have ended: %v", err)
		}
	})
}

// Nothing is put back that may have been deleted by then, nor without a bucket.
func TestPutBackRefuses(t *testing.T) {
	_, err := PutBack(context.Background(), PutBackConfig{})
	if !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	line := lineage{gone: map[string][][]byte{}}
	at, err := readTold(originAt(2, 0))
	if err != nil {
		t.Fatal(err)
	}
	top, err := readTold(originAt(9, 5))
	if err != nil {
		t.Fatal(err)
	}
	line.all = []told{at, top}
	chains := []map[string]oldItem{{"k": {itemBytes(), at}, "l": {itemBytes(), top}}}
	if _, refused, err := line.itemOf("k", chains); err != nil || !refused {
		t.Errorf("it may have been deleted, and is not refused: %v", err)
	}
	if it, refused, err := line.itemOf("l", chains); err != nil || refused || len(it.Sibs) != 1 {
		t.Errorf("%v, %v, %v", it, refused, err)
	}
}

func itemBytes() []byte {
	it := version.Item{HLC: 5}
	d := version.Dot{A: version.Actor{Store: 1, Session: 1}, N: 1}
	it.Ctx, it.Sibs = it.Ctx.With(d.A, 1), []version.Sibling{{Dot: d, HLC: 5, Value: []byte("v")}}
	return wire.AppendItem(nil, &it)
}

// A node has a value that another one has told to be purged by then: it was not there.
func TestPurgedByThen(t *testing.T) {
	at, err := readTold(originAt(2, 0))
	if err != nil {
		t.Fatal(err)
	}
	gone, err := wire.DecodeItem(itemBytes())
	if err != nil {
		t.Fatal(err)
	}
	gone.Ctx = gone.Ctx.With(gone.Sibs[0].Dot.A, 2)
	gone.Sibs = []version.Sibling{{Dot: version.Dot{A: gone.Sibs[0].Dot.A, N: 2}, HLC: 6, Flags: version.Tomb}}
	gone.HLC = 6
	line := lineage{gone: map[string][][]byte{"k": {wire.AppendItem(nil, &gone)}}, all: []told{at}}
	it, refused, err := line.itemOf("k", []map[string]oldItem{{"k": {itemBytes(), at}}})
	if _, ok := reconcile.Last(it, 9); ok || refused || err != nil {
		t.Errorf("%+v, %v, %v", it, refused, err)
	}
}
