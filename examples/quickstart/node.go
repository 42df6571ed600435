package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/replica"
	"github.com/skeinmesh/skein/replica/version"
)

const bucketName = "telemetry"

// healAfter is short for the story's sake: the copies of a node that is down
// for this long are made elsewhere.
const healAfter = 5 * time.Second

// gateway is a node's process: a mesh node, its store, its part in elections, and
// the parent at the other end of standard input and output.
type gateway struct {
	net    *stage.Network
	node   *mesh.Node
	part   *partition.Partition
	store  *replica.Store
	bucket *replica.Bucket
	backup *backup.Backup // nil: none are made

	parent *stage.Line[request, answer, event]
}

// runChild runs the node that the text describes until the parent goes away or
// asks it to quit, and returns the exit status.
func runChild(text string) int {
	p, err := stage.ParseRole(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		return 2
	}
	if err := runGateway(context.Background(), p, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	return 0
}

func runGateway(ctx context.Context, p stage.Role, in io.Reader, out io.Writer) (err error) {
	g := &gateway{net: stage.NewNetwork(p.Addr), parent: stage.NewLine[request, answer, event](out)}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	g.node, err = mesh.Start(ctx, mesh.Config{
		Dir: p.Dir, Secret: p.Secret, Name: p.Name, Zone: p.Zone, Storing: true, Shards: p.Shards,
		Listen: p.ListenAddr(), Advertise: p.ListenAddr(), Seeds: p.Seeds, Network: g.net, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.node.Close()) }()
	g.part, err = partition.Open(ctx, partition.Config{Mesh: g.node, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.part.Close()) }()
	g.store, err = replica.Open(ctx, replica.Config{Mesh: g.node, HealAfter: healAfter, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.store.Close()) }()
	if err := g.node.Ready(ctx); err != nil {
		return err
	}
	g.bucket, err = g.store.Bucket(ctx, bucketName, replica.BucketConfig{Copies: 3})
	if err != nil {
		return err
	}
	if err := g.openBackup(ctx, p, logger); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.closeBackup()) }()
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { g.tellChanges(ctx) })
	return g.parent.Answer(ctx, in, g.answerRequest)
}

func (g *gateway) answerRequest(ctx context.Context, r request) (answer, error) {
	switch r.Op {
	case "put":
		res, err := g.bucket.Put(ctx, r.Key, r.Value, nil)
		return acknowledged(res, err)
	case "delete":
		res, err := g.bucket.Delete(ctx, r.Key, nil)
		return acknowledged(res, err)
	case "read":
		return g.readKeys(ctx, r.Keys)
	case "homes":
		var a answer
		for _, key := range r.Keys {
			a.Homes = append(a.Homes, g.bucket.Homes(key))
		}
		return a, nil
	case "cut":
		g.net.SetBlocked(r.Blocked)
		return answer{}, nil
	case "status":
		return g.readStatus(ctx)
	case "leader":
		l := g.part.Status().Leader
		return answer{Leader: &claim{Token: l.Token, Here: l.Here, Scope: l.Election.Scope.String()}}, nil
	case "backup":
		return g.backUp(ctx)
	case "restore":
		return g.restore(ctx, r.Backups, r.Identity)
	case "leave":
		return answer{}, g.node.Leave(ctx)
	}
	return answer{}, fmt.Errorf("no such request: %q", r.Op)
}

// acknowledged: a write on fewer stores than wished is acknowledged all the
// same, and says so.
func acknowledged(res replica.Result, err error) (answer, error) {
	degraded := errors.Is(err, replica.ErrDegraded)
	if err != nil && !degraded {
		return answer{}, err
	}
	return answer{Write: &written{Dot: res.Dot, Covered: res.Covered, Durable: res.Durable, Degraded: degraded}}, nil
}

func (g *gateway) readKeys(ctx context.Context, keys []string) (answer, error) {
	a := answer{Values: make(map[string]value)}
	for _, key := range keys {
		item, err := g.bucket.Get(ctx, key, nil)
		if errors.Is(err, replica.ErrNotFound) {
			continue
		}
		if err != nil {
			return answer{}, fmt.Errorf("read %s: %w", key, err)
		}
		shown, _ := item.Value()
		v := value{Shown: shown}
		if all := item.Siblings(); len(all) > 1 {
			v.All = all
		}
		a.Values[key] = v
	}
	return a, nil
}

func (g *gateway) readStatus(ctx context.Context) (answer, error) {
	st, err := g.store.Health(ctx)
	if err != nil {
		return answer{}, err
	}
	digests, err := g.bucket.Digests(ctx)
	if err != nil {
		return answer{}, err
	}
	s := &status{Node: g.node.ID(), Alive: g.node.View().Count(view.Alive),
		Hints: st.Hints, Syncing: st.Syncing, Leftover: st.Leftover, Moved: st.Moved, Digests: make(map[string]string, len(digests))}
	for shard, d := range digests {
		s.Digests[strconv.Itoa(shard)] = hex.EncodeToString(d[:])
	}
	return answer{Status: s}, nil
}

// tellChanges reports every change of a member's state to the parent.
func (g *gateway) tellChanges(ctx context.Context) {
	known := make(map[view.NodeID]view.State)
	for v := range g.node.Watch(ctx) {
		for _, m := range v.Members {
			if m.ID != v.Self && known[m.ID] != m.State {
				known[m.ID] = m.State
				g.parent.Tell(event{Node: m.ID, State: m.State, At: time.Now().UnixNano()})
			}
		}
	}
}

// readDisk reads the store of a node that does not run.
func readDisk(dir string) (holdings, error) {
	h := holdings{Items: make(map[string]version.Item)}
	found, err := replica.Inspect(context.Background(), dir, func(r replica.Record) error {
		if r.Bucket == bucketName {
			h.Items[r.Key] = r.Item
		}
		return nil
	})
	if err == nil && found.Damaged > 0 {
		err = fmt.Errorf("%d damaged records", found.Damaged)
	}
	h.Node = found.Node
	return h, err
}
