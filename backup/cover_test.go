package backup

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
)

// A slice is bare when its last whole backup, or the first time it was seen, is older than the objective; whatever
// else comes and goes.
func TestCoverageAgainstADumbModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		objective := time.Duration(1+r.IntN(5)) * time.Hour
		var c coverage
		model := map[retain.Slice]time.Duration{}
		for now := time.Duration(0); now < 30*time.Hour; now += time.Hour {
			var led []retain.Slice
			whole := map[retain.Slice]bool{}
			seen := map[retain.Slice]time.Duration{}
			want := 0
			for shard := range uint32(5) {
				s := retain.Slice{Bucket: "b", Shard: shard}
				if r.IntN(6) == 0 {
					continue
				}
				led = append(led, s)
				at, ok := model[s]
				if whole[s] = r.IntN(4) == 0; whole[s] || !ok {
					at = now
				}
				if seen[s] = at; now-at > objective {
					want++
				}
			}
			model = seen
			if c.noteBackup(led, whole, now, objective); len(c.bare) != want {
				t.Fatalf("seed %d, at %v: %d are bare, %d must be", seed, now, len(c.bare), want)
			}
		}
		if c.noteBackup(nil, nil, 100*time.Hour, 0); len(c.bare) > 0 {
			t.Error("without an objective")
		}
	}
}

// halfReady is a store of which one slice is not ready.
type halfReady struct {
	Store
	bad *bool
}

func (h halfReady) Export(ctx context.Context, begin func(slice.Slice) (func(*slice.Record) error, error)) error {
	n := 0
	return h.Store.Export(ctx, func(s slice.Slice) (func(*slice.Record) error, error) {
		if n++; n == 1 && *h.bad {
			s.Err = errors.New("catching up")
		}
		return begin(s)
	})
}

// Backups that are made in time and lack a slice miss the objective for it: that is told once, and once
// when it is over.
func TestSliceThatIsNeverReady(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		old := w.newMesh(1, 16, "old")
		w.put(old[0], "k", "v")
		time.Sleep(time.Minute)
		var alarms []Alarm
		bad := true
		w.open(old[0], 10*time.Minute, map[string]Tier{"t": newMemory()}, func(c *Config) {
			c.Store = halfReady{c.Store, &bad}
			c.Policies[0].Levels[0].Objective = 30 * time.Minute
			c.OnAlarm = func(a Alarm) { alarms = append(alarms, a) }
		})
		time.Sleep(25 * time.Minute)
		if st := old[0].backup.Status()[0]; len(alarms) > 0 || st.Bare > 0 || st.Last.NotReady != 1 {
			t.Errorf("too early: %v, %+v", alarms, st)
		}
		time.Sleep(time.Hour)
		if st := old[0].backup.Status()[0]; len(alarms) != 1 || alarms[0].Over || !strings.Contains(alarms[0].Text, `1 slices`) || !strings.Contains(alarms[0].Text, `bucket "b", shard 0`) || st.Bare != 1 || st.Missed {
			t.Errorf("%v, %+v", alarms, st)
		}
		bad = false
		time.Sleep(20 * time.Minute)
		if st := old[0].backup.Status()[0]; len(alarms) != 2 || !alarms[1].Over || st.Bare != 0 {
			t.Errorf("%v, %+v", alarms, st)
		}
	})
}

// A record that is too large is told with each backup, not with the first alone, and its slice is not whole.
func TestTooLargeIsToldAgain(t *testing.T) {
	d := newDesk(t, newMemory(), 7)
	d.run.policy = &Policy{Name: "p"}
	d.run.store = &shelf{def: []byte("def"), slices: 2, each: 1, bytes: mostRecord + 1}
	for step := range 3 {
		if done := d.backUp(step); done.TooLarge != 2 {
			t.Errorf("backup %d: %+v", step, done)
		}
	}
	if i := slices.IndexFunc(d.run.chain.inventory.Slices, func(s wire.SliceRef) bool { return s.Key|s.Version|s.Origin != 0 }); i >= 0 {
		t.Error("a slice that lacks a record is not read again")
	}
	if got := nameSlice(retain.Slice{Bucket: string(sourceDef("etc"))}); got != `source "etc"` {
		t.Error(got)
	}
}
