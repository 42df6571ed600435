package storage

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestWhatPebbleDoesNotSee: Pebble ends the process when a log or a directory
// fails, now and then, as its goroutines happen to run. So it must never see
// that; whatever else fails it must see, or it would rely on it. The store
// stops in any case.
func TestWhatPebbleDoesNotSee(t *testing.T) {
	for name, hidden := range map[string]bool{"store": true, "store/000123.log": true, "store/000124.sst": false, "store/MANIFEST-000125": false} {
		var fail atomic.Bool
		s := openMem(t, &hookFS{FS: vfs.NewMem(), before: func(string) error {
			if fail.Load() {
				return syscall.EIO
			}
			return nil
		}})
		var f vfs.File
		var err error
		if name == "store" {
			f, err = s.guard.OpenDir(name)
		} else {
			f, err = s.guard.Create(name, vfs.WriteCategoryUnspecified)
		}
		if err != nil {
			t.Fatal(err)
		}
		fail.Store(true)
		if err := f.Sync(); (err == nil) != hidden {
			t.Errorf("%s: Pebble sees %v", name, err)
		}
		if !errors.Is(s.Err(), ErrStoreFailed) {
			t.Errorf("%s: the store goes on: %v", name, s.Err())
		}
		if err := f.Sync(); (err == nil) != hidden {
			t.Errorf("%s, afterwards: Pebble sees %v", name, err)
		}
	}
}
