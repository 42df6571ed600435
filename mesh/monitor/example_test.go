package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/monitor"
	"github.com/skeinmesh/skein/replica"
)

// A node with a store, as those who watch it see it.
func ExampleHandler() {
	dir, err := os.MkdirTemp("", "monitor")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
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

	server := httptest.NewServer(monitor.Handler(monitor.Checks{
		Alive:   []func() error{node.Err, store.Err},
		Ready:   []func(context.Context) error{node.Ready},
		Metrics: []func(io.Writer) error{node.WriteMetrics, store.WriteMetrics},
	}))
	defer server.Close()
	for _, path := range []string{"/healthz", "/metrics"} {
		r, err := http.Get(server.URL + path)
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		if err := errors.Join(err, r.Body.Close()); err != nil {
			log.Fatal(err)
		}
		fmt.Println(path, r.Status, strings.Contains(string(text), "skein_replica_up{"))
	}
	// Output:
	// /healthz 200 OK false
	// /metrics 200 OK true
}
