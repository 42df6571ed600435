package storage

import (
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// smallDisk is a disk of so many bytes: a write that does not fit ends in ENOSPC.
type smallDisk struct {
	vfs.FS
	dir  string
	size int64
	mu   sync.Mutex // a write is looked at and done at once
}

// used is what the files take.
func (d *smallDisk) used() (n int64) {
	names, err := d.FS.List(d.dir)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if info, err := d.FS.Stat(d.FS.PathJoin(d.dir, name)); err == nil {
			n += info.Size()
		}
	}
	return n
}

func (d *smallDisk) free() int64 { return max(d.size-d.used(), 0) }

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return vfs.DiskUsage{AvailBytes: uint64(d.free()), TotalBytes: uint64(d.size)}, nil
}

func (d *smallDisk) Unwrap() vfs.FS { return d.FS }

func (d *smallDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return &smallFile{File: f, d: d}, err
}

// ReuseForWrite is that of hookFS, for the same reason.
func (d *smallDisk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.FS.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return d.OpenReadWrite(newname, c)
}

func (d *smallDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	return &smallFile{File: f, d: d}, err
}

type smallFile struct {
	vfs.File
	d  *smallDisk
	at int64
}

func (f *smallFile) Write(p []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	info, err := f.File.Stat()
	if err != nil {
		return 0, err
	}
	grows := max(f.at+int64(len(p))-info.Size(), 0)
	if grows > 0 && grows > f.d.free() {
		return 0, syscall.ENOSPC
	}
	n, err := f.File.Write(p)
	f.at += int64(n)
	return n, err
}
