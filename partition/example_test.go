package partition_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/partition/token"
)

// A gateway that writes set points only while it leads its part of the mesh.
func Example() {
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

	var setPoint partition.Fence // at the machine
	writer := partition.Election{Name: "set-points", Scope: partition.ScopeComponent}
	err = p.Lead(ctx, writer, func(ctx context.Context, _ token.Token) {
		t, err := p.Token(writer) // before each action: it may have grown, or be gone
		if err != nil {
			return
		}
		if err := setPoint.Admit(t); err == nil {
			fmt.Println("written by the leader of term", t.Term)
		}
	})
	fmt.Println(err)
	// Output:
	// written by the leader of term 1
	// <nil>
}
