package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// healClients put beside a store that is healed, see put_p99_during_heal_ratio.
const healClients = 16

// largeKeys are how many large values there are, see large_goodput_ratio.
const largeKeys = 48

// scanKeys is how many times the keys of a store that is healed are scanned.
const scanKeys = 5

// apartLimit is for how long one measurement with nodes of its own may take:
// most of it is to load them.
const apartLimit = 10 * time.Minute

// measureApart runs a measurement for which the peer opens nodes of its own, in
// a process of its own.
func (d *driver) measureApart(ctx context.Context, binary string, c cell) error {
	dir := filepath.Join(d.work, "data-"+c.op)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	p, err := startPeer(c.op, binary, "-dir", dir, "-alone")
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, p.killGroup)
	var result load.Result
	if _, err = p.readHello(time.Minute); err == nil {
		result, err = p.doWithin(d.apartCommand(c), apartLimit)
	}
	stop()
	d.results.addResult(c, 0, result, errors.Join(err, p.closeAndWait()))
	return errors.Join(ctx.Err(), os.RemoveAll(dir))
}

func (d *driver) apartCommand(c cell) load.Command {
	cmd := load.Command{Op: load.OpExtra, Level: c.op, Clients: c.clients, Keys: d.healKeys, Size: d.size, Duration: d.calm}
	switch c {
	case entropyCell:
		cmd.Keys = d.entropyKeys
	case scanCell:
		cmd.Keys *= scanKeys
	case largeCell:
		cmd.Keys, cmd.Size, cmd.Duration = largeKeys, 1<<20, 2*d.calm
	}
	return cmd
}
