package chaos

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A network of a dead process is swept away with the paused process in it; one
// of a living process stays.
func TestSweep(t *testing.T) {
	n := newNetwork(t, 1)
	owner := exec.Command("true")
	if err := owner.Run(); err != nil {
		t.Fatal(err)
	}
	left := fmt.Sprintf("%s%d-left-0", spacePrefix, owner.Process.Pid)
	if err := runCommand("", "ip", "netns", "add", left); err != nil {
		t.Fatal(err)
	}
	stuck := exec.Command("ip", "netns", "exec", left, "sleep", "600")
	if err := stuck.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stuck.Wait() }()
	defer func() { _ = stuck.Process.Kill() }()
	inside := func() bool {
		pids, _ := commandOutput("", "ip", "netns", "pids", left)
		return strings.TrimSpace(pids) != ""
	}
	for end := time.Now().Add(commandIn); !inside(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the process did not enter the namespace")
		}
	}
	if err := stuck.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	sweepLeftovers(t)

	select {
	case <-ended:
	case <-time.After(commandIn):
		t.Error("the paused process runs on")
	}
	list, err := commandOutput("", "ip", "netns", "list")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(list, left) {
		t.Errorf("%s is still there", left)
	}
	if !strings.Contains(list, n.spaceOf("switch")) {
		t.Errorf("%s is gone", n.spaceOf("switch"))
	}
}
