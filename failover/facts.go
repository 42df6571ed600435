package failover

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/takeover"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// factsEvery is the mean time between two looks at this node.
const factsEvery = 2 * time.Second

// facts are what is known of this node and the others that could run its services.
type facts struct {
	cfg Config

	mu    sync.Mutex
	used  []int
	holds map[string]bool // conditions
	asked map[string]bool // conditions that have not answered
}

func newFacts(cfg Config) *facts {
	return &facts{cfg: cfg, holds: map[string]bool{}, asked: map[string]bool{}}
}

// lookOften looks at this node now and then, and calls changed after each look.
func (f *facts) lookOften(ctx context.Context, start func(func(ctx context.Context)) bool, changed func()) {
	for {
		f.lookOnce(start, changed)
		changed()
		if !clock.Sleep(ctx, clock.Jitter(factsEvery)) {
			return
		}
	}
}

// lookOnce asks for the use of this node, and for the conditions that have answered before.
func (f *facts) lookOnce(start func(func(ctx context.Context)) bool, changed func()) {
	if f.cfg.Used != nil {
		used := f.cfg.Used()
		f.mu.Lock()
		f.used = used
		f.mu.Unlock()
	}
	for name, condition := range f.cfg.Conditions {
		f.mu.Lock()
		waits := f.asked[name]
		f.asked[name] = true
		f.mu.Unlock()
		if waits {
			continue
		}
		start(func(ctx context.Context) {
			holds := condition(ctx)
			f.mu.Lock()
			before, answered := f.holds[name]
			differs := before != holds || !answered
			f.holds[name], f.asked[name] = holds, false
			f.mu.Unlock()
			if differs {
				changed()
			}
		})
	}
}

// ofService returns what is known of this node for a service, and of those that stand for it.
func (f *facts) ofService(name string, election token.Election) (own service.Node, peers []takeover.Peer) {
	v := f.cfg.Mesh.View()
	self := f.cfg.Mesh.ID()
	m, _ := v.Member(self)
	f.mu.Lock()
	holds := maps.Clone(f.holds)
	used := f.used
	f.mu.Unlock()
	for name := range f.cfg.Conditions {
		if _, answered := holds[name]; !answered {
			holds[name] = true // nothing is begun before it is known not to hold
		}
	}
	maps.DeleteFunc(holds, func(_ string, holds bool) bool { return !holds })
	own = service.Node{
		ID: self, Name: m.Name, Zone: m.Zone, Capabilities: m.Capabilities, Data: f.cfg.Data, Used: used,
		Conditions: slices.Sorted(maps.Keys(holds)), Refuses: !f.cfg.Elections.AllowsService(name),
	}
	_, candidates := f.cfg.Elections.Standing(election)
	told := map[view.NodeID]uint32{}
	for _, c := range candidates {
		told[c.Node] = c.Preference
	}
	for _, m := range v.Members {
		if m.ID != self && m.State == view.Alive {
			peers = append(peers, takeover.Peer{ID: m.ID, Name: m.Name, Preference: takeover.Preference(told[m.ID])})
		}
	}
	return own, peers
}
