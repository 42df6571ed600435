package main

import (
	"context"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/chaos"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/replica"
)

// serveIdle has this node serve services that do nothing, with plans and routes in a bucket. Each
// node is the primary of as many.
func serveIdle(ctx context.Context, s settings, node *mesh.Node, part *partition.Partition, store *replica.Store) (*failover.Failover, error) {
	bucket, err := store.Bucket(ctx, "services", replica.BucketConfig{Policy: replica.LastWriterWins})
	if err != nil {
		return nil, err
	}
	f, err := failover.Open(ctx, failover.Config{Mesh: node, Elections: part, Records: bucket.Records(), Logger: s.mesh.Logger, Used: failover.MachineUse(s.mesh.Dir)})
	if err != nil {
		return nil, err
	}
	hook := func(context.Context, failover.Run) error { return nil }
	for i := range s.idle {
		plan := service.Plan{Service: fmt.Sprint("idle-", i), Primary: s.voters[i%len(s.voters)], Needs: service.Needs{Headroom: 1}}
		err := f.Serve(failover.Service{Plan: plan, Address: s.mesh.Listen, Start: hook, Stop: hook, Check: hook})
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// countIdle reports how many services run here, verified.
func countIdle(ctx context.Context, f *failover.Failover, p *printer) {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		n := 0
		for _, st := range f.Status() {
			if st.Health == service.Healthy {
				n++
			}
		}
		p.printChange(func(s *chaos.State) { s.Idle = n })
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
