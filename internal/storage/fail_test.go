package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// within fails the test with all stacks when f takes longer than d.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s: still not done after %v\n%s", what, d, buf[:runtime.Stack(buf, true)])
	}
}

// TestErrorAtEveryWrite makes the n-th write to the disk fail, for every n,
// in every way a disk fails: once, or from then on. Nothing acknowledged is
// lost, nothing panics or hangs, and the store can be opened again.
func TestErrorAtEveryWrite(t *testing.T) {
	all := func(string) bool { return true }
	// What begins, holds and names a log: the spare that takes its place is
	// below all that may fail.
	logs := func(path string) bool { return kindOf(path) == logFile || path == "store" }
	for _, c := range []struct {
		name    string
		err     error
		forever bool
		stride  int
		of      func(path string) bool
	}{
		{"one EIO", syscall.EIO, false, 37, all},
		{"EIO from then on", syscall.EIO, true, 37, all},
		{"one ENOSPC", syscall.ENOSPC, false, 37, all},
		{"ENOSPC from then on", syscall.ENOSPC, true, 37, all},
		{"one EIO of a log", syscall.EIO, false, 1, logs},
		{"EIO of logs from then on", syscall.EIO, true, 1, logs},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stride := c.stride
			if *long {
				stride = 1
			}
			last := 0
			for n := 1; n <= last+3*stride; n += stride {
				if failAt(t, n, uint64(n), c.err, c.forever, c.of) {
					last = n
				}
			}
			if last < 50 {
				t.Errorf("only %d writes reached", last)
			}
		})
	}
}

func failAt(t *testing.T, n int, seed uint64, cause error, forever bool, of func(path string) bool) (injected bool) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	var count, hits atomic.Int64
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(o errorfs.Op) error {
		if o.Kind.ReadOrWrite() != errorfs.OpIsWrite || !of(o.Path) {
			return nil
		}
		if i := count.Add(1); i == int64(n) || forever && i > int64(n) {
			hits.Add(1)
			return fmt.Errorf("%v: %w", o.Kind, cause)
		}
		return nil
	}))
	l := &ledger{}
	what := fmt.Sprintf("%v at write %d", cause, n)
	var runErr, failure error
	within(t, 30*time.Second, what, func() {
		s, err := Open(memOptions(fs))
		if err != nil {
			runErr = err
			return
		}
		runErr = l.run(s, seed, 3, 25)
		failure = s.Err()
		if failure != nil {
			if _, err := s.Get(context.Background(), []byte("seq")); !errors.Is(err, ErrStoreFailed) {
				t.Errorf("%s: get after failure: %v", what, err)
			}
			if err := put(s, "seq", "x"); !errors.Is(err, ErrStoreFailed) {
				t.Errorf("%s: update after failure: %v", what, err)
			}
		}
		_ = s.Close()
	})
	if runErr != nil && hits.Load() == 0 {
		t.Errorf("%s: %v without any failure", what, runErr)
	}
	if failure != nil && !errors.Is(failure, cause) {
		t.Errorf("%s: failed with %v, which does not tell the cause", what, failure)
	}
	r := rand.New(rand.NewPCG(seed, 5))
	for _, percent := range []int{0, 50, 100} {
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})
		if err := l.check(image, l.acked); err != nil {
			t.Errorf("%s, %d%% of unsynced data kept: %v", what, percent, err)
		}
	}
	return hits.Load() > 0
}

// TestSyncIsNotRetried: after a failed sync of the log the disk is left
// alone, even where Pebble would like to write.
func TestSyncIsNotRetried(t *testing.T) {
	mem := vfs.NewCrashableMem()
	broken := errors.New("lost page")
	var breaking atomic.Bool
	var mu sync.Mutex
	var synced []string
	fs := &hookFS{FS: mem, before: func(what string) error {
		if !breaking.Load() || !strings.HasSuffix(what, ".log") {
			return nil // a mark may be written beside the log
		}
		mu.Lock()
		defer mu.Unlock()
		synced = append(synced, what)
		return broken
	}}
	s := openMem(t, fs)
	if err := put(s, "a", "kept"); err != nil {
		t.Fatal(err)
	}
	awaitSpare(t, s)
	breaking.Store(true)
	if err := put(s, "a", "lost"); !errors.Is(err, ErrStoreFailed) || !errors.Is(err, broken) {
		t.Fatalf("update whose sync failed: %v", err)
	}
	files := mem.String()
	for range 3 {
		if err := put(s, "a", "again"); !errors.Is(err, ErrStoreFailed) {
			t.Errorf("update of a failed store: %v", err)
		}
	}
	if err := s.Scan(context.Background(), nil, nil, func(_, _ []byte) error { return nil }); !errors.Is(err, ErrStoreFailed) {
		t.Errorf("scan of a failed store: %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrStoreFailed) {
		t.Errorf("close of a failed store: %v", err)
	}
	if len(synced) != 1 {
		t.Errorf("synced %q, want the log alone", synced)
	}
	but := func(files string) []string {
		return slices.DeleteFunc(strings.Split(files, "\n"), func(line string) bool { return strings.Contains(line, "MARK") })
	}
	if !slices.Equal(but(mem.String()), but(files)) {
		t.Errorf("files changed after the failure:\n%s\nbefore:\n%s", mem.String(), files)
	}
	wantGet(t, openMem(t, mem.CrashClone(vfs.CrashCloneCfg{})), "a", "kept")
}

// TestReserve: below the reserve updates are refused and reads go on; when
// space returns, so do updates.
func TestReserve(t *testing.T) {
	var free atomic.Uint64
	free.Store(100 << 20)
	fs := &hookFS{FS: vfs.NewMem(), usage: func() (vfs.DiskUsage, error) {
		return vfs.DiskUsage{AvailBytes: free.Load()}, nil
	}}
	const reserve = 1 << 20
	s := openMem(t, fs, func(o *Options) { o.Reserve = reserve })
	if err := put(s, "a", "1"); err != nil {
		t.Fatal(err)
	}
	free.Store(reserve - 1)
	var err error
	taken, piece := 0, strings.Repeat("x", 4<<10)
	for err == nil && taken <= reserve {
		if err = put(s, "c", piece); err == nil {
			taken += len(piece)
		}
	}
	if !errors.Is(err, ErrStorageFull) || taken > reserve/16+2*len(piece) {
		t.Fatalf("updates of %d bytes without space: %v", taken, err)
	}
	if err := put(s, "b", "1"); !errors.Is(err, ErrStorageFull) || !s.Stats().Full {
		t.Fatalf("update without space: %v", err)
	}
	wantGet(t, s, "a", "1")
	wantMissing(t, s, "b")
	looked := ""
	look := func(tx *Tx) error {
		v, err := tx.Get([]byte("a"))
		looked = string(v)
		return err
	}
	if err := s.Look(t.Context(), look); err != nil || looked != "1" {
		t.Errorf("a look without space: %q, %v", looked, err)
	}
	if err := s.Look(t.Context(), func(tx *Tx) error { return tx.Set([]byte("b"), nil) }); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a look that writes: %v", err)
	}
	wantMissing(t, s, "b")
	free.Store(1 << 20)
	if err := put(s, "b", "2"); err != nil || s.Stats().Full {
		t.Fatalf("update after space returned: %v", err)
	}
	wantGet(t, s, "b", "2")
}

// TestTablesDoNotFit: when what was written cannot be sorted into tables for
// lack of space, updates are refused, reads go on, and all recovers.
func TestTablesDoNotFit(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(o errorfs.Op) error {
		if full.Load() && kindOf(o.Path) == tableFile && o.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	s := openMem(t, fs)
	full.Store(true)
	l := &ledger{}
	r := rand.New(rand.NewPCG(3, 3))
	deadline := time.Now().Add(20 * time.Second)
	var err error
	for err == nil && time.Now().Before(deadline) {
		err = l.step(s, r)
	}
	if !errors.Is(err, ErrStorageFull) {
		t.Fatalf("writing on a full disk: %v", err)
	}
	if err := l.compare(s, l.acked); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	full.Store(false)
	for err != nil && time.Now().Before(deadline) {
		err = l.step(s, r)
	}
	if err != nil {
		t.Fatalf("space has returned, but: %v", err)
	}
	if err := l.compare(s, l.acked); err != nil {
		t.Error(err)
	}
}
