package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

// TestServiceCommands looks after a service of a mesh of one node.
func TestServiceCommands(t *testing.T) {
	n := startNode(t, mintSecret(t), func(c *mesh.Config) { c.Name = "press-1" })
	t.Setenv("SKEIN_ADDR", n.Addr().String())
	ctl("", "services").want(t, exitFailed, "", "opens no Failover")
	bucket, err := openStore(t, n).Bucket(t.Context(), "services", replica.BucketConfig{Policy: replica.LastWriterWins})
	if err != nil {
		t.Fatal(err)
	}
	f, err := failover.Open(t.Context(), failover.Config{Mesh: n, Elections: openPartition(t, n), Records: bucket.Records()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	ctl("", "services").want(t, exitOK, "SERVICE", "")
	ctl("", "resolve", "line").want(t, exitNotFound, "", "not served")

	hook := func(context.Context, failover.Run) error { return nil }
	line := failover.Service{Plan: service.Plan{Service: "line", Mode: service.PerComponent}, Address: "10.0.0.7:80", Start: hook, Stop: hook}
	if err := f.Serve(line); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the service runs", func() bool { return f.Status()[0].Health == service.Healthy })
	out := ctl("", "services").want(t, exitOK, "line", "").out
	if got := strings.Join(strings.Fields(strings.Split(out, "\n")[1]), " "); got != "line per component press-1 healthy yes -" {
		t.Errorf("services: %q", got)
	}
	var all struct{ Services []failover.Status }
	if err := json.Unmarshal([]byte(ctl("", "services", "-json").out), &all); err != nil || len(all.Services) != 1 || !all.Services[0].Here {
		t.Errorf("services: %+v, %v", all, err)
	}
	ctl("", "resolve", "line").want(t, exitOK, "10.0.0.7:80\tat press-1\n", "")
	ctl("", "move", "line", "press-2").want(t, exitFailed, "", "unknown node")
	ctl("", "move", "line").want(t, exitUsage, "", "takes 2 arguments")
	ctl("", "drill", "line").want(t, exitOK, "", "")

	ctl("", "plan", "show", "-service", "line").want(t, exitNotFound, "", "no plan")
	ctl(`{"Service":"line","Mode":"per component","Primary":"press-1","Needs":{"Zones":["hall"]}}`, "plan", "set").want(t, exitOK, "", "no known node meets it")
	ctl("", "plan", "show").want(t, exitOK, `"Primary": "press-1"`, "")
	ctl(`{"Service":"line","Colour":"red"}`, "plan", "set").want(t, exitFailed, "", "Colour")
	ctl(`{"Service":"line","Mode":"per component","Primary":"press-9"}`, "plan", "set").want(t, exitFailed, "", "press-9")
	ctl(strings.Repeat(" ", maxPlanText+1), "plan", "set").want(t, exitFailed, "", "at most")
	ctl("", "plan", "paint").want(t, exitUsage, "", "show, set or drop")
	ctl("", "plan", "drop").want(t, exitUsage, "", "-service")
	ctl("", "plan", "drop", "-service", "line", "-per-component").want(t, exitOK, "", "")
	if out := ctl("", "plan", "show").want(t, exitOK, "", "").out; out != "" {
		t.Errorf("plan show: %q", out)
	}

	waitFor(t, "the end of the drill is in the history", func() bool {
		return strings.Contains(ctl("", "history", "line").out, "alarm: a drill has failed")
	})
	out = ctl("", "history", "line").want(t, exitOK, "press-1      led\n", "").out
	for _, part := range []string{"step ended verify", "health changed to healthy", "drill ended", "failed: no other node stands"} {
		if !strings.Contains(out, part) {
			t.Errorf("history does not tell %q:\n%s", part, out)
		}
	}
	if out := ctl("", "history", "line", "-limit", "2").out; strings.Count(out, "\n") != 2 {
		t.Errorf("history: %q", out)
	}
	var e failover.Event
	if err := json.Unmarshal([]byte(strings.Split(ctl("", "history", "line", "-json").out, "\n")[0]), &e); err != nil || e.Service != "line" {
		t.Errorf("%+v, %v", e, err)
	}
}
