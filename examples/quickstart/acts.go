package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	lifeFor  = 7 * time.Second
	deathFor = 9 * time.Second  // long enough for the dead node to be given up
	cutFor   = 12 * time.Second // long enough for each side to give up the other and choose a leader
	afterFor = 4 * time.Second
)

// killedNode is the node that is killed; the cut separates west from the rest.
const killedNode = "gateway-3"

var west = []string{"gateway-1", "gateway-3", "gateway-5"}

func (s *story) formMesh(ctx context.Context) error {
	s.Chapter("Five gateways in three zones start, each a process with its own disk")
	begin := time.Now()
	for _, p := range s.roles {
		if err := s.launch(ctx, p); err != nil {
			return err
		}
	}
	if err := s.awaitUntil(ctx, 20*time.Second, "five nodes see each other and have compared their shards", func() bool {
		return isWhole(s.statuses(ctx), len(s.roles))
	}); err != nil {
		return err
	}
	s.PrintEvent("all five see each other after %s; every item will have 3 copies, one per zone", stage.FormatDuration(time.Since(begin)))
	return nil
}

// writeDuring runs one writer per side while during runs. A side is the names of
// the nodes its writer reaches; none means all.
func (s *story) writeDuring(ctx context.Context, sides [][]string, during func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	begin := time.Now()
	errs := make([]error, len(sides))
	var wg sync.WaitGroup
	writers := make([]*writer, len(sides))
	for i, side := range sides {
		w := &writer{name: fmt.Sprintf("writer-%d", i+1), journal: s.journal, nodes: func() []*proc { return s.Running(side...) }, ids: &s.writes}
		writers[i] = w
		wg.Go(func() { errs[i] = w.writeSamples(ctx) })
	}
	err := during(ctx)
	stop()
	wg.Wait()
	s.writing += time.Since(begin)
	var degraded, unknown int64
	var took []time.Duration
	for _, w := range writers {
		degraded, unknown = degraded+w.degraded.Load(), unknown+w.unknown.Load()
		took = append(took, w.took...)
	}
	if n := len(took); n > 0 {
		slices.Sort(took)
		s.PrintEvent("an acknowledgement took %s (median), %s (99 of 100), %s (the slowest)", stage.FormatDuration(took[n/2]), stage.FormatDuration(took[n*99/100]), stage.FormatDuration(took[n-1]))
	}
	if degraded+unknown > 0 {
		s.PrintEvent("%d writes were kept by fewer nodes than wished, %d were never answered and written again", degraded, unknown)
	}
	return errors.Join(append(errs, err)...)
}

func (s *story) writeNormally(ctx context.Context) error {
	s.Chapter("This host's telemetry is written through random nodes")
	return s.writeDuring(ctx, [][]string{nil}, func(ctx context.Context) error {
		before := s.journal.countAcked()
		if err := stage.SleepFor(ctx, lifeFor); err != nil {
			return err
		}
		s.PrintEvent("%d writes acknowledged (%d a second), each synced on at least 2 disks first",
			s.journal.countAcked()-before, int(float64(s.journal.countAcked()-before)/lifeFor.Seconds()))
		return nil
	})
}

func (s *story) killNode(ctx context.Context) error {
	s.Chapter("One node dies: " + killedNode + " gets SIGKILL; writing goes on")
	return s.writeDuring(ctx, [][]string{nil}, func(ctx context.Context) error {
		begin := time.Now()
		s.Remove(killedNode).Kill()
		killed := time.Now()
		var gone map[string]time.Time
		if err := s.awaitUntil(ctx, 20*time.Second, "all survivors noticed the death", func() bool {
			gone = s.firstSeen(killedNode, begin, view.Suspect, view.Failed)
			return len(gone) == len(s.roles)-1
		}); err != nil {
			return err
		}
		for _, name := range sortedNames(gone) {
			s.PrintEvent("%s stopped counting on it after %s", name, stage.FormatDuration(gone[name].Sub(killed)))
			s.out.DetectMS = max(s.out.DetectMS, gone[name].Sub(killed).Milliseconds())
		}
		if err := stage.SleepFor(ctx, deathFor-time.Since(killed)); err != nil {
			return err
		}
		for name, at := range s.firstSeen(killedNode, begin, view.Failed) {
			s.PrintEvent("%s gave it up for failed after %s", name, stage.FormatDuration(at.Sub(killed)))
		}
		hints := 0
		for _, st := range s.statuses(ctx) {
			hints += st.Hints
		}
		s.PrintEvent("%d writes are held as hints for it on other nodes' disks", hints)
		return s.restartNode(ctx)
	})
}

func (s *story) restartNode(ctx context.Context) error {
	s.PrintEvent("%s is started again on its old disk", killedNode)
	begin := time.Now()
	if err := s.launch(ctx, stage.RoleOf(s.roles, killedNode)); err != nil {
		return err
	}
	if err := s.awaitUntil(ctx, 30*time.Second, "the hints were delivered and the shards compared", func() bool {
		all := s.statuses(ctx)
		return isWhole(all, len(s.roles))
	}); err != nil {
		return err
	}
	s.out.RejoinMS = time.Since(begin).Milliseconds()
	s.PrintEvent("it has what it missed, all hints delivered, after %s", stage.FormatDuration(time.Since(begin)))
	return nil
}

// setCut cuts or, with no sides, heals the network between the running nodes.
func (s *story) setCut(ctx context.Context, side []string) error {
	for _, pr := range s.Running() {
		if _, err := pr.Ask(ctx, request{Op: "cut", Blocked: stage.AcrossCut(s.roles, side, pr.Role.Name)}); err != nil {
			return fmt.Errorf("cut %s off: %w", pr.Role.Name, err)
		}
	}
	return nil
}

func (s *story) cutNetwork(ctx context.Context) error {
	east := slices.DeleteFunc(roleNames(s.roles), func(name string) bool { return slices.Contains(west, name) })
	s.Chapter("The network is cut: " + strings.Join(west, " ") + " | " + strings.Join(east, " "))
	if err := s.setCut(ctx, west); err != nil {
		return err
	}
	begin := time.Now()
	err := s.writeDuring(ctx, [][]string{west, east}, func(ctx context.Context) (err error) {
		before := s.journal.countAcked()
		if s.out.LeadersDuringCut, err = s.followLeaders(ctx, cutFor, steadyFor, west, east); err != nil {
			return err
		}
		s.PrintEvent("both sides went on: %d writes acknowledged in %s", s.journal.countAcked()-before, stage.FormatDuration(time.Since(begin)))
		for _, side := range [][]string{west, east} {
			s.sayViews(ctx, side)
		}
		s.sayLeaders(s.out.LeadersDuringCut, begin, "the cut")
		return nil
	})
	if err != nil {
		return err
	}
	s.PrintEvent("the cut heals after %s", stage.FormatDuration(time.Since(begin)))
	return s.healCut(ctx)
}

func (s *story) sayViews(ctx context.Context, side []string) {
	for _, st := range s.statuses(ctx) {
		s.mu.Lock()
		name := s.names[st.Node]
		s.mu.Unlock()
		if slices.Contains(side, name) {
			s.PrintEvent("%s counts on %d of 5 and holds %d hints for the others", name, st.Alive, st.Hints)
		}
	}
}

func (s *story) healCut(ctx context.Context) error {
	before := sumMoved(s.statuses(ctx))
	begin := time.Now()
	if err := s.setCut(ctx, nil); err != nil {
		return err
	}
	var wg sync.WaitGroup
	var led error
	wg.Go(func() { led = s.followReunion(ctx) })
	err := s.awaitUntil(ctx, 45*time.Second, "all five agree on members and data", func() bool {
		all := s.statuses(ctx)
		return isWhole(all, len(s.roles)) && digestsAgree(all)
	})
	took := time.Since(begin)
	wg.Wait()
	if err := errors.Join(err, led); err != nil {
		return err
	}
	s.out.MergeMS = took.Milliseconds()
	s.PrintEvent("members and data are one again after %s; %d items differed and were exchanged beyond the hints",
		stage.FormatDuration(took), sumMoved(s.statuses(ctx))-before)
	s.sayLeaders(s.out.LeadersAfter, begin, "the heal")
	return s.showConflicts(ctx)
}

// showConflicts shows how writes to one key on both sides ended.
func (s *story) showConflicts(ctx context.Context) error {
	entries, err := readJournal(s.journal.file.Name())
	if err != nil {
		return err
	}
	var keys []string
	for _, e := range entries {
		if strings.HasPrefix(e.Key, "now/") {
			keys = append(keys, e.Key)
		}
	}
	slices.Sort(keys)
	a, err := s.Running()[0].Ask(ctx, request{Op: "read", Keys: slices.Compact(keys)})
	if err != nil {
		return err
	}
	var example string
	for key, v := range a.Values {
		if len(v.All) < 2 {
			continue
		}
		s.out.Conflicts++
		if line := fmt.Sprintf("%s: %s; shown: %s", key, bytes.Join(v.All, []byte(" beside ")), v.Shown); example == "" || line < example {
			example = line
		}
	}
	s.PrintEvent("%d keys were written on both sides: both values are kept, the newest is shown, the next write replaces both", s.out.Conflicts)
	if example != "" {
		s.PrintEvent("for example %s", example)
	}
	return nil
}

func (s *story) carryOn(ctx context.Context) error {
	s.Chapter("Life goes on")
	return s.writeDuring(ctx, [][]string{nil}, func(ctx context.Context) error {
		begin := time.Now()
		leaders, err := s.followLeaders(ctx, afterFor, steadyFor, roleNames(s.roles))
		s.sayLeaders(leaders, begin, "the drain")
		return err
	})
}

func sumMoved(all []*status) uint64 {
	var n uint64
	for _, st := range all {
		n += st.Moved
	}
	return n
}

func sortedNames(m map[string]time.Time) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { return m[a].Compare(m[b]) })
	return names
}
