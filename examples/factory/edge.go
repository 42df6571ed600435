package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica"
)

const (
	measureEvery = 250 * time.Millisecond
	sensorsLive  = 10 * time.Second // the TTL of a reading
	noticeTopic  = "notice"
	reportMethod = "factory/report"
	sensors      = "sensor/" // sensor/NODE/pump: the prefix of readings

	goodPressure, brokenPressure, leastPressure = 4.2, 0.6, 3.0 // bar
)

// reading is what a node measures at its pump. The figures are made up.
type reading struct {
	Pressure float64
	At       time.Time
}

// edge is a node's process: all that a program on an edge box opens, and the parent at the
// other end of standard input and output.
type edge struct {
	role      stage.Role
	net       *stage.Network
	node      *mesh.Node
	part      *partition.Partition
	store     *replica.Store
	plant     *replica.Bucket // what the services write
	telemetry *replica.Bucket
	services  *failover.Failover
	tiers     []backup.NamedTier // the nearest first
	backups   *backup.Backup
	parent    *line
	clock     *clock.Clock
	broken    atomic.Bool // the pump

	mu     sync.Mutex
	shifts map[string]*shift // what runs here, by service
}

// runChild runs the node that the text describes until the parent goes away or asks it to
// quit, and returns the exit status.
func runChild(text string) int {
	r, err := stage.ParseRole(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "factory:", err)
		return 2
	}
	if err := runEdge(context.Background(), r, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", r.Name, err)
		return 1
	}
	return 0
}

func runEdge(ctx context.Context, r stage.Role, in io.Reader, out io.Writer) (err error) {
	e := &edge{role: r, net: stage.NewNetwork(r.Addr), parent: stage.NewLine[request, answer, event](out), clock: clock.System(), shifts: map[string]*shift{}}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	e.node, err = mesh.Start(ctx, mesh.Config{
		Dir: r.Dir, Secret: r.Secret, Name: r.Name, Zone: r.Zone, Storing: true,
		Listen: r.ListenAddr(), Advertise: r.ListenAddr(), Seeds: r.Seeds, Network: e.net, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.node.Close()) }()
	e.part, err = partition.Open(ctx, partition.Config{Mesh: e.node, Voters: edgeNames(), Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.part.Close()) }()
	e.store, err = replica.Open(ctx, replica.Config{Mesh: e.node, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.store.Close()) }()
	if err := e.openRest(ctx, logger); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.services.Close()) }()
	if err := e.openBackups(ctx, r, logger); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.backups.Close()) }()
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { e.measure(ctx) })
	wg.Go(func() { e.hearNotices(ctx) })
	return e.parent.Answer(ctx, in, e.answerRequest)
}

// openRest opens the buckets and the failover on them.
func (e *edge) openRest(ctx context.Context, logger *slog.Logger) (err error) {
	if err := e.node.Ready(ctx); err != nil {
		return err
	}
	records, err := e.store.Bucket(ctx, "failover", replica.BucketConfig{})
	if err != nil {
		return err
	}
	if e.plant, err = e.store.Bucket(ctx, "plant", replica.BucketConfig{}); err != nil {
		return err
	}
	if e.telemetry, err = e.store.Bucket(ctx, "telemetry", replica.BucketConfig{TTL: sensorsLive}); err != nil {
		return err
	}
	if err := e.node.Handle(reportMethod, e.answerReport); err != nil {
		return err
	}
	e.services, err = failover.Open(ctx, failover.Config{Mesh: e.node, Elections: e.part, Records: records.Records(), Logger: logger})
	return err
}

// measure writes what this node measures, several times a second.
func (e *edge) measure(ctx context.Context) {
	for clock.Sleep(ctx, measureEvery) {
		r := reading{Pressure: goodPressure, At: time.Now()}
		if e.broken.Load() {
			r.Pressure = brokenPressure
		}
		value, _ := json.Marshal(r)
		// An error is a reading that is lost, or on fewer disks: the next one is as good.
		_, _ = e.telemetry.Put(ctx, sensors+e.role.Name+"/pump", value, nil)
	}
}

// hearNotices tells the parent what is published for all.
func (e *edge) hearNotices(ctx context.Context) {
	for m, err := range e.node.Subscribe(ctx, noticeTopic) {
		if err != nil {
			return // the node or ctx has ended
		}
		e.parent.Tell(event{Heard: string(m.Payload)})
	}
}

func (e *edge) answerRequest(ctx context.Context, r request) (answer, error) {
	switch r.Op {
	case "status":
		return answer{Node: e.node.ID(), Alive: e.node.View().Count(view.Alive)}, nil
	case "plan":
		_, err := e.services.SetPlan(ctx, *r.Plan)
		return answer{}, err
	case "serve":
		return answer{}, errors.Join(e.services.Serve(e.monitoringService()), e.services.Serve(e.qualityService()))
	case "report":
		return e.askService(ctx, r.Service)
	case "break":
		e.broken.Store(true)
		return answer{}, nil
	case "read":
		return e.readKeys(ctx, r.Keys)
	case "overwrite":
		return e.overwriteKey(ctx, r.Key, r.Token)
	case "drill":
		return answer{}, e.services.Drill(r.Service)
	case "history":
		events, err := e.services.History(ctx, r.Service, r.Since, 0)
		return answer{History: events}, err
	case "cut":
		e.net.SetBlocked(r.Blocked)
		return answer{}, nil
	case "backups":
		return e.countBackups(ctx)
	case "verify":
		return e.verifyBackups(ctx, r.Identity)
	case "rest":
		return answer{}, e.services.Close()
	}
	return answer{}, fmt.Errorf("no such request: %q", r.Op)
}

// askService asks a service for its report, at the node where it is found.
func (e *edge) askService(ctx context.Context, name string) (answer, error) {
	found, err := e.services.Resolve(name)
	if err != nil {
		return answer{}, err
	}
	text, err := e.node.Call(ctx, found.Node, reportMethod, []byte(name))
	if err != nil {
		return answer{}, err
	}
	a := answer{Report: &report{}}
	return a, json.Unmarshal(text, a.Report)
}

func (e *edge) readKeys(ctx context.Context, keys []string) (answer, error) {
	a := answer{Values: map[string]string{}}
	for _, key := range keys {
		item, err := e.plant.Get(ctx, key, nil)
		if errors.Is(err, replica.ErrNotFound) {
			continue
		} else if err != nil {
			return answer{}, fmt.Errorf("read %s: %w", key, err)
		}
		if value, ok := item.Value(); ok {
			a.Values[key] = string(value)
		}
	}
	return a, nil
}

// overwriteKey writes with the token of an earlier lead, as a service would that does not know
// yet that it runs elsewhere.
func (e *edge) overwriteKey(ctx context.Context, key, text string) (answer, error) {
	t, err := token.Parse(text)
	if err != nil {
		return answer{}, err
	}
	if _, err = e.plant.Put(ctx, key, []byte("too late"), &replica.PutOptions{Token: t}); errors.Is(err, replica.ErrFenced) {
		return answer{Fenced: true}, nil
	}
	return answer{}, err
}
