package partition

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
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
	*ground
	closing sync.Once
	figures *metrics.Set

	// Each room knows those above it alone, and none the Partition.
	notices   *notices
	voters    *voters
	cloud     *cloudWatch
	fitness   *fitness
	merges    *merges
	elections *elections
	outlook   outlook
}

// outlook is what programs are shown.
type outlook struct {
	lastLook atomic.Pointer[lookResult] // by the latest look; never nil
	status   *notify.Value[Status]
	modes    *notify.Value[Mode]
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
	p := newPartition(cfg, self.Boot)
	alone := []view.NodeID{p.id} // until the first look
	first := Status{Node: p.id, Component: alone, Members: len(v.Members), Leader: Leadership{Election: p.leaderOf()}}
	p.outlook.status = notify.New(first)
	p.outlook.lastLook.Store(&lookResult{&scene{self: p.id, view: v, component: alone}, first})
	if err := p.makeDir(); err != nil {
		return nil, err
	}
	if err := p.voters.readKept(); err != nil {
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

// newPartition returns a Partition that does nothing yet.
func newPartition(cfg Config, boot uint64) *Partition {
	id := cfg.Mesh.ID()
	g := &ground{
		cfg: cfg, mesh: cfg.Mesh, log: cfg.Logger.With("node", id.String()), id: id, dir: filepath.Join(cfg.Mesh.Dir(), "partition"),
		started: time.Now(), lookBell: notify.NewBell(), leadsBell: notify.NewBell(),
	}
	p := &Partition{ground: g, figures: metrics.NewSet(id.String()), notices: newNotices(g, boot, g.uptime, g.mesh.View), voters: &voters{ground: g}}
	p.cloud = &cloudWatch{ground: g, notices: p.notices}
	p.fitness = &fitness{ground: g}
	p.merges = newMerges(g)
	p.elections = newElections(g, p.voters)
	p.outlook.modes = notify.New(Normal)
	return p
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
		methodAsk: p.elections.serveAsk, methodBack: p.elections.serveBack, methodRenew: p.elections.serveRenewals,
		methodSums: p.notices.exchange.ServeSums, methodSwap: p.notices.exchange.ServeSwap, methodResources: p.fitness.serveResources,
	} {
		if err := p.mesh.HandleIdempotent(method, p.whileOpen(serve)); err != nil {
			return p.explainRefusal(method, err)
		}
	}
	if err := p.mesh.Handle(wire.MethodAdminPartition, p.whileOpen(p.serveInspect)); err != nil {
		return p.explainRefusal(wire.MethodAdminPartition, err)
	}
	p.mesh.OnLeave(p.elections.resignAll)
	leader, err := p.elections.openElection(p.leaderOf(), maxStanding)
	if err != nil {
		return err
	}
	p.group.Go(p.newWatcher().watchMesh)
	p.group.Go(p.notices.spreadNews)
	p.group.Go(p.notices.compareAtFirst)
	p.group.Go(p.notices.compareNotices)
	p.group.Go(p.becomeReady)
	p.group.Go(p.fitness.keepScore)
	p.group.Go(p.callHooks)
	p.group.Go(p.merges.reportMerges)
	if len(p.cfg.Cloud) > 0 {
		p.group.Go(p.cloud.probeCloud)
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

// whileOpen refuses requests that come after Close.
func (p *Partition) whileOpen(serve func(context.Context, view.NodeID, []byte) ([]byte, error)) func(context.Context, view.NodeID, []byte) ([]byte, error) {
	return func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
		if p.isClosed() {
			return nil, ErrClosed
		}
		return serve(ctx, from, req)
	}
}

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
		p.elections.works.Wait()
		p.notices.sendFarewell()
		p.outlook.status.Close()
		p.outlook.modes.Close()
	})
	return nil
}

// Status returns what this node knows now.
func (p *Partition) Status() Status { return p.outlook.status.Get() }

// Watch returns a channel that carries the Status: the present one at once, later
// ones as they come; one not yet read is replaced by a newer one. The channel is
// closed when ctx ends or the Partition is closed.
func (p *Partition) Watch(ctx context.Context) <-chan Status { return p.outlook.status.Watch(ctx) }

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
	if p.outlook.modes.Get() != Normal {
		hook = p.cfg.AuthorizeLocal
	}
	if hook == nil {
		return fmt.Errorf("%w: for %s to %s, in mode %s", ErrNoAuthority, who, what, p.outlook.modes.Get())
	}
	return hook(ctx, who, what)
}
