package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh/view"
)

const chapters = 8

// edgeNames are the five nodes, by name.
func edgeNames() []string {
	return []string{"line-a-1", "line-a-2", "line-b-1", "quality-control", "warehouse"}
}

// story is a run of the factory: five processes, and what they have told.
type story struct {
	*stage.Narrator
	cast
	roles []stage.Role
	clock *clock.Clock

	identity string // opens backups

	mu     sync.Mutex
	ledger ledger
	heard  map[string][]string // notices, and the nodes that have heard them
	kept   map[string]string   // what was acknowledged when the pump failed
	names  map[view.NodeID]string

	took []time.Duration // of each failover
	end  time.Duration   // when the services were told to rest; 0: they were not
	out  outcome
}

// tellStory runs the whole story and returns its outcome.
func tellStory(ctx context.Context) (outcome, error) {
	dir, err := os.MkdirTemp("", "skein-factory-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(dir)
	s := &story{Narrator: stage.NewNarrator(chapters), clock: clock.System(),
		heard: map[string][]string{}, kept: map[string]string{}, names: map[view.NodeID]string{}}
	defer s.RemoveBar()
	defer s.KillAll()
	for i, zone := range []string{"line-a", "line-a", "line-b", "quality", "warehouse"} {
		s.roles = append(s.roles, stage.Role{Name: edgeNames()[i], Zone: zone})
	}
	if err := stage.CastRoles(filepath.Join(dir, "nodes"), 78, s.roles); err != nil {
		return outcome{}, err
	}
	identity, recipient, err := backup.NewIdentity()
	if err != nil {
		return outcome{}, err
	}
	s.identity = identity
	for i := range s.roles {
		s.roles[i].Backups, s.roles[i].Recipient = filepath.Join(dir, "backups"), recipient
	}
	for _, chapter := range []func(context.Context) error{s.startServices, s.showTelemetry, s.breakPump, s.holdDrills, s.killRunners, s.cutLine, s.checkBackups, s.endStory} {
		if err = chapter(ctx); err != nil {
			break
		}
		s.MoveBar()
	}
	s.RemoveBar()
	s.measureRuns()
	s.out.OK = err == nil && s.out.DoubleStarts == 0
	return s.out, err
}

// noteEvent takes in what a node tells.
func (s *story) noteEvent(r stage.Role, e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.Mark != "":
		s.ledger.noteMark(mark{r.Name, e.Service, e.Mark, e.Token, e.At, e.Forced})
	case e.Key != "":
		s.kept[e.Key] = e.Value
	case !slices.Contains(s.heard[e.Heard], r.Name):
		s.heard[e.Heard] = append(s.heard[e.Heard], r.Name)
	}
}

// launchNode starts a node and waits until it answers.
func (s *story) launchNode(ctx context.Context, name string) error {
	p, err := stage.StartProcess[request, answer](stage.RoleOf(s.roles, name), s.noteEvent)
	if err != nil {
		return err
	}
	a, err := p.Ask(ctx, request{Op: "status"})
	if err != nil {
		p.Kill()
		return fmt.Errorf("%s did not start: %w", name, err)
	}
	s.Add(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[a.Node] = name
	s.ledger.noteReturn(name, s.clock.Boot())
	return nil
}

// killNode pulls a node's plug, and returns when it did.
func (s *story) killNode(name string) time.Duration {
	at := s.clock.Boot()
	s.Remove(name).Kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger.noteKill(name, at)
	return at
}

// viewLedger shows the ledger to see.
func (s *story) viewLedger(see func(l *ledger)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	see(&s.ledger)
}

// servingNow lists who serves now.
func (s *story) servingNow(service string) (nodes []string) {
	s.viewLedger(func(l *ledger) { nodes = l.serving(service, s.clock.Boot()) })
	return nodes
}

// awaitServing waits until exactly these nodes serve.
func (s *story) awaitServing(ctx context.Context, service string, nodes ...string) error {
	err := stage.AwaitUntil(ctx, patience, fmt.Sprintf("%s is verified at %v", service, nodes), func() bool {
		return slices.Equal(slices.Sorted(slices.Values(s.servingNow(service))), nodes)
	})
	if err != nil {
		err = fmt.Errorf("%w; it is at %v", err, s.servingNow(service))
	}
	return err
}

// awaitElsewhere waits until the monitoring service is verified at another node after a moment, and notes
// how long that took.
func (s *story) awaitElsewhere(ctx context.Context, after time.Duration, but ...string) (found run, err error) {
	err = stage.AwaitUntil(ctx, patience, fmt.Sprintf("%s is verified elsewhere than at %v", monitoring, but), func() (ok bool) {
		s.viewLedger(func(l *ledger) { found, ok = l.firstServed(monitoring, after, but...) })
		return ok
	})
	if err == nil {
		s.took = append(s.took, found.verified-after)
	}
	return found, err
}
