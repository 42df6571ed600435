package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// remove puts next to nothing in the place of a value, as a delete does.
func remove(s *Store, key string) error {
	return s.Update(context.Background(), func(tx *Tx) error {
		tx.UseReserve()
		return tx.Set([]byte(key), []byte("tomb"))
	})
}

// checkAll looks for all that was acknowledged.
func checkAll(s *Store, acked map[string]string) error {
	for key, want := range acked {
		if got, err := s.Get(context.Background(), []byte(key)); err != nil || string(got) != want {
			return fmt.Errorf("%s reads as %.10q, %w; it was acknowledged", key, got, err)
		}
	}
	return nil
}

// fillUntilFull puts values until there is no room for more.
func fillUntilFull(t *testing.T, s *Store, r *rand.Rand, acked map[string]string) (full error) {
	t.Helper()
	for i := range 100_000 {
		key, value := fmt.Sprintf("%016x", r.Uint64()), string(incompressible(r, 2<<10))
		full = put(s, key, value)
		for end := time.Now().Add(100 * time.Millisecond); errors.Is(full, ErrStorageFull) && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond) // tables may be being merged
			full = put(s, key, value)
		}
		if errors.Is(full, ErrStorageFull) {
			return full
		}
		if full != nil {
			t.Fatalf("after %d: %v", i, full)
		}
		acked[key] = value
	}
	t.Fatal("never full")
	return nil
}

// A disk is filled to the last byte that there is for data, half of it is deleted, room
// comes back, and puts go on: without a restart, again and again, and at any moment a crash
// loses nothing that was acknowledged.
func TestDeletesOnAFullDiskGiveRoomBack(t *testing.T) {
	mem := vfs.NewCrashableMem()
	disk := &smallDisk{FS: mem, dir: "store", size: 12 << 20}
	s := openMem(t, disk)
	r := rand.New(rand.NewPCG(1, 2))
	acked := map[string]string{}
	type image struct {
		fs    vfs.FS
		acked map[string]string
	}
	var images []image
	snap := func() {
		images = append(images, image{mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r}), maps.Clone(acked)})
	}
	for round := range 2 {
		full := fillUntilFull(t, s, r, acked)
		held := 0
		for _, v := range acked {
			held += len(v)
		}
		t.Logf("round %d: full with %d KiB of values, %d KiB free: %v", round, held>>10, disk.free()>>10, full)
		snap()
		n := 0
		for key, value := range acked {
			if len(value) < 1<<10 {
				continue
			}
			if n++; n%2 == 0 {
				continue
			}
			deadline := time.Now().Add(20 * time.Second)
			err := remove(s, key)
			for errors.Is(err, ErrStorageFull) && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
				err = remove(s, key)
			}
			if err != nil {
				t.Fatalf("round %d, delete %d: %v", round, n, err)
			}
			if acked[key] = "tomb"; n%400 == 1 {
				snap()
			}
		}
		snap()
		back, deadline := 0, time.Now().Add(20*time.Second)
		for back < 512<<10 {
			key, value := fmt.Sprintf("%016x", r.Uint64()), string(incompressible(r, 2<<10))
			err := put(s, key, value)
			switch {
			case err == nil:
				acked[key], back = value, back+len(value)
			case !errors.Is(err, ErrStorageFull):
				t.Fatal(err)
			case time.Now().After(deadline):
				t.Logf("%s", mem)
				t.Fatalf("round %d: %d deletes have made room for %d KiB: %v\n%s", round, n/2, back>>10, err, s.db.Metrics())
			default:
				time.Sleep(10 * time.Millisecond)
			}
		}
		if err := checkAll(s, acked); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	for i, img := range images {
		s := openMem(t, img.fs)
		if err := checkAll(s, img.acked); err != nil {
			t.Errorf("image %d of %d: %v", i, len(images), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What makes room goes on in the reserve until an eighth of it is left, what brings data
// does not, and looks go on in any case.
func TestReserveIsForWhatMakesRoom(t *testing.T) {
	const reserve = 1 << 20
	var free atomic.Uint64
	free.Store(100 << 20)
	fs := &hookFS{FS: vfs.NewMem(), usage: func() (vfs.DiskUsage, error) { return vfs.DiskUsage{AvailBytes: free.Load()}, nil }}
	s := openMem(t, fs, func(o *Options) { o.Reserve = reserve })
	if err := put(s, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		free       uint64
		data, tomb bool
	}{{reserve, true, true}, {reserve - 1, false, true}, {reserve / 8, false, true}, {reserve/8 - 1, false, false}, {0, false, false}} {
		free.Store(c.free)
		err := put(s, "k", "v")
		for end := time.Now().Add(10 * time.Second); (err == nil) != c.data && time.Now().Before(end); {
			time.Sleep(lookEvery) // that there was room counts for a while
			err = put(s, "k", "v")
		}
		if (err == nil) != c.data || err != nil && !errors.Is(err, ErrStorageFull) {
			t.Errorf("%d free: data: %v", c.free, err)
		}
		if err := remove(s, "k"); (err == nil) != c.tomb || err != nil && !errors.Is(err, ErrStorageFull) {
			t.Errorf("%d free: what makes room: %v", c.free, err)
		}
		mixed := s.Update(t.Context(), func(tx *Tx) error {
			tx.UseReserve()
			return errors.Join(tx.Delete([]byte("k")), tx.NeedRoom(), tx.Set([]byte("big"), []byte(strings.Repeat("v", 100))))
		})
		if (mixed == nil) != c.data {
			t.Errorf("%d free: data beside what makes room: %v", c.free, mixed)
		}
		if full := s.Stats().Full; full == c.data {
			t.Errorf("%d free: full: %v", c.free, full)
		}
		if err := s.Look(t.Context(), func(tx *Tx) error { _, err := tx.Get([]byte("k")); return err }); err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%d free: a look: %v", c.free, err)
		}
	}
}
