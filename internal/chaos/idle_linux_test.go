package chaos

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	idleServices = 20
	idleFor      = 20 * time.Second
	mostIdleCPU  = 0.01 // of a core
	mostIdleNet  = 5e3  // bytes a second that are sent, of all nodes as many as are received
)

// use is what a node has used so far.
type use struct {
	cpu      time.Duration
	sent     uint64
	observed time.Time
}

// readUse reads the processor time of a node's process, and the bytes of its network interface
// with their headers.
func (c *Cluster) readUse(n *Node) (u use) {
	c.t.Helper()
	u.observed = time.Now()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.process().cmd.Process.Pid))
	c.failOnError(err)
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, at := range []int{11, 12} {
		ticks, err := strconv.ParseInt(f[at], 10, 64)
		c.failOnError(err)
		u.cpu += time.Duration(ticks) * (time.Second / 100)
	}
	text, err := commandOutput("", "ip", "netns", "exec", c.net.spaceOf(strconv.Itoa(n.port)), "cat", "/proc/net/dev")
	c.failOnError(err)
	_, line, _ := strings.Cut(text, "eth0:")
	f = strings.Fields(line)
	u.sent, err = strconv.ParseUint(f[8], 10, 64)
	c.failOnError(err)
	return u
}

// idleCost returns the mean cost of a node while nothing happens: of a core, and bytes a second
// that it sends. Those that it gets are as many.
func (c *Cluster) idleCost() (cpu, sent float64) {
	c.t.Helper()
	var before []use
	for _, n := range c.Nodes {
		before = append(before, c.readUse(n))
	}
	c.Pass(idleFor)
	for i, n := range c.Nodes {
		u := c.readUse(n)
		span := u.observed.Sub(before[i].observed).Seconds()
		cpu += (u.cpu - before[i].cpu).Seconds() / span / float64(len(c.Nodes))
		sent += float64(u.sent-before[i].sent) / span / float64(len(c.Nodes))
	}
	return cpu, sent
}

// TestIdleServicesCostLittle has five nodes serve twenty services, four of them at each, with
// plans and routes in a bucket.
func TestIdleServicesCostLittle(t *testing.T) {
	if !*long {
		t.Skip("SKIP: it measures, and runs with -long")
	}
	t.Parallel()
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	measure := func(services int) (cpu, sent float64) {
		c := New(t, 5)
		c.Start(binary, "-voters", strings.Join(sortedNames(c.Nodes), ","), "-idle", strconv.Itoa(services))
		c.Await(agreeIn, "all services run", func() bool {
			n := 0
			for _, o := range c.Nodes {
				n += o.State().Idle
			}
			return n == services
		})
		c.Pass(5 * time.Second)
		cpu, sent = c.idleCost()
		c.Quit()
		return cpu, sent
	}
	cpu0, sent0 := measure(0)
	cpu, sent := measure(idleServices)
	t.Logf("a node: %.2f %% of a core and %.2f kB/s sent without services, %.2f %% and %.2f kB/s with %d", 100*cpu0, sent0/1000, 100*cpu, sent/1000, idleServices)
	if cpu > mostIdleCPU || sent > mostIdleNet {
		t.Errorf("more than %.1f %% and %.1f kB/s", 100*mostIdleCPU, mostIdleNet/1000)
	}
}
