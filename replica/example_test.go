package replica_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

// A camera stores nothing itself. What it writes out of reach of all nodes that
// do waits in its outbox.
func ExampleResult_queued() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "skein")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	secret := identity.NewSecret()
	node, err := mesh.Start(ctx, mesh.Config{Dir: dir, Secret: secret, Storing: false, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	store, err := replica.Open(ctx, replica.Config{Mesh: node, OutboxBytes: 16 << 20, OutboxAge: 3 * 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	alarms, err := store.Bucket(ctx, "alarms", replica.BucketConfig{Priority: 10})
	if err != nil {
		log.Fatal(err)
	}
	res, err := alarms.Put(ctx, "gate-3", []byte("forced"), nil)
	switch {
	case errors.Is(err, replica.ErrOutboxFull):
		log.Fatal("no room for it, it was not kept")
	case res.Queued:
		fmt.Println("kept here, to be delivered:", errors.Is(err, replica.ErrDegraded))
	}
	status, err := store.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("waiting:", status.OutboxOps)
	// Output:
	// kept here, to be delivered: true
	// waiting: 1
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "skein")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	secret := identity.NewSecret() // the same on all nodes of a mesh
	node, err := mesh.Start(ctx, mesh.Config{Dir: dir, Secret: secret, Storing: true, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	store, err := replica.Open(ctx, replica.Config{Mesh: node})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	settings, err := store.Bucket(ctx, "settings", replica.BucketConfig{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := settings.Put(ctx, "oven/target", []byte("180"), nil); err != nil {
		log.Fatal(err)
	}
	item, err := settings.Get(ctx, "oven/target", nil)
	if err != nil {
		log.Fatal(err)
	}
	value, _ := item.Value()
	fmt.Printf("%s\n", value)

	// The context of the read makes this write replace what was read.
	if _, err := settings.Delete(ctx, "oven/target", &replica.DeleteOptions{Context: item.Context}); err != nil {
		log.Fatal(err)
	}
	_, err = settings.Get(ctx, "oven/target", nil)
	fmt.Println(errors.Is(err, replica.ErrNotFound))
	// Output:
	// 180
	// true
}
