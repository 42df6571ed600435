package partition

import (
	"fmt"
	"io"

	"github.com/skeinmesh/skein/internal/metrics"
)

// WriteMetrics writes whether the Partition is open and, if it is, the Status in numbers, in the text format of Prometheus. The label
// "node_id" is the node's id. The error is w's.
func (p *Partition) WriteMetrics(w io.Writer) error {
	st := p.Status()
	isOpen := p.group.Context().Err() == nil
	select {
	case <-p.mesh.Done():
		isOpen = false
	default:
	}
	err := p.figures.WriteText(w, func(f *metrics.Figures) {
		f.Flag("skein_partition_up", "Whether this node takes part in elections.", isOpen)
		if isOpen { // what was last known is not so any more: another may lead
			tellStatus(f, &st)
		}
	})
	if err != nil {
		return fmt.Errorf("partition: write metrics: %w", err)
	}
	return nil
}

func tellStatus(f *metrics.Figures, st *Status) {
	f.Gauge("skein_partition_members", "Members of the mesh, those that left or were evicted not counted.", float64(st.Members))
	f.Gauge("skein_partition_component_members", "Members that are reached, by others if need be, this node included.", float64(len(st.Component)))
	f.Gauge("skein_partition_storing_members", "Members that store.", float64(st.Storing))
	f.Gauge("skein_partition_component_storing_members", "Members that store and are reached.", float64(st.Reached))
	f.Gauge("skein_partition_lost_members", "Members that were in the component and are not.", float64(len(st.Lost)))
	for _, s := range []Situation{Whole, MembersDown, PartitionSuspected} {
		f.Flag("skein_partition_situation", "1 for what this node makes of who is lost.", s == st.Situation, "situation", s.String())
	}
	for _, m := range []Mode{Normal, Local, Minority, Alone} {
		f.Flag("skein_partition_mode", "1 for what this node must get along without.", m == st.Mode, "mode", m.String())
	}
	for _, c := range []Cloud{CloudUnknown, CloudReachable, CloudUnreachable} {
		f.Flag("skein_partition_cloud", "1 for whether the cloud can be reached from the component.", c == st.Cloud, "cloud", c.String())
	}
	for i := range st.Elections {
		l := &st.Elections[i]
		labels := []string{"election", l.Election.Name, "scope", l.Election.Scope.String()}
		f.Flag("skein_partition_leads", "Whether this node leads an election.", l.Here, labels...)
		f.Flag("skein_partition_has_leader", "Whether this node knows who leads an election.", !l.Token.IsZero(), labels...)
		f.Flag("skein_partition_election_problem", "Whether something keeps this node from voting or standing in an election.", l.Problem != "", labels...)
	}
}
