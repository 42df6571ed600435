package backup

import (
	"fmt"
	"io"
	"time"

	"github.com/skeinmesh/skein/internal/metrics"
	"github.com/skeinmesh/skein/mesh/view"
)

// How a backup ends: the places in the list of outcomes.
const (
	backupOK = iota
	backupPartial
	backupFailed
)

// meters measure the backups of one node.
type meters struct {
	set     *metrics.Set
	backups *metrics.Durations
}

func newMeters(id view.NodeID) *meters {
	set := metrics.NewSet(id.String())
	return &meters{set, set.AddDurations("skein_backup_duration_seconds", "How long backups took, by how they ended: partial ones lack slices or records.", "ok", "partial", "failed")}
}

func (m *meters) countBackup(took time.Duration, done *Done, err error) {
	outcome := backupOK
	switch {
	case err != nil:
		outcome = backupFailed
	case done.lacksSome():
		outcome = backupPartial
	}
	m.backups.Observe(took, outcome)
}

// WriteMetrics writes what Status tells, and how long backups took since the Backup was opened, in the
// text format of Prometheus. The label "node_id" is the node's id. All names begin with
// skein_backup, so that what other handles of the node write may stand in the same answer. Of a
// Backup that was closed skein_backup_up is 0. The error is w's.
func (b *Backup) WriteMetrics(w io.Writer) error {
	err := b.meters.set.WriteText(w, func(f *metrics.Figures) {
		f.Flag("skein_backup_up", "Whether backups are made.", b.group.Context().Err() == nil)
		for _, l := range b.Status() {
			tellLevel(f, &l)
		}
	})
	if err != nil {
		return fmt.Errorf("backup: write metrics: %w", err)
	}
	return nil
}

func tellLevel(f *metrics.Figures, l *LevelStatus) {
	of := []string{"policy", l.Policy, "tier", l.Tier}
	if !l.LastGood.IsZero() {
		f.Gauge("skein_backup_last_good_timestamp_seconds", "When the last good backup began, by this node's clock.", float64(l.LastGood.UnixMilli())/1000, of...)
	}
	f.Flag("skein_backup_running", "Whether one is being made.", l.Running, of...)
	f.Flag("skein_backup_failed", "Whether the last one has failed.", l.Error != "", of...)
	f.Flag("skein_backup_objective_missed", "Whether the last good one is older than the recovery point objective.", l.Missed, of...)
	f.Gauge("skein_backup_bare_slices", "Slices that lack a whole backup within the objective.", float64(l.Bare), of...)
	f.Gauge("skein_backup_last_slices", "Slices of the last one, or of what the running one has come to.", float64(l.Last.Slices), of...)
	f.Gauge("skein_backup_last_lacking", "Slices that were not ready, and records that were too large, in the last one.", float64(l.Last.NotReady+l.Last.TooLarge), of...)
	f.Gauge("skein_backup_last_bytes", "Bytes that the last one has put, or the running one so far.", float64(l.Last.Bytes), of...)
	f.Gauge("skein_backup_manifests_unentered", "Manifests that the ledger lacks.", float64(l.Unentered), of...)
}
