package storage

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/storage/file"
)

// guard is the file system that Pebble sees. It watches every write, and
// when one fails in a way that may have lost data it freezes the disk: from
// then on nothing is written, removed or renamed any more, whatever Pebble
// tries in its background goroutines. What is on disk stays as it is for the
// next opening to recover.
//
// Failures of the log, once Pebble is open, and of directory syncs are hidden
// from Pebble: it answers them with panics, in goroutines of its own and, when
// it changes logs, between unlocking and a deferred unlock, which ends the
// whole process and cannot be recovered from. So these calls seem to succeed,
// and the committer, which asks failure() after every sync, acknowledges
// nothing. Nothing that relies on them gets further: a new manifest, say, is
// refused like every other write.
type guard struct {
	vfs.FS
	spare      *spareLog
	failed     atomic.Pointer[error] // the first failure; set before the call that failed returns
	onFail     func(error)           // told once
	opened     atomic.Bool           // Pebble is open: hide failures of the log
	closing    chan struct{}         // closed when the store closes: wait for nothing any more
	noRoom     atomic.Bool           // the last table did not fit
	cramped    atomic.Bool           // the last merge of tables would have left too little room
	retryDelay atomic.Int64          // ns to wait before the next table is tried
	isCramped  func() bool           // tells whether to merge tables leaves too little room
}

const (
	// mergeCategory is what Pebble says that it writes tables for when it merges others.
	mergeCategory vfs.DiskWriteCategory = "pebble-compaction"
	crampedEvery                        = 256 << 10 // bytes between two looks
)

var errCramped = errors.New("to merge tables would leave too little room")

const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 16 * time.Second
)

var errFrozen = errors.New("store has failed, the disk is left as it is")

type fileKind uint8

const (
	metaFile  fileKind = iota // manifest, markers, options
	logFile                   // write-ahead log
	directory                 // for syncing its names
	tableFile                 // sorted tables and blobs: written anew when that fails
)

func kindOf(name string) fileKind {
	switch {
	case strings.HasSuffix(name, ".log"):
		return logFile
	case strings.HasSuffix(name, ".sst"), strings.HasSuffix(name, ".blob"):
		return tableFile
	}
	return metaFile
}

func (g *guard) failure() error {
	if err := g.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// failStore stops the store, once.
func (g *guard) failStore(cause error) {
	err := fmt.Errorf("%w: %w", ErrStoreFailed, cause)
	if g.failed.CompareAndSwap(nil, &err) {
		g.onFail(err)
	}
}

// frozen reports whether the store has failed. Pebble tries failed work
// again at once and for ever, so whoever is about to start some waits here.
func (g *guard) frozen() bool { return g.failed.Load() != nil }

func (g *guard) pauseUnlessClosing(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.closing:
	}
}

// judgeChange judges the error of a change to the file called name.
func (g *guard) judgeChange(op, name string, kind fileKind, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s %s: %w", op, name, err)
	if kind == tableFile && op != "sync" && vfs.IsNoSpaceError(err) {
		g.noRoom.Store(true)
		g.delayRetry()
		return err
	}
	g.failStore(err)
	if g.hidesFailures(kind) {
		return nil
	}
	return err
}

// hidesFailures tells whether Pebble must not see failures with files of the kind.
func (g *guard) hidesFailures(kind fileKind) bool {
	return kind == directory || kind == logFile && g.opened.Load()
}

func (g *guard) tableDone() {
	g.noRoom.Store(false)
	g.cramped.Store(false)
	g.retryDelay.Store(0)
}

func (g *guard) delayRetry() {
	g.retryDelay.Store(min(max(2*g.retryDelay.Load(), int64(firstRetry)), int64(lastRetry)))
}

func (g *guard) createFile(op, name string, c vfs.DiskWriteCategory, call func() (vfs.File, error)) (vfs.File, error) {
	kind := kindOf(name)
	merges := kind == tableFile && c == mergeCategory
	if g.noRoom.Load() && kind == tableFile || g.cramped.Load() && merges {
		g.pauseUnlessClosing(time.Duration(g.retryDelay.Load()))
	}
	if g.frozen() {
		if g.hidesFailures(kind) {
			return g.graveFile(name), nil
		}
		if g.opened.Load() { // an opening is not tried again
			g.pauseUnlessClosing(lastRetry)
		}
		return nil, errFrozen
	}
	if strings.HasPrefix(g.PathBase(name), "marker.") {
		// A marker names a file that Pebble has created and synced just
		// before, but not the directory: a crash might keep the name of
		// the marker and lose that of the file.
		dir := g.PathDir(name)
		if err := file.SyncDir(g.FS, dir); err != nil {
			return nil, g.judgeChange("sync", dir, metaFile, err)
		}
	}
	f, err := call()
	if err == nil {
		guarded := &guardedFile{File: f, g: g, name: name, kind: kind, merges: merges}
		if kind == tableFile {
			return newPieceWriter(guarded), nil
		}
		return guarded, nil
	}
	if err = g.judgeChange(op, name, kind, err); err == nil {
		return g.graveFile(name), nil
	}
	return nil, err
}

// graveFile is where the log goes when there is no log any more.
func (g *guard) graveFile(name string) vfs.File {
	return &guardedFile{File: vfs.NewMemFile(nil), g: g, name: name, kind: logFile}
}

func (g *guard) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.createFile("create", name, c, func() (vfs.File, error) {
		if kindOf(name) == logFile {
			defer g.spare.noteLogBegun()
			if f := g.spare.reuseAs(name); f != nil {
				return f, nil
			}
		}
		return g.FS.Create(name, c)
	})
}

func (g *guard) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.createFile("open", name, c, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, opts...) })
}

func (g *guard) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.createFile("reuse", newname, c, func() (vfs.File, error) {
		defer g.spare.noteLogBegun()
		if g.spare.isBetterThan(oldname) {
			if f := g.spare.reuseAs(newname); f != nil {
				_ = g.FS.Remove(oldname) // left over, it is removed at the next opening
				return f, nil
			}
		}
		return g.FS.ReuseForWrite(oldname, newname, c)
	})
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &guardedFile{File: f, g: g, name: name, kind: directory}, nil
}

func (g *guard) Rename(oldname, newname string) error {
	if g.frozen() {
		return errFrozen
	}
	return g.judgeChange("rename", oldname, metaFile, g.FS.Rename(oldname, newname))
}

func (g *guard) Link(oldname, newname string) error {
	if g.frozen() {
		return errFrozen
	}
	return g.judgeChange("link", oldname, metaFile, g.FS.Link(oldname, newname))
}

// Remove may fail without harm: what is left over is removed another time.
func (g *guard) Remove(name string) error {
	if g.frozen() {
		return errFrozen
	}
	return g.FS.Remove(name)
}

func (g *guard) RemoveAll(name string) error {
	if g.frozen() {
		return errFrozen
	}
	return g.FS.RemoveAll(name)
}

func (g *guard) MkdirAll(dir string, perm os.FileMode) error {
	if g.frozen() {
		return errFrozen
	}
	return g.FS.MkdirAll(dir, perm)
}

func (g *guard) Unwrap() vfs.FS { return g.FS }

// guardedFile is a file open for writing, or a directory for syncing.
type guardedFile struct {
	vfs.File
	g    *guard
	name string
	kind fileKind

	merges  bool // a table that others are merged into
	unasked int  // bytes that may be written until it is asked whether there is room to go on

	abandoned atomic.Bool // a table that could not be written, and is closed
}

// abandonTable closes a table that could not be written. Pebble removes it, and does not
// close it: while it is open it takes its room.
func (f *guardedFile) abandonTable() {
	if f.kind == tableFile && !f.abandoned.Swap(true) {
		_ = f.File.Close()
	}
}

// leavesRoom tells whether so many bytes more of a merge may be written. One that stops is
// tried again, and has lost nothing.
func (f *guardedFile) leavesRoom(n int) bool {
	if !f.merges {
		return true
	}
	if f.unasked -= n; f.unasked >= 0 {
		return true
	}
	if f.unasked = crampedEvery; !f.g.isCramped() {
		return true
	}
	f.g.cramped.Store(true)
	f.g.delayRetry()
	return false
}

// skipsDisk tells whether a call must not reach the disk, and what to answer.
func (f *guardedFile) skipsDisk() (bool, error) {
	if !f.g.frozen() {
		return false, nil
	}
	if f.g.hidesFailures(f.kind) {
		return true, nil
	}
	return true, errFrozen
}

func (f *guardedFile) Write(p []byte) (int, error) {
	if skip, err := f.skipsDisk(); skip {
		return len(p), err
	}
	if !f.leavesRoom(len(p)) {
		f.abandonTable()
		return 0, fmt.Errorf("write %s: %w", f.name, errCramped)
	}
	n, err := f.File.Write(p)
	if err == nil {
		return n, nil
	}
	f.abandonTable()
	return len(p), f.g.judgeChange("write", f.name, f.kind, err)
}

func (f *guardedFile) WriteAt(p []byte, off int64) (int, error) {
	if skip, err := f.skipsDisk(); skip {
		return len(p), err
	}
	n, err := f.File.WriteAt(p, off)
	if err == nil {
		return n, nil
	}
	return len(p), f.g.judgeChange("write", f.name, f.kind, err)
}

func (f *guardedFile) Sync() error { return f.syncWith(f.File.Sync) }

func (f *guardedFile) SyncData() error { return f.syncWith(f.File.SyncData) }

func (f *guardedFile) syncWith(call func() error) error {
	if skip, err := f.skipsDisk(); skip {
		return err
	}
	if err := call(); err != nil {
		return f.g.judgeChange("sync", f.name, f.kind, err)
	}
	if f.kind == tableFile {
		f.g.tableDone()
	}
	return nil
}

func (f *guardedFile) SyncTo(length int64) (bool, error) {
	if skip, err := f.skipsDisk(); skip {
		return true, err
	}
	full, err := f.File.SyncTo(length)
	if err != nil {
		return true, f.g.judgeChange("sync", f.name, f.kind, err)
	}
	return full, nil
}

func (f *guardedFile) Close() error {
	if f.abandoned.Load() {
		return nil
	}
	err := f.File.Close()
	if skip, serr := f.skipsDisk(); skip {
		return serr
	}
	return f.g.judgeChange("close", f.name, f.kind, err)
}
