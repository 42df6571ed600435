package process

import (
	"context"
	"encoding/json"
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
	// Settings are those of the command alone; the leash is as this process.
	Settings Settings
}

// Settings are as whom a command runs, and what the kernel lets it have. The zero value is as
// the leash.
type Settings struct {
	Leash  []string `json:",omitempty"` // set by Start
	Holder int      `json:",omitempty"` // the leash's process, set by it
	User   *User    `json:",omitempty"`
	Memory uint64   `json:",omitempty"` // address space of each process in bytes; 0: as the leash
	Files  uint64   `json:",omitempty"` // open ones of each process
	Tasks  uint64   `json:",omitempty"` // of the user
	Nice   int      `json:",omitempty"`
}

// User is as whom a command runs.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

func (s Settings) areLimits() bool {
	return s.Memory != 0 || s.Files != 0 || s.Tasks != 0 || s.Nice != 0
}

// Held is a command on a leash. All methods may be used concurrently.
type Held struct {
	cmd     *exec.Cmd
	name    string // of the command, without arguments: they may hold secrets
	started chan struct{}
	done    chan struct{}
	err     error // of the command, once done is closed
	mu      sync.Mutex
	control *os.File // nil once it is closed
}

// Start starts a command on a leash that lets go at until, by the boot clock. It does not wait
// for the command; what it could not be started for comes with Err.
func Start(c Command, until time.Duration) (*Held, error) {
	if len(c.Leash) == 0 || len(c.Args) == 0 {
		return nil, fmt.Errorf("%w: %d words for it, %d for the command", ErrNoLeash, len(c.Leash), len(c.Args))
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("process: start %q: %w", c.Args[0], err)
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("process: start %q: %w", c.Args[0], err), read.Close(), write.Close())
	}
	c.Settings.Leash = c.Leash
	settings, err := json.Marshal(c.Settings)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("process: start %q: %w", c.Args[0], err), read.Close(), write.Close(), told.Close(), tell.Close())
	}
	args := slices.Concat(c.Leash[1:], []string{strconv.FormatInt(int64(until), 10), c.Lock, string(settings)}, c.Args)
	h := &Held{cmd: exec.Command(c.Leash[0], args...), name: c.Args[0], started: make(chan struct{}), done: make(chan struct{}), control: write}
	h.cmd.Env, h.cmd.Dir, h.cmd.ExtraFiles = c.Env, c.Dir, []*os.File{read, tell}
	h.cmd.Stdout, h.cmd.Stderr = c.Output, c.Output
	h.cmd.WaitDelay = time.Second // output of what was not killed is not waited for
	if err = prepareLeash(h.cmd); err == nil {
		err = h.cmd.Start()
	}
	_, _ = read.Close(), tell.Close()
	if err != nil {
		_, _ = write.Close(), told.Close()
		return nil, fmt.Errorf("%w: start %q for %q: %w", ErrNoLeash, c.Leash[0], c.Args[0], err)
	}
	go h.awaitLeash(told)
	return h, nil
}

// awaitLeash waits for the leash: its end is that of all it held.
func (h *Held) awaitLeash(told *os.File) {
	h.awaitStart(told)
	err := h.cmd.Wait()
	h.mu.Lock()
	if h.control != nil {
		_ = h.control.Close()
		h.control = nil
	}
	h.mu.Unlock()
	if err != nil {
		h.err = fmt.Errorf("process: %q: %w", h.name, err)
	}
	close(h.done)
}

// awaitStart waits for the leash's word that the command runs, or for its end.
func (h *Held) awaitStart(told *os.File) {
	var word [1]byte
	if n, _ := told.Read(word[:]); n > 0 {
		close(h.started)
	}
	_ = told.Close()
}

// Started is closed when the command runs. It may never be: see Done.
func (h *Held) Started() <-chan struct{} { return h.started }

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
		return fmt.Errorf("process: end %q: %w", h.name, ctx.Err())
	}
}
