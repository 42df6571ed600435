package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// awaitSpare waits until the log that is kept ready is ready.
func awaitSpare(t testing.TB, s *Store) {
	t.Helper()
	p := s.guard.spare
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if at, err := p.fs.Stat(p.sparePath()); err == nil && at.Size() >= p.wantedSize() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no spare log after 10 s")
		}
	}
}

// growth notes the size that logs have when they are opened for writing.
type growth struct {
	vfs.FS
	mu     sync.Mutex
	opened map[string]int64
}

func (g *growth) note(name string, f vfs.File, err error) (vfs.File, error) {
	if err == nil && kindOf(name) == logFile {
		at, err := f.Stat()
		if err != nil {
			return f, err
		}
		g.mu.Lock()
		g.opened[g.PathBase(name)] = at.Size()
		g.mu.Unlock()
	}
	return f, err
}

func (g *growth) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, c)
	return g.note(name, f, err)
}

func (g *growth) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(from, to, c)
	return g.note(to, f, err)
}

// A spare is as large as the log that comes next, which grows with Pebble's
// memtables.
func TestSpareGrows(t *testing.T) {
	p := newSpare(&Options{FS: vfs.NewMem(), MemTableBytes: 1 << 20}, nil)
	for i, want := range []int64{288 << 10, 576 << 10, 1152 << 10, 1152 << 10, 1152 << 10} {
		if got := p.wantedSize(); got != want {
			t.Errorf("for log %d: %d bytes, want %d", i+1, got, want)
		}
		p.noteLogBegun()
	}
	p.logsBegun.Store(1 << 40)
	if got := p.wantedSize(); got != 1152<<10 {
		t.Errorf("after very many logs: %d bytes", got)
	}
}

// Every log but the first of a store is of full size before anything is
// written to it, and what it is written over does not come back.
func TestLogsAreWrittenOverZeros(t *testing.T) {
	fs := &growth{FS: vfs.NewCrashableMem(), opened: map[string]int64{}}
	want := map[string]string{}
	for range 3 {
		s := openMem(t, fs)
		for i := range 40 {
			awaitSpare(t, s)
			key, value := fmt.Sprintf("k%d", i%7), strings.Repeat(fmt.Sprint(i), 32<<10)
			if err := put(s, key, value); err != nil {
				t.Fatal(err)
			}
			want[key] = value
		}
		for key, value := range want {
			wantGet(t, s, key, value)
		}
		awaitSpare(t, s) // for the log of the next opening
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var grown []string
	for name, size := range fs.opened {
		if size < 128<<10 {
			grown = append(grown, name)
		}
	}
	if len(fs.opened) < 10 || !slices.Equal(grown, []string{"000002.log"}) {
		t.Errorf("of %d logs these began small: %v, want the first only", len(fs.opened), grown)
	}
}

// To have no spare is no failure.
func TestStoreWithoutSpare(t *testing.T) {
	mem := vfs.NewCrashableMem()
	for what, fs := range map[string]vfs.FS{
		"it cannot be synced": &hookFS{FS: mem, before: func(name string) error {
			if strings.Contains(name, spareFile) {
				return errors.New("on purpose")
			}
			return nil
		}},
		"the disk is short": &hookFS{FS: mem, usage: func() (vfs.DiskUsage, error) {
			return vfs.DiskUsage{AvailBytes: 2 << 20}, nil
		}},
	} {
		t.Run(what, func(t *testing.T) {
			s := openMem(t, fs, func(o *Options) { o.Reserve = 1 << 20 })
			for i := range 20 {
				if err := put(s, "k", strings.Repeat(fmt.Sprint(i%10), 64<<10)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.guard.spare.prepareFile(t.Context()); err == nil {
				t.Error("a spare was prepared")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if names, err := mem.List("store"); err != nil || slices.Contains(names, spareFile) || slices.Contains(names, spareFile+".tmp") {
				t.Errorf("left behind: %v, %v", names, err)
			}
		})
	}
}
