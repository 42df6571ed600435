package partition_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/partition"
)

// What the machine of each node has and what of it is free, by which work is given out.
func ExamplePartition_Resources() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, remove := tempDir()
	defer remove()
	node, err := mesh.Start(ctx, mesh.Config{Dir: dir, Secret: identity.NewSecret(), Storing: true, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	p, err := partition.Open(ctx, partition.Config{Mesh: node})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	for _, id := range p.Status().Component {
		r, err := p.Resources(ctx, id)
		if err != nil {
			fmt.Println(err) // it is of an earlier release, say
			continue
		}
		// What is not known is zero: no claim is made of it.
		fits := r.Memory == 0 || r.FreeMemory >= 1<<20
		fmt.Println("itself:", r.Node == node.ID(), "has room for a job of 1 MiB:", fits)
	}
	// Output:
	// itself: true has room for a job of 1 MiB: true
}
