package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/skeinmesh/skein/mesh/view"
)

// What was backed up makes another mesh equal: of another size, secret and number of shards. A
// second backup takes what has changed, and deletes stay deleted.
func TestAMeshIsRestoredIntoAnother(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(5, 32, "old")
		want := map[string]string{}
		for i := range 300 {
			key := fmt.Sprint("k", i)
			want[key] = fmt.Sprint("value ", i)
			w.put(old[i%5], key, want[key])
		}
		time.Sleep(time.Minute)
		for _, b := range old {
			w.open(b, 0, map[string]Tier{"t": tier})
		}
		first := w.backUp("t", old...)
		if first.Records != len(want) {
			t.Errorf("%d records of %d", first.Records, len(want))
		}
		for i := range 6 {
			want[fmt.Sprint("k", i)] = "anew"
			w.put(old[i%5], fmt.Sprint("k", i), "anew")
		}
		for i := 10; i < 16; i++ {
			delete(want, fmt.Sprint("k", i))
			w.delete(old[i%5], fmt.Sprint("k", i))
		}
		time.Sleep(time.Hour) // the deletes are purged
		second := w.backUp("t", old...)
		if second.Changed == 0 || second.Changed > 12 || second.Records > 24 {
			t.Errorf("after 12 changes: %+v", second)
		}
		if again := w.backUp("t", old...); again.Changed+again.Records > 0 {
			t.Errorf("nothing has changed, and %+v is backed up", again)
		}
		fresh := w.newMesh(2, 16, "new")
		got := w.restore(fresh[0], old[0].node.Mesh(), tier)
		if len(got.Refused)+len(got.Faults)+len(got.Lost) > 0 || got.Brought < len(want) {
			t.Errorf("%+v", got)
		}
		w.wantItems(fresh[1], want)
		if again := w.restore(fresh[1], old[0].node.Mesh(), tier); again.Brought > 0 || len(again.Refused) > 0 {
			t.Errorf("again: %+v", again)
		}
		w.wantItems(fresh[1], want)
	})
}

// Values, keys and names of buckets are in no object, and who has not the identity opens none:
// what a thief finds at a node opens no backup.
func TestNothingLegibleIsAtATier(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		b, err := old[0].store.Bucket(context.Background(), "secret recipes", old[0].bucketConfig())
		if err != nil {
			t.Fatal(err)
		}
		old[0].bucket = b
		w.put(old[0], "planted key", strings.Repeat("planted value ", 100))
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		for _, name := range tier.names() {
			data, _ := tier.Get(context.Background(), name, MaxObject)
			for _, planted := range []string{"secret recipes", "planted"} {
				if bytes.Contains(data, []byte(planted)) {
					t.Errorf("%s holds %q", name, planted)
				}
			}
		}
		other, _ := age.GenerateX25519Identity()
		fresh := w.newMesh(1, 16, "new")
		_, err = Restore(context.Background(), RestoreConfig{Target: fresh[0].store, Identities: []string{other.String()}, Tiers: []NamedTier{{"t", tier}}})
		if !errors.Is(err, ErrNoIdentity) {
			t.Errorf("with another identity: %v", err)
		}
		fresh[0].bucket = nil
		if got := w.restore(fresh[0], view.MeshID{}, tier); got.Brought != 1 {
			t.Errorf("with the right one: %+v", got)
		}
	})
}

// A node loses what it knows of its backups: the next one is a whole one, in a chain of its own,
// and both are restored.
func TestListIsLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		for i := range 100 {
			w.put(old[0], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		w.put(old[0], "k0", "w")
		w.delete(old[0], "k1")
		lists, err := old[0].fs.List(old[0].backup.dir + "/t/all")
		if err != nil {
			t.Fatal(err)
		}
		damaged := 0
		for _, name := range lists {
			if strings.HasPrefix(name, "l-") {
				f, err := old[0].fs.OpenReadWrite(old[0].backup.dir+"/t/all/"+name, "")
				if err != nil {
					t.Fatal(err)
				}
				info, err := f.Stat()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt([]byte{0x77}, info.Size()-1); err != nil { // in a hash: it reads all the same
					t.Fatal(err)
				}
				_ = f.Close()
				damaged++
			}
		}
		d := w.backUp("t", old[0])
		if damaged == 0 || d.Changed != 2 && d.Changed != 1 || d.Records < 8 {
			t.Errorf("%d lists are damaged, and %+v is backed up: the slices that have changed must be whole", damaged, d)
		}
		for _, s := range old[0].backup.tiers["t"].chains["all"].inventory.Slices {
			if len(s.Deltas) > 0 {
				t.Errorf("shard %d: %v lies on a base of which no list is left", s.Shard, s.Deltas)
			}
		}
		if err := old[0].backup.Close(); err != nil {
			t.Fatal(err)
		}
		if err := old[0].fs.RemoveAll(old[0].backup.dir + "/t"); err != nil {
			t.Fatal(err)
		}
		w.open(old[0], 0, map[string]Tier{"t": tier})
		if d := w.backUp("t", old[0]); d.Records < 99 {
			t.Errorf("all is lost, and %+v is backed up", d)
		}
		fresh := w.newMesh(1, 8, "new")
		if got := w.restore(fresh[0], old[0].node.Mesh(), tier); len(got.Refused)+len(got.Faults)+len(got.Lost) > 0 {
			t.Errorf("%+v", got)
		}
		w.wantItems(fresh[0], w.items(old[0]))
	})
}

// Any object that is missing, cut off or changed is named, and what it holds comes from another
// tier.
func TestDamagedObjectsAreNamed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		near, far := newMemory(), newMemory()
		old := w.newMesh(2, 16, "old")
		want := map[string]string{}
		for i := range 60 {
			want[fmt.Sprint("k", i)] = "v"
			w.put(old[0], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Minute)
		for _, b := range old {
			w.open(b, 0, map[string]Tier{"far": far, "near": near})
		}
		w.backUp("near", old...)
		w.backUp("far", old...)
		names := near.names()
		for i, name := range names {
			good := near.objects[name]
			for how, bad := range map[string][]byte{"changed": flipped(good, i*7919), "cut off": good[:len(good)-1], "missing": nil} {
				near.objects[name] = bad
				if bad == nil {
					delete(near.objects, name)
				}
				fresh := w.newMesh(1, 8, "new")
				got := w.restore(fresh[0], old[0].node.Mesh(), near, far)
				isManifest := strings.Contains(name, "/m-")
				if len(got.Faults) == 0 && !(isManifest && how == "missing") || len(got.Lost)+len(got.Refused) > 0 {
					t.Errorf("%s is %s: %+v", name, how, got)
				}
				w.wantItems(fresh[0], want)
				near.objects[name] = good
			}
		}
	})
}

func flipped(data []byte, bit int) []byte {
	out := bytes.Clone(data)
	bit %= 8 * len(out)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}

// Whatever call at the tier fails, or the node dies in it: the next backup goes on, and what was
// there before can be restored at any time.
func TestBackupThatBreaksOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		old := w.newMesh(1, 16, "old")
		for i := range 40 {
			w.put(old[0], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Minute)
		for step := 0; ; step++ {
			tier := newMemory()
			old[0].fs = newFS()
			w.open(old[0], 0, map[string]Tier{"t": tier})
			w.backUp("t", old[0])
			before := w.items(old[0])
			w.put(old[0], "k0", fmt.Sprint("step ", step))
			w.put(old[0], fmt.Sprint("new", step), "v")
			calls, broke := 0, false
			tier.fail = func(op, name string) error {
				if calls++; calls > step {
					broke = true
					return errors.New("the tier is away")
				}
				return nil
			}
			_, err := old[0].backup.Now(context.Background(), "all", "t")
			if broke != (err != nil) {
				t.Fatalf("step %d: %v", step, err)
			}
			tier.fail = nil
			if !broke {
				if err := old[0].backup.Close(); err != nil {
					t.Fatal(err)
				}
				return
			}
			fresh := w.newMesh(1, 8, "new")
			w.restore(fresh[0], old[0].node.Mesh(), tier)
			w.wantItems(fresh[0], before)
			if step%2 == 0 { // it is started anew in between
				if err := old[0].backup.Close(); err != nil {
					t.Fatal(err)
				}
				w.open(old[0], 0, map[string]Tier{"t": tier})
			}
			w.backUp("t", old[0])
			fresh = w.newMesh(1, 8, "new")
			if got := w.restore(fresh[0], old[0].node.Mesh(), tier); len(got.Faults)+len(got.Lost) > 0 {
				t.Errorf("step %d: %+v", step, got)
			}
			w.wantItems(fresh[0], w.items(old[0]))
			if err := old[0].backup.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Backups are made when they are due, not while they are paused, and who is too late is told.
func TestBackupsAreMadeInTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		w.put(old[0], "k", "v")
		time.Sleep(time.Minute)
		var alarms []Alarm
		paused := false
		w.open(old[0], 10*time.Minute, map[string]Tier{"t": tier}, func(c *Config) {
			c.Policies[0].Levels[0].Objective = 30 * time.Minute
			c.Paused = func() bool { return paused }
			c.OnAlarm = func(a Alarm) { alarms = append(alarms, a) }
		})
		manifests := func() (n int) {
			for _, name := range tier.names() {
				if strings.Contains(name, "/m-") {
					n++
				}
			}
			return n
		}
		time.Sleep(time.Hour + time.Minute)
		if n := manifests(); n < 6 || n > 8 {
			t.Errorf("%d backups in an hour", n)
		}
		if len(alarms) > 0 {
			t.Errorf("%v", alarms)
		}
		before := manifests()
		paused = true
		time.Sleep(time.Hour)
		if n := manifests(); n != before {
			t.Errorf("%d backups while they are paused", n-before)
		}
		if st := old[0].backup.Status()[0]; len(alarms) != 1 || alarms[0].Over || !st.Missed || st.LastGood.IsZero() {
			t.Errorf("%v, %+v", alarms, st)
		}
		paused = false
		time.Sleep(5 * time.Minute)
		if n := manifests(); n != before+1 {
			t.Errorf("%d backups are made up for", n-before)
		}
		if st := old[0].backup.Status()[0]; len(alarms) != 2 || !alarms[1].Over || st.Missed || st.Error != "" {
			t.Errorf("%v, %+v", alarms, st)
		}
	})
}

// What a policy need not keep goes, oldest first, and what is left is whole: at any time within
// what is kept there is one to go back to.
func TestOldBackupsAreDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		time.Sleep(time.Minute)
		w.open(old[0], time.Hour, map[string]Tier{"t": tier}, func(c *Config) { c.Policies[0].Levels[0].Keep = 24 * time.Hour })
		for day := range 8 {
			for hour := range 24 {
				w.put(old[0], fmt.Sprint("k", hour), fmt.Sprint("day ", day))
				time.Sleep(time.Hour)
			}
		}
		points, faults, err := List(context.Background(), []NamedTier{{"t", tier}}, Query{})
		if err != nil || len(faults) > 0 || len(points) < 24 || len(points) > 32 {
			t.Errorf("%d points after 8 days of 24, faults %v, %v", len(points), faults, err)
		}
		got, err := Verify(context.Background(), VerifyConfig{Tiers: []NamedTier{{"t", tier}}, Identities: []string{w.identity}})
		if err != nil || len(got.Faults) > 0 || got.Points != len(points) || got.Unnamed > 32 {
			t.Errorf("%+v, %v", got, err)
		}
		fresh := w.newMesh(1, 8, "new")
		w.restore(fresh[0], old[0].node.Mesh(), tier)
		w.wantItems(fresh[0], w.items(old[0]))
		dry, err := Prune(context.Background(), PruneConfig{Tier: NamedTier{"t", tier}, Dry: true, Keep: map[string]Keep{"all": {For: time.Hour, Every: time.Hour}}})
		if err != nil || len(dry.Objects) == 0 || len(tier.names()) == 0 {
			t.Errorf("dry: %+v, %v", dry, err)
		}
		if _, err := Prune(context.Background(), PruneConfig{Tier: NamedTier{"t", tier}, Now: time.Now().Add(48 * time.Hour)}); !errors.Is(err, ErrWrongClock) {
			t.Errorf("with a clock two days ahead: %v", err)
		}
	})
}

// What Verify looks at without a key is what is there, byte by byte.
func TestVerifyNamesDamage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		w.put(old[0], "k", "v")
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		verify := func(ids ...string) Verified {
			got, err := Verify(context.Background(), VerifyConfig{Tiers: []NamedTier{{"t", tier}}, Identities: ids})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := verify(); got.Points != 1 || got.Segments != 1 || len(got.Faults) > 0 {
			t.Fatalf("%+v", got)
		}
		for i, name := range tier.names() {
			good := tier.objects[name]
			tier.objects[name] = flipped(good, 12345+i)
			if got := verify(); len(got.Faults) != 1 {
				t.Errorf("%s is damaged: %+v", name, got)
			}
			tier.objects[name] = good
		}
		if got := verify(w.identity); len(got.Faults) > 0 {
			t.Errorf("%+v", got)
		}
	})
}

// A Config with faults is refused, and all of them are named.
func TestAllFaultsAreNamed(t *testing.T) {
	c := Config{
		Tiers:    []TierConfig{{Name: "Bad"}, {Name: "a", Tier: newMemory(), Recipients: []string{"age1nobody"}}},
		Policies: []Policy{{Name: "p", Levels: []Level{{Tier: "b", Every: time.Hour, Keep: time.Minute, Objective: time.Minute}}}, {Name: "p"}},
	}
	err := c.Validate()
	if !errors.Is(err, ErrConfig) {
		t.Fatal(err)
	}
	for _, want := range []string{"no Mesh", "no Store", `"Bad": the name`, `"Bad": no Tier`, `"Bad": no recipient`, "age1nobody", `no tier "b"`, "less than the 1h", "objective", `"p" is named twice`, "no level"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
}
