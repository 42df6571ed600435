// Node is one node of a mesh, its store and its part in elections as a process of
// their own, for the tests of package chaos, which says how to talk to it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/internal/chaos"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/replica"
)

func main() {
	if code, ok := runPart(os.Args[1:]); ok {
		os.Exit(code)
	}
	s, err := parseFlags(os.Args[1:])
	if err == nil {
		err = runNode(context.Background(), s, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

// settings is what the command line says.
type settings struct {
	mesh   mesh.Config
	pace   partition.Pace
	voters []string     // of the election "writer"; none: the node does not stand for it
	serves string       // directory in which the command that it serves makes its notes; empty: it serves none
	floats netip.Prefix // address that goes with the command; zero: none
	idle   int          // so many services that do nothing
}

func parseFlags(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("node", flag.ContinueOnError)
	flags.StringVar(&s.mesh.Dir, "dir", "", "data directory")
	flags.StringVar(&s.mesh.Name, "name", "", "name of the node")
	flags.StringVar(&s.mesh.Zone, "zone", "", "zone of the node")
	flags.StringVar(&s.mesh.Listen, "listen", "", "host:port")
	flags.BoolVar(&s.mesh.Storing, "storing", true, "hold data")
	seeds := flags.String("seeds", "", "host:port of other nodes, with commas between")
	secret := flags.String("secret", "", "file with the printed secret")
	profile := flags.String("profile", "LAN", "LAN, WAN or Edge")
	voters := flags.String("voters", "", "names of the voters of the election \"writer\", with commas between")
	flags.StringVar(&s.serves, "serves", "", "serve a command that makes notes in this directory")
	flags.IntVar(&s.idle, "idle", 0, "serve so many services that do nothing")
	floats := flags.String("floats", "", "address and prefix that go with the command")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if *seeds != "" {
		s.mesh.Seeds = strings.Split(*seeds, ",")
	}
	if *voters != "" {
		s.voters = strings.Split(*voters, ",")
	}
	if *floats != "" {
		if s.floats, err = netip.ParsePrefix(*floats); err != nil {
			return s, err
		}
	}
	text, err := os.ReadFile(*secret)
	if err != nil {
		return s, fmt.Errorf("read the secret: %w", err)
	}
	if s.mesh.Secret, err = identity.ParseSecret(string(text)); err != nil {
		return s, err
	}
	for p, pace := range map[mesh.Profile]partition.Pace{mesh.LAN: partition.LAN(), mesh.WAN: partition.WAN(), mesh.Edge: partition.Edge()} {
		if strings.EqualFold(*profile, p.String()) {
			s.mesh.Profile, s.pace = p, pace
			return s, nil
		}
	}
	return s, fmt.Errorf("-profile %s: want LAN, WAN or Edge", *profile)
}

// runNode is the node until the parent goes away or asks it to quit.
func runNode(ctx context.Context, s settings, in io.Reader, out io.Writer) (err error) {
	s.mesh.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	p := newPrinter(s.mesh.Name, out)
	defer p.closeAndWait()
	node, err := mesh.Start(ctx, s.mesh)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	ctx, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stop()
	watchers.Go(func() { watchView(ctx, node, p) })

	store, err := replica.Open(ctx, replica.Config{Mesh: node, Logger: s.mesh.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	part, err := partition.Open(ctx, partition.Config{Mesh: node, Pace: s.pace, Voters: s.voters, Logger: s.mesh.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	watchers.Go(func() { watchStatus(ctx, node, part, p) })
	if len(s.voters) > 0 {
		watchers.Go(func() { workWhenLeading(ctx, part, p) })
	}
	var f *failover.Failover
	if s.serves != "" {
		var press *served
		if press, err = serveCommand(ctx, s, node, part, store); err != nil {
			return err
		}
		f = press.Failover
		defer func() { err = errors.Join(err, press.Close()) }()
		watchers.Go(func() { watchService(ctx, f, p) })
	}
	if s.idle > 0 {
		idle, err := serveIdle(ctx, s, node, part, store)
		if err != nil {
			return err
		}
		defer func() { _ = idle.Close() }()
		watchers.Go(func() { countIdle(ctx, idle, p) })
	}
	if err := node.Ready(ctx); err != nil {
		return err
	}
	bucket, err := store.Bucket(ctx, "chaos", replica.BucketConfig{Copies: 3, Policy: replica.Siblings})
	if err != nil {
		return err
	}
	return serveRequests(ctx, answerer{bucket, f}, p, in)
}

// watchView reports how the node sees the others, and itself.
func watchView(ctx context.Context, node *mesh.Node, p *printer) {
	for v := range node.Watch(ctx) {
		names := map[view.State][]string{view.Alive: {}, view.Suspect: {}, view.Failed: {}}
		for _, m := range v.Members {
			names[m.State] = append(names[m.State], m.Name)
		}
		for _, of := range names {
			slices.Sort(of)
		}
		p.printChange(func(s *chaos.State) {
			s.Alive, s.Suspect, s.Failed = names[view.Alive], names[view.Suspect], names[view.Failed]
		})
	}
	if err := node.Err(); err != nil {
		p.printChange(func(s *chaos.State) { s.Stopped = err.Error() })
	}
}

// serveRequests answers requests, each on its own goroutine.
func serveRequests(ctx context.Context, a answerer, p *printer, in io.Reader) error {
	ctx, stop := context.WithCancel(ctx)
	var requests sync.WaitGroup
	defer requests.Wait()
	defer stop()
	for dec := json.NewDecoder(in); ; {
		var r chaos.Request
		if err := dec.Decode(&r); err == io.EOF {
			return nil // the parent is gone
		} else if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		if r.Op == "quit" {
			p.printReply(chaos.Reply{ID: r.ID})
			return nil
		}
		requests.Go(func() {
			reply, err := a.answerRequest(ctx, r)
			if err != nil {
				reply.Err = err.Error()
			}
			reply.ID = r.ID
			p.printReply(reply)
		})
	}
}

// answerer answers requests by what the node has; failover is nil if it serves nothing.
type answerer struct {
	bucket   *replica.Bucket
	failover *failover.Failover
}

func (a answerer) answerRequest(ctx context.Context, r chaos.Request) (reply chaos.Reply, err error) {
	switch r.Op {
	case "move":
		if a.failover == nil {
			return reply, errors.New("this node serves nothing")
		}
		return reply, a.failover.Move("press", r.Value)
	case "put":
		// A write kept by fewer stores than wished is not acknowledged here:
		// the loss of one store may lose it.
		_, err = a.bucket.Put(ctx, r.Key, []byte(r.Value), nil)
		return reply, err
	case "get":
		reply.Values, err = getValues(ctx, a.bucket, r.Keys)
		return reply, err
	}
	return reply, fmt.Errorf("no such request: %q", r.Op)
}

func getValues(ctx context.Context, bucket *replica.Bucket, keys []string) (map[string][]string, error) {
	values := make(map[string][]string)
	for _, key := range keys {
		item, err := bucket.Get(ctx, key, nil)
		if errors.Is(err, replica.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", key, err)
		}
		for _, value := range item.Siblings() {
			values[key] = append(values[key], string(value))
		}
	}
	return values, nil
}
