package replica_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica"
)

// A former leader that was slow does not overwrite what a later one has written. Each shows
// the token under which it leads.
func ExamplePutOptions_token() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "skein")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	node, err := mesh.Start(ctx, mesh.Config{Dir: dir, Secret: identity.NewSecret(), Storing: true, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	store, err := replica.Open(ctx, replica.Config{Mesh: node})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	states, err := store.Bucket(ctx, "states", replica.BucketConfig{})
	if err != nil {
		log.Fatal(err)
	}

	former, later := token.Token{Term: 5, Node: 9}, token.Token{Term: 6, Node: 1}
	if _, err := states.Put(ctx, "service/press", []byte("batch 8"), &replica.PutOptions{Token: later}); err != nil {
		log.Fatal(err)
	}
	_, err = states.Put(ctx, "service/press", []byte("batch 7"), &replica.PutOptions{Token: former})
	fmt.Println(errors.Is(err, replica.ErrFenced), replica.FencedBy(err))
	// Output:
	// true 6@0000000000000001
}
