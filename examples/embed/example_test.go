package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

// must is for the lines that the README shows: a program returns its errors, as
// embed does. ErrDegraded is none: the write is kept, on fewer disks than wished.
func must[T any](value T, err error) T {
	if err != nil && !errors.Is(err, replica.ErrDegraded) {
		panic(err)
	}
	return value
}

func Example() {
	dir, err := os.MkdirTemp("", "skein")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, secret, listen, seeds := context.Background(), identity.NewSecret(), "127.0.0.1:0", []string(nil)

	// README begins
	node := must(mesh.Start(ctx, mesh.Config{
		Dir: dir, Secret: secret, Name: "press-1", Zone: "line-a", Storing: true,
		Listen: listen, Seeds: seeds, // ":7800", "10.0.0.7:7800", "gateways.plant.local"
	}))
	defer node.Close()
	store := must(replica.Open(ctx, replica.Config{Mesh: node}))
	defer store.Close()
	readings := must(store.Bucket(ctx, "readings", replica.BucketConfig{Copies: 3}))
	res := must(readings.Put(ctx, "press-1/temperature", []byte("71.5"), nil))
	item := must(readings.Get(ctx, "press-1/temperature", nil))
	value, _ := item.Value()
	fmt.Printf("%s, on %d disk(s)\n", value, res.Durable)
	// README ends

	// Output: 71.5, on 1 disk(s)
}
