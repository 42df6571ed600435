package replica

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/skeinmesh/skein/internal/metrics"
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

// countPut counts a put or delete that has begun at a time and ended with r and err.
func (m *meters) countPut(begun time.Time, r *Result, err *error) {
	outcome := putOK
	switch {
	case r.Queued:
		outcome = putQueued
	case errors.Is(*err, ErrDegraded):
		outcome = putDegraded
	case *err != nil:
		outcome = putFailed
	}
	m.puts.Observe(time.Since(begun), outcome)
}

// countGet counts a get that has begun at a time and ended with err.
func (m *meters) countGet(begun time.Time, err *error) {
	outcome := getOK
	switch {
	case *err == nil:
	case errors.Is(*err, ErrDegraded):
		outcome = getDegraded
	case errors.Is(*err, ErrNotFound):
		outcome = getMissing
	default:
		outcome = getFailed
	}
	m.gets.Observe(time.Since(begun), outcome)
}

// WriteMetrics writes what Health tells, and how long puts, gets and syncs took since the
// store was opened, in the text format of Prometheus. The label "node" is the node's id.
// All names begin with skein_replica, so that what other handles of the node write may
// stand in the same answer. As Health it is for every ten seconds, not for every one.
// The error is ErrClosed, or w's; a disk that failed is told of, and is no error.
func (s *Store) WriteMetrics(w io.Writer) error {
	h, err := s.Health(s.group.Context())
	if err != nil && !errors.Is(err, ErrStorage) {
		return fmt.Errorf("replica: write metrics: %w", err)
	}
	if err := s.meters.set.WriteText(w, func(f *metrics.Figures) { s.tellFigures(f, &h) }); err != nil {
		return fmt.Errorf("replica: write metrics: %w", err)
	}
	return nil
}

func (s *Store) tellFigures(f *metrics.Figures, h *Health) {
	tellHealth(f, h)
	if s.outbox != nil {
		tellOutbox(f, &h.Status)
	}
	if s.disk == nil {
		return
	}
	d := s.disk.Stats()
	f.Flag("skein_replica_disk_failed", "Whether the disk failed, so that the store takes part in nothing until it is opened anew.", s.disk.Err() != nil)
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
	f.Gauge("skein_replica_problems", "What an operator should look at: see the node's health.", float64(len(h.Problems)))
	f.Gauge("skein_replica_copies_missing", "Copies of shards at home here that are not in contact.", float64(missing))
	f.Gauge("skein_replica_shards_syncing", "Shards here that are not known to be equal at their homes.", float64(h.Syncing))
	f.Gauge("skein_replica_shards_leftover", "Shards here that belong elsewhere.", float64(h.Leftover))
	f.Gauge("skein_replica_shards_importing", "Shards of former identities that are still to be taken in.", float64(h.Importing))
	f.Gauge("skein_replica_hints", "Copies kept here for stores that are down.", float64(h.Hints))
	f.Gauge("skein_replica_stores_lost", "Stores that are down for so long that their copies are made elsewhere.", float64(len(h.Lost)))
	f.Flag("skein_replica_purge_blocked", "Whether deletes could not be forgotten for a week, for stores that are down.", h.PurgeBlocked != nil)
	f.Counter("skein_replica_hints_delivered_total", "Copies kept for others that were delivered.", h.Delivered)
	f.Counter("skein_replica_records_repaired_total", "Records that were mended after a read.", h.Repaired)
	f.Counter("skein_replica_records_moved_total", "Records that comparisons brought here or there.", h.Moved)
	f.Counter("skein_replica_records_set_aside_total", "Records of which nobody remembers whether they were deleted.", h.SetAside)
	f.Counter("skein_replica_comparisons_total", "Comparisons with another store that ended.", h.Compared)
}

func tellOutbox(f *metrics.Figures, st *Status) {
	f.Gauge("skein_replica_outbox_operations", "Writes that wait here for a store in contact.", float64(st.OutboxOps))
	f.Gauge("skein_replica_outbox_bytes", "Room that they take.", float64(st.OutboxBytes))
	f.Gauge("skein_replica_outbox_oldest_seconds", "How long the oldest of them has waited.", st.OutboxOldest.Seconds())
	f.Counter("skein_replica_outbox_delivered_total", "Writes from the outbox that a store has taken.", st.OutboxDelivered)
	f.Counter("skein_replica_outbox_dropped_total", "Writes in the outbox that were given up.", st.OutboxDropped)
}
