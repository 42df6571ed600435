package storage

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestGatheringWaits looks at the decision alone: how long is waited, after
// which groups.
func TestGatheringWaits(t *testing.T) {
	const sync = 8 * time.Millisecond
	many := []int{6, 6}
	for _, c := range []struct {
		name   string
		groups []int // updates of the groups before
		have   int
		age    time.Duration // of the group
		arrive time.Duration // when the next update comes, 0: never
		wait   time.Duration
		got    bool
	}{
		{"a new store", nil, 1, 0, time.Millisecond, 0, false},
		{"a lone writer", []int{1, 1, 1}, 1, 0, time.Millisecond, 0, false},
		{"others come back", many, 1, 0, 3 * time.Millisecond, 3 * time.Millisecond, true},
		{"nobody comes back", many, 1, 0, 0, sync, false},
		{"part of the time is over", many, 1, 6 * time.Millisecond, 0, 2 * time.Millisecond, false},
		{"all the time is over", many, 1, sync, 0, 0, false},
		{"all have come", many, 6, 0, time.Millisecond, 0, false},
		{"more have come", many, 7, 0, time.Millisecond, 0, false},
		{"the others have gone", []int{6, 1, 1, 1}, 1, 0, time.Millisecond, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := gathering{syncTime: sync}
				for _, n := range c.groups {
					w.noteCommit(n, 0, sync)
				}
				queue := make(chan *update, 1)
				if c.arrive > 0 {
					time.AfterFunc(c.arrive, func() { queue <- &update{} })
				}
				begin := time.Now()
				got := w.awaitUpdate(queue, c.have, begin.Add(-c.age)) != nil
				if took := time.Since(begin); got != c.got || took != c.wait {
					t.Errorf("got an update: %t after %v, want %t after %v", got, took, c.got, c.wait)
				}
			})
		})
	}
}

// TestGatheringCounts counts the writers that were seen around a group.
func TestGatheringCounts(t *testing.T) {
	for _, c := range []struct{ updates, queued, want int }{{1, 0, 1}, {1, 1, 1}, {2, 0, 2}, {3, 1, 4}} {
		var w gathering
		w.noteCommit(c.updates, c.queued, time.Millisecond)
		if w.expected != c.want {
			t.Errorf("a group of %d with %d behind it: %d expected, want %d", c.updates, c.queued, w.expected, c.want)
		}
	}
}

// TestGatheringFollowsTheDisk measures a disk of any speed soon, and does not
// take a disk that hangs once for a slow one.
func TestGatheringFollowsTheDisk(t *testing.T) {
	var w gathering
	for range 40 {
		w.noteCommit(1, 0, 20*time.Millisecond)
	}
	if w.syncTime < 19*time.Millisecond || w.syncTime > 20*time.Millisecond {
		t.Errorf("after syncs of 20 ms: %v", w.syncTime)
	}
	w.noteCommit(1, 0, time.Minute)
	if w.syncTime > 25*time.Millisecond {
		t.Errorf("after a sync of a minute: %v", w.syncTime)
	}
	for range 40 {
		w.noteCommit(1, 0, 200*time.Microsecond)
	}
	if w.syncTime > 250*time.Microsecond {
		t.Errorf("after syncs of 0.2 ms: %v", w.syncTime)
	}
}

// TestWritersShareSyncs lets writers that take different times to come back
// write to a slow disk: they form one group, which does not wait any longer
// than until the last is here; and one writer alone never waits.
func TestWritersShareSyncs(t *testing.T) {
	const sync, rounds = 20 * time.Millisecond, 50
	for _, writers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			var slow atomic.Bool
			s := openMem(t, &hookFS{FS: vfs.NewMem(), before: func(name string) error {
				if slow.Load() && strings.HasSuffix(name, ".log") {
					time.Sleep(sync)
				}
				return nil
			}})
			slow.Store(true)
			begin, before := time.Now(), s.Stats().Groups
			writeAll(t, s, writers, rounds)
			took, groups := time.Since(begin), s.Stats().Groups-before
			last := time.Duration(writers-1) * time.Millisecond // how late the last one comes
			// The first groups are still to learn.
			if most := (rounds + 5) * (sync + last); took > most {
				t.Errorf("%d writers took %v, want at most %v", writers, took, most)
			}
			if groups > rounds+5 {
				t.Errorf("%d writers made %d groups of %d updates each", writers, groups, rounds)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// writeAll has writers write so many times each; the n-th takes n ms between
// an answer and its next write.
func writeAll(t *testing.T, s *Store, writers, rounds int) {
	var all sync.WaitGroup
	for n := range writers {
		all.Go(func() {
			for range rounds {
				err := s.Update(context.Background(), func(tx *Tx) error { return tx.Set([]byte{'k', byte(n)}, nil) })
				if err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(n) * time.Millisecond)
			}
		})
	}
	all.Wait()
}
