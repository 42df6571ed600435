// Monitored is a node that can be watched: it stores, takes part in elections, and
// serves /metrics, /healthz and /readyz. dashboard.json beside it is a dashboard for
// Grafana of what it serves.
//
//	go run ./examples/monitored -dir /tmp/press-1 -secret-file mesh.secret -http 127.0.0.1:9780
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/monitor"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/replica"
)

func main() {
	dir := flag.String("dir", "", "data directory (required)")
	secretFile := flag.String("secret-file", "", "file with the mesh secret, as skeinctl init writes it (required)")
	seeds := flag.String("seeds", "", "addresses of other nodes, separated by commas")
	listen := flag.String("listen", "", "host:port to listen on (default :7800)")
	web := flag.String("http", "127.0.0.1:9780", "host:port for those who watch; it asks nobody who they are")
	flag.Parse()
	text, err := os.ReadFile(*secretFile)
	if err != nil {
		log.Fatal(err)
	}
	secret, err := identity.ParseSecret(string(text))
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg := mesh.Config{Dir: *dir, Secret: secret, Storing: true, Listen: *listen, Seeds: strings.FieldsFunc(*seeds, func(r rune) bool { return r == ',' })}
	watched := func(at net.Addr) { log.Printf("metrics, healthz and readyz are at http://%s", at) }
	if err := runNode(ctx, cfg, *web, watched); err != nil {
		log.Fatal(err)
	}
}

// runNode runs a node, and what serves those who watch it, until ctx ends or the node
// does. watched is told where that is. Until all is open nobody listens there, and who
// watches may give the process some minutes for it: a store may have to be recovered.
func runNode(ctx context.Context, cfg mesh.Config, web string, watched func(net.Addr)) error {
	node, err := mesh.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer node.Close()
	store, err := replica.Open(ctx, replica.Config{Mesh: node})
	if err != nil {
		return err
	}
	defer store.Close()
	part, err := partition.Open(ctx, partition.Config{Mesh: node})
	if err != nil {
		return err
	}
	defer part.Close()

	ln, err := net.Listen("tcp", web)
	if err != nil {
		return err
	}
	watched(ln.Addr())
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: monitor.Handler(monitor.Checks{
		Alive:   []func() error{node.Err, store.Err},
		Ready:   []func(context.Context) error{node.Ready},
		Metrics: []func(io.Writer) error{node.WriteMetrics, store.WriteMetrics, part.WriteMetrics},
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case <-ctx.Done():
	case <-node.Done():
		err = node.Err()
	case err = <-served:
		return err
	}
	err = errors.Join(err, server.Close())
	<-served
	return err
}
