package storage

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"math"
	"strconv"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/storage/file"
)

const (
	// formatFile says, outside of Pebble so that it can be read before
	// Pebble changes anything, which release's records these are.
	formatFile = "FORMAT"
	format     = "skein store 1"
	// pebbleFormat is pinned, so that a newer Pebble does not lock out a
	// release that is rolled back. It is the first that can tell a log cut
	// short by a crash from one damaged later.
	pebbleFormat = pebble.FormatWALSyncChunks
)

// Open opens the store in o.Dir, creating it unless o.ReadOnly. Errors:
// ErrLocked, ErrNewerFormat, ErrCorrupt, ErrStorageFull, those of the file
// system, and all that is wrong with o.
func Open(o Options) (*Store, error) {
	if err := o.fillDefaults(); err != nil {
		return nil, err
	}
	s := &Store{
		opts:          o,
		queue:         make(chan *update, maxGroupUpdates),
		mends:         make(chan *mending),
		damage:        damage{kick: notify.NewBell()},
		committerDone: make(chan struct{}),
		readers:       lifecycle.NewGate(),
		refused:       make(chan struct{}),
		cache:         newRecordCache(o.CacheBytes - o.blockBytes()),
	}
	s.guard = &guard{FS: o.FS, closing: make(chan struct{}), onFail: s.onFail, isCramped: s.isCramped}
	s.guard.spare = newSpare(&o, s.guard.frozen)
	s.pressure.makeBells()
	if err := s.openDirectory(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	s.tasks = lifecycle.NewGroup(context.Background())
	s.tasks.Go(s.commitLoop)
	if !o.ReadOnly {
		s.tasks.Go(s.markLoop)
		s.tasks.Go(s.guard.spare.keepPrepared)
		s.tasks.Go(s.keepReclaiming)
	}
	return s, nil
}

func (s *Store) openDirectory() (err error) {
	o := &s.opts
	if !o.ReadOnly {
		if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil {
			return fmt.Errorf("directory cannot be created: %w", err)
		}
	}
	if _, err := o.FS.Stat(o.Dir); err != nil {
		return err
	}
	if s.lock, err = lockDir(o.FS, o.Dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lock.Close())
		}
	}()
	if err := s.checkFormat(); err != nil {
		return err
	}
	return s.openPebble()
}

func lockDir(fs vfs.FS, dir string) (*pebble.Lock, error) {
	var errno syscall.Errno
	lock, err := pebble.LockDirectory(dir, fs)
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, iofs.ErrPermission), isReadOnlyFS(err):
		return nil, fmt.Errorf("directory cannot be written to: %w", err)
	case vfs.IsNoSpaceError(err):
		return nil, fmt.Errorf("%w: %w", ErrStorageFull, err)
	case errors.As(err, &errno) && !isLocked(errno):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrLocked, err)
}

// checkFormat refuses what this release cannot read, before anything is
// changed, and marks a new store.
func (s *Store) checkFormat() error {
	fs, dir := s.opts.FS, s.opts.Dir
	tables, err := atomicfs.ReadMarker(fs, dir, "format-version")
	if err != nil {
		return wrapCorrupt(err)
	}
	if n, err := strconv.ParseUint(tables, 10, 64); err == nil && n > uint64(pebbleFormat) {
		return fmt.Errorf("%w: tables of format %d, read up to %d", ErrNewerFormat, n, pebbleFormat)
	}
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		return wrapCorrupt(err)
	}
	s.markedCount = s.readMark()
	if !desc.Exists {
		if err := checkEmpty(fs, dir); err != nil {
			return wrapCorrupt(err)
		}
	} else if err := checkLogs(fs, dir, desc, s.markedCount != unmarked); err != nil {
		return wrapCorrupt(err)
	}
	path := fs.PathJoin(dir, formatFile)
	mark, err := file.Read(fs, path)
	switch {
	case err == nil && string(mark) == format:
		return nil
	case err == nil, errors.Is(err, file.ErrNewerFormat):
		return fmt.Errorf("%w: %q", ErrNewerFormat, mark)
	case !errors.Is(err, iofs.ErrNotExist):
		return wrapCorrupt(err)
	case desc.Exists:
		return wrapCorrupt(fmt.Errorf("%s is missing", formatFile))
	case s.opts.ReadOnly:
		return fmt.Errorf("no store here: %w", iofs.ErrNotExist)
	}
	err = file.Write(fs, path, []byte(format))
	if vfs.IsNoSpaceError(err) {
		return fmt.Errorf("%w: %w", ErrStorageFull, err)
	}
	return err
}

// checkEmpty finds data that lost its entrance. Pebble would see no store and
// begin a new one on top. A crash while a store is created leaves neither
// logs nor tables behind.
func checkEmpty(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if kindOf(name) != metaFile {
			return fmt.Errorf("%s is there, but no manifest marker", name)
		}
	}
	return nil
}

// blockBytes is what Pebble's blocks get of CacheBytes.
func (o *Options) blockBytes() int64 { return o.CacheBytes / 8 }

func (s *Store) openPebble() error {
	blockBytes := s.opts.blockBytes()
	// Pebble takes memtables out of its block cache; give them on top.
	s.block = pebble.NewCache(blockBytes + 2*s.opts.MemTableBytes)
	db, err := s.callPebble()
	if err == nil && s.guard.frozen() {
		err = errors.Join(s.guard.failure(), db.Close())
	}
	if err != nil {
		s.block.Unref()
		return classifyOpenError(err)
	}
	s.db = db
	s.guard.opened.Store(true)
	if err := s.checkMark(); err != nil {
		return errors.Join(err, s.closePebble())
	}
	if err := s.restore(); err != nil {
		return errors.Join(err, s.closePebble())
	}
	return nil
}

// closePebble closes what openPebble has opened.
func (s *Store) closePebble() error {
	err := s.db.Close()
	s.block.Unref()
	return err
}

// callPebble turns what Pebble panics with into an error; it has closed its
// files then.
func (s *Store) callPebble() (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pebble: %v", p)
		}
	}()
	return pebble.Open(s.opts.Dir, s.pebbleOptions())
}

// classifyOpenError names the error of Pebble's opening. What the system did not refuse
// Pebble did, because of what it has found; not all of that it calls
// corruption.
func classifyOpenError(err error) error {
	var errno syscall.Errno
	switch {
	case vfs.IsNoSpaceError(err):
		return fmt.Errorf("%w: %w", ErrStorageFull, err)
	case errors.Is(err, ErrStoreFailed), errors.As(err, &errno) && !errors.Is(err, iofs.ErrNotExist):
		return err
	}
	return wrapCorrupt(err)
}

func wrapCorrupt(err error) error {
	return fmt.Errorf("%w: start the node with an empty directory under the same name, the other nodes will fill it: %w", ErrCorrupt, err)
}

func (s *Store) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          s.guard,
		Lock:                        s.lock,
		ReadOnly:                    s.opts.ReadOnly,
		Cache:                       s.block,
		MemTableSize:                uint64(s.opts.MemTableBytes),
		FormatMajorVersion:          pebbleFormat,
		MaxOpenFiles:                256,
		MaxManifestFileSize:         1 << 20,
		L0CompactionThreshold:       8, // more, larger steps: less is rewritten
		L0CompactionFileThreshold:   64,
		LBaseMaxBytes:               min(64<<20, 10*s.opts.MemTableBytes),
		MemTableStopWritesThreshold: 1 << 20,       // never stall inside
		L0StopWritesThreshold:       math.MaxInt32, // Pebble: see pressure
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      pebbleLog{s},
		EventListener:               s.events(),
	}
	// A memtable becomes one table: each is synced by itself, for which all
	// else that is being synced waits.
	o.TargetFileSizes[0] = s.opts.MemTableBytes
	// To merge tables takes as much room again as those below them take that they lie
	// across: on a full disk there has to be enough.
	o.TargetFileSizes[1] = s.opts.MemTableBytes
	for i := range o.TargetFileSizes[2:] {
		o.TargetFileSizes[2+i] = 2 * s.opts.MemTableBytes
	}
	o.Experimental.FileCacheShards = 1
	// One compaction runs at a time, and the end of one begins the next. The
	// default scheduler looks for more work ten times a second: most of what an
	// idle node would wake up for.
	o.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = s.opts.BlockBytes
	}
	return o
}

func (s *Store) events() *pebble.EventListener {
	log := s.opts.Logger
	return &pebble.EventListener{
		BackgroundError: func(err error) { log.Warn("storage: background work failed", "error", err) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			news, stays := s.damage.noteFile(info.Path)
			if news {
				log.Error("storage: damaged file", "path", info.Path, "error", info.Details)
			}
			if stays {
				s.guard.pauseUnlessClosing(damagePause)
			}
		},
		WALCreated:    func(pebble.WALCreateInfo) { s.pressure.noteChange() },
		FlushEnd:      func(pebble.FlushInfo) { s.pressure.noteChange() },
		CompactionEnd: func(pebble.CompactionInfo) { s.pressure.noteChange() },
	}
}

// pebbleLog receives Pebble's words. A Fatalf means that it cannot go on;
// it is not allowed to end the process, and where it calls Fatalf after a
// failed write it returns the error too.
type pebbleLog struct{ s *Store }

func (l pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.s.opts.Logger.Warn("storage: " + fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	l.s.guard.failStore(fmt.Errorf(format, args...))
}

func (s *Store) onFail(err error) {
	s.opts.Logger.Log(context.Background(), slog.LevelError, "storage: stopped", "error", err)
}

// Refuse makes the updates that have not begun, and all later ones, end with
// ErrClosed, also while they wait for Pebble to catch up. Reads go on. It does
// not wait; Close does the same first.
func (s *Store) Refuse() { s.refuseOnce.Do(func() { close(s.refused) }) }

// Close waits for readers and for the updates under way and closes the
// store. Updates still queued get ErrClosed. It returns why the store failed,
// if it did; what was acknowledged is safe in any case.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		<-s.committerDone
		return nil
	}
	drained := s.readers.Shut()
	s.Refuse()
	close(s.guard.closing)
	s.tasks.Close()
	if !s.opts.ReadOnly {
		s.writeMark()
	}
	<-drained
	err := s.guard.failure()
	if s.pebbleWedged.Load() {
		return err
	}
	cerr := s.closePebble()
	lerr := s.lock.Close()
	if err != nil {
		return err
	}
	return errors.Join(cerr, lerr)
}
