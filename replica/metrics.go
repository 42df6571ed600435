package replica

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/skeinmesh/skein/internal/metrics"
	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/mesh/view"
)

// How a put ends: the places in the list of outcomes.
const (
	putOK = iota
	putQueued
	putDegraded
	putFailed
)

// How a get ends.
const (
	getOK = iota
	getMissing
	getDegraded
	getFailed
)

// meters measure what a store's clients and its disk see.
type meters struct {
	set              *metrics.Set
	puts, gets, sync *metrics.Durations
}

func newMeters(id view.NodeID) *meters {
	set := metrics.NewSet(id.String())
	return &meters{
		set:  set,
		puts: set.AddDurations("skein_replica_put_duration_seconds", "How long puts and deletes took, by how they ended.", "ok", "queued", "degraded", "failed"),
		gets: set.AddDurations("skein_replica_get_duration_seconds", "How long gets took, by how they ended.", "ok", "missing", "degraded", "failed"),
		sync: set.AddDurations("skein_replica_sync_duration_seconds", "How long it took to write and sync a group of updates."),
	}
}

// countPut counts a put or delete that has begun at a time and ended with r and err. That
// the bucket is defined in two ways comes beside what became of the operation.
func (m *meters) countPut(begun time.Time, r *Result, err *error) {
	outcome := putFailed
	switch {
	case r.Queued:
		outcome = putQueued
	case errors.Is(*err, ErrDegraded):
		outcome = putDegraded
	case *err == nil, r.Durable > 0 && errors.Is(*err, ErrBucketConflict):
		outcome = putOK
	}
	m.puts.Observe(time.Since(begun), outcome)
}

// countGet counts a get that has begun at a time and ended with item and err.
func (m *meters) countGet(begun time.Time, item *Item, err *error) {
	outcome := getFailed
	switch {
	case errors.Is(*err, ErrDegraded):
		outcome = getDegraded
	case errors.Is(*err, ErrNotFound):
		outcome = getMissing
	case *err == nil, item.Replies > 0 && errors.Is(*err, ErrBucketConflict):
		outcome = getOK
	}
	m.gets.Observe(time.Since(begun), outcome)
}

func (m *meters) countSync(took time.Duration) { m.sync.Observe(took, 0) }

// WriteMetrics writes what Health tells, and how long puts, gets and syncs took since the
// store was opened, in the text format of Prometheus. The label "node_id" is the node's
// id. All names begin with skein_replica, so that what other handles of the node write may
// stand in the same answer. It goes through an index of what is kept for others, so it is
// for every ten seconds, not for every one. Of a disk that failed, and of a store that was
// closed, what is still known is written, and skein_replica_up is 0. The error is w's, or
// that a part of the disk does not read.
func (s *Store) WriteMetrics(w io.Writer) error {
	h, err := s.inspectHealth(s.group.Context(), false)
	isUp := s.Err() == nil
	if err != nil && isUp {
		return fmt.Errorf("replica: write metrics: %w", err)
	}
	failed := s.meters.set.WriteText(w, func(f *metrics.Figures) {
		f.Flag("skein_replica_up", "Whether the store serves: it was not closed, and its disk did not fail.", isUp)
		if isUp {
			tellHealth(f, &h)
		}
		if isUp || errors.Is(err, ErrStorage) {
			f.Gauge("skein_replica_problems", "What an operator should look at: see the node's health.", float64(len(h.Problems)))
		}
		s.tellCounts(f)
		s.tellDisk(f)
	})
	if failed != nil {
		return fmt.Errorf("replica: write metrics: %w", failed)
	}
	return nil
}

// tellCounts tells what has been counted since the store was opened.
func (s *Store) tellCounts(f *metrics.Figures) {
	f.Counter("skein_replica_records_repaired_total", "Records that were mended after a read.", s.repairs.Repaired())
	compared := uint64(0) // a node that stores nothing compares nothing
	if s.disk != nil {
		compared = s.comparer.Compared()
	}
	f.Counter("skein_replica_comparisons_total", "Comparisons with another store that ended.", compared)
	if s.disk != nil {
		f.Counter("skein_replica_hints_delivered_total", "Copies kept for others that were delivered.", s.carrier.Delivered())
		f.Counter("skein_replica_records_moved_total", "Records that comparisons and hand-overs brought here or there.", s.comparer.Moved()+s.carrier.Moved())
		f.Counter("skein_replica_values_expired_total", "Values whose bytes went because their TTL has ended.", s.records.Lapsed())
		f.Counter("skein_replica_records_set_aside_total", "Records of which nobody remembers whether they were deleted.", s.purging.Aside())
	}
	if s.outbox != nil {
		tellOutbox(f, s.outbox.Status())
	}
}

// tellDisk tells of the disk of items, or that of the outbox, if there is one.
func (s *Store) tellDisk(f *metrics.Figures) {
	var d storage.Stats
	var failed error
	switch {
	case s.outbox != nil:
		d, failed = s.outbox.DiskStats()
	case s.disk != nil:
		d, failed = s.disk.Stats(), s.disk.Err()
	default:
		return
	}
	f.Flag("skein_replica_disk_failed", "Whether the disk failed, so that the store takes part in nothing until it is opened anew.", failed != nil)
	f.Flag("skein_replica_disk_full", "Whether writes are refused for want of space on the disk.", d.Full)
	f.Gauge("skein_replica_disk_bytes", "Space that the store's files take.", float64(d.DiskBytes))
	f.Gauge("skein_replica_disk_damaged_files", "Files that do not read and could not be mended.", float64(d.Damaged))
	f.Counter("skein_replica_disk_parts_lost_total", "Parts of the disk that did not read and were given up.", d.GivenUp)
	f.Counter("skein_replica_disk_damaged_records_total", "Damaged records that were come across.", d.Corrupt)
	f.Counter("skein_replica_disk_updates_total", "Updates that were synced.", d.Updates)
	f.Counter("skein_replica_disk_written_bytes_total", "Keys and records that were synced, without what it takes to keep them sorted.", d.Written)
	f.Gauge("skein_replica_cache_bytes", "Memory that the cache of records holds.", float64(d.CacheBytes))
	f.Counter("skein_replica_cache_hits_total", "Reads that the cache of records answered.", d.CacheHits)
	f.Counter("skein_replica_cache_misses_total", "Reads that went to the disk.", d.CacheMiss)
}

func tellHealth(f *metrics.Figures, h *Health) {
	missing := 0
	for i := range h.Shards {
		if sh := &h.Shards[i]; sh.Role == "home" {
			missing += max(len(sh.Homes)-sh.Copies, 0)
		}
	}
	f.Gauge("skein_replica_copies_missing", "Copies of shards at home here that are not in contact.", float64(missing))
	f.Gauge("skein_replica_shards_syncing", "Shards here that are not known to be equal at their homes.", float64(h.Syncing))
	f.Gauge("skein_replica_shards_leftover", "Shards here that belong elsewhere.", float64(h.Leftover))
	f.Gauge("skein_replica_shards_importing", "Shards of former identities that are still to be taken in.", float64(h.Importing))
	f.Gauge("skein_replica_hints", "Copies kept here for stores that are down.", float64(h.Hints))
	f.Gauge("skein_replica_stores_lost", "Stores that are down for so long that their copies are made elsewhere.", float64(len(h.Lost)))
	f.Flag("skein_replica_purge_blocked", "Whether deletes could not be forgotten for a week, for stores that are down.", h.PurgeBlocked != nil)
}

func tellOutbox(f *metrics.Figures, st outbox.Status) {
	f.Gauge("skein_replica_outbox_operations", "Writes that wait here for a store in contact.", float64(st.Ops))
	f.Gauge("skein_replica_outbox_bytes", "Room that they take.", float64(st.Bytes))
	f.Gauge("skein_replica_outbox_oldest_seconds", "How long the oldest of them has waited.", st.Oldest.Seconds())
	f.Counter("skein_replica_outbox_delivered_total", "Writes from the outbox that a store has taken.", st.Delivered)
	f.Counter("skein_replica_outbox_dropped_total", "Writes in the outbox that were given up.", st.Dropped)
}
