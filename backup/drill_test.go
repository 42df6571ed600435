package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/replica/slice"
)

// A drill finds what a restore brings into a mesh that holds nothing, and what is damaged or lost, and
// asks no mesh.
func TestDrillFindsWhatARestoreBrings(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(2, 16, "old")
		for i := range 60 {
			w.put(old[0], fmt.Sprint("k", i), "first")
		}
		time.Sleep(time.Minute)
		for _, b := range old {
			w.open(b, 0, map[string]Tier{"t": tier})
		}
		w.backUp("t", old...)
		for i := range 20 {
			w.put(old[1], fmt.Sprint("k", i), "second")
			w.delete(old[0], fmt.Sprint("k", 20+i))
		}
		time.Sleep(time.Minute)
		w.backUp("t", old...)
		drill := func(identity string) (Drilled, error) {
			return Drill(context.Background(), RestoreConfig{Tiers: []NamedTier{{"t", tier}}, Identities: []string{identity}})
		}
		got, err := drill(w.identity)
		if err != nil || len(got.Lost)+len(got.Faults)+got.UnreadableInAll+got.RefusedInAll > 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		fresh := w.newMesh(1, 64, "fresh")
		if brought := w.restore(fresh[0], old[0].node.Mesh(), tier).Brought; brought < 60 || got.Brought != brought {
			t.Errorf("a drill finds %d keys, a restore brings %d", got.Brought, brought)
		}
		if len(got.Buckets) != 1 || got.Buckets[0].Bucket != "b" || got.Buckets[0].Keys != got.Brought || got.Buckets[0].Bytes < 60*int64(len("first")) {
			t.Errorf("%+v", got.Buckets)
		}
		stranger, _, err := NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := drill(stranger); !errors.Is(err, ErrNoIdentity) {
			t.Errorf("by somebody else's identity: %v", err)
		}
		for _, name := range tier.names() {
			if strings.Contains(name, "/s-") {
				tier.objects[name] = flipped(tier.objects[name], 99)
			}
		}
		if got, err = drill(w.identity); err != nil || len(got.Faults) == 0 || len(got.Lost) == 0 || got.Brought > 0 {
			t.Errorf("all segments are damaged: %+v, %v", got, err)
		}
	})
}

// Records that do not decode are told, and the others count, once each.
func TestDrillTellsWhatDoesNotDecode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 4, "old")
		w.put(old[0], "k", "v")
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		d := drill{keys: make(map[string]*drilledKeys)}
		taken := 0
		cfg := RestoreConfig{Tiers: []NamedTier{{"t", tier}}, Identities: []string{w.identity}}
		cfg.Target = targetFunc(func(ctx context.Context, def []byte, in []slice.Old) (slice.Imported, error) {
			taken += len(in)
			good := in[0]
			for _, bad := range []slice.Old{
				{Key: "item", Item: []byte("x"), Origin: good.Origin},
				{Key: "gone", Item: good.Item, Origin: good.Origin, Gone: [][]byte{{1}}},
				{Key: "origin", Item: good.Item, Origin: []byte("y")},
			} {
				in = append(in, bad, good)
			}
			got, err := d.Import(ctx, def, in)
			if got.Brought != 1 {
				t.Errorf("one record, %d times, counts as %d", len(in)/2+1, got.Brought)
			}
			return got, err
		})
		if _, err := Restore(context.Background(), cfg); err != nil || taken != 1 {
			t.Fatalf("%d records, %v", taken, err)
		}
		for _, b := range d.keys {
			if len(b.seen) != 1 || d.out.UnreadableInAll != 3 || len(d.out.Unreadable) != 3 {
				t.Errorf("%d keys, %v", len(b.seen), d.out.Unreadable)
			}
		}
		if _, err := d.Import(context.Background(), []byte("no bucket"), nil); err == nil {
			t.Error("a definition that does not decode is taken")
		}
	})
}

// targetFunc is a Target.
type targetFunc func(ctx context.Context, def []byte, in []slice.Old) (slice.Imported, error)

func (f targetFunc) Import(ctx context.Context, def []byte, in []slice.Old) (slice.Imported, error) {
	return f(ctx, def, in)
}
