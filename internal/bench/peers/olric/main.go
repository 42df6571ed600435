// Command olric runs three embedded Olric nodes in this process: three copies,
// write quorum 2, synchronous replication, everything in memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/buraksezer/olric"
	"github.com/buraksezer/olric/config"

	"github.com/skeinmesh/skein/internal/bench/load"
)

const nodes = 3

func main() {
	flag.String("dir", "", "data directory; Olric writes none")
	readQuorum := flag.Int("read-quorum", 2, "versions a read needs")
	flag.Parse()
	os.Exit(load.Main(func(ctx context.Context) (load.System, load.Hello, error) { return openCluster(ctx, *readQuorum) }))
}

type cluster struct {
	nodes  []*olric.Olric
	failed chan error
	maps   []olric.DMap
}

func openCluster(ctx context.Context, readQuorum int) (load.System, load.Hello, error) {
	hello := load.Hello{System: "olric", Version: moduleVersion("github.com/buraksezer/olric"), Copies: nodes,
		Config: map[string]any{"profile": "lan", "replica_count": nodes, "write_quorum": 2, "read_quorum": readQuorum,
			"replication": "sync", "partitions": config.DefaultPartitionCount, "storage": "memory"}}
	c := &cluster{failed: make(chan error, nodes)}
	if err := c.startNodes(ctx, readQuorum); err != nil {
		return nil, hello, errors.Join(err, c.Close())
	}
	return c, hello, nil
}

func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dependency := range info.Deps {
		if dependency.Path == path {
			return dependency.Version
		}
	}
	return "unknown"
}

func (c *cluster) startNodes(ctx context.Context, readQuorum int) error {
	ports, err := load.FreePorts(2 * nodes)
	if err != nil {
		return err
	}
	seed := fmt.Sprintf("127.0.0.1:%d", ports[1])
	for i := range nodes {
		started := make(chan struct{})
		cfg := nodeConfig(ports[2*i], ports[2*i+1], readQuorum)
		cfg.Started = func() { close(started) }
		if i > 0 {
			cfg.Peers = []string{seed}
		}
		node, err := olric.New(cfg)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, node)
		go func() { c.failed <- node.Start() }()
		select {
		case <-started:
		case err := <-c.failed:
			return fmt.Errorf("an Olric node ended at once: %w", err)
		case <-time.After(30 * time.Second):
			return errors.New("an Olric node did not start in 30 s")
		}
		dmap, err := node.NewEmbeddedClient().NewDMap("bench")
		if err != nil {
			return err
		}
		c.maps = append(c.maps, dmap)
	}
	return c.awaitTable(ctx, 30*time.Second)
}

func nodeConfig(port, gossipPort, readQuorum int) *config.Config {
	cfg := config.New("lan")
	cfg.BindAddr, cfg.BindPort = "127.0.0.1", port
	cfg.MemberlistConfig.BindAddr, cfg.MemberlistConfig.BindPort = "127.0.0.1", gossipPort
	cfg.MemberlistConfig.AdvertiseAddr, cfg.MemberlistConfig.AdvertisePort = "127.0.0.1", gossipPort
	cfg.ReplicaCount, cfg.WriteQuorum, cfg.ReadQuorum = nodes, 2, readQuorum
	cfg.ReplicationMode = config.SyncReplicationMode
	cfg.LogOutput, cfg.LogLevel, cfg.LogVerbosity = io.Discard, config.LogLevelError, 1
	return cfg
}

// awaitTable waits until the routing table, on which every operation depends,
// gives each partition an owner and two more copies.
func (c *cluster) awaitTable(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		table, err := c.nodes[0].NewEmbeddedClient().RoutingTable(ctx)
		if err == nil && complete(table) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("Olric's routing table was not complete after %v", limit)
}

func complete(table olric.RoutingTable) bool {
	for _, route := range table {
		if len(route.PrimaryOwners) != 1 || len(route.ReplicaOwners) != nodes-1 {
			return false
		}
	}
	return len(table) == config.DefaultPartitionCount
}

func (c *cluster) Put(ctx context.Context, client int, key string, value []byte) error {
	return c.maps[client%nodes].Put(ctx, key, value)
}

// Get reads with the quorum the nodes were configured with: Olric has no level
// of one call.
func (c *cluster) Get(ctx context.Context, client int, key string, _ string) ([]byte, error) {
	response, err := c.maps[client%nodes].Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return response.Byte()
}

// ListKeys asks for large pages, as one who wants all keys would.
func (c *cluster) ListKeys(ctx context.Context, client int) (n int, err error) {
	found, err := c.maps[client%nodes].Scan(ctx, olric.Count(1000))
	if err != nil {
		return 0, err
	}
	defer found.Close()
	for found.Next() {
		if found.Key() != "" {
			n++
		}
	}
	return n, nil
}

func (c *cluster) Extra(context.Context, load.Command) (map[string]float64, error) {
	return nil, load.ErrUnsupported
}

func (c *cluster) Children() []int { return nil }

func (c *cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var faults []error
	for _, node := range c.nodes {
		faults = append(faults, node.Shutdown(ctx))
	}
	return errors.Join(faults...)
}
