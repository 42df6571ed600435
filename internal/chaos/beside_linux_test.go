package chaos

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needLong skips a test that takes minutes, or needs a command that is not there.
func needLong(t *testing.T, tools ...string) {
	t.Helper()
	if !*long {
		t.Skip("SKIP: it takes minutes, and runs with -long")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIP: it needs the command %s", tool)
		}
	}
}

// The clients, as loops of a shell. Each question is a process of its own.
const (
	curlLoop = `while :; do curl -s --max-time 0.5 "$0"; sleep 0.02; done`
	digLoop  = `while :; do dig +short +time=1 +tries=1 -p "$0" "@$1" ` + ServiceName + ` A; sleep 0.2; done`
)

// startLoop starts a client that is a loop of a shell, whose answers find turns into names: an
// empty one is none.
func startLoop(t *testing.T, space string, find func(line string) string, loop string, args ...string) *client {
	t.Helper()
	c := &client{}
	take := func(line []byte) {
		if name := find(string(line)); name != "" {
			c.mu.Lock()
			c.answers = append(c.answers, AnswerLine{AtUS: time.Now().UnixMicro(), From: name})
			c.mu.Unlock()
		}
	}
	readProgram(t, take, "ip", append([]string{"netns", "exec", space, "sh", "-c", loop}, args...)...)
	return c
}

// startCurl starts a curl that asks the floating address again and again.
func startCurl(t *testing.T, space string) *client {
	t.Helper()
	self := func(line string) string { return line }
	return startLoop(t, space, self, curlLoop, "http://"+floatingIP+":"+strconv.Itoa(ServicePort)+"/")
}

// TestCurlAndDigFollowAFailover is TestClientsFollowAFailover with the programs that people have:
// curl at the floating address, and dig at the server of each node.
func TestCurlAndDigFollowAFailover(t *testing.T) {
	needLong(t, "curl", "dig")
	s, beside := startFloating(t)
	names := map[string]string{}
	for i, n := range s.Nodes {
		names[address(i).String()] = n.Name
	}
	clients := map[string]*client{"curl": startCurl(t, beside)}
	for i, n := range s.Nodes {
		find := func(line string) string { return names[line] }
		c := startLoop(t, beside, find, digLoop, strconv.Itoa(DNSPort), address(i).String())
		c.asks, clients["dig at "+n.Name] = n, c
	}
	s.followKills(10, clients)
	s.Quit()
}

const (
	frozenFor = 10 * time.Second
	lookFor   = 10 * time.Second // from a kill on
	rounds    = 3                // of kill and freeze, each
)

// holding is a group of machines of which one has the floating address, and a client of it.
type holding struct {
	t      *testing.T
	holds  *holds
	client *client
	stays  time.Duration // an address that does not move for so long does not move by itself

	kill, freeze, resume, restart func(name string)
}

// outcome is what is measured of a holding, an entry a round.
type outcome struct {
	gaps   []time.Duration // killed until the client was answered elsewhere
	killed []time.Duration // two had the address, while lookFor after the kill
	frozen []time.Duration // two had the address, from the freeze until all was quiet again
}

// measure kills and freezes who has the address in turn.
func (h holding) measure() (f outcome) {
	for range rounds {
		victim, begin := h.waitSteady(), time.Now()
		h.kill(victim)
		var first time.Time
		h.await("the client is answered elsewhere", func() bool {
			first = h.client.findElsewhere(begin, victim)
			return !first.IsZero()
		})
		h.await("the look is over", func() bool { return time.Since(begin) >= lookFor })
		f.gaps = append(f.gaps, first.Sub(begin))
		f.killed = append(f.killed, h.holds.heldTwice(begin))
		h.restart(victim)

		victim, begin = h.waitSteady(), time.Now()
		h.freeze(victim)
		h.await("the freeze is over", func() bool { return time.Since(begin) >= frozenFor })
		h.resume(victim)
		h.waitSteady()
		f.frozen = append(f.frozen, h.holds.heldTwice(begin))
	}
	return f
}

func (h holding) await(what string, holds func() bool) {
	h.t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > healIn {
			h.t.Fatalf("not within %v: %s", healIn, what)
		}
	}
}

// waitSteady waits until one has the address, keeps it and answers the client, and returns its name.
func (h holding) waitSteady() (name string) {
	h.t.Helper()
	since := time.Now()
	h.await("one has the address, and answers", func() bool {
		now := h.holds.findHolders()
		if len(now) != 1 || now[0] != name || !h.client.findElsewhere(since, name).IsZero() {
			name, since = strings.Join(now, ","), time.Now()
		}
		return time.Since(since) > h.stays && len(now) == 1 && !h.client.findElsewhere(time.Now().Add(-time.Second), "").IsZero()
	})
	return name
}

// findElsewhere returns when the client heard the first answer since some time of another node
// than one.
func (c *client) findElsewhere(since time.Time, name string) (first time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range slices.Backward(c.answers) {
		at := time.UnixMicro(a.AtUS)
		if at.Before(since) {
			break
		}
		if a.From != name {
			first = at
		}
	}
	return first
}

// findHolders returns who has the address now.
func (h *holds) findHolders() (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.spans {
		if s.end.IsZero() {
			names = append(names, s.node)
		}
	}
	return names
}

// heldTwice returns for how long more than one node had the address, from some time until now.
func (h *holds) heldTwice(since time.Time) (sum time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, s := range h.spans {
		begin, end := s.begin, s.end
		if begin.Before(since) {
			begin = since
		}
		if end.IsZero() {
			end = time.Now()
		}
		if end.After(begin) {
			changes = append(changes, change{begin, 1}, change{end, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), a.by-b.by) })
	holders := 0
	for i, c := range changes {
		if holders > 1 {
			sum += c.at.Sub(changes[i-1].at)
		}
		holders += c.by
	}
	return sum
}

// measureOwn measures package vip at the pace of a LAN: two must never have the address.
func measureOwn(t *testing.T) (f outcome) {
	s, beside := startFloating(t)
	h := holding{t: t, holds: &holds{}, client: startCurl(t, beside), stays: 2 * lease}
	for i, n := range s.Nodes {
		h.holds.watchHolder(t, n, s.net.spaceOf(strconv.Itoa(i)))
	}
	find := func(name string) *Node {
		return s.Nodes[slices.IndexFunc(s.Nodes, func(n *Node) bool { return n.Name == name })]
	}
	whole := func() { s.Await(healIn, "the mesh is whole", s.Whole) }
	h.kill = func(name string) { s.Kill(find(name)) }
	h.freeze = func(name string) { s.Pause(find(name)) }
	h.resume = func(name string) { s.Resume(find(name)); whole() }
	h.restart = func(name string) { s.Restart(find(name)); whole() }
	f = h.measure()
	for i := range f.frozen {
		if f.frozen[i] > 0 || f.killed[i] > 0 {
			t.Errorf("two had the address: for %v when one was frozen, %v when one was killed", f.frozen[i], f.killed[i])
		}
	}
	s.Quit()
	return f
}

const keepalivedConf = `
global_defs {
    vrrp_version 3
}
vrrp_instance press {
    state BACKUP
    interface eth0
    virtual_router_id 77
    priority %d
    advert_int %s
    virtual_ipaddress {
        ` + floatingIP + `/32
    }
}
`

// measureKeepalived measures three machines of keepalived, each with a command that answers.
func measureKeepalived(t *testing.T, interval string) outcome {
	t.Parallel()
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	const machines = 3
	net, dir := newNetwork(t, machines+1), t.TempDir()
	h := holding{t: t, holds: &holds{}, client: startCurl(t, net.spaceOf(strconv.Itoa(machines))), stays: 6 * time.Second}
	spaces, started := map[string]string{}, map[string][]*exec.Cmd{}
	kill := func(name string) {
		// Stopped first: the parent would start the killed child anew.
		signalServers(t, spaces[name], syscall.SIGSTOP)
		signalServers(t, spaces[name], syscall.SIGKILL)
		for _, cmd := range started[name] {
			_ = cmd.Process.Kill() // in vain, but for what has only just begun
			_ = cmd.Wait()
		}
		started[name] = nil
	}
	start := func(name string) {
		at := filepath.Join(dir, name)
		for _, args := range [][]string{
			{binary, "command", dir, name, strconv.Itoa(ServicePort)},
			{"keepalived", "-n", "-l", "-P", "-f", at + ".conf", "-p", at + ".pid", "-r", at + ".vrrp"},
		} {
			cmd := exec.Command("ip", append([]string{"netns", "exec", spaces[name]}, args...)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			started[name] = append(started[name], cmd)
		}
	}
	for i := range machines {
		name := "k" + strconv.Itoa(i+1)
		spaces[name] = net.spaceOf(strconv.Itoa(i))
		conf := fmt.Sprintf(keepalivedConf, 150-50*i, interval)
		if err := os.WriteFile(filepath.Join(dir, name+".conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		h.holds.watchHolder(t, &Node{Name: name}, spaces[name])
		start(name)
		t.Cleanup(func() { kill(name) })
	}
	h.kill, h.restart = kill, start
	h.freeze = func(name string) { signalServers(t, spaces[name], syscall.SIGSTOP) }
	h.resume = func(name string) { signalServers(t, spaces[name], syscall.SIGCONT) }
	return h.measure()
}

// signalServers sends a signal to each keepalived and each command in a namespace, the parents
// first. A child that dies with its parent is no error.
func signalServers(t *testing.T, space string, s syscall.Signal) {
	t.Helper()
	pids, err := commandOutput("", "ip", "netns", "pids", space)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range strings.Fields(pids) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := os.ReadFile(filepath.Join("/proc", text, "comm"))
		if !bytes.HasPrefix(name, []byte("keepalived")) && string(name) != "node\n" {
			continue
		}
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%v to %d: %v", s, pid, err)
		}
	}
}

// TestBesideKeepalived kills and freezes who has a floating address, here and with keepalived in
// the same kind of network, and logs how the two compare. It judges this side alone.
func TestBesideKeepalived(t *testing.T) {
	needLong(t, "curl", "keepalived")
	rows := []struct {
		name    string
		measure func(t *testing.T) outcome
		outcome outcome
	}{
		{name: "vip, LAN", measure: measureOwn},
		{name: "keepalived, advert_int 1", measure: func(t *testing.T) outcome { return measureKeepalived(t, "1") }},
		{name: "keepalived, advert_int 0.1", measure: func(t *testing.T) outcome { return measureKeepalived(t, "0.1") }},
	}
	t.Run("measure", func(t *testing.T) {
		for i := range rows {
			t.Run(rows[i].name, func(t *testing.T) { rows[i].outcome = rows[i].measure(t) })
		}
	})
	const form = "%-28s%-24s%-24s%s"
	t.Logf(form, "", "gap on SIGKILL", "two hold it for: killed", "frozen for "+frozenFor.String())
	for _, r := range rows {
		t.Logf(form, r.name, printAll(r.outcome.gaps), printAll(r.outcome.killed), printAll(r.outcome.frozen))
	}
}

func printAll(all []time.Duration) string {
	var text []string
	for _, d := range all {
		text = append(text, d.Round(10*time.Millisecond).String())
	}
	return strings.Join(text, ", ")
}
