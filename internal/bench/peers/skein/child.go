package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// child is a single node as seen from the process that has started it.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// startSingle returns when the node's store is open. The process ends with ctx.
func startSingle(ctx context.Context, dir, name, listen, seed string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, "-dir", dir, "-single", name, "-listen", listen, "-seeds", seed)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	var hello load.Hello
	if err := c.answers.Decode(&hello); err != nil {
		return nil, fmt.Errorf("node %s said no hello: %w", name, errors.Join(err, c.closeAndWait()))
	}
	return c, nil
}

// sendCommand asks for what cmd's Level says.
func (c *child) sendCommand(cmd load.Command) (map[string]float64, error) {
	cmd.Op = load.OpExtra
	if err := json.NewEncoder(c.in).Encode(cmd); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Level, err)
	}
	var result load.Result
	if err := c.answers.Decode(&result); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Level, err)
	}
	if result.Error != "" {
		return nil, fmt.Errorf("%s: %s", cmd.Level, result.Error)
	}
	return result.Extra, nil
}

// closeAndWait ends the process when it has done what it is at.
func (c *child) closeAndWait() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }
