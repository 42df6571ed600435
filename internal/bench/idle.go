package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// measureIdle runs a mesh of three processes with nothing to do, and records
// what each of them uses; the figures take the worst of the three.
func (d *driver) measureIdle(ctx context.Context, binary string) (err error) {
	ports, err := load.FreePorts(3)
	if err != nil {
		return err
	}
	var addresses []string
	for _, port := range ports {
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
	}
	var nodes []*process
	defer func() {
		faults := []error{err}
		for _, p := range nodes {
			faults = append(faults, p.closeAndWait())
		}
		err = errors.Join(faults...)
	}()
	for i, address := range addresses {
		name := fmt.Sprintf("idle-%d", i)
		dir := filepath.Join(d.work, "data-"+name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		p, err := startPeer(name, binary, "-dir", dir, "-idle", name, "-listen", address, "-seeds", strings.Join(addresses, ","))
		if err != nil {
			return err
		}
		nodes = append(nodes, p)
	}
	for _, p := range nodes {
		if _, err := p.readHello(time.Minute); err != nil {
			d.results.faults[idleCell] = err
			return nil
		}
	}
	select {
	case <-time.After(d.idle / 3): // what forming the mesh has set going comes to rest
	case <-ctx.Done():
		return ctx.Err()
	}
	d.askIdle(nodes)
	return nil
}

func (d *driver) askIdle(nodes []*process) {
	type answer struct {
		result load.Result
		err    error
	}
	answers := make([]answer, len(nodes))
	var group sync.WaitGroup
	for i, p := range nodes {
		group.Go(func() {
			answers[i].result, answers[i].err = p.runCommand(load.Command{Op: load.OpExtra, Level: "idle", Duration: d.idle})
		})
	}
	group.Wait()
	for i, a := range answers {
		d.results.addResult(idleCell, i, a.result, a.err)
	}
}

// measureBinary takes the larger of the skein peer and, where it exists, the
// quickstart example, in which all public packages meet.
func (d *driver) measureBinary() {
	dirs := []string{filepath.Join(d.source, "peers", "skein")}
	quickstart := filepath.Join(d.source, "..", "..", "examples", "quickstart")
	if _, err := os.Stat(quickstart); err == nil {
		dirs = append(dirs, quickstart)
	}
	for i, dir := range dirs {
		size, err := buildPeer(dir, filepath.Join(d.work, "everything"), "-ldflags", "-s -w")
		d.results.addResult(binaryCell, i, load.Result{Extra: map[string]float64{"mb": float64(size) / 1e6}}, err)
	}
}
