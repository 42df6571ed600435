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
	s.chapter("Five gateways in three zones start, each a process with its own disk")
	begin := time.Now()
	for _, p := range s.plans {
		if err := s.launch(ctx, p); err != nil {
			return err
		}
	}
	if err := s.awaitUntil(ctx, 20*time.Second, "five nodes see each other and have compared their shards", func() bool {
		return isWhole(s.statuses(ctx), len(s.plans))
	}); err != nil {
		return err
	}
	s.printEvent("all five see each other after %s; every item will have 3 copies, one per zone", formatDuration(time.Since(begin)))
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
		w := &writer{name: fmt.Sprintf("writer-%d", i+1), journal: s.journal, nodes: func() []*proc { return s.running(side...) }, ids: &s.writes}
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
		s.printEvent("an acknowledgement took %s (median), %s (99 of 100), %s (the slowest)", formatDuration(took[n/2]), formatDuration(took[n*99/100]), formatDuration(took[n-1]))
	}
	if degraded+unknown > 0 {
		s.printEvent("%d writes were kept by fewer nodes than wished, %d were never answered and written again", degraded, unknown)
	}
	return errors.Join(append(errs, err)...)
}

func (s *story) writeNormally(ctx context.Context) error {
	s.chapter("This host's telemetry is written through random nodes")
	return s.writeDuring(ctx, [][]string{nil}, func(ctx context.Context) error {
		before := s.journal.countAcked()
		if err := sleepFor(ctx, lifeFor); err != nil {
			return err
		}
		s.printEvent("%d writes acknowledged (%d a second), each synced on at least 2 disks first",
			s.journal.countAcked()-before, int(float64(s.journal.countAcked()-before)/lifeFor.Seconds()))
		return nil
	})
}

func (s *story) killNode(ctx context.Context) error {
	s.chapter("One node dies: " + killedNode + " gets SIGKILL; writing goes on")
	return s.writeDuring(ctx, [][]string{nil}, func(ctx context.Context) error {
		begin := time.Now()
		s.removeProc(killedNode).killAndWait()
		killed := time.Now()
		var gone map[string]time.Time
		if err := s.awaitUntil(ctx, 20*time.Second, "all survivors noticed the death", func() bool {
			gone = s.firstSeen(killedNode, begin, view.Suspect, view.Failed)
			return len(gone) == len(s.plans)-1
		}); err != nil {
			return err
		}
		for _, name := range sortedNames(gone) {
			s.printEvent("%s stopped counting on it after %s", name, formatDuration(gone[name].Sub(killed)))
			s.out.DetectMS = max(s.out.DetectMS, gone[name].Sub(killed).Milliseconds())
		}
		if err := sleepFor(ctx, deathFor-time.Since(killed)); err != nil {
			return err
		}
		for name, at := range s.firstSeen(killedNode, begin, view.Failed) {
			s.printEvent("%s gave it up for failed after %s", name, formatDuration(at.Sub(killed)))
		}
		hints := 0
		for _, st := range s.statuses(ctx) {
			hints += st.Hints
		}
		s.printEvent("%d writes are held as hints for it on other nodes' disks", hints)
		return s.restartNode(ctx)
	})
}

func (s *story) restartNode(ctx context.Context) error {
	s.printEvent("%s is started again on its old disk", killedNode)
	begin := time.Now()
	if err := s.launch(ctx, s.plans[slices.IndexFunc(s.plans, func(p plan) bool { return p.Name == killedNode })]); err != nil {
		return err
	}
	if err := s.awaitUntil(ctx, 30*time.Second, "the hints were delivered and the shards compared", func() bool {
		all := s.statuses(ctx)
		return isWhole(all, len(s.plans))
	}); err != nil {
		return err
	}
	s.out.RejoinMS = time.Since(begin).Milliseconds()
	s.printEvent("it has what it missed, all hints delivered, after %s", formatDuration(time.Since(begin)))
	return nil
}

// setCut cuts or, with no sides, heals the network between the running nodes.
func (s *story) setCut(ctx context.Context, side []string) error {
	for _, pr := range s.running() {
		var blocked []string
		for _, other := range s.plans {
			if side != nil && slices.Contains(side, other.Name) != slices.Contains(side, pr.plan.Name) {
				blocked = append(blocked, other.Addr.String())
			}
		}
		if _, err := pr.sendRequest(ctx, request{Op: "cut", Blocked: blocked}); err != nil {
			return fmt.Errorf("cut %s off: %w", pr.plan.Name, err)
		}
	}
	return nil
}

func (s *story) cutNetwork(ctx context.Context) error {
	east := slices.DeleteFunc(planNames(s.plans), func(name string) bool { return slices.Contains(west, name) })
	s.chapter("The network is cut: " + strings.Join(west, " ") + " | " + strings.Join(east, " "))
	if err := s.setCut(ctx, west); err != nil {
		return err
	}
	begin := time.Now()
	err := s.writeDuring(ctx, [][]string{west, east}, func(ctx context.Context) (err error) {
		before := s.journal.countAcked()
		if s.out.LeadersDuringCut, err = s.followLeaders(ctx, cutFor, steadyFor, west, east); err != nil {
			return err
		}
		s.printEvent("both sides went on: %d writes acknowledged in %s", s.journal.countAcked()-before, formatDuration(time.Since(begin)))
		for _, side := range [][]string{west, east} {
			s.sayViews(ctx, side)
		}
		s.sayLeaders(s.out.LeadersDuringCut, begin, "the cut")
		return nil
	})
	if err != nil {
		return err
	}
	s.printEvent("the cut heals after %s", formatDuration(time.Since(begin)))
	return s.healCut(ctx)
}

func (s *story) sayViews(ctx context.Context, side []string) {
	for _, st := range s.statuses(ctx) {
		s.mu.Lock()
		name := s.names[st.Node]
		s.mu.Unlock()
		if slices.Contains(side, name) {
			s.printEvent("%s counts on %d of 5 and holds %d hints for the others", name, st.Alive, st.Hints)
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
		return isWhole(all, len(s.plans)) && digestsAgree(all)
	})
	took := time.Since(begin)
	wg.Wait()
	if err := errors.Join(err, led); err != nil {
		return err
	}
	s.out.MergeMS = took.Milliseconds()
	s.printEvent("members and data are one again after %s; %d items differed and were exchanged beyond the hints",
		formatDuration(took), sumMoved(s.statuses(ctx))-before)
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
	a, err := s.running()[0].sendRequest(ctx, request{Op: "read", Keys: slices.Compact(keys)})
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
	s.printEvent("%d keys were written on both sides: both values are kept, the newest is shown, the next write replaces both", s.out.Conflicts)
	if example != "" {
		s.printEvent("for example %s", example)
	}
	return nil
}

func (s *story) carryOn(ctx context.Context) error {
	s.chapter("Life goes on")
	return s.writeDuring(ctx, [][]string{nil}, func(ctx context.Context) error {
		begin := time.Now()
		leaders, err := s.followLeaders(ctx, afterFor, steadyFor, planNames(s.plans))
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

func sleepFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func formatDuration(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
