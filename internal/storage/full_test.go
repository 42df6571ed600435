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

// A merge did not fit, and left its room when it failed. Nothing else is to be written into
// tables: the store finds out by itself that there is room, and takes data again.
func TestFailedMergeDoesNotKeepTheStoreFull(t *testing.T) {
	fs := &hookFS{FS: vfs.NewMem(), usage: func() (vfs.DiskUsage, error) { return vfs.DiskUsage{AvailBytes: 100 << 20}, nil }}
	s := openMem(t, fs)
	s.guard.noRoom.Store(true)
	if err := put(s, "k", "v"); !errors.Is(err, ErrStorageFull) {
		t.Fatalf("a put beside a merge that did not fit: %v", err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for err := put(s, "k", "v"); err != nil; err = put(s, "k", "v") {
		if time.Now().After(deadline) {
			t.Fatalf("still full: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A disk was full for long, so that passes have become rare. A delete has the next one made
// soon.
func TestDeletesAreReclaimedSoon(t *testing.T) {
	s := openMem(t, vfs.NewMem())
	rest := func(rest, took time.Duration) time.Duration {
		begun := time.Now()
		if !s.pressure.restFromReclaiming(t.Context(), rest, took) {
			t.Fatal("the context has ended")
		}
		return time.Since(begun)
	}
	s.pressure.eased.Ring()
	if d := rest(time.Hour, 0); d < firstReclaim || d > time.Minute {
		t.Errorf("after a delete it rests for %v", d)
	}
	if d := rest(1100*time.Millisecond, 0); d < 1100*time.Millisecond {
		t.Errorf("without a delete it rests for %v", d)
	}
	s.pressure.eased.Ring()
	if d := rest(1500*time.Millisecond, time.Hour); d < 1500*time.Millisecond {
		t.Errorf("after a long pass it rests for %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.pressure.restFromReclaiming(ctx, time.Hour, 0) {
		t.Error("it goes on after its context has ended")
	}
}

// What is deleted while there is no room for data rings for those who give room back; what is
// refused then does not, nor what is written with room enough.
func TestDeletesEaseAFullDisk(t *testing.T) {
	var free atomic.Uint64
	free.Store(100 << 20)
	fs := &hookFS{FS: vfs.NewMem(), usage: func() (vfs.DiskUsage, error) { return vfs.DiskUsage{AvailBytes: free.Load()}, nil }}
	s := openMem(t, fs, func(o *Options) { o.Reserve = 1 << 20 })
	rang := func() bool {
		select {
		case <-s.pressure.eased:
			return true
		default:
			return false
		}
	}
	if err := put(s, "k", "v"); err != nil || rang() {
		t.Fatalf("a put on a disk with room: %v", err)
	}
	free.Store(1<<20 - 1)
	time.Sleep(2 * lookEvery)
	if err := put(s, "l", "v"); !errors.Is(err, ErrStorageFull) || rang() {
		t.Fatalf("a put on a full disk: %v", err)
	}
	for try := range 5 { // who gives room back may hear it first
		if err := remove(s, "k"); err != nil {
			t.Fatal(err)
		}
		if rang() {
			return
		}
		t.Logf("try %d: not rung", try)
	}
	t.Fatal("a delete on a full disk rings for nobody")
}
