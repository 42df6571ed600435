package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	floatingIP = "10.77.0.100"
	atOnce     = time.Second // for a client, once the service is verified elsewhere
)

// startFloating returns a mesh of five that serves a command with a floating address, and the
// namespace of a machine beside them.
func startFloating(t *testing.T) (s *serving, beside string) {
	t.Helper()
	t.Parallel()
	s = &serving{Cluster: New(t, 6), t: t, dir: t.TempDir()}
	s.Nodes = s.Nodes[:5]
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	s.Start(binary, "-voters", strings.Join(sortedNames(s.Nodes), ","), "-serves", s.dir, "-floats", floatingIP+"/32")
	s.runner(agreeIn)
	return s, s.net.spaceOf("5")
}

// readProgram starts a program and has each of its lines taken in, until the test ends.
func readProgram(t *testing.T, take func(line []byte), name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			take(lines.Bytes())
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
}

// client is a program that asks the service all the time.
type client struct {
	asks *Node // alone, which answers for others; nil: whoever serves

	mu      sync.Mutex
	answers []AnswerLine
}

// startClient starts one, of a kind that the program of a node knows.
func (s *serving) startClient(space, kind string, addresses ...string) *client {
	s.t.Helper()
	binary, err := buildOnce()
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{}
	readProgram(s.t, func(line []byte) {
		var a AnswerLine
		if json.Unmarshal(line, &a) == nil {
			c.mu.Lock()
			c.answers = append(c.answers, a)
			c.mu.Unlock()
		}
	}, "ip", "netns", "exec", space, binary, kind, strings.Join(addresses, ","))
	return c
}

// findChange returns when the client heard the last answer of one node and the first one of
// another, since some time.
func (c *client) findChange(since time.Time, from, to *Node) (last, first time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.answers {
		switch at := time.UnixMicro(a.AtUS); {
		case a.From == from.Name:
			last = at
		case a.From == to.Name && at.After(since) && first.IsZero():
			first = at
		}
	}
	return last, first
}

// TestClientsFollowAFailover kills the node that runs a service: clients of its floating address,
// those whom nodes forward, and those that ask nodes where it is, come to the next one at once.
func TestClientsFollowAFailover(t *testing.T) {
	s, beside := startFloating(t)
	at := func(port int) (all []string) {
		for i := range s.Nodes {
			all = append(all, fmt.Sprintf("%s:%d", address(i), port))
		}
		return all
	}
	s.followKills(times(2), map[string]*client{
		"floating address": s.startClient(beside, "client", floatingIP+":"+strconv.Itoa(ServicePort)),
		"forwarded":        s.startClient(beside, "client", at(ForwardPort)...),
		"resolved":         s.startClient(beside, "resolve", at(DNSPort)...),
	})
	s.Quit()
}

// followKills kills the node that runs the service, so many times, and fails if a client of it is
// not answered by the next one at once. Clients that ask the killed node alone are left out.
func (s *serving) followKills(rounds int, clients map[string]*client) {
	t := s.t
	t.Helper()
	gone := map[string][]time.Duration{}
	for range rounds {
		victim, clients := s.runner(agreeIn), maps.Clone(clients)
		maps.DeleteFunc(clients, func(_ string, c *client) bool { return c.asks == victim })
		for name, c := range clients {
			s.Await(agreeIn, "a client is served: "+name, func() bool {
				last, _ := c.findChange(time.Time{}, victim, victim)
				return time.Since(last) < time.Second
			})
		}
		s.Pass(2 * lease)
		begin := time.Now()
		s.Kill(victim)
		next := s.runner(agreeIn, victim)
		verified := time.Now()
		for name, c := range clients {
			s.Await(agreeIn, "a client has followed: "+name, func() bool {
				_, first := c.findChange(begin, victim, next)
				return !first.IsZero()
			})
			last, first := c.findChange(begin, victim, next)
			gone[name] = append(gone[name], first.Sub(begin))
			if stuck := first.Sub(verified); stuck > atOnce {
				t.Errorf("%s: a client has stuck for %v", name, stuck)
			}
			t.Logf("%s: killed, last answer after %v, verified elsewhere after %v, answered there after %v", name, last.Sub(begin), verified.Sub(begin), first.Sub(begin))
		}
		s.Restart(victim)
		s.Await(agreeIn, "the mesh is whole", s.Whole)
	}
	for name, all := range gone {
		s.took(name+": killed until answered elsewhere", all, lease+2*time.Second, lease+6*time.Second)
	}
	s.checkAlone(rounds + 1)
}

// holds is when nodes have had the floating address.
type holds struct {
	mu    sync.Mutex
	spans []hold
}

type hold struct {
	node       string
	begin, end time.Time // zero: it has it now
}

// watchHolder follows what a node's system tells of its addresses.
func (h *holds) watchHolder(t *testing.T, n *Node, space string) {
	t.Helper()
	note := func(line []byte) {
		text := string(line)
		if !strings.Contains(text, " "+floatingIP+"/") {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		open := slices.IndexFunc(h.spans, func(s hold) bool { return s.node == n.Name && s.end.IsZero() })
		switch is := !strings.HasPrefix(text, "Deleted"); {
		case is && open < 0:
			h.spans = append(h.spans, hold{node: n.Name, begin: time.Now()})
		case !is && open >= 0:
			h.spans[open].end = time.Now()
		}
	}
	shown, err := commandOutput("", "ip", "-n", space, "-o", "addr", "show")
	if err != nil {
		t.Fatal(err)
	}
	readProgram(t, note, "ip", "-n", space, "-o", "monitor", "address")
	for line := range strings.Lines(shown) {
		note([]byte(line))
	}
}

// TestTheHolderOfAnAddressIsFrozen freezes the node that has a floating address, for longer than
// its lease: its system has dropped it before another node gets it.
func TestTheHolderOfAnAddressIsFrozen(t *testing.T) {
	s, _ := startFloating(t)
	h := &holds{}
	for i, n := range s.Nodes {
		h.watchHolder(t, n, s.net.spaceOf(strconv.Itoa(i)))
	}
	begin := time.Now()
	for range times(2) {
		victim := s.runner(agreeIn)
		s.Pass(2 * lease)
		s.Pause(victim)
		next := s.runner(agreeIn, victim)
		s.Pass(lease)
		s.Resume(victim)
		s.Await(agreeIn, "the mesh is whole", s.Whole)
		if now := s.runner(agreeIn); now != next {
			t.Errorf("it runs at %s, and ran at %s when %s woke up", now.Name, next.Name, victim.Name)
		}
	}
	h.mu.Lock()
	spans := slices.Clone(h.spans)
	h.mu.Unlock()
	if len(spans) < times(2)+1 {
		t.Fatalf("the address was at a node %d times", len(spans))
	}
	for i, a := range spans[1:] {
		before := spans[i]
		t.Logf("%s until %v, %s from %v: nobody for %v", before.node, before.end.Sub(begin), a.node, a.begin.Sub(begin), a.begin.Sub(before.end))
		if before.end.IsZero() || before.end.After(a.begin) {
			t.Errorf("%s had the address from %v, and %s until %v", a.node, a.begin, before.node, before.end)
		}
	}
	s.Quit()
}
