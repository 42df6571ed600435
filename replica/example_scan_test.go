package replica_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

// All readings of a press are listed, page by page: a page ends where the next one begins,
// also in another process, or through another node.
func ExampleBucket_Scan() {
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
	for _, key := range []string{"press-1/speed", "press-2/speed", "press-1/load", "press-1/heat"} {
		if _, err := readings.Put(ctx, key, []byte("17"), nil); err != nil {
			log.Fatal(err)
		}
	}

	page := replica.ScanOptions{Prefix: "press-1/", Limit: 2}
	for n := page.Limit; n == page.Limit; {
		n = 0
		for e, err := range readings.Scan(ctx, page) {
			var gap *replica.ScanGap
			switch {
			case errors.As(err, &gap):
				fmt.Println("nodes are out of reach, items may be missing:", gap)
				continue
			case err != nil:
				log.Fatal(err)
			}
			value, _ := e.Value()
			fmt.Printf("%s %s\n", e.Key, value)
			page.After = e.Cursor()
			n++
		}
		fmt.Println("--")
	}
	all, err := readings.Count(ctx, replica.ScanOptions{})
	fmt.Println(all, err)
	// Output:
	// press-1/heat 17
	// press-1/load 17
	// --
	// press-1/speed 17
	// --
	// 4 <nil>
}
