package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/tiertest"
)

// memory is a directory in memory, which can crash or fail at each step.
type memory struct {
	fs   *vfs.MemFS
	step func() error // before each change
}

func (m memory) change(do func() error) error {
	if m.step != nil {
		if err := m.step(); err != nil {
			return err
		}
	}
	return do()
}

func (m memory) Create(name string) (f file, err error) {
	err = m.change(func() error {
		v, err := m.fs.Create(name, vfs.WriteCategoryUnspecified)
		f = memoryFile{v, m}
		return err
	})
	return f, err
}

func (m memory) Open(name string) (file, error) {
	v, err := m.fs.Open(name)
	return memoryFile{v, m}, err
}

func (m memory) Stat(name string) (fs.FileInfo, error) {
	info, err := m.fs.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(syscall.ENOTDIR, err) // whose text alone says so
	}
	return info, err
}

func (m memory) List(name string) (entries []fs.DirEntry, err error) {
	if name == "." {
		name = ""
	}
	names, err := m.fs.List(name)
	for _, n := range names {
		if info, err := m.fs.Stat(m.fs.PathJoin(name, n)); err == nil {
			entries = append(entries, fs.FileInfoToDirEntry(sinceCreated{info}))
		}
	}
	return entries, err
}

// sinceCreated has a time also while nothing was written to the file.
type sinceCreated struct{ fs.FileInfo }

func (i sinceCreated) ModTime() time.Time {
	if t := i.FileInfo.ModTime(); !t.IsZero() {
		return t
	}
	return time.Now()
}

func (m memory) Mkdir(name string) error {
	if _, err := m.fs.Stat(name); err == nil {
		return fs.ErrExist
	}
	return m.change(func() error { return m.fs.MkdirAll(name, 0) })
}

func (m memory) Rename(from, to string) error {
	if info, err := m.fs.Stat(to); err == nil && info.IsDir() {
		return syscall.EISDIR
	}
	return m.change(func() error { return m.fs.Rename(from, to) })
}

func (m memory) Remove(name string) error { return m.change(func() error { return m.fs.Remove(name) }) }

func (m memory) SyncDir(name string) error {
	if name == "." {
		name = ""
	}
	d, err := m.fs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(m.change(d.Sync), d.Close())
}

func (m memory) Free() (uint64, error) { return 1 << 40, nil }

func (m memory) Close() error { return nil }

type memoryFile struct {
	vfs.File
	m memory
}

func (f memoryFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return sinceCreated{info}, err
}

func (f memoryFile) Sync() error { return f.m.change(f.File.Sync) }

func (f memoryFile) Write(data []byte) (n int, err error) {
	err = f.m.change(func() error {
		n, err = f.File.Write(bytes.Clone(data))
		return err
	})
	return n, err
}

func newMemoryTier(mem *vfs.MemFS, step func() error) *Tier {
	return &Tier{openDir: func() (directory, error) { return memory{mem, step}, nil }}
}

func TestTierInMemory(t *testing.T) {
	tiertest.Test(t, func(*testing.T) backup.Tier { return newMemoryTier(vfs.NewMem(), nil) })
}

// A crash comes at each step of a history of puts and deletes: in every image of the disk each
// object is whole or absent, what was acknowledged is there, and puts go on. Each step also fails
// once, as a full disk does: then it is the caller that hears of it, and the next put succeeds.
func TestCrashAtEveryStep(t *testing.T) {
	for _, fault := range []error{nil, syscall.ENOSPC} {
		images := 0
		for failing := 1; ; failing++ {
			h := history{t: t, mem: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(uint64(failing), 1)), failing: failing, fault: fault}
			h.play()
			images += h.images
			if fault == nil || h.steps < failing {
				break
			}
		}
		t.Logf("with %v: %d images", fault, images)
	}
}

type history struct {
	t       *testing.T
	mem     *vfs.MemFS
	rng     *rand.Rand
	steps   int
	failing int // the step that fails
	fault   error
	images  int

	acked map[string][]byte // nil: deleted
	name  string            // what is being put or deleted, and its bytes
	data  []byte
}

func (h *history) play() {
	h.acked = make(map[string][]byte)
	tier := newMemoryTier(h.mem, func() error {
		h.checkImages()
		if h.steps++; h.steps == h.failing {
			return h.fault
		}
		return nil
	})
	for i := range 8 {
		h.name, h.data = fmt.Sprintf("m/n%d/c/s-%d", i/4, i%3), bytes.Repeat([]byte{byte(i)}, 1+i*5000)
		err := tier.Put(context.Background(), h.name, h.data)
		if err != nil && (!errors.Is(err, backup.ErrTierFull) || h.fault == nil) {
			h.t.Fatalf("put %s: %v", h.name, err)
		}
		if err != nil {
			err = tier.Put(context.Background(), h.name, h.data)
		}
		if err != nil {
			h.t.Fatalf("put %s again: %v", h.name, err)
		}
		h.acked[h.name] = h.data
		if i == 5 {
			h.data = nil
			err := tier.Delete(context.Background(), h.name)
			if err != nil && h.fault != nil {
				err = tier.Delete(context.Background(), h.name)
			}
			if err != nil {
				h.t.Fatal(err)
			}
			h.acked[h.name] = nil
		}
		h.checkImages()
	}
}

func (h *history) checkImages() {
	if h.fault != nil && (h.steps < h.failing || h.steps > h.failing+10) {
		return // a history without faults has shown it
	}
	for _, percent := range []int{0, 50, 100} {
		h.images++
		image := h.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: h.rng})
		tier := newMemoryTier(image, nil)
		seen := make(map[string][]byte)
		for o, err := range tier.List(context.Background(), "") {
			if err != nil {
				h.t.Fatal(err)
			}
			data, err := tier.Get(context.Background(), o.Name, backup.MaxObject)
			if err != nil {
				h.t.Fatal(err)
			}
			seen[o.Name] = data
			if !h.mayBe(o.Name, data) {
				h.t.Fatalf("step %d, %d%% kept: %s has %d bytes that were never put as a whole", h.steps, percent, o.Name, len(data))
			}
		}
		for name, data := range h.acked {
			if _, ok := seen[name]; !ok && data != nil && name != h.name {
				h.t.Fatalf("step %d, %d%% kept: %s is lost", h.steps, percent, name)
			}
		}
		if data, ok := h.acked[h.name]; ok && data != nil && h.data != nil && seen[h.name] == nil {
			h.t.Fatalf("step %d, %d%% kept: %s is lost while it is put again", h.steps, percent, h.name)
		}
		if err := tier.Put(context.Background(), "m/after/the/crash", []byte("x")); err != nil {
			h.t.Fatal(err)
		}
	}
}

// mayBe tells whether an object may have these bytes now: the last ones, or those being put.
func (h *history) mayBe(name string, data []byte) bool {
	was, ok := h.acked[name]
	return ok && was != nil && bytes.Equal(data, was) || name == h.name && (h.data == nil || bytes.Equal(data, h.data))
}
