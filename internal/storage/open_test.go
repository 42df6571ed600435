package storage

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/storage/file"
)

func TestOpenNamesAllFaults(t *testing.T) {
	_, err := Open(Options{CacheBytes: 1, MemTableBytes: 1})
	if err == nil {
		t.Fatal("opened")
	}
	for _, word := range []string{"Dir", "CacheBytes", "MemTableBytes"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
}

func TestOpenLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("second opening: %v", err)
	}
	if _, err := Open(Options{Dir: dir, ReadOnly: true}); !errors.Is(err, ErrLocked) {
		t.Errorf("second opening, for reading: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenWhereNothingCanBeWritten(t *testing.T) {
	for _, cause := range []error{syscall.EROFS, syscall.EACCES} {
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(o errorfs.Op) error {
			if o.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return &os.PathError{Op: "create", Path: o.Path, Err: cause}
			}
			return nil
		}))
		if err := fs.Unwrap().MkdirAll("store", 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := Open(memOptions(fs))
		if !errors.Is(err, cause) || errors.Is(err, ErrLocked) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%v: %v", cause, err)
		}
	}
	full := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(o errorfs.Op) error {
		if o.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	if _, err := Open(memOptions(full)); !errors.Is(err, ErrStorageFull) {
		t.Errorf("full disk: %v", err)
	}
}

func TestOpenNewerFormat(t *testing.T) {
	newer := func(t *testing.T, change func(fs *vfs.MemFS)) {
		fs := vfs.NewMem()
		s := openMem(t, fs)
		if err := put(s, "a", "1"); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		change(fs)
		before := fs.String()
		for _, readOnly := range []bool{false, true} {
			_, err := Open(memOptions(fs, func(o *Options) { o.ReadOnly = readOnly }))
			if !errors.Is(err, ErrNewerFormat) {
				t.Errorf("open: %v", err)
			}
		}
		if fs.String() != before {
			t.Errorf("the newer store was changed:\n%s\nbefore\n%s", fs, before)
		}
	}
	t.Run("records", func(t *testing.T) {
		newer(t, func(fs *vfs.MemFS) {
			if err := file.Write(fs, "store/"+formatFile, []byte("skein store 2")); err != nil {
				t.Fatal(err)
			}
		})
	})
	for _, version := range []pebble.FormatMajorVersion{pebbleFormat + 1, 999} {
		t.Run(fmt.Sprintf("tables %d", version), func(t *testing.T) {
			newer(t, func(fs *vfs.MemFS) {
				name := fmt.Sprintf("store/marker.format-version.999999.%03d", version)
				f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
				if err != nil {
					t.Fatal(err)
				}
				_ = f.Close()
			})
		})
	}
}

func TestOpenDamaged(t *testing.T) {
	for _, c := range []struct {
		name   string
		remove string
	}{
		{"no format", formatFile},
		{"no manifest", "MANIFEST-"},
		{"no marker", "marker.manifest"},
		{"no log", ".log"},
		{"no table", ".sst"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, _ := filled(t, false)
			names, err := fs.List("store")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if strings.Contains(name, c.remove) {
					if err := fs.Remove("store/" + name); err != nil {
						t.Fatal(err)
					}
				}
			}
			s, err := Open(memOptions(fs))
			if err == nil {
				n := 0
				serr := s.Scan(context.Background(), nil, nil, func(_, _ []byte) error { n++; return nil })
				t.Errorf("opened; %d records, %v", n, serr)
				_ = s.Close()
			} else if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "start the node with an empty directory") {
				t.Error(err)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	fs, model := filled(t, false)
	before := fs.String()
	s := openMem(t, fs, func(o *Options) { o.ReadOnly = true })
	for key, want := range model {
		wantGet(t, s, key, want)
	}
	if err := put(s, "a", "1"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("update: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if after := fs.String(); after != before {
		t.Errorf("files changed from\n%s\nto\n%s", before, after)
	}
	_, err := Open(Options{FS: vfs.NewMem(), Dir: "nothing", ReadOnly: true})
	if !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("open for reading where nothing is: %v", err)
	}
}

func TestLimits(t *testing.T) {
	s := openMem(t, vfs.NewMem())
	err := s.Update(context.Background(), func(tx *Tx) error { return tx.Set(make([]byte, MaxKey+1), nil) })
	if !errors.Is(err, ErrKey) {
		t.Errorf("key beyond the limit: %v", err)
	}
	err = s.Update(context.Background(), func(tx *Tx) error { return tx.Set([]byte("k"), make([]byte, MaxValue+1)) })
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("value beyond the limit: %v", err)
	}
	for _, key := range []string{"", "\x00"} {
		if err := put(s, key, "x"); !errors.Is(err, ErrKey) {
			t.Errorf("put of key %q: %v", key, err)
		}
		if _, err := s.Get(context.Background(), []byte(key)); !errors.Is(err, ErrKey) {
			t.Errorf("get of key %q: %v", key, err)
		}
	}
	if err := put(s, "k", ""); err != nil {
		t.Error(err)
	}
	wantGet(t, s, "k", "")
	big := strings.Repeat("b", 3<<20) // several memtables
	for range 3 {
		if err := put(s, "big", big); err != nil {
			t.Error(err)
		}
	}
	wantGet(t, s, "big", big)
}

// TestCloseWhileBusy closes a store that is written, read and scanned: every
// call returns, with its result or ErrClosed, and what was acknowledged is
// there.
func TestCloseWhileBusy(t *testing.T) {
	for round := range 20 {
		fs := vfs.NewMem()
		s := openMem(t, fs)
		var wg sync.WaitGroup
		var acked [8]int
		for w := range acked {
			wg.Go(func() {
				for i := 1; ; i++ {
					err := put(s, fmt.Sprint(w), fmt.Sprint(i))
					if err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
					acked[w] = i
				}
			})
			wg.Go(func() {
				for {
					_, err := s.Get(context.Background(), fmt.Append(nil, w))
					if err == nil || errors.Is(err, ErrNotFound) {
						err = s.Scan(context.Background(), nil, nil, func(_, _ []byte) error { return nil })
					}
					if err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		for s.Stats().Updates < uint64(50*(round%3)) {
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		s = openMem(t, fs)
		for w, n := range acked {
			got, err := s.Get(context.Background(), fmt.Append(nil, w))
			if n > 0 && (err != nil || string(got) < fmt.Sprint(n) && len(got) <= len(fmt.Sprint(n))) {
				t.Errorf("writer %d was acked %d, store has %q, %v", w, n, got, err)
			}
		}
		_ = s.Close()
	}
}

// TestMemTablesDiffer: stores that fill at the same pace do not all sort at the
// same moment.
func TestMemTablesDiffer(t *testing.T) {
	sizes := make(map[int64]bool)
	for range 50 {
		o := Options{Dir: "store"}
		if err := o.fillDefaults(); err != nil {
			t.Fatal(err)
		}
		if least, most := int64(8<<20*4/5), int64(8<<20*6/5); o.MemTableBytes < least || o.MemTableBytes > most {
			t.Errorf("memtables of %d bytes, want %d to %d", o.MemTableBytes, least, most)
		}
		sizes[o.MemTableBytes] = true
	}
	if len(sizes) < 40 {
		t.Errorf("%d sizes in 50 stores", len(sizes))
	}
}
