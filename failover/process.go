package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/process"
)

// Process is a command that is run as a service. It runs on a leash: a small process of its
// own, which kills the command and all that it has started when the lease ends, also when this
// process was killed or is frozen, and when told to. Linux alone has one.
type Process struct {
	// Args are the command and its arguments. Required.
	Args []string
	// Leash is the command that is the leash, to which arguments are added: {"leash"} is the
	// program in examples/leash; a program that calls RunLeash at its start when it is told so
	// by its arguments can be its own. Required.
	Leash []string
	// Env and Dir are its environment and directory. Empty: those of this process.
	Env []string
	Dir string
	// User is as whom it runs: a name or number of this system, with that user's groups. It
	// takes root. Empty: as the leash does.
	User string
	// Limits are what the kernel lets each process of it have.
	Limits Limits
	// Lock is a file that is locked while anything of the command runs: another node's process
	// on this machine, or this one when it is started anew, waits for it. Empty: none.
	Lock string
	// Grace is for how long the command may go on when it was asked to end, by TERM. Default
	// 5 s, and half of the plan's time for Start at most. Zero means the default.
	Grace time.Duration
	// Output gets what it prints, in pieces of any size. Nil: nobody does.
	Output io.Writer
	// Check looks whether it is well, beside that it runs. Nil: that it runs is enough.
	Check Hook
}

// Limits are those of a Process, as setrlimit(2) has them; zeros are as the leash has it. A
// command that cannot be run with them has exited at once.
type Limits struct {
	Memory uint64 // address space of each process, in bytes
	Files  uint64 // that each process has open
	Tasks  uint64 // processes and threads of the user, whatever started them
	Nice   int    // from -20 to 19; below 0 takes a User who may
}

// Errors of processes.
var (
	// ErrNoLeash: the leash of a command could not be started.
	ErrNoLeash = errors.New("failover: no leash")
	// ErrExited: the command has exited by itself.
	ErrExited = errors.New("failover: the command has exited")
)

const (
	defaultGrace = 5 * time.Second
	leaseParts   = 4 // the leash is told the end of the lease so often while that goes on
	leaseLeast   = 20 * time.Millisecond
)

// RunLeash is a leash; the process does nothing else, and exits with the code that it returns.
// What the command prints goes to out, from which Process.Output gets it.
// A program that is its own leash begins so, where Process.Leash is {os.Args[0], "leash"}:
//
//	if len(os.Args) > 1 && os.Args[1] == "leash" {
//		os.Exit(failover.RunLeash(os.Args[2:], os.Stdout))
//	}
func RunLeash(args []string, out *os.File) (code int) { return process.RunLeash(args, out) }

// Service returns the service of a plan that runs the command; add other steps to it. The
// error is ErrConfig.
func (p Process) Service(plan service.Plan) (Service, error) {
	if len(p.Args) == 0 || len(p.Leash) == 0 {
		return Service{}, fmt.Errorf("%w: the process of %q has no Args, or no Leash", ErrConfig, plan.Service)
	}
	if p.Grace < 0 {
		return Service{}, fmt.Errorf("%w: the process of %q has a grace of %v", ErrConfig, plan.Service, p.Grace)
	}
	if p.Grace == 0 {
		p.Grace = defaultGrace
	}
	settings, err := p.makeSettings()
	if err != nil {
		return Service{}, fmt.Errorf("%w: the process of %q: %w", ErrConfig, plan.Service, err)
	}
	r := &processRun{process: p, settings: settings, clock: clock.System()}
	return Service{Plan: plan, Start: r.startCommand, Stop: r.stopCommand, Check: r.checkCommand}, nil
}

// makeSettings returns what the leash is told of the user and the limits.
func (p Process) makeSettings() (s process.Settings, err error) {
	s = process.Settings{Memory: p.Limits.Memory, Files: p.Limits.Files, Tasks: p.Limits.Tasks, Nice: p.Limits.Nice}
	if p.Limits.Nice < -20 || p.Limits.Nice > 19 {
		return s, fmt.Errorf("niceness %d is not between -20 and 19", p.Limits.Nice)
	}
	if p.User != "" {
		s.User, err = findUser(p.User)
	}
	return s, err
}

// findUser looks a user up by name, and then by number.
func findUser(name string) (*process.User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		var byID error
		if u, byID = user.LookupId(name); byID != nil {
			return nil, fmt.Errorf("user %.60q: %w", name, err)
		}
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %.60q: %w", name, err)
	}
	var out process.User
	for _, id := range append([]string{u.Uid, u.Gid}, groups...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %.60q: %w", name, err)
		}
		out.Groups = append(out.Groups, uint32(n))
	}
	out.UID, out.GID, out.Groups = out.Groups[0], out.Groups[1], out.Groups[2:]
	return &out, nil
}

// processRun is the run of a Process at this node. Its hooks are called one at a time, but for
// stopCommand.
type processRun struct {
	process  Process
	settings process.Settings
	clock    *clock.Clock

	mu   sync.Mutex
	held *process.Held // nil: none was started, or it has ended
	quit chan struct{} // closed when the leash is not to be told of the lease any more
	done chan struct{} // closed when nobody tells it
}

// startCommand begins the command on a leash that ends with the lease of now.
func (r *processRun) startCommand(ctx context.Context, run Run) error {
	now := r.clock.Boot() // before the lease is looked at: what passes in between is not added to it
	left := run.Left()
	if left <= 0 {
		_, err := run.Token()
		return fmt.Errorf("start %q: %w", r.process.Args[0], err)
	}
	p := r.process
	command := process.Command{Leash: p.Leash, Args: p.Args, Env: p.Env, Dir: p.Dir, Lock: p.Lock, Output: p.Output, Settings: r.settings}
	held, err := r.holdCommand(ctx, command, now+left, run)
	if err != nil {
		return err
	}
	return awaitCommand(ctx, held, p.Args[0])
}

// holdCommand starts the leash, unless the start was given up: a stop may have found nothing.
func (r *processRun) holdCommand(ctx context.Context, c process.Command, until time.Duration, run Run) (*process.Held, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %q: %w", c.Args[0], err)
	}
	if r.held != nil {
		return nil, fmt.Errorf("start %q: an earlier one has not been stopped", c.Args[0])
	}
	held, err := process.Start(c, until)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoLeash, err)
	}
	r.held, r.quit, r.done = held, make(chan struct{}), make(chan struct{})
	go r.extendLease(held, run, r.quit, r.done)
	return held, nil
}

// awaitCommand waits until a command runs: its leash may wait for an earlier one's end.
func awaitCommand(ctx context.Context, held *process.Held, name string) error {
	select {
	case <-held.Started():
		return nil
	case <-held.Done():
		return fmt.Errorf("start %q: %w", name, errors.Join(ErrExited, held.Err()))
	case <-ctx.Done():
		return fmt.Errorf("start %q: %w", name, ctx.Err())
	}
}

// extendLease tells the leash how far the lease goes, until quit is closed or the command has
// ended. When the lead is lost it tells nothing more: the leash knows when to kill.
func (r *processRun) extendLease(held *process.Held, run Run, quit, done chan struct{}) {
	defer close(done)
	for {
		now := r.clock.Boot()
		left := run.Left()
		if left > 0 {
			_ = held.Extend(now + left)
		}
		select {
		case <-quit:
			return
		case <-held.Done():
			return
		case <-time.After(max(left/leaseParts, leaseLeast)):
		}
	}
}

// stopCommand ends the command: by asking first, or at once when the lead is over.
func (r *processRun) stopCommand(ctx context.Context, run Run) error {
	r.mu.Lock()
	held, quit, done := r.held, r.quit, r.done
	r.mu.Unlock()
	if held == nil {
		return nil
	}
	var err error
	if run.Forced {
		err = held.Kill(ctx)
	} else {
		grace := r.process.Grace
		if end, ok := ctx.Deadline(); ok {
			grace = min(grace, time.Until(end)/2)
		}
		err = held.Stop(ctx, grace)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.held == held {
		close(quit)
		r.held = nil
	}
	r.mu.Unlock()
	<-done
	return nil
}

// checkCommand looks whether the command runs, and whatever else tells that it is well.
func (r *processRun) checkCommand(ctx context.Context, run Run) error {
	r.mu.Lock()
	held := r.held
	r.mu.Unlock()
	if held == nil {
		return ErrExited
	}
	select {
	case <-held.Done():
		if err := held.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrExited, err)
		}
		return ErrExited
	default:
	}
	if r.process.Check == nil {
		return nil
	}
	return r.process.Check(ctx, run)
}
