package process

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	controlFD = 3                     // where orders come from
	startedFD = 4                     // where it is told that the command runs
	sweepWait = 5 * time.Millisecond  // between two looks whether all is gone
	lockWait  = 20 * time.Millisecond // between two tries to lock
	exitUsage = 125                   // codes of the leash itself, as those of env and timeout
	exitStart = 126
	exitKill  = 124
)

// prepareLeash has a leash not get what a terminal sends to its parent's group.
func prepareLeash(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return nil
}

// RunLeash is a leash: the process does nothing else. Its arguments are those that Start has
// added to the leash's command: when to kill, what to lock, and the command. What the command
// prints goes to out, with what the leash has to say. It returns the code to exit with: the
// command's, 124 if it was killed, 125 for other arguments, 126 if it could not be started.
func RunLeash(args []string, out *os.File) int {
	if len(args) > 2 && args[0] == stageWord {
		return becomeCommand(args[1:], out)
	}
	if len(args) < 4 {
		fmt.Fprintln(out, "leash: it is not to be called by people")
		return exitUsage
	}
	until, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		fmt.Fprintf(out, "leash: %.60q is no time\n", args[0])
		return exitUsage
	}
	var settings Settings
	if err := json.Unmarshal([]byte(args[2]), &settings); err != nil {
		fmt.Fprintf(out, "leash: %v\n", err)
		return exitUsage
	}
	lock, command := args[1], args[3:]
	unix.CloseOnExec(controlFD) // orders are not the command's to read
	unix.CloseOnExec(startedFD)
	// The kernel kills the command with the thread that has started it.
	runtime.LockOSThread()
	l := &leash{out: out, orders: make(chan order), exited: make(chan error, 1)}
	l.timer = newBootTimer()
	l.timer.setEnd(time.Duration(until))
	go l.readOrders(os.NewFile(controlFD, "control"))
	if lock != "" && !l.lockFile(lock) {
		fmt.Fprintf(out, "leash: %s is locked: an earlier command has not ended\n", lock)
		return exitStart
	}
	if err := l.startCommand(command, settings); err != nil {
		fmt.Fprintf(out, "leash: %v\n", err)
		return exitStart
	}
	_, _ = unix.Write(startedFD, []byte{1})
	_ = unix.Close(startedFD)
	code := l.obeyOrders()
	runtime.KeepAlive(l)
	return code
}

// order is what a leash is told to do.
type order struct {
	until, grace time.Duration // one of them, or
	kill         bool          // that
}

type leash struct {
	out    *os.File
	lock   *os.File // locked while it is open: the collector must not close it
	timer  *bootTimer
	orders chan order // an order of that kill comes last
	exited chan error // capacity 1: the command has
	cmd    *exec.Cmd
}

// readOrders reads orders until their sender ends: then all is to be killed.
func (l *leash) readOrders(control io.Reader) {
	lines := bufio.NewScanner(io.LimitReader(control, 1<<40))
	for lines.Scan() {
		word, number, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			break
		}
		switch word {
		case "until":
			l.orders <- order{until: time.Duration(n)}
		case "stop":
			l.orders <- order{grace: max(time.Duration(n), 1)}
		}
	}
	l.orders <- order{kill: true}
}

// lockFile waits for an earlier leash until the time is over, and tells whether the file is
// locked. The lock ends with this process.
func (l *leash) lockFile(path string) bool {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		fmt.Fprintf(l.out, "leash: %v\n", err)
		return false
	}
	l.lock = file
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return true
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			fmt.Fprintf(l.out, "leash: lock %s: %v\n", path, err)
			return false
		}
		select {
		case o := <-l.orders:
			if o.until != 0 {
				l.timer.setEnd(o.until)
				continue
			}
			return false
		case <-l.timer.expired:
			return false
		case <-time.After(lockWait):
		}
	}
}

func (l *leash) startCommand(args []string, settings Settings) error {
	adoptOrphans()
	cmd, err := settings.newCommand(args)
	if err != nil {
		return fmt.Errorf("start %q: %w", args, err)
	}
	l.cmd = cmd
	l.cmd.Stdout, l.cmd.Stderr = l.out, l.out
	if err := l.cmd.Start(); err != nil {
		return fmt.Errorf("start %q: %w", args, err)
	}
	go func() {
		l.exited <- l.awaitCommand()
	}()
	return nil
}

// awaitCommand waits until the command has exited, and does not reap it: its number is not
// given to another process before.
func (l *leash) awaitCommand() error {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, l.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// obeyOrders does what it is told until the command has exited or is to be killed, and returns the
// code to exit with when nothing of it is left.
func (l *leash) obeyOrders() int {
	grace := make(<-chan time.Time)
	for {
		select {
		case o := <-l.orders:
			switch {
			case o.kill:
				l.killAll()
				return exitKill
			case o.until != 0:
				l.timer.setEnd(o.until)
				reapOrphans(l.cmd.Process.Pid)
			default:
				_ = unix.Kill(-l.cmd.Process.Pid, unix.SIGTERM)
				grace = time.After(o.grace)
			}
		case <-l.timer.expired:
			l.killAll()
			return exitKill
		case <-grace:
			l.killAll()
			return exitKill
		case <-l.exited:
			l.killAll()
			if code := l.cmd.ProcessState.ExitCode(); code >= 0 {
				return code
			}
			return exitKill
		}
	}
}

// killAll kills the command's group and what has come here as orphans, and returns when all
// are gone.
//
// The group is killed before the command is reaped, for then its number is nobody else's.
func (l *leash) killAll() {
	_ = unix.Kill(-l.cmd.Process.Pid, unix.SIGKILL)
	_ = l.cmd.Wait()
	for killOrphans() {
		time.Sleep(sweepWait)
	}
}
