package vip_test

import (
	"context"
	"log"
	"net/netip"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/failover/vip"
	"github.com/skeinmesh/skein/mesh"
)

// A service has the address 10.0.0.100 wherever it runs.
func Example() {
	var (
		node *mesh.Node         // as package mesh starts it
		f    *failover.Failover // as package failover opens it
		s    failover.Service   // with Start and Stop of its own
	)
	s.Plan = service.Plan{Service: "press", Mode: service.Exclusive}
	address, err := vip.New(vip.Config{
		Election: s.Election(), Interface: "eth0", Address: netip.MustParsePrefix("10.0.0.100/32"), Mesh: node,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer address.Close() // after f
	s.Address = "10.0.0.100:80"
	s.Route = func(ctx context.Context, run failover.Run) error { return address.Hold(ctx, run) }
	s.UndoRoute = func(ctx context.Context, _ failover.Run) error { return address.Release(ctx) }
	s.Check = func(ctx context.Context, _ failover.Run) error { return address.Check(ctx) }
	if err := f.Serve(s); err != nil {
		log.Fatal(err)
	}
}
