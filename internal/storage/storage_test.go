package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"
)

func openMem(t testing.TB, fs vfs.FS, edit ...func(*Options)) *Store {
	t.Helper()
	s, err := Open(memOptions(fs, edit...))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func memOptions(fs vfs.FS, edit ...func(*Options)) Options {
	// Of blocks that do not read Pebble looks for a bit that is wrong, which takes
	// the square of their size.
	o := Options{FS: fs, Dir: "store", MemTableBytes: 256 << 10, BlockBytes: 2 << 10}
	for _, e := range edit {
		e(&o)
	}
	return o
}

func put(s *Store, key, value string) error {
	return s.Update(context.Background(), func(tx *Tx) error { return tx.Set([]byte(key), []byte(value)) })
}

func wantGet(t testing.TB, s *Store, key, want string) {
	t.Helper()
	got, err := s.Get(context.Background(), []byte(key))
	if err != nil || string(got) != want {
		t.Fatalf("get %q = %q, %v; want %q", key, got, err, want)
	}
}

func wantMissing(t testing.TB, s *Store, key string) {
	t.Helper()
	if got, err := s.Get(context.Background(), []byte(key)); !errors.Is(err, ErrNotFound) {
		t.Fatalf("get %q = %q, %v; want not found", key, got, err)
	}
}

func TestStoreKeepsWhatItWasTold(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, fs)
	wantMissing(t, s, "a")
	for i := range 100 {
		if err := put(s, fmt.Sprintf("k%03d", i), fmt.Sprintf("v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(context.Background(), []byte("k001")); !errors.Is(err, ErrClosed) {
		t.Fatalf("get after close: %v", err)
	}
	if err := put(s, "x", "y"); !errors.Is(err, ErrClosed) {
		t.Fatalf("update after close: %v", err)
	}
	s = openMem(t, fs)
	n := 0
	err := s.Scan(context.Background(), []byte("k010"), []byte("k020"), func(key, value []byte) error {
		if want := fmt.Sprintf("k%03d=v%d", 10+n, 10+n); fmt.Sprintf("%s=%s", key, value) != want {
			t.Errorf("scanned %s=%s, want %s", key, value, want)
		}
		n++
		return nil
	})
	if err != nil || n != 10 {
		t.Fatalf("scan: %d records, %v", n, err)
	}
	wantGet(t, s, "k042", "v42")
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	for i := range 30 {
		s := openMem(t, vfs.NewMem())
		if err := put(s, fmt.Sprint(i), "x"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	goleak.VerifyNone(t, before)
}

// Nothing but flushes and the end of a compaction begins the next one, see
// pebbleOptions: it must be enough, also for what an earlier run has left.
func TestCompactionsKeepUp(t *testing.T) {
	fs := vfs.NewMem()
	value := strings.Repeat("v", 4<<10)
	for range 2 {
		s := openMem(t, fs)
		for i := range 4000 {
			if err := put(s, fmt.Sprintf("k%d", i*7919%1500), value); err != nil {
				t.Fatal(err)
			}
		}
		deadline := time.Now().Add(10 * time.Second)
		for m := s.db.Metrics(); m.Compact.Count == 0 || m.Levels[0].Sublevels > 8 || m.Compact.NumInProgress > 0; m = s.db.Metrics() {
			if time.Now().After(deadline) {
				t.Fatalf("%d compactions, %d sublevels of level 0 are left", m.Compact.Count, m.Levels[0].Sublevels)
			}
			time.Sleep(time.Millisecond)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
