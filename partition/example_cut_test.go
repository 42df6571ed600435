package partition_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/partition/token"
)

// A site that works on while the cloud is out of reach: less is written, local
// people decide, and it is told when parts of the mesh meet again.
func ExampleOpen() {
	var node partition.Mesh // a *mesh.Node
	p, err := partition.Open(context.Background(), partition.Config{
		Mesh: node, Pace: partition.Edge(), Priority: 2, // better than a box of the same kind
		Voters: []string{"press-1", "press-2", "gate"},
		Cloud: []partition.Probe{
			partition.HTTPProbe("https://cloud.example/ping", partition.HTTPOptions{Status: http.StatusNoContent}),
			partition.TLSProbe("cloud.example:8883", nil),
			partition.TCPProbe("10.1.0.1:22"),
		},
		Levels: map[partition.Mode]partition.Level{
			partition.Local:    {Services: []string{"upload"}},
			partition.Minority: {Buckets: []string{"orders"}},
		},
		OnMode: func(_ context.Context, from, to partition.Mode) { log.Print(from, " to ", to) },
		Merged: func(_ context.Context, met []view.NodeID) string { return fmt.Sprint(len(met), " are back") },
		AuthorizeLocal: func(_ context.Context, who, what string) error {
			return fmt.Errorf("%s may not %s while the site is on its own", who, what)
		},
	})
	if err != nil {
		fmt.Println("no node:", err != nil)
		return
	}
	defer p.Close()
	for st := range p.Watch(context.Background()) {
		if st.Situation == partition.PartitionSuspected {
			log.Print(st.Evidence)
		}
		if p.AllowsService("upload") && p.AllowsBucket("orders") && p.Authorize(context.Background(), "ann", "ship") == nil {
			log.Print("all goes on, led by ", st.Leader.Token.Node)
		}
	}
	// Output: no node: true
}

// A write under a leader's token, and a resource that outlives its process.
func ExamplePartition_Guard() {
	guarded := func(ctx context.Context, p *partition.Partition, t token.Token, put func(context.Context) error) error {
		return p.Guard(ctx, partition.Election{Name: "orders", Scope: partition.ScopeMajority}, t, put)
	}
	_ = guarded

	kept := token.Token{Term: 7, Node: 1} // with the resource's data
	valve := partition.NewFence(kept)
	fmt.Println(valve.Admit(token.Token{Term: 6, Node: 2}) != nil, valve.Admit(token.Token{Term: 8, Node: 2}), valve.High())
	// Output: true <nil> 8@0000000000000002
}
