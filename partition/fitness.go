package partition

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/host"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// fitness keeps what this node's machine has, and how fit that makes it to lead.
type fitness struct {
	*ground
	score   atomic.Uint64
	machine atomic.Pointer[host.Figures] // as last read; nil before
}

const (
	readHost  = 30 * time.Second // between two readings of the host's figures
	weighHost = 5 * time.Second  // between two scores made of them
)

// keepScore keeps this node's score.
func (f *fitness) keepScore(ctx context.Context) {
	reader := host.New(f.cfg.root, f.cfg.Mesh.Dir(), f.cfg.disk)
	var published elect.Published
	var figures host.Figures
	last := -readHost
	told := false
	for {
		if now := f.uptime(); now-last >= readHost {
			var err error
			figures, err = reader.Read(now)
			read := figures
			f.machine.Store(&read)
			last = now
			if err != nil && !told {
				told = true
				f.log.Info("some figures of this machine are not known", "error", err)
			}
		}
		if s, changed := published.Step(f.uptime(), f.worthOf(figures).Score(elect.Weights{})); changed {
			f.score.Store(uint64(s))
			f.lookBell.Ring()
		}
		if !clock.Sleep(ctx, weighHost) {
			return
		}
	}
}

// worthOf is what speaks for this node as a leader.
func (f *fitness) worthOf(h host.Figures) elect.Worth {
	w := elect.Worth{Priority: f.cfg.Priority, Mains: h.OnMains()}
	w.Uptime, _ = h.Uptime.Get()
	share := func(free, all host.Value[uint64]) (uint64, elect.Share) {
		whole, _ := all.Get()
		part, _ := free.Get()
		return whole, elect.ShareOf(part, whole)
	}
	w.CPU, w.FreeCPU = share(h.FreeCPU, h.CPU)
	w.Memory, w.FreeMemory = share(h.FreeMemory, h.Memory)
	w.Storage, w.FreeStorage = share(h.FreeStorage, h.Storage)
	v := f.mesh.View()
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

// serveResources answers another node.
func (f *fitness) serveResources(context.Context, view.NodeID, []byte) ([]byte, error) {
	h := f.machine.Load()
	if h == nil {
		h = &host.Figures{} // nothing was read yet
	}
	r := wire.Resources{Score: f.score.Load(), Mains: h.OnMains(), Battery: wire.NoBattery}
	r.CPU, _ = h.CPU.Get()
	r.FreeCPU, _ = h.FreeCPU.Get()
	r.Memory, _ = h.Memory.Get()
	r.FreeMemory, _ = h.FreeMemory.Get()
	r.Storage, _ = h.Storage.Get()
	r.FreeStorage, _ = h.FreeStorage.Get()
	r.Uptime, _ = h.Uptime.Get()
	if charge, known := h.Battery.Get(); known {
		r.Battery = min(max(charge, 0), wire.NoBattery-1)
	}
	return wire.AppendResources(nil, r), nil
}
