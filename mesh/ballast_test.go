package mesh

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// fullDisk is a disk without a free byte, once it is full, but for what a file that
// is removed has held.
type fullDisk struct {
	vfs.FS
	full atomic.Bool
	room atomic.Bool // such a file was removed since
}

// fill has others take all that is free.
func (d *fullDisk) fill() {
	d.room.Store(false)
	d.full.Store(true)
}

func newFullDisk() *fullDisk {
	d := &fullDisk{}
	mem := vfs.NewMem()
	d.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		removes := op.Kind == errorfs.OpRemove || op.Kind == errorfs.OpFileClose
		if _, err := mem.Stat("/data/" + ballastName); err == nil && op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, ballastName) {
			d.room.Store(true)
		}
		if d.full.Load() && !d.room.Load() && !removes && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && !strings.HasSuffix(op.Path, lockName) {
			return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	return d
}

// A node starts although the disk is full, once, and counts the start; and again when
// there was room meanwhile.
func TestStartsOnAFullDisk(t *testing.T) {
	disk := newFullDisk()
	first := opened(t, disk)
	for boot := uint64(2); boot < 6; boot += 2 {
		disk.fill()
		if id := opened(t, disk); id.Boot != boot || id.Node != first.Node {
			t.Fatalf("boot %d of %v, want %d of %v", id.Boot, id.Node, boot, first.Node)
		}
		disk.full.Store(false)
		if id := opened(t, disk); id.Boot != boot+1 || id.Node != first.Node {
			t.Fatalf("boot %d, want %d", id.Boot, boot+1)
		}
	}
	// The roster may be what is written first when the disk is full.
	d, err := openTestDir(disk, true)
	if err != nil {
		t.Fatal(err)
	}
	disk.fill()
	if err := errors.Join(d.writeRoster(d.roster, nil), d.writeRoster(d.roster, nil), d.unlockDir()); err != nil {
		t.Error(err)
	}
}

// Whoever may write a node's directory may become that node.
func TestDirectoryThatOthersMayWrite(t *testing.T) {
	for mode, warned := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o770: true, 0o777: true} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		d, err := openDir(vfs.Default, dir, dirMesh, true, slog.New(slog.NewTextHandler(&out, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.unlockDir(); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(out.String(), "other users"); got != warned {
			t.Errorf("%v: %s", mode, out.String())
		}
		for _, name := range []string{identityName, filepath.Join(storeName, ownerName), ballastName} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode().Perm()&0o077 != 0 && name != ballastName {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	}
}
