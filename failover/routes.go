package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/failover/route"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	maxRoute   = 4 << 10        // bytes of one in the records
	maxRoutes  = 1 << 14        // that are looked at
	maxAddress = 256            // bytes
	routeAgain = 24 * time.Hour // a route is written again,
	routeKept  = 3 * routeAgain // for it is kept so long
)

// Route is where a service is found. The zero Route is nowhere.
type Route = route.Route

// routeKey is where a route lies. Each node writes its own ones alone.
func routeKey(name string, mode service.Mode, node view.NodeID) string {
	return fmt.Sprintf("%s%s/%s/%s", routePrefix, mode, url.PathEscape(name), node)
}

// routeBook is what is known of routes: those in the records, and those of this node's
// services, which are written there.
type routeBook struct {
	self    view.NodeID
	records Records
	due     notify.Bell
	changes *notify.Value[uint64] // counts what may change the result of Resolve

	mu    sync.Mutex
	known map[string]Route // by key
	own   map[string]Route // by key; zero: it is to be gone
	owed  map[string]bool  // own ones that are to be written
	count uint64
}

func newRouteBook(self view.NodeID, records Records) *routeBook {
	return &routeBook{
		self: self, records: records, due: notify.NewBell(), changes: notify.New(uint64(0)),
		known: map[string]Route{}, own: map[string]Route{}, owed: map[string]bool{},
	}
}

// publishOwn has this node's route of a service known everywhere; the zero Route has none be.
func (b *routeBook) publishOwn(key string, r Route) {
	b.mu.Lock()
	b.own[key], b.owed[key] = r, true
	b.mu.Unlock()
	b.due.Ring()
	b.noteChange()
}

// noteValue takes in what a key has in the records now. What lies there in this node's name and
// is not so, of its last life for one, is written anew.
func (b *routeBook) noteValue(key string, value []byte) {
	var r Route
	if len(value) > maxRoute || value != nil && json.Unmarshal(value, &r) != nil {
		r = Route{}
	}
	b.mu.Lock()
	_, isKnown := b.known[key]
	switch isOwn := strings.HasSuffix(key, "/"+b.self.String()); {
	case isOwn && b.own[key] != r:
		b.owed[key] = true
		b.due.Ring()
	case isOwn:
	case r.Address == "" || key != routeKey(r.Service, service.Exclusive, r.Node) && key != routeKey(r.Service, service.PerComponent, r.Node):
		delete(b.known, key)
	case isKnown || len(b.known) < maxRoutes:
		b.known[key] = r
	}
	b.mu.Unlock()
	b.noteChange()
}

// allKeys returns where the known routes of other nodes lie.
func (b *routeBook) allKeys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.known))
}

// noteChange has all who watch routes look again.
func (b *routeBook) noteChange() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	b.changes.Set(b.count)
}

// findRoute returns the route that a leader has published. An earlier lead's does not count.
func (b *routeBook) findRoute(name string, mode service.Mode, leader token.Token) (Route, bool) {
	key := routeKey(name, mode, leader.Node)
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.known[key]
	if leader.Node == b.self {
		r = b.own[key]
	}
	return r, r.Address != "" && !r.Token.Less(leader)
}

// writeOwn writes this node's routes until ctx ends, and then what is owed, as far as that
// goes soon.
func (b *routeBook) writeOwn(ctx context.Context) {
	again := clock.Backoff{First: recordAgain, Last: recordLast}
	for ctx.Err() == nil {
		wait, all := clock.Jitter(routeAgain), b.writeOwed(ctx)
		if all {
			again.Reset()
		} else {
			wait = again.Next()
		}
		timer := time.NewTimer(wait)
		select {
		case <-b.due:
		case <-ctx.Done():
		case <-timer.C:
			if all {
				b.oweAll()
			}
		}
		timer.Stop()
	}
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), restGrace)
	defer cancel()
	b.writeOwed(rest)
}

// oweAll has all own routes written again.
func (b *routeBook) oweAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, r := range b.own {
		if r.Address != "" {
			b.owed[key] = true
		}
	}
}

// writeOwed writes what is owed, each once, and tells whether all was written.
func (b *routeBook) writeOwed(ctx context.Context) bool {
	b.mu.Lock()
	owed := b.owed
	b.owed = map[string]bool{}
	b.mu.Unlock()
	all := true
	for key := range owed {
		if b.writeOne(ctx, key) != nil {
			all = false
			b.mu.Lock()
			b.owed[key] = true
			b.mu.Unlock()
		}
	}
	return all
}

func (b *routeBook) writeOne(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	b.mu.Lock()
	r := b.own[key]
	b.mu.Unlock()
	if r.Address == "" {
		return b.records.Erase(ctx, key)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return b.records.Write(ctx, key, text, routeKept)
}

// takeAddress takes in where a hook says that the service is found. One of an earlier lead is
// too late.
func (r *runner) takeAddress(of token.Token, address string) bool {
	taken := make(chan bool, 1)
	posted := r.post(func() {
		ok := r.lead != nil && r.core.Leads() && !of.Less(r.lead.began)
		if ok {
			r.lead.address = address
		}
		taken <- ok
	})
	return posted && <-taken
}

// publishRoute has the service be found here while it runs verified, and nowhere else.
func (r *runner) publishRoute() {
	var next Route
	if h := r.core.Health(); r.lead != nil && r.lead.address != "" && (h == service.Healthy || h == service.Degraded) {
		next = Route{Service: r.service.Plan.Service, Node: r.self, Address: r.lead.address, Token: r.lead.token}
	}
	if next != r.route {
		r.route = next
		r.routes.publishOwn(routeKey(r.service.Plan.Service, r.service.Plan.Mode, r.self), next)
	}
}

// Resolve returns where a service is found: at the node that leads it as far as is known here,
// once the service is verified there and has an Address. On each side of a cut that is one of
// this side. This node need not serve it. The errors are ErrNotServed, ErrNoRecords and
// ErrClosed.
func (f *Failover) Resolve(name string) (Route, error) {
	if _, err := f.openRecords("resolve", name); err != nil {
		return Route{}, err
	}
	if r := f.findRoute(name); r.Address != "" {
		return r, nil
	}
	return Route{}, fmt.Errorf("%w: %.60q", ErrNotServed, name)
}

// findRoute returns the route of a service, or the zero Route. Exclusive counts before the
// other mode, as with plans.
func (f *Failover) findRoute(name string) Route {
	for _, mode := range [...]service.Mode{service.Exclusive, service.PerComponent} {
		leader, _ := f.cfg.Elections.Standing(electionOf(name, mode))
		if r, ok := f.routes.findRoute(name, mode, leader); ok && !leader.IsZero() {
			return r
		}
	}
	return Route{}
}

// WatchRoute returns a channel that carries what Resolve finds: at once, and after each
// change; the zero Route where that is nothing. One that is not read in time is replaced by a
// newer one. It is closed when ctx ends or the Failover is closed. The errors are ErrNoRecords
// and ErrClosed.
func (f *Failover) WatchRoute(ctx context.Context, name string) (<-chan Route, error) {
	if _, err := f.openRecords("watch the route of", name); err != nil {
		return nil, err
	}
	routes := make(chan Route, 1)
	watch := func(open context.Context) {
		defer close(routes)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(open, cancel)()
		var last *Route
		for range f.routes.changes.Watch(ctx) {
			next := f.findRoute(name)
			if last != nil && *last == next {
				continue
			}
			last = &next
			select {
			case <-routes: // nobody has read it
			default:
			}
			routes <- next
		}
	}
	if !f.watcher.Go(watch) {
		return nil, fmt.Errorf("%w: watch the route of %.60q", ErrClosed, name)
	}
	return routes, nil
}
