package process

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes this process the parent of whatever the command starts and leaves.
func adoptOrphans() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// listChildren returns the children of this process, and which of them are zombies.
func listChildren() (alive, zombies []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, nil
	}
	self := strconv.Itoa(os.Getpid())
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// "pid (name) state ppid ...": the name may hold anything.
		_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 || fields[1] != self {
			continue
		}
		if fields[0] == "Z" {
			zombies = append(zombies, pid)
		} else {
			alive = append(alive, pid)
		}
	}
	return alive, zombies
}

// reapOrphans reaps what was left to this process and has exited, but for the command.
func reapOrphans(command int) {
	_, zombies := listChildren()
	for _, pid := range zombies {
		if pid != command {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// killOrphans kills and reaps what was left to this process, and tells whether there was any.
// A child cannot be reaped by anybody else, so its number is its own.
func killOrphans() bool {
	alive, zombies := listChildren()
	for _, pid := range alive {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	for _, pid := range zombies {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
	return len(alive)+len(zombies) > 0
}

// bootTimer tells once when a time of the boot clock has come, also when the machine has
// slept meanwhile.
type bootTimer struct {
	fd      int
	expired chan struct{}
}

func newBootTimer() *bootTimer {
	t := &bootTimer{expired: make(chan struct{})}
	var err error
	if t.fd, err = unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC); err != nil {
		close(t.expired) // without a timer nothing may run
		return t
	}
	go func() {
		for {
			var n [8]byte
			_, err := unix.Read(t.fd, n[:])
			if err == unix.EINTR {
				continue
			}
			close(t.expired)
			return
		}
	}()
	return t
}

// setEnd has the timer expire at a time of the boot clock, which may have passed.
func (t *bootTimer) setEnd(at time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(at), 1))}
	_ = unix.TimerfdSettime(t.fd, unix.TFD_TIMER_ABSTIME, &spec, nil)
}
