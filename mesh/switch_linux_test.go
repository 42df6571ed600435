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

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/mesh/view"
)

// A bare switch: two hosts in network namespaces of their own, with link-local
// addresses of IPv4, no route to anywhere, and no seeds. The network comes after
// the nodes.
func TestRealNodesMeetOnABareSwitch(t *testing.T) { meetOnASwitch(t, 1500) }

// Something on the way takes smaller packets than the hosts believe, and tells
// nobody.
func TestRealNodesMeetOverANarrowPath(t *testing.T) { meetOnASwitch(t, 1300) }

// It takes less than the nodes can do with: they say so, and no more once it takes
// enough.
func TestRealNodesAreToldOfALostMTU(t *testing.T) { meetOnASwitch(t, 1100) }

func meetOnASwitch(t *testing.T, mtu int) {
	hub, spaces := bareSwitch(t, mtu)
	var all sync.WaitGroup
	dir := t.TempDir()
	file := func(i int, name string) string { return filepath.Join(dir, fmt.Sprint(i), name) }
	for i, space := range spaces {
		cmd := exec.Command("ip", "netns", "exec", space, os.Args[0], "-test.run", "^TestHelperOnASwitch$", "-test.v")
		cmd.Env = append(os.Environ(), "SKEIN_TEST_SWITCH="+file(i, ""))
		if mtu < link.NarrowPath {
			cmd.Env = append(cmd.Env, "SKEIN_TEST_NARROW=yes")
		}
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
	if mtu < link.NarrowPath {
		within(t, 2*time.Minute, "both say what is wrong", both("narrow"))
		setMTU(t, hub, link.NarrowPath)
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
	told := func() bool {
		return strings.Contains(strings.Join(wordsOf(n.View().Problems), "\n"), "large packets to")
	}
	narrow := os.Getenv("SKEIN_TEST_NARROW") != ""
	if narrow {
		within(t, 25*time.Second, "it is said that large packets do not arrive", told)
		mark(t, filepath.Join(dir, "narrow"))
	}
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
	if narrow {
		within(t, time.Minute, "it is not said any more", func() bool { return !told() })
	} else if told() {
		t.Errorf("problems %q", n.View().Problems)
	}
	mark(t, filepath.Join(dir, "met"))
	within(t, 2*time.Minute, "the test is over", func() bool { return isThere(filepath.Join(dir, "over")) })
}

// bareSwitch makes two namespaces for hosts and two switches between them, in a third.
// What is larger than mtu is dropped between the switches, as switches do: the host
// that sends it does not notice, as it would on a link of its own.
func bareSwitch(t *testing.T, mtu int) (hub string, hosts []string) {
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
	hub, hosts = names[0], names[1:]
	runIP(t, "-n", hub, "link", "add", "trunk0", "type", "veth", "peer", "name", "trunk1")
	setMTU(t, hub, mtu)
	for i, host := range hosts {
		bridge := fmt.Sprintf("switch%d", i)
		runIP(t, "-n", hub, "link", "add", bridge, "type", "bridge")
		// Segments leave one by one, as on a wire.
		runIP(t, "link", "add", "eth0", "netns", host, "gso_max_segs", "1", "type", "veth", "peer", "name", "port"+bridge, "netns", hub)
		for _, port := range []string{"port" + bridge, fmt.Sprintf("trunk%d", i)} {
			runIP(t, "-n", hub, "link", "set", port, "master", bridge)
			runIP(t, "-n", hub, "link", "set", port, "up")
		}
		runIP(t, "-n", hub, "link", "set", bridge, "up")
	}
	return hub, hosts
}

func setMTU(t *testing.T, hub string, mtu int) {
	t.Helper()
	for i := range 2 {
		runIP(t, "-n", hub, "link", "set", fmt.Sprintf("trunk%d", i), "mtu", fmt.Sprint(mtu))
	}
}

func runIP(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
