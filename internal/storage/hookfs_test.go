package storage

import (
	"github.com/cockroachdb/pebble/v2/vfs"
)

// hookFS calls sync around each sync of a file or directory. What before
// returns is the error of the sync, which then does not take place.
type hookFS struct {
	vfs.FS
	before func(name string) error
	after  func(name string)
	usage  func() (vfs.DiskUsage, error)
}

func (h *hookFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &hookFile{File: f, h: h, name: name}, nil
}

func (h *hookFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.Create(name, c)
	return h.wrap(name, f, err)
}

// ReuseForWrite does not use that of MemFS, which takes a lock for reading twice:
// if another goroutine asks for a crash image in between, the two wait for ever.
func (h *hookFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := h.FS.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return h.OpenReadWrite(newname, c)
}

func (h *hookFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.OpenReadWrite(name, c, opts...)
	return h.wrap(name, f, err)
}

func (h *hookFS) OpenDir(name string) (vfs.File, error) {
	f, err := h.FS.OpenDir(name)
	return h.wrap(name, f, err)
}

func (h *hookFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if h.usage != nil {
		return h.usage()
	}
	return h.FS.GetDiskUsage(path)
}

func (h *hookFS) Unwrap() vfs.FS { return h.FS }

type hookFile struct {
	vfs.File
	h    *hookFS
	name string
}

func (f *hookFile) around(sync func() error) error {
	if f.h.before != nil {
		if err := f.h.before(f.name); err != nil {
			return err
		}
	}
	err := sync()
	if f.h.after != nil {
		f.h.after(f.name)
	}
	return err
}

func (f *hookFile) Sync() error     { return f.around(f.File.Sync) }
func (f *hookFile) SyncData() error { return f.around(f.File.SyncData) }
