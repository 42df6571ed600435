//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skeinmesh/skein/internal/clock"
)

// TestMain is a leash too, and a node's process that holds one.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "leash":
		os.Exit(RunLeash(os.Args[2:], os.Stderr))
	case len(os.Args) > 1 && os.Args[1] == "holder":
		os.Exit(holdFor(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

// holdFor holds a command of a shell for a while, and sleeps on.
func holdFor(lease, script string) int {
	d, _ := time.ParseDuration(lease)
	c := Command{Leash: []string{os.Args[0], "leash"}, Args: []string{"sh", "-c", script}, Output: os.Stdout}
	if _, err := Start(c, clock.System().Boot()+d); err != nil {
		fmt.Println(err)
		return 1
	}
	time.Sleep(time.Hour) // until it is killed
	return 0
}

// output is what a command has printed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// until polls, for ten seconds at most.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// lives tells whether a process is there and no zombie.
func lives(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// pids waits until n numbers of processes were printed.
func pids(t *testing.T, o fmt.Stringer, n int) (out []int) {
	t.Helper()
	until(t, fmt.Sprintf("%d processes", n), func() bool { return strings.Count(o.String(), "\n") >= n })
	for _, line := range strings.Fields(o.String())[:n] {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatalf("%q", o)
		}
		out = append(out, pid)
	}
	return out
}

func start(t *testing.T, script string, lease time.Duration, lock string) (*Held, *output) {
	t.Helper()
	o := &output{}
	h, err := Start(Command{Leash: []string{os.Args[0], "leash"}, Args: []string{"sh", "-c", script}, Lock: lock, Output: o}, clock.System().Boot()+lease)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Kill(context.Background()) })
	return h, o
}

// family prints its number, that of a child, and that of a daemon which has left the group and
// ignores TERM as they all do, and lives on.
const family = `trap "" TERM; echo $$; sleep 100 & echo $!; (setsid sh -c 'trap "" TERM; echo $$; sleep 100' &); wait`

func TestTheWholeFamilyIsKilledWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	h, o := start(t, family, 300*time.Millisecond, "")
	began := time.Now()
	all := pids(t, o, 3)
	<-h.Done()
	if took := time.Since(began); h.Err() == nil || took > 5*time.Second {
		t.Errorf("%v after %v", h.Err(), took)
	}
	for _, pid := range all {
		if lives(pid) {
			t.Errorf("%d lives: %q", pid, o)
		}
	}
	if err := h.Extend(clock.System().Boot() + time.Hour); !errors.Is(err, ErrNoLeash) {
		t.Errorf("extended when it was over: %v", err)
	}
}

func TestExtendedItRunsOn(t *testing.T) {
	t.Parallel()
	h, o := start(t, "echo $$; sleep 100", 500*time.Millisecond, "")
	pid := pids(t, o, 1)[0]
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // paces what is measured
		if err := h.Extend(clock.System().Boot() + 500*time.Millisecond); err != nil || !lives(pid) {
			t.Fatalf("%v, lives: %t", err, lives(pid))
		}
	}
	<-h.Done()
	if lives(pid) {
		t.Error("it lives on")
	}
}

func TestStopAsksFirst(t *testing.T) {
	t.Parallel()
	h, o := start(t, `trap "echo bye; exit 0" TERM; echo $$; while :; do sleep 0.01; done`, time.Minute, "")
	pids(t, o, 1)
	if err := h.Stop(t.Context(), 10*time.Second); err != nil || h.Err() != nil || !strings.Contains(o.String(), "bye") {
		t.Errorf("%v, %v, %q", err, h.Err(), o)
	}
	h, o = start(t, family, time.Minute, "")
	all := pids(t, o, 3)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := h.Stop(short, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	long, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := h.Stop(long, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, pid := range all {
		if lives(pid) {
			t.Errorf("%d lives", pid)
		}
	}
}

func TestTheCodeOfTheCommand(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": exitKill} {
		h, _ := start(t, script, time.Minute, "")
		<-h.Done()
		if got := h.cmd.ProcessState.ExitCode(); got != want || (h.Err() == nil) != (want == 0) {
			t.Errorf("%s: %d, %v", script, got, h.Err())
		}
	}
	h, err := Start(Command{Leash: []string{os.Args[0], "leash"}, Args: []string{"/no/such"}}, clock.System().Boot()+time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	if h.cmd.ProcessState.ExitCode() != exitStart {
		t.Errorf("what is not there: %v", h.Err())
	}
	for _, c := range []Command{{Args: []string{"true"}}, {Leash: []string{"x"}}, {Leash: []string{"/no/such"}, Args: []string{"true"}}} {
		if _, err := Start(c, 0); !errors.Is(err, ErrNoLeash) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, args := range [][]string{nil, {"1", "", "{}"}, {"x", "", "{}", "true"}, {"1", "", "x", "true"}} {
		if code := RunLeash(args, os.Stderr); code != exitUsage {
			t.Errorf("%q: %d", args, code)
		}
	}
}

// TestItEndsWithItsHolder has the process that holds a leash killed, and frozen: the command is
// gone at once in the one case, when its time is over in the other.
func TestItEndsWithItsHolder(t *testing.T) {
	t.Parallel()
	for sig, lease := range map[syscall.Signal]string{syscall.SIGKILL: "1m", syscall.SIGSTOP: "1s"} {
		o := &output{}
		holder := exec.Command(os.Args[0], "holder", lease, family)
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		holder.Stdout = write
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		_ = write.Close()
		go func() {
			b := make([]byte, 4096)
			for {
				n, err := read.Read(b)
				_, _ = o.Write(b[:n])
				if err != nil {
					return
				}
			}
		}()
		all := pids(t, o, 3)
		if err := holder.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		until(t, fmt.Sprintf("all are gone after %v", sig), func() bool { return !lives(all[0]) && !lives(all[1]) && !lives(all[2]) })
		_ = holder.Process.Kill()
		_ = holder.Wait()
		_ = read.Close()
	}
}

// TestTheNextOneWaits has a second leash with the same lock wait for the first one's end.
func TestTheNextOneWaits(t *testing.T) {
	t.Parallel()
	lock := filepath.Join(t.TempDir(), "press.lock")
	first, o := start(t, family, 400*time.Millisecond, lock)
	all := pids(t, o, 3)
	second, o2 := start(t, "echo $$; sleep 100", time.Minute, lock)
	pids(t, o2, 1)
	select {
	case <-first.Done():
	default:
		if lives(all[0]) {
			t.Error("two run at once")
		}
	}
	third, o3 := start(t, "echo $$", 100*time.Millisecond, lock)
	<-third.Done()
	if !strings.Contains(o3.String(), "is locked") || third.Err() == nil {
		t.Errorf("%q, %v", o3, third.Err())
	}
	if err := second.Kill(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOrphansAreReaped has a command leave many that exit: the leash keeps no zombies.
func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	h, o := start(t, `for i in 1 2 3 4 5 6 7 8 9; do (setsid true &); done; echo $$; sleep 100`, time.Minute, "")
	pids(t, o, 1)
	leash := h.cmd.Process.Pid
	zombies := func() (n int) {
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
			if strings.Contains(string(stat), fmt.Sprintf(") Z %d ", leash)) {
				n++
			}
		}
		return n
	}
	until(t, "no zombies", func() bool {
		if err := h.Extend(clock.System().Boot() + time.Minute); err != nil {
			t.Fatal(err)
		}
		return zombies() == 0
	})
	if err := unix.Kill(leash, 0); err != nil {
		t.Errorf("the leash has gone: %v", err)
	}
}

// TestALeashThatIsKilled takes the command with it.
func TestALeashThatIsKilled(t *testing.T) {
	t.Parallel()
	h, o := start(t, "echo $$; exec sleep 100", time.Minute, "")
	pid := pids(t, o, 1)[0]
	if err := unix.Kill(h.cmd.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	until(t, "the command is gone", func() bool { return !lives(pid) })
	if h.Err() == nil {
		t.Error("it has ended well")
	}
}

// TestACommandHasItsLimits and all that it starts, from its beginning, and the leash has not.
func TestACommandHasItsLimits(t *testing.T) {
	t.Parallel()
	const script = `ulimit -n; ulimit -v; ulimit -Hn; sh -c 'ulimit -n; cut -d" " -f19 /proc/$$/stat; grep "open files" /proc/'$PPID'/limits'; ulimit -n 100`
	o := &output{}
	c := Command{Leash: []string{os.Args[0], "leash"}, Args: []string{"sh", "-c", script}, Output: o, Settings: Settings{Memory: 1 << 30, Files: 50, Nice: 5}}
	h, err := Start(c, clock.System().Boot()+time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	lines := strings.Split(o.String(), "\n")
	if len(lines) < 6 || !slices.Equal(lines[:5], []string{"50", "1048576", "50", "50", "5"}) || strings.Contains(lines[5], " 50 ") {
		t.Errorf("%q", lines)
	}
	if h.Err() == nil {
		t.Errorf("it could give itself more: %q", lines)
	}
	c.Args, c.Settings = []string{"true"}, Settings{Files: 1 << 62}
	if h, err = Start(c, clock.System().Boot()+time.Minute); err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	if h.cmd.ProcessState.ExitCode() != exitStart || !strings.Contains(o.String(), "files") {
		t.Errorf("a limit that is none: %v, %q", h.Err(), o)
	}
}

// TestACommandRunsAsAnotherUser whose group is not this one's, and is killed all the same.
func TestACommandRunsAsAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("it takes root")
	}
	o := &output{}
	c := Command{
		Leash: []string{os.Args[0], "leash"}, Args: []string{"sh", "-c", "id -u; id -g; id -G; sleep 100"}, Output: o,
		Settings: Settings{User: &User{UID: 65534, GID: 65533, Groups: []uint32{65533, 65532}}, Files: 50},
	}
	h, err := Start(c, clock.System().Boot()+time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); strings.Count(o.String(), "\n") < 3 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	if o.String() != "65534\n65533\n65533 65532\n" {
		t.Errorf("%q", o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Kill(ctx); err != nil {
		t.Error(err)
	}
}

// TestALeashOfACommandWithLimitsIsKilled takes the command along: it was started by the leash's
// program, which has become it.
func TestALeashOfACommandWithLimitsIsKilled(t *testing.T) {
	t.Parallel()
	for range 5 {
		o := &output{}
		c := Command{Leash: []string{os.Args[0], "leash"}, Args: []string{"sh", "-c", "echo $$; exec sleep 100"}, Output: o, Settings: Settings{Files: 50}}
		h, err := Start(c, clock.System().Boot()+time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		pid := pids(t, o, 1)[0]
		if err := h.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(10 * time.Second)
		for lives(pid) && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		if lives(pid) {
			t.Errorf("%d lives", pid)
		}
		<-h.Done()
	}
}
