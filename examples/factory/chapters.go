package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/failover"
)

const (
	failBackAfter = 6 * time.Second
	kills         = 3
	quietFor      = 1500 * time.Millisecond // for so long nothing is to happen when a node returns
	patience      = 60 * time.Second        // generous: what is measured is told, and not judged
	brokenNode    = "line-b-1"
)

func namesOfLineA() []string { return []string{"line-a-1", "line-a-2"} }

func (s *story) startServices(ctx context.Context) error {
	s.Chapter("Five edge nodes start, with a plan for each of two services")
	for _, r := range s.roles {
		if err := s.launchNode(ctx, r.Name); err != nil {
			return err
		}
	}
	if err := stage.AwaitUntil(ctx, patience, "five nodes see each other", func() bool {
		all, err := s.AskAll(ctx, request{Op: "status"})
		return err == nil && !slices.ContainsFunc(slices.Collect(maps.Values(all)), func(a answer) bool { return a.Alive != len(s.roles) })
	}); err != nil {
		return err
	}
	for _, p := range allPlans() {
		if _, err := s.Ask(ctx, "warehouse", request{Op: "plan", Plan: &p}); err != nil {
			return err
		}
		s.PrintEvent("%s, %s: %s, then %s; a drill %s; procedures %s", p.Service, p.Mode, p.Primary,
			strings.Join(p.Backups, ", "), p.Drill.Schedule, strings.Join(p.Procedures, ", "))
	}
	if _, err := s.AskAll(ctx, request{Op: "serve"}); err != nil {
		return err
	}
	for _, p := range allPlans() {
		if err := s.awaitServing(ctx, p.Service, p.Primary); err != nil {
			return err
		}
		s.PrintEvent("%s runs at its primary, %s, verified", p.Service, p.Primary)
	}
	return nil
}

func (s *story) showTelemetry(ctx context.Context) error {
	s.Chapter("All nodes measure four times a second; production monitoring follows")
	var r report
	if err := stage.AwaitUntil(ctx, patience, "the service has seen ten readings of each node", func() bool {
		a, err := s.Ask(ctx, "warehouse", request{Op: "report", Service: monitoring})
		if err != nil || a.Report == nil {
			return false
		}
		r = *a.Report
		return len(r.Readings) == len(s.roles) && slices.Min(slices.Collect(maps.Values(r.Readings))) >= 10
	}); err != nil {
		return err
	}
	sum := 0
	for _, n := range r.Readings {
		sum += n
	}
	s.PrintEvent("warehouse has found the service at %s and asked it: it has seen %d readings of %d nodes", r.Node, sum, len(r.Readings))
	return nil
}

func (s *story) breakPump(ctx context.Context) error {
	s.Chapter("The pump of " + brokenNode + " fails: its pressure falls")
	begin := time.Now()
	if _, err := s.Ask(ctx, brokenNode, request{Op: "break"}); err != nil {
		return err
	}
	if err := stage.AwaitUntil(ctx, patience, "it is written down, and all nodes hear of it", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.kept) == 3 && len(s.heard[pumpNotice(brokenNode)]) == len(s.roles)
	}); err != nil {
		return err
	}
	s.PrintEvent("all five nodes have heard of it after %s", stage.FormatDuration(time.Since(begin)))
	kept, err := s.checkKept(ctx, "quality-control")
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		s.PrintEvent("written under the token of the service: %s %s", key, kept[key])
	}
	return err
}

// checkKept reads through a node what was acknowledged when the pump failed, and returns that.
func (s *story) checkKept(ctx context.Context, through string) (kept map[string]string, err error) {
	s.mu.Lock()
	kept = maps.Clone(s.kept)
	s.mu.Unlock()
	a, err := s.Ask(ctx, through, request{Op: "read", Keys: slices.Collect(maps.Keys(kept))})
	if err == nil && !maps.Equal(a.Values, kept) {
		err = fmt.Errorf("through %s is read %v, and acknowledged was %v", through, a.Values, kept)
	}
	return kept, err
}

func (s *story) holdDrills(ctx context.Context) error {
	s.Chapter("Drills: other nodes have to show that they can")
	for _, p := range allPlans() {
		if err := s.holdDrill(ctx, p.Service, p.Primary); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) holdDrill(ctx context.Context, name, home string) error {
	if err := s.awaitServing(ctx, name, home); err != nil {
		return err
	}
	since := time.Now()
	if _, err := s.Ask(ctx, home, request{Op: "drill", Service: name}); err != nil {
		return err
	}
	var ended failover.Event
	if err := stage.AwaitUntil(ctx, patience, "the history tells how the drill has ended", func() bool {
		a, err := s.Ask(ctx, "warehouse", request{Op: "history", Service: name, Since: since})
		i := slices.IndexFunc(a.History, func(e failover.Event) bool { return e.What == failover.DrillEnded })
		if err != nil || i < 0 {
			return false
		}
		ended = a.History[i]
		return true
	}); err != nil {
		return err
	}
	if ended.Error != "" {
		return fmt.Errorf("the drill of %s has failed: %s", name, ended.Error)
	}
	if err := s.awaitServing(ctx, name, home); err != nil {
		return err
	}
	s.PrintEvent("%s has run %s, verified, which is back at %s %s after the drill was asked for", s.names[ended.Node], name, home, stage.FormatDuration(time.Since(since)))
	return nil
}

func (s *story) killRunners(ctx context.Context) error {
	s.Chapter("The node that runs production monitoring is killed, three times")
	for range kills {
		var node string
		if err := stage.AwaitUntil(ctx, patience, "one node serves", func() bool {
			serving := s.servingNow(monitoring)
			node = strings.Join(serving, " and ")
			return len(serving) == 1
		}); err != nil {
			return err
		}
		at := s.killNode(node)
		found, err := s.awaitElsewhere(ctx, at, node)
		if err != nil {
			return err
		}
		s.PrintEvent("%s is killed: the service is verified at %s after %s", node, found.node, stage.FormatDuration(found.verified-at))
		if err := s.returnNode(ctx, node, found); err != nil {
			return err
		}
	}
	home := monitoringPlan().Primary
	if err := s.awaitServing(ctx, monitoring, home); err != nil {
		return err
	}
	s.PrintEvent("it has gone back to %s, as its plan says", home)
	var first run
	s.viewLedger(func(l *ledger) { first = l.runsOf(monitoring)[0] })
	a, err := s.Ask(ctx, first.node, request{Op: "overwrite", Key: heartbeatKey, Token: first.token})
	if err != nil || !a.Fenced {
		return errors.Join(errors.New("a write with the first token was not refused"), err)
	}
	s.PrintEvent("a write with the token of its first run, %s, is refused", first.token)
	return nil
}

// returnNode starts a node again. What runs well is not to be started anew for it.
func (s *story) returnNode(ctx context.Context, node string, running run) error {
	if err := s.launchNode(ctx, node); err != nil {
		return err
	}
	if _, err := s.Ask(ctx, node, request{Op: "serve"}); err != nil {
		return err
	}
	back := s.clock.Boot()
	if err := stage.SleepFor(ctx, quietFor); err != nil {
		return err
	}
	s.viewLedger(func(l *ledger) { running = running.sameIn(l) })
	switch {
	case running.served().includes(back + quietFor):
		s.PrintEvent("%s is back, and the service runs on at %s", node, running.node)
	case running.forced:
		s.PrintEvent("%s is back; %s stood still for too long, and has lost the service", node, running.node)
	default:
		return fmt.Errorf("%s did not run on at %s when %s returned", monitoring, running.node, node)
	}
	return nil
}

func (s *story) cutLine(ctx context.Context) error {
	s.Chapter("Line A is cut off: " + strings.Join(namesOfLineA(), " ") + " | the rest")
	at := s.clock.Boot()
	if err := s.setCut(ctx, namesOfLineA()); err != nil {
		return err
	}
	found, err := s.awaitElsewhere(ctx, at, namesOfLineA()...)
	if err != nil {
		return err
	}
	s.PrintEvent("%s, in the majority, is verified at %s after %s", monitoring, found.node, stage.FormatDuration(found.verified-at))
	if err := s.awaitServing(ctx, quality, "line-a-1", "quality-control"); err != nil {
		return err
	}
	s.PrintEvent("%s runs on both sides %s after the cut: at line-a-1 and at quality-control", quality, stage.FormatDuration(s.clock.Boot()-at))
	if err := s.awaitServing(ctx, monitoring, found.node); err != nil {
		return err
	}
	s.PrintEvent("%s runs on one side alone", monitoring)
	if err := s.setCut(ctx, nil); err != nil {
		return err
	}
	at = s.clock.Boot()
	if err := s.awaitServing(ctx, quality, "quality-control"); err != nil {
		return err
	}
	s.PrintEvent("the cut heals: %s is at one node again, quality-control, after %s", quality, stage.FormatDuration(s.clock.Boot()-at))
	home := monitoringPlan().Primary
	if err := s.awaitServing(ctx, monitoring, home); err != nil {
		return err
	}
	s.PrintEvent("%s is back at %s after %s", monitoring, home, stage.FormatDuration(s.clock.Boot()-at))
	return nil
}

// setCut cuts, or with no side heals, the network between the nodes.
func (s *story) setCut(ctx context.Context, side []string) error {
	for _, r := range s.roles {
		if _, err := s.Ask(ctx, r.Name, request{Op: "cut", Blocked: stage.AcrossCut(s.roles, side, r.Name)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) endStory(ctx context.Context) error {
	s.Chapter("The end")
	for _, r := range s.roles {
		kept, err := s.checkKept(ctx, r.Name)
		if err != nil {
			return err
		}
		s.PrintEvent("read through %s: all %d records of the pump that were acknowledged", r.Name, len(kept))
	}
	for _, p := range allPlans() {
		a, err := s.Ask(ctx, "warehouse", request{Op: "history", Service: p.Service})
		if err != nil {
			return err
		}
		s.PrintEvent("the history of %s has %d events", p.Service, len(a.History))
	}
	s.end = s.clock.Boot()
	_, err := s.AskAll(ctx, request{Op: "rest"})
	ps := s.Running()
	errs := make([]error, len(ps))
	var wg sync.WaitGroup
	for i, p := range ps {
		wg.Go(func() { errs[i] = s.Remove(p.Role.Name).Close() })
	}
	wg.Wait()
	if err = errors.Join(append(errs, err)...); err == nil {
		s.PrintEvent("all services and nodes have ended in order")
	}
	return err
}

// measureRuns draws what has happened, and measures it.
func (s *story) measureRuns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, o := &s.ledger, &s.out
	runs := l.runsOf(monitoring)
	if len(runs) == 0 {
		return
	}
	all := span{runs[0].begun, s.end}
	if s.end == 0 {
		all.to = s.clock.Boot()
	}
	for _, p := range allPlans() {
		s.PrintEvent("who ran %s (█ verified, ▒ starting or ending, x down), in %s:", p.Service, stage.FormatDuration(all.to-all.from))
		for _, line := range l.drawRuns(p.Service, edgeNames(), all, 72) {
			s.PrintEvent("%s", line)
		}
	}
	o.Failovers, o.P50MS, o.MaxMS = len(s.took), percentile(s.took, 50).Milliseconds(), percentile(s.took, 100).Milliseconds()
	o.DoubleStarts, o.UnservedMS = l.doubleStarts(monitoring), l.unserved(monitoring, all).Milliseconds()
	s.PrintEvent("%d failovers, until it was verified elsewhere: %d ms (median), %d ms (the slowest)", o.Failovers, o.P50MS, o.MaxMS)
	s.PrintEvent("%s was verified nowhere for %d ms in all, and started at two nodes at once %d times", monitoring, o.UnservedMS, o.DoubleStarts)
}
