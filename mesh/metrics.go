package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/skeinmesh/skein/internal/metrics"
	"github.com/skeinmesh/skein/mesh/view"
)

// How a call ends: the places in the list of outcomes.
const (
	callOK = iota
	callRefused
	callFailed
	callCanceled
)

// meters measure what those see who call other nodes.
type meters struct {
	set   *metrics.Set
	calls *metrics.Durations
}

func newMeters(id view.NodeID) *meters {
	set := metrics.NewSet(id.String())
	return &meters{
		set: set,
		calls: set.AddDurations("skein_mesh_call_duration_seconds",
			"How long calls of other nodes took, by how they ended: refused are those that the other node answered with an error, failed those that it did not answer in time.", "ok", "refused", "failed", "canceled"),
	}
}

// countCall counts a call of another node that has begun at a time and ended with err.
func (m *meters) countCall(begun time.Time, err *error) {
	outcome := callOK
	var remote *RemoteError
	switch {
	case *err == nil:
	case errors.As(*err, &remote), errors.Is(*err, ErrNoHandler), errors.Is(*err, ErrAdminOff), errors.Is(*err, ErrOverloaded), errors.Is(*err, ErrTooLarge):
		outcome = callRefused
	case errors.Is(*err, context.Canceled):
		outcome = callCanceled // by the caller
	default:
		outcome = callFailed
	}
	m.calls.Observe(time.Since(begun), outcome)
}

// WriteMetrics writes what the node's View tells in numbers, and how long its calls took
// since it was started, in the text format of Prometheus. The label "node_id" is its id. It
// works on a node that has stopped, too. The error is w's.
func (n *Node) WriteMetrics(w io.Writer) error {
	v := n.View()
	err := n.meters.set.WriteText(w, func(f *metrics.Figures) {
		f.Flag("skein_mesh_up", "Whether the node runs.", !n.hasStopped(), "name", n.Name(), "mesh", v.Mesh.String())
		tellMembers(f, v)
		f.Gauge("skein_mesh_problems", "What keeps this node from others and an operator should look at.", float64(len(v.Problems)))
	})
	if err != nil {
		return fmt.Errorf("mesh: write metrics: %w", err)
	}
	return nil
}

// tellMembers counts the members that are not gone.
func tellMembers(f *metrics.Figures, v view.View) {
	states := []view.State{view.Unknown, view.Alive, view.Suspect, view.Failed}
	by := make(map[view.State]int)
	storing, unreachable := 0, 0
	var slowest time.Duration
	for i := range v.Members {
		m := &v.Members[i]
		if m.Status.Gone() {
			continue
		}
		by[m.State]++
		if m.Storing {
			storing++
		}
		if m.Unreachable {
			unreachable++
		}
		slowest = max(slowest, m.RTT)
	}
	for _, s := range states {
		f.Gauge("skein_mesh_members", "Members that are not gone, this node included, by their state as seen from here.", float64(by[s]), "state", s.String())
	}
	f.Gauge("skein_mesh_storing_members", "Members that are not gone and store.", float64(storing))
	f.Gauge("skein_mesh_unreachable_members", "Members that live as others say, and that this node does not reach.", float64(unreachable))
	f.Gauge("skein_mesh_slowest_round_trip_seconds", "Longest of the round trips last measured to members.", slowest.Seconds())
}
