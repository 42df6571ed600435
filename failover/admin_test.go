package failover

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
)

// callerOf asks one node of a rig.
type callerOf struct {
	n  fakeNode
	to view.NodeID
}

func (c callerOf) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	return c.n.Call(ctx, c.to, method, req)
}

// TestAClientLooksAfterServices through a node that does not run them.
func TestAClientLooksAfterServices(t *testing.T) {
	inBubble(t, func(r *rig) {
		ctx := r.t.Context()
		r.address = "10.0.0.1"
		r.serveAll()
		r.wait(5 * time.Second)
		c := NewClient(callerOf{r.mesh.node(3), 2})
		all, err := c.Services(ctx)
		if err != nil || len(all) != 1 || all[0].Leader != 1 || all[0].Here || !all[0].Stands || all[0].Plan.Primary != "a" {
			t.Errorf("%+v, %v", all, err)
		}
		if route, err := c.Resolve(ctx, "press"); err != nil || route.Address != "10.0.0.1/a" || route.Node != 1 {
			t.Errorf("%+v, %v", route, err)
		}
		if _, err := c.Resolve(ctx, "lathe"); !errors.Is(err, ErrNotServed) || !strings.Contains(err.Error(), "lathe") {
			t.Errorf("unknown: %v", err)
		}
		if err := c.Move(ctx, "press", "c"); err != nil {
			t.Fatal(err)
		}
		r.wait(5 * time.Second)
		r.wantRunsAt("c")
		for _, c := range []struct {
			service, to string
			want        error
		}{{"lathe", "a", ErrNotServed}, {"press", "d", ErrUnknownNode}} {
			if err := NewClient(callerOf{r.mesh.node(3), 1}).Move(ctx, c.service, c.to); !errors.Is(err, c.want) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		if err := c.Drill(ctx, "press"); err != nil {
			t.Error(err)
		}
		if err := c.Drill(ctx, "press"); !errors.Is(err, ErrDrilling) && !errors.Is(err, ErrNotHere) {
			t.Errorf("beside another one: %v", err)
		}
		r.wait(time.Minute)
		r.wantRunsAt("c")

		p := r.plan
		p.Primary, p.Backups, p.Needs.Zones = "b", nil, []string{"hall"}
		if warnings, err := c.SetPlan(ctx, p); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "hall") {
			t.Errorf("%q, %v", warnings, err)
		}
		if plans, err := c.Plans(ctx); err != nil || len(plans) != 1 || plans[0].Primary != "b" {
			t.Errorf("%+v, %v", plans, err)
		}
		p.Primary = "nobody"
		if _, err := c.SetPlan(ctx, p); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("a bad one: %v", err)
		}
		if err := c.DropPlan(ctx, "press", service.Exclusive); err != nil {
			t.Error(err)
		}
		if plans, err := c.Plans(ctx); err != nil || len(plans) > 0 {
			t.Errorf("%+v, %v", plans, err)
		}
		events, err := c.History(ctx, "press", time.Time{}, 0)
		if err != nil || len(events) < 20 {
			t.Errorf("%d events, %v", len(events), err)
		}
		events, err = c.History(ctx, "press", time.Time{}, 3)
		if err != nil || len(events) != 3 {
			t.Errorf("%d events, %v", len(events), err)
		}

		b := callerOf{r.mesh.node(3), 2}
		for _, text := range []string{"", "{", `{"Do":1}`, strings.Repeat(" ", maxRequest) + "{}"} {
			if _, err := b.Call(ctx, methodAdmin, []byte(text)); err == nil {
				t.Errorf("%.20q is answered", text)
			}
		}
		if _, err := NewClient(b).askNode(ctx, request{Do: "dance"}); err == nil || !strings.Contains(err.Error(), "dance") {
			t.Errorf("what no release knows: %v", err)
		}
		if err := r.nodes[1].Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := NewClient(b).Services(ctx); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// TestALongHistoryIsCut to what goes into an answer: the newest events.
func TestALongHistoryIsCut(t *testing.T) {
	events := make([]Event, 4000)
	for i := range events {
		events[i] = Event{Took: time.Duration(i), Error: strings.Repeat("x", 300)}
	}
	got := latestEvents(events)
	if len(got) < 500 || len(got) > 1000 || got[len(got)-1].Took != 3999 {
		t.Errorf("%d events", len(got))
	}
}
