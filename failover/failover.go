package failover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/takeover"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxServices is how many services a node serves at most.
const maxServices = 60

// Failover is one node's part in running services. All methods may be used concurrently.
type Failover struct {
	cfg     Config
	log     *slog.Logger
	facts   *facts
	journal *journal // for Config.Record
	history *journal // for Config.Records
	hooks   []webhook
	plans   *planBook
	routes  *routeBook
	drills  *drillBook
	watcher *lifecycle.Group // looks and records
	works   *lifecycle.Group // runners, hooks and calls of Lead

	mu      sync.Mutex
	runners map[string]*runner
	closed  bool
	done    chan struct{} // closed when Close has ended; nil before it was called
	err     error         // of Close
}

// Open begins to run services at a node, once in the node's life. It waits for nothing.
func Open(_ context.Context, cfg Config) (*Failover, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	log := cfg.Logger.With("node", cfg.Mesh.ID().String())
	f := &Failover{
		cfg: cfg, log: log, facts: newFacts(cfg, log), plans: newPlanBook(), routes: newRouteBook(cfg.Mesh.ID(), cfg.Records), drills: newDrillBook(),
		watcher: lifecycle.NewGroup(context.Background()), works: lifecycle.NewGroup(context.Background()),
		runners: map[string]*runner{}, journal: newJournal(nil), history: newJournal(nil),
	}
	if cfg.Record != nil {
		f.journal.record = func(ctx context.Context, e numbered) error { cfg.Record(ctx, e.Event); return nil }
	}
	if cfg.Records != nil {
		f.history.record = cfg.writeEvent
	}
	if err := f.handleRequests(); err != nil {
		return nil, err
	}
	f.watcher.Go(f.journal.recordAll)
	f.watcher.Go(f.history.recordAll)
	for _, w := range cfg.Webhooks {
		j := journalOf(w, log)
		f.hooks = append(f.hooks, webhook{w, j})
		f.watcher.Go(j.recordAll)
	}
	f.watcher.Go(func(ctx context.Context) { f.facts.lookOften(ctx, f.watcher.Go, f.ringAll) })
	f.watcher.Go(f.watchStanding)
	if cfg.Records != nil {
		f.watcher.Go(f.followRecords)
		f.watcher.Go(f.routes.writeOwn)
	}
	if cfg.Recover != nil {
		f.watcher.Go(f.recoverNodes)
	}
	cfg.Mesh.OnLeave(f.withdrawAll)
	return f, nil
}

// watchStanding wakes all runners when it has changed who leads or stands.
func (f *Failover) watchStanding(ctx context.Context) {
	for range f.cfg.Elections.WatchStanding(ctx) {
		f.routes.noteChange()
		f.ringAll()
	}
}

func (f *Failover) ringAll() {
	for _, r := range f.allRunners() {
		r.factsBell.Ring()
	}
}

func (f *Failover) allRunners() (all []*runner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.runners {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *runner) int { return cmp.Compare(a.service.Plan.Service, b.service.Plan.Service) })
	return all
}

// Serve has this node stand for a service, and run it when it is its turn. With Config.Records
// the plan in there counts, once it is read. The errors are ErrConfig, ErrServed, and
// ErrClosed.
func (f *Failover) Serve(s Service) error {
	if err := s.Validate(); err != nil {
		return err
	}
	r := f.newRunner(s)
	if err := f.addRunner(r); err != nil {
		return err
	}
	r.followPlans(f.plans)
	return nil
}

func (f *Failover) addRunner(r *runner) error {
	name := r.service.Plan.Service
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return fmt.Errorf("%w: serve %s", ErrClosed, name)
	case f.runners[name] != nil:
		return fmt.Errorf("%w: %s", ErrServed, name)
	case len(f.runners) == maxServices:
		return fmt.Errorf("%w: service %s is one too many, %d are the most", ErrConfig, name, maxServices)
	}
	f.runners[name] = r
	f.works.Go(r.serveSteps)
	return nil
}

func (f *Failover) newRunner(s Service) *runner {
	r := &runner{
		service: s, self: f.cfg.Mesh.ID(), elections: f.cfg.Elections, facts: f.facts, events: f.reportEvent, started: time.Now(), log: f.log, group: f.works,
		inbox: make(chan func()), factsBell: notify.NewBell(), closing: make(chan struct{}), ended: make(chan struct{}),
		core: takeover.NewRun(s.Plan), routes: f.routes, drilling: drilling{records: f.cfg.Records, book: f.drills},
	}
	r.do, r.undo = s.stepHooks()
	r.hooks = &hooks{group: f.works, post: func(step func()) { r.post(step) }, calls: map[*hookCall]bool{}}
	r.status = notify.New(Status{Service: s.Plan.Service, Mode: s.Plan.Mode, Plan: r.core.Plan()})
	r.factsBell.Ring()
	return r
}

// reportEvent logs an event, and has it recorded.
func (f *Failover) reportEvent(e Event) {
	e.Error = strings.ToValidUTF8(e.Error[:min(len(e.Error), maxError)], "")
	level := slog.LevelInfo
	if e.What == Alarm || e.Error != "" {
		level = slog.LevelWarn
	}
	args := []any{"service", e.Service, "what", string(e.What), "token", e.Token.String()}
	for _, a := range [...]struct{ key, value string }{{"step", e.Step}, {"why", e.Why}, {"error", e.Error}} {
		if a.value != "" {
			args = append(args, a.key, a.value)
		}
	}
	if e.Other != 0 {
		args = append(args, "other", e.Other.String())
	}
	if e.What == HealthChanged {
		args = append(args, "health", e.Health.String())
	}
	f.log.Log(context.Background(), level, "service", args...)
	f.journal.addEvent(e)
	f.history.addEvent(e)
	for _, h := range f.hooks {
		if h.wantsEvent(e) {
			h.journal.addEvent(e)
		}
	}
}

func (f *Failover) findRunner(name string) (*runner, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.runners[name]
	switch {
	case f.closed:
		return nil, ErrClosed
	case r == nil:
		return nil, fmt.Errorf("%w: %.60q", ErrUnknownService, name)
	}
	return r, nil
}

func (f *Failover) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// UsePlan gives this node another plan for a service that it serves; this is for programs
// without Config.Records. Only what differs from the one before is acted upon. The errors are ErrPlan, which names all faults, ErrUnknownService
// and ErrClosed; warnings say what keeps the service from running as things are.
func (f *Failover) UsePlan(p service.Plan) (warnings []*service.Fault, err error) {
	r, err := f.findRunner(p.Service)
	if err != nil {
		return nil, err
	}
	warnings, err = p.Validate(f.knownNodes())
	if err = errors.Join(err, r.checkMode(p)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	closing := make(chan bool, 1)
	posted := r.post(func() {
		if closing <- r.closeBy != 0; r.closeBy == 0 { // a plan would have it serve again
			r.performAll(r.core.PlanChanged(r.uptime(), p))
			r.lookAround()
		}
	})
	if !posted || <-closing {
		return nil, fmt.Errorf("%w: plan of %s", ErrClosed, p.Service)
	}
	return warnings, nil
}

// knownNodes returns all members, for what plans say about them.
func (f *Failover) knownNodes() (nodes []service.Node) {
	for _, m := range f.cfg.Mesh.View().Members {
		if !m.Status.Gone() {
			nodes = append(nodes, service.Node{ID: m.ID, Name: m.Name, Zone: m.Zone, Capabilities: m.Capabilities})
		}
	}
	return nodes
}

// Move has a service that runs here go to another node, by name, in order: it is stopped
// under the lease, and then started there. It does not wait for that. That the node does not
// stand for the service comes as an Alarm. The errors are ErrUnknownService, ErrUnknownNode,
// ErrNotHere and ErrClosed.
func (f *Failover) Move(name, to string) error {
	r, err := f.findRunner(name)
	if err != nil {
		return err
	}
	v := f.cfg.Mesh.View()
	i := slices.IndexFunc(v.Members, func(m view.Member) bool { return m.Name == to && !m.Status.Gone() })
	if i < 0 {
		return fmt.Errorf("%w: move %s to %.60q", ErrUnknownNode, name, to)
	}
	result := make(chan error, 1)
	posted := r.post(func() {
		if !r.core.Leads() {
			result <- fmt.Errorf("%w: move %s to %s", ErrNotHere, name, to)
			return
		}
		result <- nil
		r.performAll(r.core.MoveAsked(r.uptime(), v.Members[i].ID))
	})
	if !posted {
		return ErrClosed
	}
	return <-result
}

// Status returns the services that this node serves, by name.
func (f *Failover) Status() (all []Status) {
	for _, r := range f.allRunners() {
		all = append(all, r.status.Get())
	}
	return all
}

// Watch returns a channel that carries the Status of one service: the present one at once,
// later ones as they come; one that is not read in time is replaced by a newer one. It is
// closed when ctx ends or the Failover is closed. The errors are ErrUnknownService and
// ErrClosed.
func (f *Failover) Watch(ctx context.Context, name string) (<-chan Status, error) {
	r, err := f.findRunner(name)
	if err != nil {
		return nil, err
	}
	return r.status.Watch(ctx), nil
}

// Dropped returns how many events Config.Record was too slow for, could not be kept in
// Config.Records, or did not reach a Webhook.
func (f *Failover) Dropped() uint64 {
	n := f.journal.countDropped() + f.history.countDropped()
	for _, h := range f.hooks {
		n += h.journal.countDropped()
	}
	return n
}

// withdrawAll ends all services in order before the node leaves the mesh.
func (f *Failover) withdrawAll(ctx context.Context) error {
	for _, r := range f.allRunners() {
		r.endSoon()
	}
	for _, r := range f.allRunners() {
		select {
		case <-r.ended:
		case <-ctx.Done():
			return fmt.Errorf("failover: leave: %s has not ended: %w", r.service.Plan.Service, ctx.Err())
		}
	}
	return nil
}

// Close ends all services of this node in order, each within the time that undoing its steps
// may take by its plan, and two seconds; others may run them then. It waits for all hooks,
// which must return when their contexts end. The error is ErrStopHangs if something of a
// service may be left. Close the Elections and the mesh after it.
func (f *Failover) Close() error {
	f.mu.Lock()
	if f.closed {
		done := f.done
		f.mu.Unlock()
		<-done
		return f.err
	}
	f.closed, f.done = true, make(chan struct{})
	f.mu.Unlock()
	defer close(f.done)
	_ = f.withdrawAll(context.Background())
	f.works.Close()
	f.watcher.Close()
	for _, r := range f.allRunners() {
		if r.hangs {
			f.err = errors.Join(f.err, fmt.Errorf("%w: %s", ErrStopHangs, r.service.Plan.Service))
		}
		r.status.Close()
	}
	return f.err
}
