package mesh

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// A bare switch: two hosts in network namespaces of their own, with link-local
// addresses of IPv4, no route to anywhere, and no seeds. The network comes after
// the nodes.
func TestRealNodesMeetOnABareSwitch(t *testing.T) {
	spaces := bareSwitch(t)
	var all sync.WaitGroup
	dir := t.TempDir()
	file := func(i int, name string) string { return filepath.Join(dir, fmt.Sprint(i), name) }
	for i, space := range spaces {
		cmd := exec.Command("ip", "netns", "exec", space, os.Args[0], "-test.run", "^TestHelperOnASwitch$", "-test.v")
		cmd.Env = append(os.Environ(), "SKEIN_TEST_SWITCH="+file(i, ""))
		all.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				mark(t, file(i, "met")) // it will not
				t.Errorf("host %d: %v\n%s", i, err, out)
			}
		})
	}
	both := func(name string) func() bool { return func() bool { return isThere(file(0, name)) && isThere(file(1, name)) } }
	within(t, time.Minute, "both nodes are up", both("up"))
	for i, space := range spaces {
		runIP(t, "-n", space, "link", "set", "eth0", "up")
		runIP(t, "-n", space, "addr", "add", fmt.Sprintf("169.254.7.%d/16", i+1), "dev", "eth0")
	}
	within(t, 2*time.Minute, "both have met", both("met"))
	for i := range spaces {
		mark(t, file(i, "over"))
	}
	all.Wait()
}

func isThere(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func mark(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestHelperOnASwitch is what runs on one of the hosts.
func TestHelperOnASwitch(t *testing.T) {
	dir := os.Getenv("SKEIN_TEST_SWITCH")
	if dir == "" {
		t.Skip("runs only on a host of another test")
	}
	n, err := Start(t.Context(), Config{Dir: dir, Secret: testSecret, MDNS: true, Storing: true, Listen: ":7800"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	mark(t, filepath.Join(dir, "up"))
	within(t, time.Minute, "the other is found", func() bool { return n.View().Count(view.Alive) == 2 })
	within(t, time.Minute, "the other has a link-local address", func() bool {
		for _, m := range n.View().Members {
			if !strings.HasPrefix(m.Addr.String(), "169.254.7.") {
				return false
			}
		}
		return true
	})
	mark(t, filepath.Join(dir, "met"))
	within(t, 2*time.Minute, "the test is over", func() bool { return isThere(filepath.Join(dir, "over")) })
}

// bareSwitch makes two namespaces with one cable between them.
func bareSwitch(t *testing.T) []string {
	t.Helper()
	spaces := []string{fmt.Sprintf("skein-left-%d", os.Getpid()), fmt.Sprintf("skein-right-%d", os.Getpid())}
	for _, space := range spaces {
		if out, err := exec.Command("ip", "netns", "add", space).CombinedOutput(); err != nil {
			t.Skipf("network namespaces cannot be made here: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", space).Run() })
		runIP(t, "-n", space, "link", "set", "lo", "up")
	}
	runIP(t, "link", "add", "eth0", "netns", spaces[0], "type", "veth", "peer", "name", "eth0", "netns", spaces[1])
	return spaces
}

func runIP(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
