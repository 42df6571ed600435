package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/dns"
	"github.com/skeinmesh/skein/failover/forward"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/failover/vip"
	"github.com/skeinmesh/skein/internal/chaos"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/replica"
)

// serveCommand has this node serve the service "press": this program as a command, on a leash
// that is this program too. The voters are the nodes in the order of the plan.
func serveCommand(ctx context.Context, s settings, node *mesh.Node, part *partition.Partition, store *replica.Store) (_ *served, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m, _ := node.View().Member(node.ID())
	cfg := failover.Config{Mesh: node, Elections: part, Logger: s.mesh.Logger}
	args := []string{self, "command", s.serves, m.Name}
	if s.floats.IsValid() {
		bucket, err := store.Bucket(ctx, "failover", replica.BucketConfig{})
		if err != nil {
			return nil, err
		}
		cfg.Records = bucket.Records()
		args = append(args, strconv.Itoa(chaos.ServicePort))
	}
	out := &served{}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close())
		}
	}()
	if out.Failover, err = failover.Open(ctx, cfg); err != nil {
		return out, err
	}
	plan := service.Plan{Service: "press", Primary: s.voters[0], Backups: s.voters[1:]}
	press, err := failover.Process{Args: args, Leash: []string{self, "leash"}, Output: os.Stderr}.Service(plan)
	if err == nil && s.floats.IsValid() {
		err = out.addRoutes(ctx, &press, s, node, m.Addr.Addr())
	}
	if err == nil {
		err = out.Serve(press)
	}
	return out, err
}

// served is what serves the service, and what brings clients to it.
type served struct {
	*failover.Failover
	address   *vip.Address       // nil: none
	forwarder *forward.Forwarder // the same
	names     *dns.Server        // the same
}

// addRoutes gives the service a floating address, and has this node forward to it and say where
// it is.
func (s *served) addRoutes(ctx context.Context, press *failover.Service, set settings, node *mesh.Node, own netip.Addr) (err error) {
	s.address, err = vip.New(vip.Config{Election: press.Election(), Interface: "eth0", Address: set.floats, Mesh: node, Logger: set.mesh.Logger})
	if err != nil {
		return err
	}
	press.Address = netip.AddrPortFrom(own, chaos.ServicePort).String()
	press.Route = func(ctx context.Context, run failover.Run) error { return s.address.Hold(ctx, run) }
	press.UndoRoute = func(ctx context.Context, _ failover.Run) error { return s.address.Release(ctx) }
	s.forwarder, err = forward.Open(ctx, forward.Config{
		Routes: s.Failover, Service: "press", Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), chaos.ForwardPort).String(), Logger: set.mesh.Logger,
	})
	if err != nil {
		return err
	}
	_, zone, _ := strings.Cut(chaos.ServiceName, ".")
	s.names, err = dns.Open(ctx, dns.Config{Routes: s.Failover, Zone: zone, Listen: netip.AddrPortFrom(own, chaos.DNSPort).String()})
	return err
}

// Close closes what there is of it.
func (s *served) Close() (err error) {
	if s.names != nil {
		err = s.names.Close()
	}
	if s.forwarder != nil {
		err = errors.Join(err, s.forwarder.Close())
	}
	if s.Failover != nil {
		err = errors.Join(err, s.Failover.Close())
	}
	if s.address != nil {
		err = errors.Join(err, s.address.Close())
	}
	return err
}

// watchService reports whether the service runs here, verified.
func watchService(ctx context.Context, f *failover.Failover, p *printer) {
	statuses, err := f.Watch(ctx, "press")
	if err != nil {
		return
	}
	for st := range statuses {
		serves := st.Health == service.Healthy
		p.printChange(func(s *chaos.State) { s.Serves = serves })
	}
}

// runCommand is what is served: it notes that it has begun, and which others run then, and
// when it is asked to end. If there is a port it answers clients there meanwhile.
func runCommand(dir, name, port string) error {
	others, err := findLiving(dir)
	if err != nil {
		return err
	}
	note := func(kind string) error {
		line, err := json.Marshal(chaos.CommandLine{At: clock.System().Boot(), Kind: kind, Node: name, PID: os.Getpid(), Beside: others})
		if err != nil {
			return err
		}
		file, err := os.OpenFile(filepath.Join(dir, chaos.CommandFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		_, err = file.Write(append(line, '\n'))
		return err
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	if err := note(chaos.Begin); err != nil {
		return err
	}
	if port != "" {
		l, err := net.Listen("tcp", net.JoinHostPort("", port))
		if err != nil {
			return err
		}
		go answerClients(l, name) // it ends with the process
	}
	<-asked
	return note(chaos.End)
}

// findLiving returns the commands that have begun and run still.
func findLiving(dir string) (pids []int, err error) {
	lines, err := chaos.ReadCommands(dir)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.PID), "stat"))
		if err == nil && l.Kind == chaos.Begin && strings.Contains(string(stat), "(node)") && !strings.Contains(string(stat), ") Z ") {
			pids = append(pids, l.PID)
		}
	}
	return pids, nil
}

// runPart is the program as a command or a leash; ok tells whether it was that.
func runPart(args []string) (code int, ok bool) {
	switch {
	case len(args) > 0 && args[0] == "leash":
		return failover.RunLeash(args[1:], os.Stderr), true
	case len(args) == 2 && (args[0] == "client" || args[0] == "resolve"):
		runClient(strings.Split(args[1], ","), args[0] == "resolve", os.Stdout)
		return 0, true
	case len(args) >= 3 && args[0] == "command":
		if err := runCommand(args[1], args[2], strings.Join(args[3:], "")); err != nil {
			fmt.Fprintln(os.Stderr, "command:", err)
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
