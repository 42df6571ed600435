package partition

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/host"
	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/mesh/view"
)

// What a notice says of the cloud.
const (
	noProbes      = 0
	reachable     = 1
	unreachable   = 2
	ableToProbe   = 3
	probersOfSite = 3
)

// cloudReport is what this node's own probes have found.
type cloudReport struct{ value atomic.Uint32 }

func (c *cloudReport) noticeCode() uint8 { return uint8(c.value.Load()) }

// cloudReports reads what the nodes say of the cloud out of their notices.
func (p *Partition) cloudReports(told map[view.NodeID]heardNotice) (out []mode.Report) {
	for id, n := range told {
		switch n.Cloud {
		case reachable:
			out = append(out, mode.Report{Node: id, Cloud: mode.Reachable, At: n.at})
		case unreachable:
			out = append(out, mode.Report{Node: id, Cloud: mode.Unreachable, At: n.at})
		}
	}
	return out
}

// probeCloud probes for as long as this node is one of the few of its component
// that do.
func (p *Partition) probeCloud(ctx context.Context) {
	r := mode.NewReachability(p.cfg.modeParams())
	p.cloud.value.Store(ableToProbe)
	for {
		if !clock.Sleep(ctx, r.Pause(rand.Float64())) {
			return
		}
		if !p.chosenToProbe() {
			r = mode.NewReachability(p.cfg.modeParams())
			p.reportCloud(ableToProbe)
			continue
		}
		verdict, _ := r.Result(p.anyAnswers(ctx))
		if ctx.Err() != nil {
			return
		}
		switch verdict {
		case mode.Reachable:
			p.reportCloud(reachable)
		case mode.Unreachable:
			p.reportCloud(unreachable)
		}
	}
}

// reportCloud has the others know what the probes say, and again before that has aged.
func (p *Partition) reportCloud(code uint32) {
	changed := p.cloud.value.Swap(code) != code
	now := p.uptime()
	if !changed && code != ableToProbe && now-p.notices.ownNotice().at > p.cfg.modeParams().FreshFor/3 {
		p.notices.repeatOwn()
		changed = true
	}
	if changed {
		p.lookBell.Ring()
	}
}

// chosenToProbe tells whether this node is one of those that probe.
func (p *Partition) chosenToProbe() bool {
	s := p.scene.Load()
	if s == nil {
		return false
	}
	var able []view.NodeID
	for _, id := range s.component {
		if id == p.id || s.notices[id].Cloud != noProbes {
			able = append(able, id)
		}
	}
	return slices.Contains(mode.Probers(able, probersOfSite), p.id)
}

// anyAnswers tries the probes in turn until one succeeds.
func (p *Partition) anyAnswers(ctx context.Context) bool {
	for _, probe := range p.cfg.Cloud {
		ctx, cancel := context.WithTimeout(ctx, p.cfg.ProbeTimeout)
		err := probe.Check(ctx)
		cancel()
		if err == nil {
			return true
		}
		p.log.Debug("the cloud does not answer", "error", err)
	}
	return false
}

// callHooks calls OnMode after each change of the mode.
func (p *Partition) callHooks(ctx context.Context) {
	was := Normal
	for mode := range p.modes.Watch(ctx) {
		if mode == was {
			continue
		}
		if p.cfg.OnMode != nil {
			p.cfg.OnMode(ctx, was, mode)
		}
		was = mode
	}
}

// allowsName tells whether no level of the present mode, or one below it, rests what is
// named.
func (p *Partition) allowsName(name string, rests func(Level, string) bool) bool {
	for m := Local; m <= p.modes.Get(); m++ {
		if rests(p.cfg.Levels[m], name) {
			return false
		}
	}
	return !rests(p.cfg.Levels[Normal], name)
}

// mergeReports keeps what was said of merges.
type mergeReports struct {
	mu   sync.Mutex
	list []Merge
}

func (r *mergeReports) addMerge(m Merge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, m)
	if n := len(r.list) - maxMerges; n > 0 {
		r.list = slices.Delete(r.list, 0, n)
	}
}

func (r *mergeReports) allMerges() []Merge {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// reportMerges has the hook tell what came together. Members that return a moment
// apart make one report.
func (p *Partition) reportMerges(ctx context.Context) {
	for {
		var met []view.NodeID
		select {
		case <-ctx.Done():
			return
		case met = <-p.returned:
		}
		if !clock.Sleep(ctx, 2*time.Second) {
			return
		}
		select {
		case more := <-p.returned:
			met = append(met, more...)
			slices.Sort(met)
			met = slices.Compact(met)
		default:
		}
		m := Merge{At: p.cfg.clock.Wall(), Met: met}
		if p.cfg.Merged != nil {
			m.Text = p.cfg.Merged(ctx, met)
		}
		p.reports.addMerge(m)
		p.lookBell.Ring()
	}
}

const (
	readHost  = 30 * time.Second // between two readings of the host's figures
	weighHost = 5 * time.Second  // between two scores made of them
)

// keepScore keeps this node's score.
func (p *Partition) keepScore(ctx context.Context) {
	reader := host.New(p.cfg.root, p.cfg.Mesh.Dir(), p.cfg.disk)
	var published elect.Published
	var figures host.Figures
	last := -readHost
	told := false
	for {
		if now := p.uptime(); now-last >= readHost {
			var err error
			figures, err = reader.Read(now)
			read := figures
			p.machine.Store(&read)
			last = now
			if err != nil && !told {
				told = true
				p.log.Info("some figures of this machine are not known", "error", err)
			}
		}
		if s, changed := published.Step(p.uptime(), p.worthOf(figures).Score(elect.Weights{})); changed {
			p.score.Store(uint64(s))
			p.lookBell.Ring()
		}
		if !clock.Sleep(ctx, weighHost) {
			return
		}
	}
}

// worthOf is what speaks for this node as a leader.
func (p *Partition) worthOf(f host.Figures) elect.Worth {
	w := elect.Worth{Priority: p.cfg.Priority, Mains: f.OnMains()}
	w.Uptime, _ = f.Uptime.Get()
	share := func(free, all host.Value[uint64]) (uint64, elect.Share) {
		whole, _ := all.Get()
		part, _ := free.Get()
		return whole, elect.ShareOf(part, whole)
	}
	w.CPU, w.FreeCPU = share(f.FreeCPU, f.CPU)
	w.Memory, w.FreeMemory = share(f.FreeMemory, f.Memory)
	w.Storage, w.FreeStorage = share(f.FreeStorage, f.Storage)
	v := p.mesh.View()
	w.RTT = medianRTT(v)
	members := 0
	for _, m := range v.Members {
		if !m.Status.Gone() {
			members++
		}
	}
	w.Reach = elect.ShareOf(uint64(v.Count(view.Alive)), uint64(members))
	return w
}
