package backup

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/replica/slice"
)

// doneSet remembers slices.
type doneSet map[[32]byte]bool

func (d doneSet) IsDone(hash [32]byte) bool { return d[hash] }
func (d doneSet) MarkDone(hash [32]byte)    { d[hash] = true }

// breaking is a target that takes so many pages in, and then its restore is broken off.
type breaking struct {
	Target
	left int
	stop context.CancelFunc
}

func (b *breaking) Import(ctx context.Context, def []byte, in []slice.Old) (slice.Imported, error) {
	if b.left--; b.left < 0 {
		b.stop()
		return slice.Imported{}, ctx.Err()
	}
	return b.Target.Import(ctx, def, in)
}

// A restore that is broken off, wherever it is, goes on behind the slices that it has brought; one of
// which there is another backup since, or that was refused, is brought again.
func TestRestoreGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		for i := range 60 {
			w.put(old[0], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		fresh, done := w.newMesh(1, 8, "new"), doneSet{}
		restore := func(pages int, keys ...string) Restored {
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			cfg := RestoreConfig{Target: &breaking{fresh[0].store, pages, stop}, From: old[0].node.Mesh(), Identities: []string{w.identity}, Tiers: []NamedTier{{"t", tier}}, Resume: done, Keys: keys}
			got, err := Restore(ctx, cfg)
			if err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			return got
		}
		if got := restore(5); got.Passed > 0 || len(done) != 5 || got.Records == 60 {
			t.Errorf("%+v, %d done", got, len(done))
		}
		before := len(done)
		got := restore(100)
		if got.Passed != before || got.Slices != got.OfSlices || got.Records == 0 || got.Records >= 60 {
			t.Errorf("%+v", got)
		}
		w.wantItems(fresh[0], w.items(old[0]))
		if got := restore(100); got.Records > 0 || got.Passed != 16 || got.Bytes > 0 {
			t.Errorf("again: %+v", got)
		}
		if got := restore(100, "k1"); got.Passed > 0 || got.Records != 1 {
			t.Errorf("of another selection: %+v", got)
		}
		w.put(old[0], "k1", "later")
		time.Sleep(time.Minute)
		w.backUp("t", old[0])
		if restore(100); w.items(fresh[0])["k1"] != "later" {
			t.Error("what was backed up since is not brought")
		}
		lost, names := doneSet{}, tier.names()
		for _, name := range names {
			if len(name) > 100 { // segments
				_ = tier.Delete(context.Background(), name)
			}
		}
		done = lost
		if got := restore(100); len(got.Lost) == 0 || len(lost) > 0 {
			t.Errorf("%d slices are done, and %d lost", len(lost), len(got.Lost))
		}
	})
}
