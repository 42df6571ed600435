package failover_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/partition"
)

// A gateway runs a service for its part of the mesh, and ends it in order.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "skein-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	node, err := mesh.Start(ctx, mesh.Config{Dir: dir, Secret: identity.NewSecret(), Storing: true, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	elections, err := partition.Open(ctx, partition.Config{Mesh: node})
	if err != nil {
		log.Fatal(err)
	}
	defer elections.Close()
	f, err := failover.Open(ctx, failover.Config{Mesh: node, Elections: elections})
	if err != nil {
		log.Fatal(err)
	}
	runs := make(chan struct{})
	err = f.Serve(failover.Service{
		Plan: service.Plan{Service: "press", Mode: service.PerComponent},
		Start: func(_ context.Context, run failover.Run) error {
			t, err := run.Token() // shown to whatever the service writes to
			if err != nil {
				return err
			}
			fmt.Println("it runs in term", t.Term)
			close(runs)
			return nil
		},
		Stop: func(_ context.Context, run failover.Run) error {
			if !run.Forced { // else nothing is left of it here, or there is no time
				fmt.Println("it ends in order")
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	<-runs
	fmt.Println(f.Close())
	// Output:
	// it runs in term 1
	// it ends in order
	// <nil>
}
