package failover

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// wantRoute fails unless all nodes but these find the service at an address.
func (r *rig) wantRoute(address string, but ...string) {
	r.t.Helper()
	for _, n := range r.nodes {
		got, err := n.Resolve("press")
		if slices.Contains(but, n.name) {
			continue
		}
		if got.Address != address || (err == nil) != (address != "") || err != nil && !errors.Is(err, ErrNotServed) {
			r.t.Errorf("%s finds it at %+v, not at %q: %v", n.name, got, address, err)
		}
		if leader, _ := n.cfg.Elections.Standing(electionOf("press", r.plan.Mode)); address != "" && (got.Node != leader.Node || got.Token != leader || got.Service != "press") {
			r.t.Errorf("%s finds %+v, and %+v leads", n.name, got, leader)
		}
	}
}

// watchRoute returns what a node's WatchRoute has carried so far, one address after the other.
func (n *rigNode) watchRoute() (seen func() []string) {
	n.r.t.Helper()
	routes, err := n.WatchRoute(n.r.t.Context(), "press")
	if err != nil {
		n.r.t.Fatal(err)
	}
	var all []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for r := range routes {
			n.r.mu.Lock()
			all = append(all, r.Address)
			n.r.mu.Unlock()
		}
	}()
	return func() []string {
		synctest.Wait()
		n.r.mu.Lock()
		defer n.r.mu.Unlock()
		return slices.Clone(all)
	}
}

func TestAServiceIsFoundWhereItRuns(t *testing.T) {
	inBubble(t, func(r *rig) {
		hang := make(chan struct{})
		r.nodes[0].hangs["verify"] = hang
		r.address = "somewhere:80"
		r.serveAll()
		seen := r.nodes[2].watchRoute()
		r.wait(900 * time.Millisecond)
		r.wantRoute("") // it is not verified
		delete(r.nodes[0].hangs, "verify")
		close(hang)
		r.wait(0)
		r.wantRunsAt("a")
		r.wantRoute("somewhere:80/a")
		if err := r.nodes[0].Move("press", "b"); err != nil {
			t.Fatal(err)
		}
		r.wait(2 * time.Second)
		r.wantRoute("somewhere:80/b")
		r.nodes[1].set(func() { r.nodes[1].fails["check"] = errors.New("no") })
		r.wait(10 * time.Second)
		r.wantRoute("somewhere:80/a")
		if got := seen(); got[0] != "" || !slices.Equal(slices.DeleteFunc(got, func(a string) bool { return a == "" }), []string{"somewhere:80/a", "somewhere:80/b", "somewhere:80/a"}) {
			t.Errorf("watched: %q", got)
		}
		r.nodes[0].kept.setSlow(100 * time.Millisecond)
		if err := r.nodes[0].Close(); err != nil {
			t.Fatal(err)
		}
		r.nodes = r.nodes[1:]
		if got := r.kept.keys(routePrefix); slices.Contains(got, routeKey("press", service.Exclusive, 1)) {
			t.Errorf("left: %q", got)
		}
		r.wait(2 * time.Second)
		r.wantRoute("somewhere:80/c")
		if _, err := r.nodes[0].WatchRoute(r.t.Context(), "press"); err != nil {
			t.Error(err)
		}
	})
}

// TestAFormerRouteDoesNotCount has the node of a service cut off, then killed: what it has
// published stays in the records, and is not believed.
func TestAFormerRouteDoesNotCount(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.address = "somewhere:80"
		r.serveAll()
		r.wait(5 * time.Second)
		r.wantRoute("somewhere:80/a")
		a := r.nodes[0]
		a.kept.setAway(errors.New("away")) // so it cannot take its route back
		r.mesh.setCut(1, true)
		r.wait(5 * time.Second)
		if got := r.kept.keys(routePrefix); len(got) != 2 {
			t.Fatalf("in the records: %q", got)
		}
		r.wantRoute("somewhere:80/b", "a")
		if got, err := a.Resolve("press"); err == nil && got.Node == 1 {
			t.Errorf("cut off it finds itself: %+v", got)
		}
		// It leads again, by another token, and has not started: the route of its former
		// lead does not count.
		hang := make(chan struct{})
		a.set(func() { a.hangs["prepare"] = hang })
		r.mesh.setCut(1, false)
		r.wait(5 * time.Second)
		if err := r.nodes[1].Move("press", "a"); err != nil {
			t.Fatal(err)
		}
		r.wait(900 * time.Millisecond)
		r.wantRoute("")
		a.set(func() { delete(a.hangs, "prepare") })
		close(hang)
		a.kept.setAway(nil)
		r.wait(2 * time.Minute)
		r.wantRoute("somewhere:80/a")
	})
}

// TestRoutesInTheRecords has others write there in this node's name, and what is none.
func TestRoutesInTheRecords(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.address = "somewhere:80"
		r.serveAll()
		r.wait(5 * time.Second)
		own, other := routeKey("press", 0, 1), routeKey("press", 0, 2)
		good := r.kept.values[own]
		for _, key := range []string{own, other} {
			for _, text := range []string{"", "{", `{"Service":"press","Address":"elsewhere"}`, strings.Replace(good, "somewhere", "elsewhere", 1), strings.Repeat(" ", maxRoute) + good} {
				r.kept.put(key, text)
				r.wait(5 * time.Second)
				if got := r.kept.values[own]; got != good {
					t.Errorf("%.60s at %s leaves %q", text, key, got)
				}
				r.wantRoute("somewhere:80/a")
			}
		}
		r.nodes[0].kept.setFailing(errors.New("no"))
		r.kept.put(own, "{")
		r.wait(5 * time.Second)
		r.nodes[0].kept.setFailing(nil)
		r.wait(5 * time.Second)
		if got := r.kept.values[own]; got != good {
			t.Errorf("not put right: %q", got)
		}
		r.kept.put(routeKey("pump", 0, 1), strings.ReplaceAll(good, "press", "pump")) // of a former life
		r.wait(5 * time.Second)
		if got := r.kept.keys(routePrefix); !slices.Equal(got, []string{other, own}) {
			t.Errorf("left: %q", got)
		}
		if got := r.kept.values["ttl "+own]; got != routeKept.String() {
			t.Errorf("kept for %s", got)
		}
		delete(r.kept.values, own) // and nobody was told
		r.nodes[0].routes.oweAll()
		r.nodes[0].routes.due.Ring()
		r.wait(time.Second)
		if got := r.kept.values[own]; got != good {
			t.Errorf("written again: %q", got)
		}
	})
}

func TestAHookAnnouncesAnAddress(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.nodes[0]
		var late Run
		hook := func(context.Context, Run) error { return nil }
		err := n.Serve(Service{Plan: service.Plan{Service: "press"}, Stop: hook, Start: func(ctx context.Context, run Run) error {
			late = run
			if err := run.Announce(strings.Repeat("a", maxAddress+1)); !errors.Is(err, ErrConfig) {
				t.Errorf("too long: %v", err)
			}
			return run.Announce("port:4711")
		}})
		if err != nil {
			t.Fatal(err)
		}
		r.wait(5 * time.Second)
		r.wantRoute("port:4711")
		former := late
		r.mesh.setCut(1, true)
		r.wait(5 * time.Second)
		if err := former.Announce("late"); !errors.Is(err, ErrNotHere) {
			t.Errorf("without a lead: %v", err)
		}
		r.mesh.setCut(1, false)
		r.wait(5 * time.Second)
		if err := former.Announce("late"); !errors.Is(err, ErrNotHere) {
			t.Errorf("of a former lead: %v", err)
		}
		r.wantRoute("port:4711")
		if err := n.Serve(Service{Plan: service.Plan{Service: "fan"}, Start: hook, Stop: hook, Address: strings.Repeat("a", maxAddress+1)}); !errors.Is(err, ErrConfig) {
			t.Errorf("too long: %v", err)
		}
		f, err := Open(r.t.Context(), Config{Mesh: r.mesh.node(1), Elections: r.mesh.node(1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Resolve("press"); !errors.Is(err, ErrNoRecords) {
			t.Errorf("without records: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.WatchRoute(r.t.Context(), "press"); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// TestRoutesOfBothSides has each side of a cut find what runs on it. The keys of nodes 8 and 9
// hold what is not theirs.
func TestRoutesOfBothSides(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := electionOf("press", service.PerComponent)
		for id := view.NodeID(5); id < 8; id++ {
			text, _ := json.Marshal(Route{Service: "press", Node: id, Address: "x", Token: token.Token{Term: 3, Node: id}})
			r.kept.put(routeKey("press", service.PerComponent, id), string(text))
		}
		for key, route := range map[string]Route{
			routeKey("press", service.PerComponent, 8): {Service: "press", Node: 7, Address: "x", Token: token.Token{Term: 9, Node: 9}},
			routeKey("press", service.PerComponent, 9): {Service: "fan", Node: 9, Address: "x", Token: token.Token{Term: 9, Node: 9}},
		} {
			text, _ := json.Marshal(route)
			r.kept.put(key, string(text))
		}
		r.wait(time.Second)
		for id := view.NodeID(5); id < 10; id++ {
			r.mesh.mu.Lock()
			b := r.mesh.ballot(e)
			b.leader = token.Token{Term: 3, Node: id}
			r.mesh.mu.Unlock()
			if got, err := r.nodes[0].Resolve("press"); (err == nil) != (id < 8) || err == nil && got.Node != id {
				t.Errorf("where %v leads: %+v, %v", id, got, err)
			}
		}
		r.mesh.mu.Lock()
		delete(r.mesh.ballots, e)
		r.mesh.mu.Unlock()
	})
}
