package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"
)

// ErrNoLeash: the leash does not run: it could not be started, or is no leash.
var ErrNoLeash = errors.New("process: no leash")

// Command is what is run on a leash.
type Command struct {
	Leash  []string // the leash's command: the arguments of RunLeash are added to it
	Args   []string // the command and its arguments
	Env    []string // nil: this process's
	Dir    string   // empty: this process's
	Lock   string   // file that the leash locks; empty: none
	Output io.Writer
}

// Held is a command on a leash. All methods may be used concurrently.
type Held struct {
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // of the command, once done is closed
	mu      sync.Mutex
	control *os.File // nil once it is closed
}

// Start starts a command on a leash that lets go at until, by the boot clock. It does not wait
// for the command; what it could not be started for comes with Err.
func Start(c Command, until time.Duration) (*Held, error) {
	if len(c.Leash) == 0 || len(c.Args) == 0 {
		return nil, fmt.Errorf("%w: leash %q, command %q", ErrNoLeash, c.Leash, c.Args)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("process: start %q: %w", c.Args, err)
	}
	args := slices.Concat(c.Leash[1:], []string{strconv.FormatInt(int64(until), 10), c.Lock}, c.Args)
	h := &Held{cmd: exec.Command(c.Leash[0], args...), done: make(chan struct{}), control: write}
	h.cmd.Env, h.cmd.Dir, h.cmd.ExtraFiles = c.Env, c.Dir, []*os.File{read}
	h.cmd.Stdout, h.cmd.Stderr = c.Output, c.Output
	h.cmd.WaitDelay = time.Second // output of what was not killed is not waited for
	if err = prepareLeash(h.cmd); err == nil {
		err = h.cmd.Start()
	}
	_ = read.Close()
	if err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("%w: start %q for %q: %w", ErrNoLeash, c.Leash, c.Args, err)
	}
	go h.awaitLeash()
	return h, nil
}

// awaitLeash waits for the leash: its end is that of all it held.
func (h *Held) awaitLeash() {
	err := h.cmd.Wait()
	h.mu.Lock()
	if h.control != nil {
		_ = h.control.Close()
		h.control = nil
	}
	h.mu.Unlock()
	if err != nil {
		h.err = fmt.Errorf("process: %q: %w", h.cmd.Args, err)
	}
	close(h.done)
}

// Done is closed when nothing of the command is left.
func (h *Held) Done() <-chan struct{} { return h.done }

// Err returns how the command has ended, once Done is closed: nil if it exited with 0.
func (h *Held) Err() error {
	select {
	case <-h.done:
		return h.err
	default:
		return nil
	}
}

// Extend lets the command run until then, by the boot clock. It may be sooner than before.
func (h *Held) Extend(until time.Duration) error {
	return h.sendOrder("until " + strconv.FormatInt(int64(until), 10))
}

// sendOrder sends a line to the leash. It does not wait: who cannot be told is lost anyway.
func (h *Held) sendOrder(line string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.control == nil {
		return fmt.Errorf("%w: it has ended", ErrNoLeash)
	}
	if err := h.control.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return fmt.Errorf("%w: %w", ErrNoLeash, err)
	}
	if _, err := io.WriteString(h.control, line+"\n"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoLeash, err)
	}
	return nil
}

// Stop asks the command to end, has it killed after the grace, and waits until nothing of it
// is left. The error is that of ctx.
func (h *Held) Stop(ctx context.Context, grace time.Duration) error {
	if h.sendOrder("stop "+strconv.FormatInt(int64(grace), 10)) != nil {
		h.letGo()
	}
	return h.awaitEnd(ctx)
}

// Kill has all of it killed, and waits until nothing of it is left. The error is that of ctx.
func (h *Held) Kill(ctx context.Context) error {
	h.letGo()
	return h.awaitEnd(ctx)
}

// letGo has the leash kill at once: it sees that nobody holds it.
func (h *Held) letGo() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.control != nil {
		_ = h.control.Close()
		h.control = nil
	}
}

func (h *Held) awaitEnd(ctx context.Context) error {
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process: end %q: %w", h.cmd.Args, ctx.Err())
	}
}
