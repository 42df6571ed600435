package replica_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

// A line's readings are written and read in one call each. Each has a result of its own:
// who has one of them reads what was written, through whatever node.
func ExampleBucket_PutMany() {
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
	readings, err := store.Bucket(ctx, "readings", replica.BucketConfig{})
	if err != nil {
		log.Fatal(err)
	}

	results, err := readings.PutMany(ctx, []replica.BatchPut{
		{Key: "press-1/heat", Value: []byte("81")},
		{Key: "press-1/load", Value: []byte("12")},
	}, nil)
	if err != nil {
		log.Fatal(err) // ErrBadBatch: nothing was begun
	}
	for _, r := range results {
		fmt.Println(r.Durable, r.Err)
	}
	// With Seen a read goes on until it has what was written.
	item, err := readings.Get(ctx, "press-1/load", &replica.GetOptions{Seen: results[1].Context})
	value, _ := item.Value()
	fmt.Printf("%s %v\n", value, err)
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 12 <nil>
}
