package chaos

import (
	"context"
	"fmt"
	"net"
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

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh/identity"
)

// Cluster is a mesh of processes behind one switch, for one test, which ends
// when a step cannot be done. Its methods are for the test's goroutine.
type Cluster struct {
	Nodes []*Node

	t   *testing.T
	net *network

	deathOnce sync.Once
	died      chan struct{} // closed when a process has ended by itself
	death     error         // the first of them; to be read after that
}

const port = 7800

// New makes the network for n nodes; it skips the test, and says why, where that
// cannot be. All that is made goes with the test.
func New(t *testing.T, n int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, net: newNetwork(t, n), died: make(chan struct{})}
	for i := range n {
		c.Nodes = append(c.Nodes, &Node{Name: "n" + strconv.Itoa(i+1), port: i})
	}
	return c
}

// Build makes the program of a node in a directory.
func Build(dir string) (binary string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	binary = filepath.Join(dir, "node")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/skeinmesh/skein/internal/chaos/node")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the node: %w: %s", err, out)
	}
	return binary, nil
}

// Start starts all nodes, in three zones, and waits until they see each other.
// binary is what Build returned, args go to each of them.
func (c *Cluster) Start(binary string, args ...string) {
	c.t.Helper()
	dir := c.t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(identity.FormatSecret(identity.NewSecret())), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.killAndReport) // before the directory goes
	for i, n := range c.Nodes {
		var seeds []string
		for _, other := range c.Nodes {
			if other != n {
				seeds = append(seeds, listenAddr(other.port))
			}
		}
		n.log = filepath.Join(dir, n.Name+".log")
		n.args = append([]string{"netns", "exec", c.net.spaceOf(strconv.Itoa(n.port)), binary,
			"-dir", filepath.Join(dir, n.Name), "-name", n.Name, "-zone", "z" + strconv.Itoa(i%3+1),
			"-listen", listenAddr(n.port), "-seeds", strings.Join(seeds, ","), "-secret", secret}, args...)
		c.startNode(n)
	}
	c.Await(30*time.Second, "all nodes see each other", c.Whole)
}

func listenAddr(i int) string { return net.JoinHostPort(address(i).String(), strconv.Itoa(port)) }

func (c *Cluster) startNode(n *Node) {
	c.t.Helper()
	c.failOnError(n.startProcess(func(err error) {
		c.deathOnce.Do(func() {
			c.death = fmt.Errorf("%s: %w", n.Name, err)
			close(c.died)
		})
	}))
}

// killAndReport ends what runs, and shows what the nodes said if the test failed.
func (c *Cluster) killAndReport() {
	for _, n := range c.Nodes {
		n.killProcess()
	}
	if !c.t.Failed() {
		return
	}
	for _, n := range c.Nodes {
		text, err := os.ReadFile(n.log)
		lines := strings.SplitAfter(string(text), "\n")
		c.t.Logf("%s saw %+v\nand said last (%v):\n%s", n.Name, n.Since(time.Time{}), err, strings.Join(lines[max(0, len(lines)-50):], ""))
	}
}

// Quit closes all nodes that run: each must end without fault.
func (c *Cluster) Quit() {
	c.t.Helper()
	for _, n := range c.Nodes {
		if err := n.quitProcess(20 * time.Second); err != nil {
			c.t.Errorf("%s: %v", n.Name, err)
		}
	}
}

// DropOneWay has the switch drop what one node sends another; ARP passes, or the
// other way would fail, too, when the addresses are forgotten.
func (c *Cluster) DropOneWay(from, to *Node) {
	c.t.Helper()
	c.failOnError(c.net.addRules([]string{
		between(from.port, to.port) + " ether type != arp counter drop",
		between(to.port, from.port) + " counter", // for Counted
	}))
}

// Counted returns how many frames from one node to another a rule of DropOneWay
// has met.
func (c *Cluster) Counted(from, to *Node) int {
	c.t.Helper()
	n, err := c.net.countFrames(from.port, to.port)
	c.failOnError(err)
	return n
}

// Cut has the switch drop all between two groups of nodes, at one moment.
func (c *Cluster) Cut(a, b []*Node) {
	c.t.Helper()
	var rules []string
	for _, x := range a {
		for _, y := range b {
			rules = append(rules, between(x.port, y.port)+" counter drop", between(y.port, x.port)+" counter drop")
		}
	}
	c.failOnError(c.net.addRules(rules))
}

// Heal ends all that DropOneWay and Cut began.
func (c *Cluster) Heal() {
	c.t.Helper()
	c.failOnError(c.net.clearRules())
}

// Flap cuts and heals for the times that Flaps returned, and heals.
func (c *Cluster) Flap(a, b []*Node, phases []time.Duration) {
	c.t.Helper()
	for i, d := range phases {
		if i%2 == 0 {
			c.Cut(a, b)
		} else {
			c.Heal()
		}
		c.Pass(d)
	}
	c.Heal()
}

// Pause stops a node between two instructions until Resume: its clocks go on.
func (c *Cluster) Pause(n *Node) {
	c.t.Helper()
	c.signalNode(n, syscall.SIGSTOP)
}

// Resume lets a paused node go on.
func (c *Cluster) Resume(n *Node) {
	c.t.Helper()
	c.signalNode(n, syscall.SIGCONT)
}

func (c *Cluster) signalNode(n *Node, s syscall.Signal) {
	c.t.Helper()
	p := n.process()
	if p == nil {
		c.t.Fatalf("%s does not run", n.Name)
	}
	c.failOnError(p.cmd.Process.Signal(s))
}

// Kill ends a node's process as a pulled plug would. What it wrote and did not
// sync survives all the same: the machine goes on.
func (c *Cluster) Kill(n *Node) { n.killProcess() }

// Restart starts a node on its old disk, killing it first if it runs.
func (c *Cluster) Restart(n *Node) {
	c.t.Helper()
	n.killProcess()
	c.startNode(n)
}

// Pass lets time pass while no node may end by itself.
func (c *Cluster) Pass(d time.Duration) {
	c.t.Helper()
	select {
	case <-c.died:
		c.t.Fatal("a node ended by itself: ", c.death)
	case <-time.After(d):
	}
	for _, n := range c.Nodes {
		if why := n.State().Stopped; why != "" {
			c.t.Fatalf("%s stopped by itself: %s", n.Name, why)
		}
	}
}

// Await waits until something holds, and returns how long that took.
func (c *Cluster) Await(limit time.Duration, what string, holds func() bool) time.Duration {
	c.t.Helper()
	begin := time.Now()
	for !holds() {
		if time.Since(begin) > limit {
			c.t.Fatalf("not within %v: %s", limit, what)
		}
		c.Pass(20 * time.Millisecond)
	}
	return time.Since(begin)
}

// Whole tells whether every node sees every node alive.
func (c *Cluster) Whole() bool { return c.Sees(c.Nodes, c.Nodes, nil) }

// Sees tells whether each of some nodes sees exactly these alive and failed, and
// suspects nobody.
func (c *Cluster) Sees(viewers, alive, failed []*Node) bool {
	return !slices.ContainsFunc(viewers, func(n *Node) bool {
		s := n.State()
		return !slices.Equal(s.Alive, sortedNames(alive)) || !slices.Equal(s.Failed, sortedNames(failed)) || len(s.Suspect) > 0
	})
}

// Leader returns whom all of some nodes know as the leader of their component, if
// it is one of them, knows it, and no other of them leads; nil otherwise.
func (c *Cluster) Leader(nodes []*Node) (leader *Node) {
	want := nodes[0].State()
	for _, n := range nodes {
		s := n.State()
		if s.Leader != want.Leader || s.Token != want.Token || s.Here != (s.Leader == n.Name) {
			return nil
		}
		if s.Here {
			leader = n
		}
	}
	return leader
}

// Spans returns all work for the election "writer" so far.
func (c *Cluster) Spans() (all []Span) {
	c.t.Helper()
	for _, n := range c.Nodes {
		spans, err := Spans(n.Name, n.Events())
		c.failOnError(err)
		all = append(all, spans...)
	}
	return all
}

// Working returns the work for the election "writer" that is under way; false if
// there is none, or more than one.
func (c *Cluster) Working() (at Span, working bool) {
	c.t.Helper()
	open := slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.End != Open })
	if len(open) != 1 {
		return Span{}, false
	}
	return open[0], true
}

// bootTime is the time by the clock of Events.
func bootTime() time.Duration { return clock.System().Boot() }

func sortedNames(nodes []*Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Name)
	}
	slices.Sort(list)
	return list
}

func (c *Cluster) failOnError(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}
