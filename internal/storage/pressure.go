package storage

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

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
	tighter notify.Bell // there is little room
	eased   notify.Bell // there is little room, and something was deleted

	unmerged atomic.Int64 // bytes of tables that are still to be merged into others

	// of the committer only
	mustWait     bool      // writers must wait
	shouldSlow   bool      // writers should
	spaceFoundAt time.Time // when there was space enough
	bytesSince   int64     // bytes committed after that
}

func (p *pressure) makeBells() {
	p.changed, p.markDue, p.tighter, p.eased = notify.NewBell(), notify.NewBell(), notify.NewBell(), notify.NewBell()
}

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
		p.unmerged.Store(sumUnmerged(m))
	}
}

// sumUnmerged is how much room it takes to merge the tables of level 0: they lie across
// each other and across all of the next level, so that mostly all of these are read, and
// written anew before they go.
func sumUnmerged(m *pebble.Metrics) (bytes int64) {
	if bytes = m.Levels[0].TablesSize; bytes == 0 {
		return 0
	}
	for _, l := range m.Levels[1:] {
		if l.TablesSize > 0 {
			return bytes + l.TablesSize
		}
	}
	return bytes
}

// What of the reserve is left to whom. An update that brings data needs all of it to be
// free, and room to merge what is not merged yet: on a disk that is filled before that it
// could not be done any more, and would be what gives room back. What merges tables stops at a part of it, so that it cannot take away what is
// left to updates that make room; these stop at a smaller part, which is for the log and
// for sorting in what is in it.
const (
	mergesLeave  = 4 // a fourth
	updatesLeave = 8 // an eighth
)

// awaitRoom waits until Pebble can take another group, and says why it must
// not have one, if so. tight says why it must not be one that brings data.
func (s *Store) awaitRoom() (tight, refusal error) {
	for slowed := false; ; {
		if err := s.guard.failure(); err != nil {
			return nil, err
		}
		select {
		case <-s.refused:
			return nil, ErrClosed
		default:
		}
		s.measurePressure()
		if tight, refusal = s.checkSpace(); refusal != nil {
			return tight, refusal
		}
		switch {
		case s.pressure.mustWait && tight != nil:
			return tight, tight // it cannot be sorted in, and may never be
		case s.pressure.mustWait:
			select {
			case <-s.pressure.changed:
			case <-s.refused:
			}
		case s.pressure.shouldSlow && !slowed:
			s.guard.pauseUnlessClosing(slowDown)
			slowed = true
		default:
			return tight, nil
		}
	}
}

// checkSpace is full, asked anew only when it may have changed: others who fill the
// disk take longer than lookEvery to fill the reserve, and the store itself
// writes a small part of it in between.
func (s *Store) checkSpace() (tight, refusal error) {
	p := &s.pressure
	if time.Since(p.spaceFoundAt) < lookEvery && p.bytesSince < s.opts.Reserve/16 && !s.guard.noRoom.Load() {
		return nil, nil
	}
	if tight, refusal = s.checkSpaceNow(); tight != nil {
		p.spaceFoundAt = time.Time{}
		return tight, refusal
	}
	p.spaceFoundAt, p.bytesSince = time.Now(), 0
	return nil, nil
}

// checkSpaceNow says whether space is too short for data, and whether it is for anything.
func (s *Store) checkSpaceNow() (tight, refusal error) {
	free, known := s.readFree()
	need := s.opts.Reserve + s.pressure.unmerged.Load()
	switch noRoom := s.guard.noRoom.Load(); {
	case noRoom:
		tight = fmt.Errorf("%w: no room to sort in what was written", ErrStorageFull)
	case known && free < need:
		tight = fmt.Errorf("%w: %d bytes free, %d kept in reserve", ErrStorageFull, free, need)
	default:
		return nil, nil
	}
	if !known || free < s.opts.Reserve/updatesLeave {
		return tight, tight
	}
	return tight, nil
}

// IsTight tells whether updates that bring data get ErrStorageFull.
func (s *Store) IsTight() bool {
	tight, _ := s.checkSpaceNow()
	return tight != nil
}

// readFree tells how many bytes are free. Where that is not known, or of no interest, a
// write that does not fit will tell.
func (s *Store) readFree() (free int64, known bool) {
	if s.opts.Reserve < 0 {
		return 0, false
	}
	usage, err := s.opts.FS.GetDiskUsage(s.opts.Dir)
	return int64(min(usage.AvailBytes, math.MaxInt64)), err == nil
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
	Full       bool   // updates that bring data get ErrStorageFull
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
	st.Full = s.IsTight()
	return st
}
