package mesh

import (
	"context"
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
func TestRealNodesMeetOnABareSwitch(t *testing.T) { meetOnASwitch(t, 1500) }

// Something on the way takes smaller packets than the hosts believe, and tells
// nobody.
func TestRealNodesMeetOverANarrowPath(t *testing.T) { meetOnASwitch(t, 1300) }

func meetOnASwitch(t *testing.T, mtu int) {
	spaces := bareSwitch(t, mtu)
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
	both := func(name string) func() bool {
		return func() bool { return isThere(file(0, name)) && isThere(file(1, name)) }
	}
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
	if err := n.Handle("much", func(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) { return req, nil }); err != nil {
		t.Fatal(err)
	}
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
	within(t, time.Minute, "much can be said at once", func() bool {
		for _, m := range n.View().Members {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := n.Call(ctx, m.ID, "much", make([]byte, 100<<10))
			if cancel(); err != nil {
				return false
			}
		}
		return true
	})
	mark(t, filepath.Join(dir, "met"))
	within(t, 2*time.Minute, "the test is over", func() bool { return isThere(filepath.Join(dir, "over")) })
}

// bareSwitch makes two namespaces for hosts and a switch between them that drops
// what is larger than mtu, as switches do.
func bareSwitch(t *testing.T, mtu int) []string {
	t.Helper()
	names := []string{"hub", "left", "right"}
	for i, name := range names {
		names[i] = fmt.Sprintf("skein-%s-%d-%d", name, mtu, os.Getpid())
		if out, err := exec.Command("ip", "netns", "add", names[i]).CombinedOutput(); err != nil {
			t.Skipf("network namespaces cannot be made here: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", names[i]).Run() })
		runIP(t, "-n", names[i], "link", "set", "lo", "up")
	}
	hub, hosts := names[0], names[1:]
	runIP(t, "-n", hub, "link", "add", "hub", "type", "bridge")
	for i, host := range hosts {
		port := fmt.Sprintf("port%d", i)
		// Segments leave one by one, as on a wire.
		runIP(t, "link", "add", "eth0", "netns", host, "gso_max_segs", "1", "type", "veth", "peer", "name", port, "netns", hub)
		runIP(t, "-n", hub, "link", "set", port, "mtu", fmt.Sprint(mtu), "master", "hub")
		runIP(t, "-n", hub, "link", "set", port, "up")
	}
	runIP(t, "-n", hub, "link", "set", "hub", "up")
	return hosts
}

func runIP(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
