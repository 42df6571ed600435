package chaos

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	spacePrefix = "skein-chaos-" // of namespaces; the process id, chance and the role follow
	commandIn   = 20 * time.Second
)

// network is a switch, in a namespace of its own, with the namespace of one
// node at each port. Nothing of it is in the host's network but names, so that
// many networks with the same addresses stand side by side, and all of one goes
// with its namespaces.
type network struct {
	prefix string
	spaces []string // created so far
}

// newNetwork makes the network, or skips the test where that cannot be.
func newNetwork(t *testing.T, ports int) *network {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: -short leaves out nodes in network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIP: network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIP: network namespaces need the command %s", tool)
		}
	}
	sweepLeftovers(t)
	n := &network{prefix: fmt.Sprintf("%s%d-%s-", spacePrefix, os.Getpid(), strings.ToLower(rand.Text()[:6]))}
	t.Cleanup(func() {
		for _, space := range n.spaces {
			if err := runCommand("", "ip", "netns", "del", space); err != nil {
				t.Error(err)
			}
		}
	})
	if err := n.buildSwitch(ports); err != nil {
		t.Skipf("SKIP: this machine makes no network of namespaces: %v", err)
	}
	return n
}

func (n *network) buildSwitch(ports int) error {
	if err := n.addSpace("switch"); err != nil {
		return err
	}
	hub := n.spaceOf("switch")
	if err := n.runIPCommands(hub, "link add hub type bridge", "link set hub up"); err != nil {
		return err
	}
	for i := range ports {
		role, port := strconv.Itoa(i), portName(i)
		if err := n.addSpace(role); err != nil {
			return err
		}
		if err := errors.Join(
			n.runIPCommands(hub, "link add "+port+" type veth peer name eth0 netns "+n.spaceOf(role), "link set "+port+" master hub up"),
			n.runIPCommands(n.spaceOf(role), "addr add "+address(i).String()+"/24 dev eth0", "link set eth0 up", "link set lo up"),
		); err != nil {
			return err
		}
	}
	return n.changeRules("add table bridge faults", "add chain bridge faults forwarded { type filter hook forward priority 0; }")
}

func (n *network) spaceOf(role string) string { return n.prefix + role }

func (n *network) addSpace(role string) error {
	if err := runCommand("", "ip", "netns", "add", n.spaceOf(role)); err != nil {
		return err
	}
	n.spaces = append(n.spaces, n.spaceOf(role))
	return nil
}

func portName(i int) string    { return "port" + strconv.Itoa(i) }
func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}) }
func between(from, to int) string {
	return fmt.Sprintf("iifname %q oifname %q", portName(from), portName(to))
}

// runIPCommands runs commands of ip in a namespace.
func (n *network) runIPCommands(space string, commands ...string) error {
	for _, c := range commands {
		if err := runCommand("", "ip", append([]string{"-n", space}, strings.Fields(c)...)...); err != nil {
			return err
		}
	}
	return nil
}

// changeRules changes the rules of the switch: all at one moment, or none.
func (n *network) changeRules(lines ...string) error {
	return runCommand(strings.Join(lines, "\n")+"\n", "ip", "netns", "exec", n.spaceOf("switch"), "nft", "-f", "-")
}

// addRules adds rules to the switch.
func (n *network) addRules(rules []string) error {
	var script []string
	for _, r := range rules {
		script = append(script, "add rule bridge faults forwarded "+r)
	}
	return n.changeRules(script...)
}

// clearRules removes all rules from the switch.
func (n *network) clearRules() error { return n.changeRules("flush chain bridge faults forwarded") }

// countFrames returns how many frames between two ports the rules have counted.
func (n *network) countFrames(from, to int) (int, error) {
	text, err := commandOutput("", "ip", "netns", "exec", n.spaceOf("switch"), "nft", "list", "chain", "bridge", "faults", "forwarded")
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, m := range regexp.MustCompile(regexp.QuoteMeta(between(from, to))+`.* packets (\d+)`).FindAllStringSubmatch(text, -1) {
		count, _ := strconv.Atoi(m[1])
		sum += count
	}
	return sum, nil
}

var spaceName = regexp.MustCompile(`^` + spacePrefix + `(\d+)-[a-z0-9]+-[a-z0-9]+$`)

// sweepLeftovers removes what earlier processes left that were killed: their namespaces
// and whatever still runs in them, as paused nodes do.
func sweepLeftovers(t *testing.T) {
	t.Helper()
	list, err := commandOutput("", "ip", "netns", "list")
	if err != nil {
		t.Skipf("SKIP: this machine tells of no network namespaces: %v", err)
	}
	for text := range strings.Lines(list) {
		name, _, _ := strings.Cut(strings.TrimSpace(text), " ")
		m := spaceName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		owner, err := strconv.Atoi(m[1])
		if err != nil || syscall.Kill(owner, 0) != syscall.ESRCH {
			continue
		}
		// Errors are no matter: another test's sweep may be faster.
		inside, _ := commandOutput("", "ip", "netns", "pids", name)
		for _, text := range strings.Fields(inside) {
			if pid, err := strconv.Atoi(text); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if err := runCommand("", "ip", "netns", "del", name); err == nil {
			t.Logf("removed namespace %s of a dead process", name)
		}
	}
}

// runCommand runs a command to its end, for a bounded time.
func runCommand(stdin, name string, args ...string) error {
	_, err := commandOutput(stdin, name, args...)
	return err
}

func commandOutput(stdin, name string, args ...string) (string, error) {
	// Not the test's context: the last commands run when that has ended.
	ctx, cancel := context.WithTimeout(context.Background(), commandIn)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}
