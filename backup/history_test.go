package backup

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "run many random histories")

// Over random histories with deletes, purges, nodes that are away and lists that are lost, a
// restore into the mesh itself changes nothing that is there, and a restore of any backup into
// another mesh makes what there was then: nothing that was deleted by then is there, and nothing
// is missing that was not refused. What is put back is there as it was then, and nothing else changes.
func TestF1_26_BackupsOfRandomHistories(t *testing.T) {
	seeds := uint64(2)
	if *long {
		seeds = 100
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) { runHistory(t, w, rand.New(rand.NewPCG(seed, 26))) })
		})
	}
}

// moment is when all nodes had made a backup.
type moment struct {
	at    time.Time
	items map[string]string
}

func runHistory(t *testing.T, w *world, r *rand.Rand) {
	tier := newMemory()
	old := w.newMesh(3, 16, "old")
	for _, b := range old {
		w.open(b, 0, map[string]Tier{"t": tier})
	}
	var moments []moment
	refused := 0
	for step := range 120 {
		key, at := fmt.Sprint("k", r.IntN(12)), old[r.IntN(3)]
		switch n := r.IntN(20); {
		case n < 8:
			w.put(at, key, fmt.Sprint("v", step))
		case n < 12:
			w.delete(at, key)
		case n < 14:
			time.Sleep(time.Duration(r.IntN(40)) * time.Minute)
		case n < 15:
			time.Sleep(time.Minute)
			w.backUp("t", at)
		case n < 16:
			if err := at.backup.Close(); err != nil {
				t.Fatal(err)
			}
			if r.IntN(3) == 0 {
				at.fs = newFS()
			}
			w.open(at, 0, map[string]Tier{"t": tier})
		case n < 18:
			time.Sleep(time.Minute)
			w.backUp("t", old...)
			moments = append(moments, moment{time.Now(), w.items(old[0])})
			time.Sleep(time.Second)
		case len(moments) > 0 && n == 18:
			time.Sleep(time.Minute)
			refused += putBackMoment(w, at, moments[r.IntN(len(moments))], tier)
		case len(moments) > 0:
			time.Sleep(time.Minute)
			before := w.items(old[0])
			m := moments[r.IntN(len(moments))]
			got, err := Restore(context.Background(), RestoreConfig{
				Target: at.store, From: at.node.Mesh(), Identities: []string{w.identity}, Tiers: []NamedTier{{"t", tier}}, By: m.at,
			})
			if err != nil || len(got.Faults)+len(got.Lost) > 0 {
				t.Fatalf("%+v, %v", got, err)
			}
			if after := w.items(old[0]); !maps.Equal(before, after) {
				t.Fatalf("step %d: a restore has made %v of %v", step, after, before)
			}
		}
	}
	for i, m := range moments {
		if i%3 != 0 && i != len(moments)-1 {
			continue
		}
		fresh := w.newMesh(1, 8, "new")
		got, err := Restore(context.Background(), RestoreConfig{
			Target: fresh[0].store, From: old[0].node.Mesh(), Identities: []string{w.identity}, Tiers: []NamedTier{{"t", tier}}, By: m.at,
		})
		if err != nil || len(got.Faults)+len(got.Lost) > 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		have := w.items(fresh[0])
		skipped := map[string]bool{}
		for _, x := range got.Refused {
			skipped[x.Key] = true
			refused++
		}
		for key, v := range m.items {
			if have[key] != v && !skipped[key] {
				t.Errorf("moment %d: %s is %q, it was %q", i, key, have[key], v)
			}
		}
		for key, v := range have {
			if _, ok := m.items[key]; !ok {
				t.Errorf("moment %d: %s is %q, it was deleted", i, key, v)
			}
		}
	}
	if len(moments) == 0 {
		t.Error("no backup was made")
	}
	t.Logf("%d moments, %d records refused", len(moments), refused)
}

// putBackMoment puts back what there was at a moment, and returns how many keys were refused.
func putBackMoment(w *world, at *box, m moment, tier *memory) int {
	want := w.items(at)
	maps.Copy(want, m.items)
	got := w.putBack(at, m.at, always, tier)
	if len(got.Faults)+len(got.Lost)+got.FailedInAll+got.RacedInAll > 0 {
		w.t.Fatalf("%+v", got)
	}
	after := w.items(at)
	for _, x := range got.Refused {
		delete(want, x.Key)
		delete(after, x.Key)
	}
	if !maps.Equal(want, after) {
		w.t.Fatalf("what was put back has made %v, want %v", after, want)
	}
	return len(got.Refused)
}
