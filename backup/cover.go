package backup

import (
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
)

// coverage is what this node knows of when it last backed up each slice that it leads, by one policy at
// one tier. Times are running time since 1970, so that no clock that jumps covers a slice or bares it. The zero
// value knows of none.
type coverage struct {
	last map[retain.Slice]time.Time
	bare []retain.Uncovered
}

// noteBackup notes what a backup that began then has led, and what of it is whole. A slice that is new
// here counts as backed up when it is first seen: its former home has seen to it, or it was empty.
func (c *coverage) noteBackup(led []retain.Slice, whole map[retain.Slice]bool, begun, objective time.Duration) {
	now := time.Unix(0, 0).Add(begun)
	last := make(map[retain.Slice]time.Time, len(led))
	by := make([]retain.Coverage, 0, len(led))
	for _, s := range led {
		t, known := c.last[s]
		if whole[s] || !known {
			t = now
		}
		last[s] = t
		by = append(by, retain.Coverage{Slice: s, Time: t})
	}
	c.last, c.bare = last, nil
	if objective > 0 {
		c.bare = retain.FindUncovered(led, by, now, objective)
	}
}

// nameSlice names a slice in words.
func nameSlice(s retain.Slice) string {
	if d, err := wire.DecodeBucketDef([]byte(s.Bucket)); err == nil {
		return fmt.Sprintf("bucket %q, shard %d", d.Name, s.Shard)
	}
	return fmt.Sprintf("source %q", s.Bucket[len(sourceDef("")):])
}

// noteCoverage notes a backup that has begun at a running time, and tells when slices are bare, or not any more.
func (t *tierRun) noteCoverage(policy string, r *backupRun, begun time.Duration) {
	c, objective := t.covers[policy], t.levels[policy].Objective
	was := len(c.bare)
	c.noteBackup(r.led, r.whole, begun, objective)
	t.mu.Lock()
	t.status[policy].Bare = len(c.bare)
	t.mu.Unlock()
	if (was > 0) == (len(c.bare) > 0) {
		return
	}
	text := "all slices are backed up again"
	if len(c.bare) > 0 {
		text = fmt.Sprintf("%d slices lack a whole backup for more than %v, as %s", len(c.bare), objective, nameSlice(c.bare[0].Slice))
	}
	t.tellAlarm(Alarm{Tier: t.cfg.Name, Policy: policy, Text: text, Over: len(c.bare) == 0})
}

// tellAlarm tells a person, and the log.
func (t *tierRun) tellAlarm(a Alarm) {
	t.b.log.Warn("alarm of backups", "policy", a.Policy, "tier", a.Tier, "over", a.Over, "text", a.Text)
	if t.b.cfg.OnAlarm != nil {
		t.b.cfg.OnAlarm(a)
	}
}
