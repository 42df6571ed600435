// Command skein runs three storing nodes of a mesh in this process, each with
// a data directory of its own, or one idle node of a mesh of three processes, or
// one node that does what it is told, or none until a measurement asks for some
// that it sets up as it needs them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"

	"github.com/skeinmesh/skein/internal/bench/load"
)

const nodes = 3

func main() {
	dir := flag.String("dir", "", "data directory")
	idle := flag.String("idle", "", "be one idle node of this name")
	one := flag.String("single", "", "be one node of this name that does what it is told")
	listen := flag.String("listen", "", "address of the one node")
	seeds := flag.String("seeds", "", "addresses of nodes of its mesh, by commas")
	alone := flag.Bool("alone", false, "open nothing before a measurement does")
	flag.Parse()
	os.Exit(load.Main(func(ctx context.Context) (load.System, load.Hello, error) {
		if *alone {
			return workshop{*dir}, load.Hello{System: "skein", Version: "this tree"}, nil
		}
		if *idle != "" {
			return openIdle(ctx, *dir, *idle, *listen, strings.Split(*seeds, ","))
		}
		if *one != "" {
			return openSingle(ctx, *dir, *one, *listen, *seeds)
		}
		return openMesh(ctx, *dir)
	}))
}

// secret is no secret: all these meshes live on loopback for minutes.
var secret = []byte("skein benchmark, loopback only!!")

// member is a node with its store.
type member struct {
	node   *mesh.Node
	store  *replica.Store
	bucket *replica.Bucket
}

// meshConfig has the defaults in all that is not needed to tell nodes apart.
func meshConfig(dir, name, listen string, seeds []string) mesh.Config {
	return mesh.Config{Dir: dir, Name: name, Zone: "zone-" + name, Storing: true, Secret: secret, Listen: listen, Seeds: seeds}
}

func openMember(ctx context.Context, cfg mesh.Config) (*member, error) {
	return setup{mesh: cfg}.openMember(ctx)
}

// setup is how a member is opened.
type setup struct {
	mesh   mesh.Config
	store  replica.Config // but for its Mesh
	bucket replica.BucketConfig
	// wrap, if there is one, puts something between the node and its store.
	wrap func(replica.Mesh) replica.Mesh
}

func (s setup) openMember(ctx context.Context) (*member, error) {
	m := &member{}
	var err error
	if m.node, err = mesh.Start(ctx, s.mesh); err != nil {
		return m, err
	}
	s.store.Mesh = m.node
	if s.wrap != nil {
		s.store.Mesh = s.wrap(m.node)
	}
	if m.store, err = replica.Open(ctx, s.store); err != nil {
		return m, err
	}
	m.bucket, err = m.store.Bucket(ctx, "bench", s.bucket)
	return m, err
}

func (m *member) closeAll() error {
	var faults []error
	if m.store != nil {
		faults = append(faults, m.store.Close())
	}
	if m.node != nil {
		faults = append(faults, m.node.Close())
	}
	return errors.Join(faults...)
}

// awaitAll waits until the member sees n storing nodes alive.
func (m *member) awaitAll(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for v := range m.node.Watch(ctx) {
		alive := 0
		for _, other := range v.Members {
			if other.Storing && other.State == view.Alive {
				alive++
			}
		}
		if alive == n {
			return nil
		}
	}
	return fmt.Errorf("%d nodes did not meet: %w", n, context.Cause(ctx))
}

// trio is the system under load.
type trio []*member

func openMesh(ctx context.Context, dir string) (load.System, load.Hello, error) {
	hello := load.Hello{System: "skein", Version: "this tree", Copies: nodes}
	ports, err := load.FreePorts(nodes)
	if err != nil {
		return nil, hello, err
	}
	seed := fmt.Sprintf("127.0.0.1:%d", ports[0])
	var t trio
	for i, port := range ports {
		name := fmt.Sprintf("n%d", i)
		cfg := meshConfig(filepath.Join(dir, name), name, fmt.Sprintf("127.0.0.1:%d", port), []string{seed})
		hello.Config = configs(cfg)
		m, err := openMember(ctx, cfg)
		t = append(t, m)
		if err != nil {
			return nil, hello, errors.Join(err, t.Close())
		}
	}
	for _, m := range t {
		if err := m.awaitAll(ctx, nodes); err != nil {
			return nil, hello, errors.Join(err, t.Close())
		}
	}
	return t, hello, nil
}

// configs shows what is not a default.
func configs(cfg mesh.Config) map[string]any {
	cfg.Secret = nil
	return map[string]any{"mesh": nonZeroFields(cfg), "replica": nonZeroFields(replica.Config{}), "bucket": nonZeroFields(replica.BucketConfig{}),
		"put": "default level, Durable >= 2 checked", "all else": "default"}
}

// nonZeroFields returns the exported fields of a struct that are not zero.
func nonZeroFields(config any) map[string]any {
	fields := map[string]any{}
	value := reflect.ValueOf(config)
	for i := range value.NumField() {
		if field := value.Type().Field(i); field.IsExported() && !value.Field(i).IsZero() {
			if _, err := json.Marshal(value.Field(i).Interface()); err == nil {
				fields[field.Name] = value.Field(i).Interface()
			}
		}
	}
	return fields
}

func (t trio) Put(ctx context.Context, client int, key string, value []byte) error {
	result, err := t[client%nodes].bucket.Put(ctx, key, value, nil)
	if err == nil && result.Durable < 2 {
		return fmt.Errorf("acknowledged with %d durable copies", result.Durable)
	}
	return err
}

func (t trio) PutMany(ctx context.Context, client int, keys []string, values [][]byte) error {
	puts := make([]replica.BatchPut, len(keys))
	for i := range puts {
		puts[i] = replica.BatchPut{Key: keys[i], Value: values[i]}
	}
	results, err := t[client%nodes].bucket.PutMany(ctx, puts, nil)
	for i := range results {
		if err == nil && results[i].Durable < 2 {
			err = fmt.Errorf("acknowledged with %d durable copies", results[i].Durable)
		}
	}
	return err
}

func (t trio) Get(ctx context.Context, client int, key string, level string) ([]byte, error) {
	options := &replica.GetOptions{Level: replica.One}
	if level == load.LevelQuorum {
		options.Level = replica.Quorum
	}
	item, err := t[client%nodes].bucket.Get(ctx, key, options)
	if err != nil {
		return nil, err
	}
	value, ok := item.Value()
	if !ok {
		return nil, errors.New("the key is gone")
	}
	return value, nil
}

func (t trio) ListKeys(ctx context.Context, client int) (n int, err error) {
	for entry, fault := range t[client%nodes].bucket.Scan(ctx, replica.ScanOptions{KeysOnly: true}) {
		if fault != nil {
			err = errors.Join(err, fault)
		} else if entry.Key != "" {
			n++
		}
	}
	return n, err
}

func (t trio) WatchKeys(ctx context.Context, client int, ready, seen func()) error {
	begun := false
	for change, err := range t[client%nodes].bucket.Watch(ctx, replica.WatchOptions{}) {
		switch {
		case err != nil:
			return err
		case change.Kind == replica.ChangePut:
			seen()
		case change.Kind == replica.ChangeCurrent && change.Open == 0 && !begun:
			begun = true
			ready()
		}
	}
	return ctx.Err()
}

func (t trio) Extra(_ context.Context, cmd load.Command) (map[string]float64, error) {
	if cmd.Level != "placement" {
		return nil, load.ErrUnsupported
	}
	return movement()
}

func (t trio) Children() []int { return nil }

func (t trio) Close() error {
	var faults []error
	for _, m := range t {
		faults = append(faults, m.closeAll())
	}
	return errors.Join(faults...)
}
