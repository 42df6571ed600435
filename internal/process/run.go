package process

import (
	"fmt"
	"os/exec"
	"time"
)

const (
	mostOutput = 200                    // bytes of what a command prints that are kept
	outputWait = 100 * time.Millisecond // behind the end of one that was killed: what it has started may hold its output
)

// firstOutput keeps the first of what a command prints.
type firstOutput struct{ text []byte }

func (o *firstOutput) Write(p []byte) (int, error) {
	o.text = append(o.text, p[:min(len(p), mostOutput-len(o.text))]...)
	return len(p), nil
}

// RunToEnd runs a command, made by exec.CommandContext, until it has exited; when its context ends
// it is killed, and on Unix all that it has started and has stayed in its group. The error tells
// the first of what it has printed.
func RunToEnd(cmd *exec.Cmd) error {
	out := &firstOutput{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, outputWait
	killAsGroup(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %q", cmd.Path, err, out.text)
	}
	return nil
}
