package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/exchange"
	"github.com/skeinmesh/skein/internal/host"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/metrics"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Partition is one node's part in seeing cuts and choosing leaders. All methods may
// be used concurrently.
type Partition struct {
	cfg     Config
	mesh    Mesh
	log     *slog.Logger
	id      view.NodeID
	dir     string
	started time.Time

	group   *lifecycle.Group
	works   sync.WaitGroup // what Lead was given
	closing sync.Once

	notices   *notices
	exchange  *exchange.Exchanger[view.NodeID, wire.NoticeVersion, wire.Notice]
	voters    voters
	leadsBell notify.Bell // who leads or stands here has changed
	cloud     cloudReport
	leaving   atomic.Bool // the node goes for good
	ready     atomic.Bool // the others had their time to be met
	lookBell  notify.Bell
	scene     atomic.Pointer[scene]
	lastLook  atomic.Pointer[lookResult] // by the latest look; never nil
	score     atomic.Uint64
	machine   atomic.Pointer[host.Figures] // as last read; nil before
	status    *notify.Value[Status]
	modes     *notify.Value[Mode]
	figures   *metrics.Set
	returned  chan []view.NodeID // capacity 1: members that are back, to be reported
	reports   mergeReports
	renewals  *renewals

	mu        sync.Mutex
	elections map[Election]*election
	standing  int // how many of them this node stands for
}

const leaderElection = "mesh"

// Open begins to watch over a running node's place in its mesh, and takes part in
// elections. It does not wait for peers; ctx bounds the opening only. Every node of
// a mesh should open one: a node without one neither votes nor is led. A node has one in
// its life, others end in ErrSecond.
func Open(ctx context.Context, cfg Config) (*Partition, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	v := cfg.Mesh.View()
	self, ok := v.Member(cfg.Mesh.ID())
	if !ok {
		return nil, fmt.Errorf("partition: open: %w", ErrClosed)
	}
	p := &Partition{
		cfg: cfg, mesh: cfg.Mesh, log: cfg.Logger.With("node", cfg.Mesh.ID().String()), id: cfg.Mesh.ID(), dir: filepath.Join(cfg.Mesh.Dir(), "partition"), started: time.Now(),
		leadsBell: notify.NewBell(), lookBell: notify.NewBell(), returned: make(chan []view.NodeID, 1),
		elections: map[Election]*election{},
		modes:     notify.New(Normal),
		figures:   metrics.NewSet(cfg.Mesh.ID().String()),
	}
	p.notices = newNotices(p.id, self.Boot, p.uptime, p.mesh.View)
	p.exchange = p.newExchanger()
	p.renewals = newRenewals(p)
	alone := []view.NodeID{p.id} // until the first look
	first := Status{Node: p.id, Component: alone, Members: len(v.Members), Leader: Leadership{Election: p.leaderOf()}}
	p.status = notify.New(first)
	p.lastLook.Store(&lookResult{&scene{self: p.id, view: v, component: alone}, first})
	if err := p.makeDir(); err != nil {
		return nil, err
	}
	if err := p.readVoters(); err != nil {
		return nil, err
	}
	p.group = lifecycle.NewGroup(context.WithoutCancel(ctx))
	if err := p.startServices(); errors.Is(err, ErrSecond) {
		p.group.Close() // without a farewell: it would be the other one's
		return nil, err
	} else if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Partition) makeDir() error {
	if err := p.cfg.fs.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	if err := file.SyncDir(p.cfg.fs, filepath.Dir(p.dir)); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}

// explainRefusal says why the node does not let this Partition serve a method: it has
// stopped, or serves the method for another Partition.
func (p *Partition) explainRefusal(method string, err error) error {
	why := ErrSecond
	select {
	case <-p.mesh.Done():
		why = ErrClosed
	default:
	}
	return fmt.Errorf("%w: serve %s: %w", why, method, err)
}

func (p *Partition) startServices() error {
	for method, serve := range map[string]func(context.Context, view.NodeID, []byte) ([]byte, error){
		methodAsk: p.serveAsk, methodBack: p.serveBack, methodSums: p.exchange.ServeSums, methodSwap: p.exchange.ServeSwap,
		methodResources: p.serveResources, methodRenew: p.serveRenewals,
	} {
		if err := p.mesh.HandleIdempotent(method, p.whileOpen(serve)); err != nil {
			return p.explainRefusal(method, err)
		}
	}
	if err := p.mesh.Handle(wire.MethodAdminPartition, p.whileOpen(p.serveInspect)); err != nil {
		return p.explainRefusal(wire.MethodAdminPartition, err)
	}
	p.mesh.OnLeave(p.resignAll)
	leader, err := p.openElection(p.leaderOf(), maxStanding)
	if err != nil {
		return err
	}
	p.group.Go(p.watchMesh)
	p.group.Go(p.spreadNews)
	p.group.Go(p.compareNotices)
	p.group.Go(p.becomeReady)
	p.group.Go(p.keepScore)
	p.group.Go(p.callHooks)
	p.group.Go(p.reportMerges)
	if len(p.cfg.Cloud) > 0 {
		p.group.Go(p.probeCloud)
	}
	p.group.Go(func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-p.mesh.Done():
			p.group.Cancel()
		}
	})
	if !p.cfg.Observe {
		p.group.Go(func(ctx context.Context) {
			err := leader.standFor(ctx, func(ctx context.Context, _ token.Token) { <-ctx.Done() })
			if ctx.Err() == nil && !p.leaving.Load() {
				p.log.Error("this node does not stand for the lead of its component", "error", err)
			}
		})
	}
	return nil
}

// leaderOf is the election of the leader that Status shows.
func (p *Partition) leaderOf() Election { return Election{Name: leaderElection, Scope: p.cfg.Scope} }

// whileOpen refuses requests that come after Close.
func (p *Partition) whileOpen(serve func(context.Context, view.NodeID, []byte) ([]byte, error)) func(context.Context, view.NodeID, []byte) ([]byte, error) {
	return func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
		if p.isClosed() {
			return nil, ErrClosed
		}
		return serve(ctx, from, req)
	}
}

func (p *Partition) isClosed() bool { return p.group.Context().Err() != nil }

// becomeReady gives the others time to be met, so that a mesh that starts does not
// begin with a leader for each node.
func (p *Partition) becomeReady(ctx context.Context) {
	if p.mesh.Ready(ctx) != nil || !clock.Sleep(ctx, max(2*p.cfg.Pace.Renew, time.Second)) {
		return
	}
	p.ready.Store(true)
	p.lookBell.Ring()
}

// Close ends the work of every Lead and waits for it, gives back what leads this
// node had, and waits for all that was started: two seconds at most beyond what work
// and hooks take to return, whoever is silent. It must not be called by work or a
// hook.
func (p *Partition) Close() error {
	p.closing.Do(func() {
		p.group.Close()
		p.works.Wait()
		p.sendFarewell()
		p.status.Close()
		p.modes.Close()
	})
	return nil
}

// Status returns what this node knows now.
func (p *Partition) Status() Status { return p.status.Get() }

// Watch returns a channel that carries the Status: the present one at once, later
// ones as they come; one not yet read is replaced by a newer one. The channel is
// closed when ctx ends or the Partition is closed.
func (p *Partition) Watch(ctx context.Context) <-chan Status { return p.status.Watch(ctx) }

// AllowsBucket tells whether a bucket may be written to in the present mode, as
// Config.Levels say. Nobody is held to it: ask before you write.
func (p *Partition) AllowsBucket(name string) bool { return p.allowsName(name, Level.restsBucket) }

// AllowsService tells whether a service may run in the present mode, as
// Config.Levels say.
func (p *Partition) AllowsService(name string) bool { return p.allowsName(name, Level.restsService) }

// Authorize asks whether somebody may do something: the cloud, by Config.Authorize,
// in mode Normal, and Config.AuthorizeLocal in all others, so that people can work
// while the site is on its own. The error is that of the hook, or ErrNoAuthority
// where there is none.
func (p *Partition) Authorize(ctx context.Context, who, what string) error {
	hook := p.cfg.Authorize
	if p.modes.Get() != Normal {
		hook = p.cfg.AuthorizeLocal
	}
	if hook == nil {
		return fmt.Errorf("%w: for %s to %s, in mode %s", ErrNoAuthority, who, what, p.modes.Get())
	}
	return hook(ctx, who, what)
}

// uptime is this node's run time.
func (p *Partition) uptime() time.Duration { return time.Since(p.started) }

// fieldOf returns what an election may know of the others; nil: nothing yet.
func (p *Partition) fieldOf(name Election) *elect.Field {
	s := p.scene.Load()
	if s == nil {
		return nil
	}
	f := s.electionField(name)
	f.Electorate, f.Electors = p.electorateOf(name.Scope, s.view, s.component)
	return &f
}
