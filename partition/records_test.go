package partition

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover"
	words "github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/replica"
)

// TestServicesKeepTheirRecordsInABucket has plans, routes and the history of a service in a
// real bucket: a plan that is set while a node is cut off reaches it, all find the service
// where it runs, and all read what has happened.
func TestServicesKeepTheirRecordsInABucket(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, voting, func(w *world) {
		ctx := context.Background()
		l := &line{w: w, plan: words.Plan{Service: "press", Primary: "node-0", Backups: []string{"node-1"}}, at: map[*box]*failover.Failover{}, runs: map[*box]bool{}}
		var stores []*replica.Store
		for _, b := range w.boxes {
			s, err := replica.Open(ctx, replica.Config{Mesh: b.node, Logger: b.mesh.Logger})
			if err != nil {
				t.Fatal(err)
			}
			stores = append(stores, s)
		}
		defer func() {
			l.close()
			for _, s := range stores {
				_ = s.Close()
			}
		}()
		for i, b := range w.boxes {
			bucket, err := stores[i].Bucket(ctx, "services", replica.BucketConfig{})
			if err != nil {
				t.Fatal(err)
			}
			l.records = bucket.Records()
			l.serve(b)
		}
		b := w.boxes
		foundAt := func(leader *box, by ...*box) func() bool {
			return func() bool {
				return !slices.ContainsFunc(by, func(b *box) bool {
					r, err := l.at[b].Resolve("press")
					return err != nil || r.Node != leader.node.ID() || r.Address != leader.addr.String()
				})
			}
		}
		l.runsAt(10*time.Second, b[0])
		if took := w.until(10*time.Second, "all find it", foundAt(b[0], b...)); took > time.Second { // a beat of the watch
			t.Errorf("found %v after it was verified", took)
		}

		w.net.Partition(w.addrs(b[0]), w.addrs(b[1:]...))
		l.runsAt(time.Minute, b[1])
		if took := w.until(10*time.Second, "those in contact find it", foundAt(b[1], b[1:]...)); took > time.Second { // a beat of the watch
			t.Errorf("found %v after it was verified", took)
		}
		if r, err := l.at[b[0]].Resolve("press"); !errors.Is(err, failover.ErrNotServed) {
			t.Errorf("the one that is cut off finds %+v, %v", r, err)
		}
		p := l.plan
		p.Primary, p.FailBack, p.After = "node-2", words.FailBackAfter, time.Second
		if _, err := l.at[b[1]].SetPlan(ctx, p); err != nil {
			t.Fatal(err)
		}
		l.runsAt(time.Minute, b[2])
		w.net.HealAll()
		w.until(time.Minute, "the plan has come", func() bool { return l.at[b[0]].Status()[0].Plan.Primary == "node-2" })
		w.until(10*time.Second, "all find it", foundAt(b[2], b...))

		w.until(time.Minute, "all read where it was well", func() bool {
			for _, b := range w.boxes {
				events, err := l.at[b].History(ctx, "press", time.Time{}, 0)
				if err != nil {
					return false
				}
				events = slices.DeleteFunc(events, func(e failover.Event) bool { return e.What != failover.HealthChanged || e.Health != words.Healthy })
				if len(events) != 3 || events[0].Node != w.boxes[0].node.ID() || events[2].Node != w.boxes[2].node.ID() {
					return false
				}
			}
			return true
		})
		l.checkNeverTwice()
	})
}
