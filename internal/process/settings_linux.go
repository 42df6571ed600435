package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageWord is the first argument of a leash's program that is to limit itself and become the
// command: what the command starts has its limits from the beginning, and the leash has not.
const stageWord = "exec"

// newCommand returns what the leash runs: the command, or its own program, which becomes that.
func (s Settings) newCommand(args []string) (*exec.Cmd, error) {
	cmd := exec.Command(args[0], args[1:]...)
	if s.areLimits() {
		s.Holder = os.Getpid()
		text, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		cmd = exec.Command("/proc/self/exe", append(append([]string{}, s.Leash[1:]...), append([]string{stageWord, string(text)}, args...)...)...)
		cmd.Args[0] = s.Leash[0]
	}
	// It has a group of its own, and is killed with the leash.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if s.User != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.User.UID, Gid: s.User.GID, Groups: s.User.Groups}
	}
	return cmd, nil
}

// becomeCommand limits this process and becomes the command. It returns if it cannot.
func becomeCommand(args []string, out *os.File) int {
	var s Settings
	err := json.Unmarshal([]byte(args[0]), &s)
	if err == nil {
		err = s.becomeLimited(args[1:])
	}
	fmt.Fprintf(out, "leash: %q with limits: %v\n", args[1], err)
	return exitStart
}

func (s Settings) becomeLimited(args []string) error {
	// A niceness, and what happens when the parent dies, are a thread's. Those of the one that
	// calls Exec become the command's.
	runtime.LockOSThread()
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("end with the leash: %w", err)
	}
	if os.Getppid() != s.Holder {
		return errors.New("the leash has died meanwhile")
	}
	if s.Nice != 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, s.Nice); err != nil {
			return fmt.Errorf("niceness %d: %w", s.Nice, err)
		}
	}
	env := new(exec.Cmd).Environ()
	for _, l := range [...]struct {
		name     string
		resource int
		limit    uint64
	}{{"files", unix.RLIMIT_NOFILE, s.Files}, {"tasks", unix.RLIMIT_NPROC, s.Tasks}, {"memory", unix.RLIMIT_AS, s.Memory}} { // memory at last: this program needs some
		if l.limit == 0 {
			continue
		}
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: l.limit, Max: l.limit}); err != nil {
			return fmt.Errorf("%d %s: %w", l.limit, l.name, err)
		}
	}
	return syscall.Exec(path, args, env)
}
