package dir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// directory is what a Tier needs of one. Names are paths with slashes, "." is the directory itself.
type directory interface {
	// Create makes a file that is not there yet.
	Create(name string) (file, error)
	Open(name string) (file, error)
	Stat(name string) (fs.FileInfo, error)
	// List returns what is in a directory, in any order.
	List(name string) ([]fs.DirEntry, error)
	Mkdir(name string) error
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes the names in a directory outlive a loss of power.
	SyncDir(name string) error
	// Free returns how many bytes of the disk are free.
	Free() (uint64, error)
	Close() error
}

type file interface {
	io.ReadWriteCloser
	Stat() (fs.FileInfo, error)
	Sync() error
}

// root is a directory of the system. Nothing outside of it is reached, through links either.
type root struct {
	*os.Root
}

func openRoot(path string) (directory, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return root{r}, nil
}

func (r root) Create(name string) (file, error) {
	return r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (r root) Open(name string) (file, error) { return r.Root.Open(name) }

func (r root) Stat(name string) (fs.FileInfo, error) { return r.Lstat(name) }

func (r root) List(name string) ([]fs.DirEntry, error) {
	d, err := r.Root.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

func (r root) Mkdir(name string) error { return r.Root.Mkdir(name, 0o700) }

func (r root) SyncDir(name string) error {
	d, err := r.Root.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	// Some systems keep names without it and refuse it: Windows, some shares.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) || runtime.GOOS == "windows" && errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

func (r root) Free() (uint64, error) {
	u, err := vfs.Default.GetDiskUsage(r.Name())
	return u.AvailBytes, err
}
