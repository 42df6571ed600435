package failover

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
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

// useName is under which facts keep the use of the node: no condition has an empty name.
const useName = ""

// facts are what is known of this node and the others that could run its services.
type facts struct {
	cfg Config
	log *slog.Logger

	mu       sync.Mutex
	used     []int
	holds    map[string]bool // conditions
	answered map[string]bool // what has answered at least once
	asked    map[string]bool // what has not answered yet this time
	panicked map[string]bool // what did so when it was asked last
	overload overload
}

// overload tells whether a node is overloaded: hardly anything has been free of a resource for a
// while, and since then not enough has been for as long. The zero value is not overloaded.
type overload struct {
	holds bool
	seen  bool // the last figure spoke against holds, since then
	since time.Time
}

const (
	overloadAbove = 950 // per mille
	overloadBelow = 850 // and it has ended
	overloadFor   = 30 * time.Second
)

// noteUse takes in what is used of the resource of which the most is, and returns whether the
// node is overloaded.
func (o *overload) noteUse(now time.Time, used int) bool {
	against := used > overloadAbove
	if o.holds {
		against = used < overloadBelow
	}
	if against && !o.seen {
		o.since = now
	}
	o.seen = against
	if against && now.Sub(o.since) >= overloadFor {
		o.holds, o.seen = !o.holds, false
	}
	return o.holds
}

func newFacts(cfg Config, log *slog.Logger) *facts {
	return &facts{
		cfg: cfg, log: log,
		holds: map[string]bool{}, answered: map[string]bool{}, asked: map[string]bool{}, panicked: map[string]bool{},
	}
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

// lookOnce asks for the use of this node, and for its conditions: each by itself, and what has
// not answered yet is not asked again.
func (f *facts) lookOnce(start func(func(ctx context.Context)) bool, changed func()) {
	if f.cfg.Used != nil {
		start(func(context.Context) {
			f.askOne(useName, changed, func() (differs bool) {
				used := f.cfg.Used()
				f.mu.Lock()
				defer f.mu.Unlock()
				was := f.overload.holds
				is := f.overload.noteUse(time.Now(), service.Node{Used: used}.MostUsed())
				differs, f.used = was != is || !slices.Equal(f.used, used), used
				return differs
			})
		})
	}
	for name, condition := range f.cfg.Conditions {
		start(func(ctx context.Context) {
			f.askOne(name, changed, func() (differs bool) {
				holds := condition(ctx)
				f.mu.Lock()
				defer f.mu.Unlock()
				differs, f.holds[name] = f.holds[name] != holds, holds
				return differs
			})
		})
	}
}

// askOne asks for one thing, unless that was asked and has not answered. What panics leaves
// things as they were.
func (f *facts) askOne(name string, changed func(), ask func() (differs bool)) {
	f.mu.Lock()
	waits := f.asked[name]
	f.asked[name] = true
	f.mu.Unlock()
	if waits {
		return
	}
	differs, err := recoverFrom(ask)
	f.mu.Lock()
	isFirst, isNew := err == nil && !f.answered[name], err != nil && !f.panicked[name]
	f.answered[name] = f.answered[name] || err == nil
	f.asked[name], f.panicked[name] = false, err != nil
	f.mu.Unlock()
	if isNew { // it is asked every few seconds
		f.log.Error("what is asked about this node panics", "condition", name, "error", err)
	}
	if differs || isFirst {
		changed()
	}
}

// recoverFrom calls a function, and makes an error of its panic.
func recoverFrom(ask func() bool) (differs bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, p, debug.Stack())
		}
	}()
	return ask(), nil
}

// isServed tells whether somebody in reach leads a service, as far as is known here.
func (f *facts) isServed(name string) bool {
	for _, mode := range [...]service.Mode{service.Exclusive, service.PerComponent} {
		if leader, _ := f.cfg.Elections.Standing(electionOf(name, mode)); !leader.IsZero() {
			return true
		}
	}
	return false
}

// ofService returns what is known of this node for a service, and of those that stand for it.
func (f *facts) ofService(name string, election token.Election) (own service.Node, peers []takeover.Peer) {
	v := f.cfg.Mesh.View()
	self := f.cfg.Mesh.ID()
	m, _ := v.Member(self)
	f.mu.Lock()
	holds := maps.Clone(f.holds)
	used := f.used
	if f.cfg.Used != nil && !f.answered[useName] {
		used = []int{service.WholeUse} // nothing is begun before it is known
	}
	for name := range f.cfg.Conditions {
		holds[name] = holds[name] || !f.answered[name]
	}
	if _, own := f.cfg.Conditions[service.ConditionOverload]; !own {
		holds[service.ConditionOverload] = f.overload.holds
	}
	f.mu.Unlock()
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
