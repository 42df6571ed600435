package storage

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
)

const (
	// maxMemTables times MemTableBytes may be in memory, the table being
	// filled included, before writers have to wait.
	maxMemTables = 3
	// slowSublevels of level 0 waiting to be merged slow writers down; each
	// costs readers. It does not stop them: merging may be held up by
	// damage, for long.
	slowSublevels = 24
	slowDown      = 20 * time.Millisecond
	// lookEvery is how long to rely on there being space: to ask the file
	// system before each group took one hundredth of all processor time.
	lookEvery = 5 * time.Millisecond
)

// pressure holds the committer back while Pebble is behind with sorting in.
// Pebble would do that itself, but inside a commit, where neither a full
// disk nor Close can get the committer out again.
type pressure struct {
	stale   atomic.Bool // logs or tables have changed since the rest was computed
	changed notify.Bell // compute again
	markDue notify.Bell // the same, for markLoop

	// of the committer only
	mustWait     bool      // writers must wait
	shouldSlow   bool      // writers should
	spaceFoundAt time.Time // when there was space enough
	bytesSince   int64     // bytes committed after that
}

func (p *pressure) makeBells() { p.changed, p.markDue = notify.NewBell(), notify.NewBell() }

// noteChange is called when logs or tables have changed.
func (p *pressure) noteChange() {
	p.stale.Store(true)
	p.changed.Ring()
	p.markDue.Ring()
}

func (s *Store) measurePressure() {
	if p := &s.pressure; p.stale.Swap(false) {
		m := s.db.Metrics()
		p.mustWait = m.MemTable.Size > maxMemTables*uint64(s.opts.MemTableBytes)
		p.shouldSlow = m.Levels[0].Sublevels > slowSublevels
	}
}

// awaitRoom waits until Pebble can take another group, and says why it must
// not have one, if so.
func (s *Store) awaitRoom() error {
	for slowed := false; ; {
		if err := s.guard.failure(); err != nil {
			return err
		}
		select {
		case <-s.refused:
			return ErrClosed
		default:
		}
		if err := s.checkSpace(); err != nil {
			return err
		}
		s.measurePressure()
		switch {
		case s.pressure.mustWait:
			select {
			case <-s.pressure.changed:
			case <-s.refused:
			}
		case s.pressure.shouldSlow && !slowed:
			s.guard.pauseUnlessClosing(slowDown)
			slowed = true
		default:
			return nil
		}
	}
}

// checkSpace is full, asked anew only when it may have changed: others who fill the
// disk take longer than lookEvery to fill the reserve, and the store itself
// writes a small part of it in between.
func (s *Store) checkSpace() error {
	p := &s.pressure
	if time.Since(p.spaceFoundAt) < lookEvery && p.bytesSince < s.opts.Reserve/16 && !s.guard.noRoom.Load() {
		return nil
	}
	if err := s.checkSpaceNow(); err != nil {
		p.spaceFoundAt = time.Time{}
		return err
	}
	p.spaceFoundAt, p.bytesSince = time.Now(), 0
	return nil
}

// checkSpaceNow says whether space is short.
func (s *Store) checkSpaceNow() error {
	if s.guard.noRoom.Load() {
		return fmt.Errorf("%w: no room to sort in what was written", ErrStorageFull)
	}
	if s.opts.Reserve < 0 {
		return nil
	}
	usage, err := s.opts.FS.GetDiskUsage(s.opts.Dir)
	if err != nil {
		return nil // not known; a write that does not fit will tell
	}
	if usage.AvailBytes < uint64(s.opts.Reserve) {
		return fmt.Errorf("%w: %d bytes free, %d kept in reserve", ErrStorageFull, usage.AvailBytes, s.opts.Reserve)
	}
	return nil
}

type counters struct {
	groups, updates, bytes, corrupt atomic.Uint64
}

// Stats tells how a store is doing. Counts are since Open.
type Stats struct {
	Updates    uint64 // acknowledged
	Groups     uint64 // syncs that acknowledged them
	Written    uint64 // bytes of keys and records acknowledged
	Corrupt    uint64 // damaged records come across
	CacheBytes int64  // held by the record cache
	CacheHits  uint64
	CacheMiss  uint64
	DiskBytes  uint64 // taken by the store's files
	Full       bool   // updates get ErrStorageFull
	GivenUp    uint64 // parts of the disk that did not read and were given up, see Mend
	Lost       uint64 // records known to have been in them
	Damaged    int    // tables that do not read and could not be mended
}

// Stats returns the present figures.
func (s *Store) Stats() Stats {
	st := Stats{
		Updates: s.stats.updates.Load(),
		Groups:  s.stats.groups.Load(),
		Written: s.stats.bytes.Load(),
		Corrupt: s.stats.corrupt.Load(),
	}
	st.CacheBytes, st.CacheHits, st.CacheMiss = s.cache.totalUsage()
	st.GivenUp, st.Lost, st.Damaged = s.damage.damageTotals()
	leave, err := s.enterReader()
	if err != nil {
		return st
	}
	defer leave()
	st.DiskBytes = s.db.Metrics().DiskSpaceUsage()
	st.Full = s.checkSpaceNow() != nil
	return st
}
