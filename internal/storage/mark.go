package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/storage/file"
)

// The store counts its groups: each batch carries the count, under a key that
// callers cannot use. From time to time, and when it is closed,
// the count of a group that is synced goes into a file beside Pebble's. A
// store that opens with a smaller count has lost what was acknowledged, by a
// log or a manifest that is gone, cut short or damaged in a way that looks
// like a crash, and must not go on as if nothing were.
const markFile = "MARK"

var countKey = []byte{0}

// readCount returns how many groups the store has, and whether that could be
// read.
func (s *Store) readCount() (uint64, bool) {
	value, err := s.loadUnsynced(countKey, s.db.Get)
	if errors.Is(err, ErrNotFound) {
		return 0, true
	}
	if err != nil || len(value) != 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(value), true
}

// unmarked is the mark of a store that has none.
const unmarked = math.MaxUint64

// readMark returns the mark, or unmarked when there is none or it is
// damaged.
func (s *Store) readMark() uint64 {
	data, err := file.Read(s.opts.FS, s.opts.FS.PathJoin(s.opts.Dir, markFile))
	if errors.Is(err, iofs.ErrNotExist) {
		return unmarked
	}
	if err != nil || len(data) != 8 {
		s.opts.Logger.Warn("storage: mark is damaged and will be written anew", "error", err)
		return unmarked
	}
	return binary.LittleEndian.Uint64(data)
}

// checkMark compares the count of groups with the mark. A store is marked
// from its first opening on.
func (s *Store) checkMark() error {
	count, ok := s.readCount()
	switch {
	case !ok && s.markedCount == unmarked:
		return wrapCorrupt(errors.New("neither count nor mark can be read"))
	case !ok:
		// One more record that is unknown; the others are not the worse.
		s.opts.Logger.Warn("storage: count of groups is damaged and will be written anew")
		count = s.markedCount
	case s.markedCount != unmarked && count < s.markedCount:
		return wrapCorrupt(fmt.Errorf("%d batches are there of %d that were acknowledged", count, s.markedCount))
	}
	s.groupCount = count
	s.syncedCount.Store(count)
	if s.markedCount == unmarked && !s.opts.ReadOnly {
		s.writeMark()
	}
	return nil
}

// markLoop marks when tables were written: what they replace may be gone soon.
// The committer is spared it, it would be held up by two syncs.
func (s *Store) markLoop(ctx context.Context) {
	for {
		select {
		case <-s.pressure.markDue:
			s.writeMark()
		case <-ctx.Done():
			return
		}
	}
}

// writeMark writes down the count of groups that are synced. An older mark notices
// less damage, but is not wrong, so a full disk does not matter; a disk that
// fails does, as everywhere.
func (s *Store) writeMark() {
	count := s.syncedCount.Load()
	if count == s.markedCount || s.guard.frozen() {
		return
	}
	var data [8]byte
	binary.LittleEndian.PutUint64(data[:], count)
	err := file.Write(s.opts.FS, s.opts.FS.PathJoin(s.opts.Dir, markFile), data[:])
	switch {
	case err == nil:
		s.markedCount = count
	case vfs.IsNoSpaceError(err):
		s.opts.Logger.Warn("storage: mark not written", "error", err)
	default:
		s.guard.failStore(err)
	}
}
