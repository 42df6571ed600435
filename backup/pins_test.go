package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// slowTier takes hours for each segment, while somebody prunes it.
type slowTier struct {
	*memory
	t      *testing.T
	denied bool // pins cannot be put
}

var shortKeep = map[string]Keep{"all": {For: 6 * time.Hour, Every: 2 * time.Hour}}

func (s *slowTier) Get(ctx context.Context, name string, most int) ([]byte, error) {
	if strings.Contains(name, "/s-") && !s.denied {
		time.Sleep(5 * time.Hour)
		s.prune()
	}
	return s.memory.Get(ctx, name, most)
}

func (s *slowTier) prune() {
	if _, err := Prune(context.Background(), PruneConfig{Tier: NamedTier{"t", s.memory}, Keep: shortKeep}); err != nil {
		s.t.Error(err)
	}
}

func (s *slowTier) Put(ctx context.Context, name string, data []byte) error {
	if s.denied {
		return ErrDenied
	}
	return s.memory.Put(ctx, name, data)
}

func (m *memory) pins() (found []string) {
	for _, name := range m.names() {
		if IsPin(name) {
			found = append(found, name)
		}
	}
	return found
}

// A restore takes days, of a backup that is just to go, while its node backs up and somebody prunes: it
// reads all that it has begun to read, and afterwards that goes. Where it may put no pin it says so.
func TestRestorePinsWhatItReads(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		time.Sleep(time.Minute)
		w.open(old[0], 2*time.Hour, map[string]Tier{"t": tier})
		fresh := w.newMesh(1, 8, "new")
		live := func(steps int) {
			for i := range steps {
				w.put(old[0], fmt.Sprint("k", i%8), time.Now().String())
				time.Sleep(2 * time.Hour)
			}
		}
		live(9)
		s, begun, done := &slowTier{memory: tier, t: t}, time.Now(), make(chan error)
		cfg := RestoreConfig{Target: fresh[0].store, By: begun.Add(-5 * time.Hour), From: old[0].node.Mesh(), Identities: []string{w.identity}, Tiers: []NamedTier{{"t", s}}}
		var got Restored
		go func() {
			var err error
			got, err = Restore(context.Background(), cfg)
			done <- err
		}()
		var err error
		for running := true; running; {
			select {
			case err = <-done:
				running = false
			default:
				live(8)
			}
		}
		if took := time.Since(begun); err != nil || len(got.Faults)+len(got.Lost)+len(got.Unpinned) > 0 || got.Records == 0 || took < 30*time.Hour || took > 70*time.Hour {
			t.Errorf("after %v: %+v, %v", took, got, err)
		}
		before := len(tier.names())
		if len(tier.pins()) > 0 {
			t.Errorf("pins are left: %v", tier.pins())
		}
		if s.prune(); len(tier.names()) > before/2+5 {
			t.Errorf("%d of %d objects stay after the restore", len(tier.names()), before)
		}
		s.denied = true
		cfg.By, cfg.Keys = time.Time{}, []string{"none"}
		if got, err = Restore(context.Background(), cfg); err != nil || len(got.Unpinned) != 1 || !errors.Is(got.Unpinned[0], ErrDenied) {
			t.Errorf("without a pin: %+v, %v", got, err)
		}
	})
}

// A restore that died leaves a pin, which holds for a day, and then is deleted by who prunes.
func TestPinsAreLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		w.put(old[0], "k", "v")
		time.Sleep(time.Minute)
		w.open(old[0], time.Hour, map[string]Tier{"t": tier}, func(c *Config) { c.Policies[0].Levels[0].Keep = 24 * time.Hour })
		time.Sleep(2 * time.Hour)
		prune := func() Pruned {
			got, err := Prune(context.Background(), PruneConfig{Tier: NamedTier{"t", tier}, Keep: map[string]Keep{"all": {For: time.Hour, Every: time.Hour}}, Dry: true})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		before := prune()
		c, err := listCatalog(context.Background(), []NamedTier{{"t", tier}, {"empty", newMemory()}}, old[0].node.Mesh())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		p := putPins(ctx, c)
		if got := prune(); before.Held || !got.Held || len(tier.pins()) != 1 || len(p.all) != 1 {
			t.Errorf("%+v, %v", got, tier.pins())
		}
		first := tier.pins()[0]
		time.Sleep(time.Hour)
		if names := tier.pins(); len(names) != 1 || names[0] == first {
			t.Errorf("after an hour: %v", names)
		}
		tier.fail = func(op, name string) error { // who restores is dead from now on
			if op == "delete" && IsPin(name) && ctx.Err() != nil {
				return errors.New("dead")
			}
			return nil
		}
		stop()
		if failed := p.removeAll(); len(failed) > 0 {
			t.Error(failed)
		}
		tier.fail = nil
		if time.Sleep(20 * time.Hour); !prune().Held {
			t.Error("a pin of yesterday holds nothing")
		}
		if time.Sleep(8 * time.Hour); prune().Held || len(tier.pins()) != 1 {
			t.Errorf("a pin of two days ago holds: %v", tier.pins())
		}
		if time.Sleep(36 * time.Hour); len(tier.pins()) > 0 {
			t.Errorf("a pin is left: %v", tier.pins())
		}
	})
}

func TestPinNames(t *testing.T) {
	mesh, now := [16]byte{1, 0xab}, time.UnixMilli(1_790_000_000_123)
	for _, at := range []time.Time{now, time.UnixMilli(0)} {
		name := newPinName(mesh, at)
		got, ok := parsePin(name)
		if !ok || !got.Equal(at) || CheckName(name) != nil || !strings.HasPrefix(name, pinPrefix(mesh)) {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
		for i := range name {
			if IsPin(name[:i]) || IsPin(name[:i]+"/"+name[i+1:]) && name[i] != '/' {
				t.Errorf("%s, cut or changed at %d, is a pin", name, i)
			}
		}
	}
	if name := newPinName(mesh, time.Time{}); !IsPin(name) {
		t.Error(name)
	}
	if one, other := newPinName(mesh, now), newPinName(mesh, now); one == other {
		t.Errorf("two restores have the pin %s", one)
	}
}

// A restore that was broken off before it could pin anything does not wait for its pins.
func TestPinsOfABrokenOffRestore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 4, "old")
		w.put(old[0], "k", "v")
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		c, err := listCatalog(context.Background(), []NamedTier{{"t", tier}}, view.MeshID{})
		if err != nil || len(c.points) == 0 {
			t.Fatalf("%d points, %v", len(c.points), err)
		}
		for i := range 200 { // of many tiers some are pinned after the end of ctx
			c.tiers = append(c.tiers, c.tiers[0])
			c.points = append(c.points, c.points[0])
			c.points[len(c.points)-1].Tier = i + 1
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for range 20 { // whether its end or its pins come first is up to the scheduler
			ended := make(chan struct{})
			go func() {
				putPins(ctx, c).removeAll()
				close(ended)
			}()
			select {
			case <-ended:
			case <-time.After(time.Hour): // virtual
				t.Fatal("it waits for ever")
			}
		}
		for _, name := range tier.names() {
			if IsPin(name) {
				t.Errorf("%s stays", name)
			}
		}
	})
}
