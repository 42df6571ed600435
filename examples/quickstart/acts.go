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

// victim is the node that is killed; the cut separates west from the rest.
const victim = "gateway-3"

var west = []string{"gateway-1", "gateway-3", "gateway-5"}

func (s *story) form(ctx context.Context) error {
	s.chapter("Five gateways in three zones start, each a process with its own disk")
	begin := time.Now()
	for _, p := range s.plans {
		if err := s.launch(ctx, p); err != nil {
			return err
		}
	}
	if err := s.await(ctx, 20*time.Second, "five nodes see each other and have compared their shards", func() bool {
		return whole(s.statuses(ctx), len(s.plans))
	}); err != nil {
		return err
	}
	s.say("all five see each other after %s; every item will have 3 copies, one per zone", ms(time.Since(begin)))
	return nil
}

// write runs one writer per side while during runs. A side is the names of
// the nodes its writer reaches; none means all.
func (s *story) write(ctx context.Context, sides [][]string, during func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	begin := time.Now()
	errs := make([]error, len(sides))
	var wg sync.WaitGroup
	writers := make([]*writer, len(sides))
	for i, side := range sides {
		w := &writer{name: fmt.Sprintf("writer-%d", i+1), journal: s.journal, nodes: func() []*proc { return s.running(side...) }, ids: &s.writes}
		writers[i] = w
		wg.Go(func() { errs[i] = w.run(ctx) })
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
		s.say("an acknowledgement took %s (median), %s (99 of 100), %s (the slowest)", ms(took[n/2]), ms(took[n*99/100]), ms(took[n-1]))
	}
	if degraded+unknown > 0 {
		s.say("%d writes were kept by fewer nodes than wished, %d were never answered and written again", degraded, unknown)
	}
	return errors.Join(append(errs, err)...)
}

func (s *story) life(ctx context.Context) error {
	s.chapter("This host's telemetry is written through random nodes")
	return s.write(ctx, [][]string{nil}, func(ctx context.Context) error {
		before := s.journal.count()
		if err := pause(ctx, lifeFor); err != nil {
			return err
		}
		s.say("%d writes acknowledged (%d a second), each synced on at least 2 disks first",
			s.journal.count()-before, int(float64(s.journal.count()-before)/lifeFor.Seconds()))
		return nil
	})
}

func (s *story) death(ctx context.Context) error {
	s.chapter("One node dies: " + victim + " gets SIGKILL; writing goes on")
	return s.write(ctx, [][]string{nil}, func(ctx context.Context) error {
		begin := time.Now()
		s.remove(victim).kill()
		killed := time.Now()
		var gone map[string]time.Time
		if err := s.await(ctx, 20*time.Second, "all survivors noticed the death", func() bool {
			gone = s.firstSeen(victim, begin, view.Suspect, view.Failed)
			return len(gone) == len(s.plans)-1
		}); err != nil {
			return err
		}
		for _, name := range sortedNames(gone) {
			s.say("%s stopped counting on it after %s", name, ms(gone[name].Sub(killed)))
			s.out.DetectMS = max(s.out.DetectMS, gone[name].Sub(killed).Milliseconds())
		}
		if err := pause(ctx, deathFor-time.Since(killed)); err != nil {
			return err
		}
		for name, at := range s.firstSeen(victim, begin, view.Failed) {
			s.say("%s gave it up for failed after %s", name, ms(at.Sub(killed)))
		}
		hints := 0
		for _, st := range s.statuses(ctx) {
			hints += st.Hints
		}
		s.say("%d writes are held as hints for it on other nodes' disks", hints)
		return s.rebirth(ctx)
	})
}

func (s *story) rebirth(ctx context.Context) error {
	s.say("%s is started again on its old disk", victim)
	begin := time.Now()
	if err := s.launch(ctx, s.plans[slices.IndexFunc(s.plans, func(p plan) bool { return p.Name == victim })]); err != nil {
		return err
	}
	if err := s.await(ctx, 30*time.Second, "the hints were delivered and the shards compared", func() bool {
		all := s.statuses(ctx)
		return whole(all, len(s.plans))
	}); err != nil {
		return err
	}
	s.out.RejoinMS = time.Since(begin).Milliseconds()
	s.say("it has what it missed, all hints delivered, after %s", ms(time.Since(begin)))
	return nil
}

// sever cuts or, with no sides, heals the network between the running nodes.
func (s *story) sever(ctx context.Context, side []string) error {
	for _, pr := range s.running() {
		var blocked []string
		for _, other := range s.plans {
			if side != nil && slices.Contains(side, other.Name) != slices.Contains(side, pr.plan.Name) {
				blocked = append(blocked, other.Addr.String())
			}
		}
		if _, err := pr.ask(ctx, request{Op: "cut", Blocked: blocked}); err != nil {
			return fmt.Errorf("cut %s off: %w", pr.plan.Name, err)
		}
	}
	return nil
}

func (s *story) cut(ctx context.Context) error {
	east := slices.DeleteFunc(names(s.plans), func(name string) bool { return slices.Contains(west, name) })
	s.chapter("The network is cut: " + strings.Join(west, " ") + " | " + strings.Join(east, " "))
	if err := s.sever(ctx, west); err != nil {
		return err
	}
	begin := time.Now()
	err := s.write(ctx, [][]string{west, east}, func(ctx context.Context) (err error) {
		before := s.journal.count()
		if s.out.LeadersDuringCut, err = s.follow(ctx, cutFor, steadyFor, west, east); err != nil {
			return err
		}
		s.say("both sides went on: %d writes acknowledged in %s", s.journal.count()-before, ms(time.Since(begin)))
		for _, side := range [][]string{west, east} {
			s.sayViews(ctx, side)
		}
		s.sayLeaders(s.out.LeadersDuringCut, begin, "the cut")
		return nil
	})
	if err != nil {
		return err
	}
	s.say("the cut heals after %s", ms(time.Since(begin)))
	return s.merge(ctx)
}

func (s *story) sayViews(ctx context.Context, side []string) {
	for _, st := range s.statuses(ctx) {
		s.mu.Lock()
		name := s.names[st.Node]
		s.mu.Unlock()
		if slices.Contains(side, name) {
			s.say("%s counts on %d of 5 and holds %d hints for the others", name, st.Alive, st.Hints)
		}
	}
}

func (s *story) merge(ctx context.Context) error {
	before := moved(s.statuses(ctx))
	begin := time.Now()
	if err := s.sever(ctx, nil); err != nil {
		return err
	}
	var wg sync.WaitGroup
	var led error
	wg.Go(func() { led = s.reunite(ctx) })
	err := s.await(ctx, 45*time.Second, "all five agree on members and data", func() bool {
		all := s.statuses(ctx)
		return whole(all, len(s.plans)) && agree(all)
	})
	took := time.Since(begin)
	wg.Wait()
	if err := errors.Join(err, led); err != nil {
		return err
	}
	s.out.MergeMS = took.Milliseconds()
	s.say("members and data are one again after %s; %d items differed and were exchanged beyond the hints",
		ms(took), moved(s.statuses(ctx))-before)
	s.sayLeaders(s.out.LeadersAfter, begin, "the heal")
	return s.conflicts(ctx)
}

// conflicts shows how writes to one key on both sides ended.
func (s *story) conflicts(ctx context.Context) error {
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
	a, err := s.running()[0].ask(ctx, request{Op: "read", Keys: slices.Compact(keys)})
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
	s.say("%d keys were written on both sides: both values are kept, the newest is shown, the next write replaces both", s.out.Conflicts)
	if example != "" {
		s.say("for example %s", example)
	}
	return nil
}

func (s *story) after(ctx context.Context) error {
	s.chapter("Life goes on")
	return s.write(ctx, [][]string{nil}, func(ctx context.Context) error {
		begin := time.Now()
		leaders, err := s.follow(ctx, afterFor, steadyFor, names(s.plans))
		s.sayLeaders(leaders, begin, "the drain")
		return err
	})
}

func moved(all []*status) uint64 {
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

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func ms(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
