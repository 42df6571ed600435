// Command nats runs three NATS servers with JetStream in this process, one
// key-value bucket with three replicas in files, and a client on each server
// over an in-process connection.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skeinmesh/skein/internal/bench/load"
)

const nodes = 3

func main() {
	dir := flag.String("dir", "", "data directory")
	syncAlways := flag.Bool("sync-always", false, "flush to disk before a write is acknowledged")
	flag.Parse()
	os.Exit(load.Main(func(ctx context.Context) (load.System, load.Hello, error) { return openCluster(ctx, *dir, *syncAlways) }))
}

type cluster struct {
	servers []*server.Server
	conns   []*nats.Conn
	buckets []jetstream.KeyValue
}

func openCluster(ctx context.Context, dir string, syncAlways bool) (load.System, load.Hello, error) {
	hello := load.Hello{System: "nats", Version: "nats-server v" + server.VERSION + ", nats.go v" + nats.Version, Copies: nodes,
		Config: map[string]any{"replicas": nodes, "storage": "file", "history": 1, "direct_get": true, "sync_always": syncAlways}}
	c := &cluster{}
	if err := c.startServers(ctx, dir, syncAlways); err != nil {
		return nil, hello, errors.Join(err, c.Close())
	}
	return c, hello, nil
}

func (c *cluster) startServers(ctx context.Context, dir string, syncAlways bool) error {
	ports, err := load.FreePorts(nodes)
	if err != nil {
		return err
	}
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i),
			Host:       "127.0.0.1", Port: server.RANDOM_PORT,
			NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprintf("n%d", i)), SyncAlways: syncAlways,
			Cluster: server.ClusterOpts{Name: "bench", Host: "127.0.0.1", Port: port},
			Routes:  routes,
		})
		if err != nil {
			return err
		}
		c.servers = append(c.servers, s)
		s.Start()
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for _, s := range c.servers {
		if !s.ReadyForConnections(30 * time.Second) {
			return errors.New("a NATS server did not start in 30 s")
		}
		conn, err := nats.Connect("", nats.InProcessServer(s))
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conn)
	}
	return c.makeBucket(ctx)
}

// makeBucket creates the bucket once the JetStream cluster has elected its
// leader, and opens it on every server.
func (c *cluster) makeBucket(ctx context.Context) error {
	for i, conn := range c.conns {
		js, err := jetstream.New(conn)
		if err != nil {
			return err
		}
		config := jetstream.KeyValueConfig{Bucket: "bench", Replicas: nodes, Storage: jetstream.FileStorage, History: 1}
		bucket, err := retried(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
			if i > 0 {
				return js.KeyValue(ctx, "bench")
			}
			return js.CreateKeyValue(ctx, config)
		})
		if err != nil {
			return err
		}
		c.buckets = append(c.buckets, bucket)
	}
	_, err := retried(ctx, func(ctx context.Context) (uint64, error) { return c.buckets[0].Put(ctx, "ready", nil) })
	return err
}

// retried gives each attempt its own short deadline: a server without a leader
// does not refuse a request, it leaves it unanswered.
func retried[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		got, err := try(attempt)
		cancel()
		if err == nil || ctx.Err() != nil {
			return got, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *cluster) Put(ctx context.Context, client int, key string, value []byte) error {
	_, err := c.buckets[client%nodes].Put(ctx, key, value)
	return err
}

// Get is a direct get: any replica may answer, and none asks another.
func (c *cluster) Get(ctx context.Context, client int, key string, level string) ([]byte, error) {
	if level != load.LevelOne {
		return nil, load.ErrUnsupported
	}
	entry, err := c.buckets[client%nodes].Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return entry.Value(), nil
}

// ListKeys leaves out the key by which the bucket was found ready.
func (c *cluster) ListKeys(ctx context.Context, client int) (n int, err error) {
	found, err := c.buckets[client%nodes].ListKeys(ctx)
	if err != nil {
		return 0, err
	}
	for key := range found.Keys() {
		if key != "ready" {
			n++
		}
	}
	return n, nil
}

func (c *cluster) WatchKeys(ctx context.Context, client int, ready, seen func()) error {
	w, err := c.buckets[client%nodes].WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		return err
	}
	defer w.Stop()
	ready()
	for {
		select {
		case entry, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch has ended")
			}
			if entry != nil {
				seen()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *cluster) Extra(context.Context, load.Command) (map[string]float64, error) {
	return nil, load.ErrUnsupported
}

func (c *cluster) Children() []int { return nil }

func (c *cluster) Close() error {
	for _, conn := range c.conns {
		conn.Close()
	}
	for _, s := range c.servers {
		s.Shutdown()
		s.WaitForShutdown()
	}
	return nil
}
