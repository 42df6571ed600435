package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/chaos"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/partition"
)

// serveCommand has this node serve the service "press": this program as a command, on a leash
// that is this program too. Names are the nodes in the order of the plan.
func serveCommand(ctx context.Context, dir string, names []string, node *mesh.Node, part *partition.Partition, log *slog.Logger) (*failover.Failover, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m, _ := node.View().Member(node.ID())
	f, err := failover.Open(ctx, failover.Config{Mesh: node, Elections: part, Logger: log})
	if err != nil {
		return nil, err
	}
	plan := service.Plan{Service: "press", Primary: names[0], Backups: names[1:]}
	s, err := failover.Process{Args: []string{self, "command", dir, m.Name}, Leash: []string{self, "leash"}, Output: os.Stderr}.Service(plan)
	if err == nil {
		err = f.Serve(s)
	}
	return f, err
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
// when it is asked to end.
func runCommand(dir, name string) error {
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
	case len(args) == 3 && args[0] == "command":
		if err := runCommand(args[1], args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "command:", err)
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
