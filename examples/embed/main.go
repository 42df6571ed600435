// Embed is the least a program needs to keep data in a mesh: what the README
// shows, with its errors returned. With no other node in reach it works alone.
//
//	go run ./examples/embed -dir /tmp/press-1 -secret-file mesh.secret [-seeds 10.0.0.7:7800]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

func main() {
	dir := flag.String("dir", "", "data directory (required)")
	secretFile := flag.String("secret-file", "", "file with the mesh secret, as skeinctl init writes it (required)")
	seeds := flag.String("seeds", "", "addresses of other nodes, separated by commas")
	listen := flag.String("listen", "", "host:port to listen on (default :7800)")
	flag.Parse()
	text, err := os.ReadFile(*secretFile)
	if err != nil {
		log.Fatal(err)
	}
	secret, err := identity.ParseSecret(string(text))
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := runNode(ctx, *dir, *listen, secret, strings.FieldsFunc(*seeds, func(r rune) bool { return r == ',' })); err != nil {
		log.Fatal(err)
	}
}

func runNode(ctx context.Context, dir, listen string, secret []byte, seeds []string) error {
	node, err := mesh.Start(ctx, mesh.Config{
		Dir: dir, Secret: secret, // identity and data live in Dir; the secret is the same on every node
		Name: "press-1", Zone: "line-a", Storing: true, // copies spread over zones
		Listen: listen, Seeds: seeds, // "10.0.0.7:7800", "gateways.plant.local"
	})
	if err != nil {
		return err
	}
	defer node.Close()
	store, err := replica.Open(ctx, replica.Config{Mesh: node})
	if err != nil {
		return err
	}
	defer store.Close()
	readings, err := store.Bucket(ctx, "readings", replica.BucketConfig{Copies: 3})
	if err != nil {
		return err
	}
	res, err := readings.Put(ctx, "press-1/temperature", []byte("71.5"), nil)
	if err != nil && !errors.Is(err, replica.ErrDegraded) { // degraded: kept, on fewer disks than wished
		return err
	}
	item, err := readings.Get(ctx, "press-1/temperature", nil)
	if err != nil && !errors.Is(err, replica.ErrDegraded) {
		return err
	}
	value, _ := item.Value()
	fmt.Printf("%s, on %d disk(s)\n", value, res.Durable)
	return nil
}
