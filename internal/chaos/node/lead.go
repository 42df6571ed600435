package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/chaos"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/partition/token"
)

// actEvery is the time between two acts of work.
const actEvery = 50 * time.Millisecond

var writer = partition.Election{Name: "writer", Scope: partition.ScopeMajority}

// watchStatus reports who leads the component, and what this node makes of it.
func watchStatus(ctx context.Context, node *mesh.Node, part *partition.Partition, p *printer) {
	name := func(id view.NodeID) string {
		if m, ok := node.View().Member(id); ok {
			return m.Name
		}
		return id.String()
	}
	for st := range part.Watch(ctx) {
		var leader, tok string
		if t := st.Leader.Token; !t.IsZero() {
			leader, tok = name(t.Node), t.String()
		}
		p.printChange(func(s *chaos.State) {
			s.Leader, s.Token, s.Here = leader, tok, st.Leader.Here
			s.Situation, s.Mode = st.Situation.String(), st.Mode.String()
		})
	}
}

// workWhenLeading works whenever this node leads the election "writer". It acts as code does
// that trusts its context, and prints for each act whether Check would have let it.
func workWhenLeading(ctx context.Context, part *partition.Partition, p *printer) {
	machine := clock.System()
	err := part.Lead(ctx, writer, func(ctx context.Context, t token.Token) {
		tell := func(kind string) {
			valid := part.Check(writer, t) == nil
			p.printEvent(chaos.Event{At: machine.Boot(), Kind: kind, Token: t.String(), Valid: valid})
		}
		tell(chaos.Begin)
		tick := time.NewTicker(actEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				tell(chaos.Act)
			case <-ctx.Done():
				tell(chaos.End)
				return
			}
		}
	})
	if ctx.Err() == nil && !errors.Is(err, partition.ErrClosed) {
		p.printChange(func(s *chaos.State) { s.Stopped = fmt.Sprint("lead: ", err) })
	}
}
